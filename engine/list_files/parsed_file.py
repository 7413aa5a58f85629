"""The rows of a file of entries until they are sent: a digest of each, and its JSON in a spool.

A spool keeps byte strings in order, compressed some thousands at a time. Entries of one file share
most of their text, so an entry takes a few dozen bytes. The spool is held in memory only, because
plates must not be written to another file.

A row takes about a hundred bytes, whatever its content. Repeated ids within one file are found
here. Pure.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Final

import cramjam
import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.arrays import Bytes
from engine.list_files.digests import DigestColumns, Digests, Names, id_hash
from engine.list_files.list_state import ListState
from engine.list_files.notes import Notes
from engine.list_files.rows import DERIVED, BadRow, Row

#: Bytes that are compressed together.
_BLOCK_BYTES: Final = 1024 * 1024
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


class FileEntries:
    """The good rows of a file, compact and in the file's order.

    All rows are added before it is read. Its columns share its memory.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.spool = Spool()
        self.bad = 0
        self._digests = Digests(names)
        self._lines = array("q")
        self._fresh = array("B")
        # The hashed id that earlier versions derived for each good row, 0 if its id is given.
        self._former_ids = array("Q")
        self._spared_ids = array("Q")
        self._spared_references = array("Q")
        self._bad_unknown = 0
        self._bad_derived: Counter[str] = Counter()
        self._gives_ids = False
        self._repeats: tuple[int, dict[int, int]] = (0, {})

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, row: Row) -> None:
        """Add a good row."""
        entry = row.entry
        self._digests.add(entry.entry_id.encode(), entry, entry.created_ms, entry.expires_ms)
        self._lines.append(row.line)
        self._fresh.append(row.fresh)
        self._gives_ids |= not row.fresh & DERIVED
        self._former_ids.append(0 if row.former_id is None else id_hash(row.former_id.encode()))
        self._spared_ids.extend(id_hash(each.encode()) for each in row.spared_ids)
        self.spool.append(row.data)

    def add_bad(self, row: BadRow) -> None:
        """Count a bad row. A sync does not remove its entry."""
        self.bad += 1
        if row.entry_id is None:
            self._bad_unknown += 1
            return
        if row.list_id is None:
            self._gives_ids = True
        else:
            self._bad_derived[row.list_id] += 1
        self._spared_ids.append(id_hash(row.entry_id.encode()))
        if row.former_id is not None:
            self._spared_ids.append(id_hash(row.former_id.encode()))

    def add_left_out(self, notes: Notes) -> None:
        """Spare the entries that the rows left out may be for: a sync does not remove them."""
        self._bad_unknown += notes.without_reference
        self._spared_references.extend(notes.references)

    def columns(self) -> DigestColumns:
        """Return the digests of the good rows."""
        return self._digests.columns()

    @property
    def lines(self) -> NDArray[np.int64]:
        """The line of each good row."""
        return np.frombuffer(self._lines, dtype=np.int64)

    @property
    def fresh(self) -> Bytes:
        """The bits of each good row that say which values are fresh: see `rows`."""
        return np.frombuffer(self._fresh, dtype=np.uint8)

    @property
    def spared_ids(self) -> NDArray[np.uint64]:
        """The hashed ids of entries that a sync leaves alone, although no good row names them."""
        return np.frombuffer(self._spared_ids, dtype=np.uint64)

    @property
    def spared_references(self) -> NDArray[np.uint64]:
        """The hashed authority references whose entries a sync leaves alone."""
        return np.frombuffer(self._spared_references, dtype=np.uint64)

    def bad_unknown(self, list_id: str) -> int:
        """Return how many bad rows may be for any entry of the list: a sync removes nothing then.

        In a file whose rows give their ids, a bad row without one may have lost it. A bad row that
        names another list may have lost its list.
        """
        known = 0 if self._gives_ids else self._bad_derived[list_id]
        return self._bad_unknown + self._bad_derived.total() - known

    def repeats(self) -> dict[int, int]:
        """Map the position of each row with a repeated id to the line of the first one."""
        known_for, found = self._repeats
        if known_for == len(self):
            return found
        ids = self.columns().ids
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        same = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
        found = {}
        for place in same.tolist():
            row, before = int(order[place]), int(order[place - 1])
            found[row] = found.get(before, self._lines[before])
        found = dict(sorted(found.items()))
        self._repeats = len(self), found
        return found

    def places(self, state: ListState) -> NDArray[np.int64]:
        """Return where in the state each row's entry is, -1 if it is new.

        An entry that an earlier version listed keeps its derived id, so that the first sync of a
        newer version does not remove and add the whole list. That id does not cover the agency, so
        the entry must be of the row's list and agency.
        """
        rows = self.columns()
        places = state.places(rows.ids)
        new = np.flatnonzero((places < 0) & (self._former() != 0))
        former = state.places(self._former()[new])
        there = state.columns.at(former)
        same_owner = (there.lists == rows.lists[new]) & (there.agencies == rows.agencies[new])
        found = (former >= 0) & same_owner
        places[new[found]] = former[found]
        return places

    def _former(self) -> NDArray[np.uint64]:
        return np.frombuffer(self._former_ids, dtype=np.uint64)

    def list_ids(self) -> list[str]:
        """Return the lists of the rows."""
        return [self.names.text(number) for number in np.unique(self.columns().lists).tolist()]


class Spool:
    """Byte strings kept in order and compressed; see the module."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._open: list[bytes] = []
        self._open_bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, data: bytes) -> None:
        """Append a byte string."""
        self._open.append(data)
        self._open_bytes += len(data)
        self._count += 1
        if self._open_bytes >= _BLOCK_BYTES:
            self._blocks.append(bytes(cramjam.lz4.compress_block(_encode(self._open))))
            self._open, self._open_bytes = [], 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield all byte strings in order."""
        for block in self._blocks:
            yield from _decode(bytes(cramjam.lz4.decompress_block(block)))
        yield from self._open
