"""The hot list topic's state as digests: which entries stand, without holding them.

Records are applied in the order of their partition, and the last one of each key counts, as in
the worker. It is kept in bounded memory: a digest and the id of each key, about a hundred bytes,
for at most twice as many records as there are keys, and some. A value that cannot be read as an
entry with its key is on no list: no sync removes it, and the next entry with that id replaces it.
Of a removed entry the term is held, if its removal says what it was (`removed_terms`).

Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, Final, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.clock import parse_time
from engine.documents.codec import decode_entry
from engine.documents.model import Entry
from engine.errors import DocumentError
from engine.list_files.digests import DigestColumns, Digests, Names
from engine.list_files.removed_terms import RemovedTerm, RemovedTerms, places_of

#: In the place of a list: a value that is no entry, and a key that was removed.
UNREADABLE: Final = -1
_REMOVED: Final = -2

_LISTS: Final = DigestColumns._fields.index("lists")
_CREATED: Final = DigestColumns._fields.index("created_ms")
#: Records between two times at which those that are superseded are let go, at the least.
_SETTLE_RECORDS: Final = 1 << 18
_IDS_AT_A_TIME: Final = 1 << 16
_TIMES_REMEMBERED: Final = 1 << 16


_kinds = get_type_hints(Entry)
#: An entry as it stands, without the rules for its texts: reading a million is quicker. No entry
#: that breaks them can be the same as one of a file that keeps them.
_Standing: type[Any] = msgspec.defstruct(
    "_Standing",
    [(each.name, _kinds[each.name], each.default) for each in msgspec.structs.fields(Entry)],
    frozen=True,
    gc=False,
    kw_only=True,
)

_decode = msgspec.json.Decoder(_Standing).decode


class ListState:
    """See the module. `names` numbers lists and people.

    `columns` has what stood when `settle` was last called, in the order of the hashed ids, and
    `removed` the terms of what was removed by then.
    """

    def __init__(self, names: Names) -> None:
        self.columns: DigestColumns = Digests(names).columns()
        self.removed = RemovedTerms(self.columns)
        self._names = names
        # The ids of `columns`, one after the other, and where each begins.
        self._ids = b""
        self._id_starts = np.zeros(1, dtype=np.int64)
        # What has come since.
        self._digests = Digests(names)
        self._new_ids = bytearray()
        self._new_id_ends = array("q")
        self._times: dict[str, int] = {}

    def apply(
        self,
        records: Iterable[tuple[bytes | None, bytes | None, *tuple[RemovedTerm | None, ...]]],
    ) -> None:
        """Apply keys and values in order; None is a removal, with the entry's term if known."""
        for key, value, *terms in records:
            if key is None:
                continue  # a compacted topic takes none
            self._new_ids += key
            self._new_id_ends.append(len(self._new_ids))
            if value is None:
                term = terms[0] if terms else None
                if term is None:
                    self._digests.add_without_entry(key, _REMOVED)
                else:
                    self._digests.add_without_entry(key, _REMOVED, term.reference, term.created_ms)
                continue
            try:
                entry = _decode(value)
                created_ms = self._ms(entry.created_at)
                expires_ms = self._ms(entry.expires_at)
            except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
                self._apply_patiently(key, value)
                continue
            self._add(key, entry, created_ms, expires_ms)
        if len(self._digests) > len(self.columns.ids) + _SETTLE_RECORDS:
            self.settle()

    def _apply_patiently(self, key: bytes, value: bytes) -> None:
        """What the quick way does not read may still be an entry, with 1.0 for a 1 in it."""
        try:
            entry = decode_entry(value)
        except DocumentError:
            self._digests.add_without_entry(key, UNREADABLE)
            return
        self._add(key, entry, entry.created_ms, entry.expires_ms)

    def _add(self, key: bytes, entry: Any, created_ms: int, expires_ms: int) -> None:
        if entry.entry_id.encode() != key:
            self._digests.add_without_entry(key, UNREADABLE)
        else:
            self._digests.add(key, entry, created_ms, expires_ms)

    def _ms(self, text: str) -> int:
        found = self._times.get(text)
        if found is None:
            if len(self._times) >= _TIMES_REMEMBERED:
                self._times.clear()
            found = self._times[text] = parse_time(text)
        return found

    def settle(self) -> None:
        """Let go what is superseded or removed; `columns` then has what stands."""
        # What was removed has no id texts. It comes first, because all else is newer.
        removed_count = len(self.removed.columns.ids)
        pairs: list[Any] = list(
            zip(self.removed.columns, self.columns, self._digests.columns(), strict=True)
        )
        self._digests = Digests(self._names)
        self.columns = self._digests.columns()
        ids, lists = np.concatenate(pairs[0]), np.concatenate(pairs[_LISTS])
        kept = np.argsort(ids, kind="stable")
        ids = ids[kept]
        last = np.ones(len(ids), dtype=bool)
        last[:-1] = ids[1:] != ids[:-1]
        kept = kept[last]
        is_removed = lists[kept] == _REMOVED
        gone, kept = kept[is_removed], kept[~is_removed]
        gone = gone[np.concatenate(pairs[_CREATED])[gone] > 0]
        del ids, lists, last, is_removed
        dropped, self.removed = self.removed.dropped, RemovedTerms(self.columns)
        # One column after the other, so that only one is there twice.
        merged, removed = [], []
        while pairs:
            column = np.concatenate(pairs.pop(0))
            merged.append(column[kept])
            removed.append(column[gone])
        self.columns = DigestColumns(*merged)
        self.removed = RemovedTerms(DigestColumns(*removed), dropped)
        self._keep_ids(kept - removed_count)

    def _keep_ids(self, kept: NDArray[np.int64]) -> None:
        old_bytes = len(self._ids)
        ends = np.frombuffer(self._new_id_ends, dtype=np.int64) + old_bytes
        starts = np.concatenate([self._id_starts, ends])
        both = self._ids + bytes(self._new_ids)
        self._new_ids, self._new_id_ends = bytearray(), array("q")
        pieces = []
        for at in range(0, len(kept), _IDS_AT_A_TIME):
            some = kept[at : at + _IDS_AT_A_TIME]
            slices = map(slice, starts[some].tolist(), starts[some + 1].tolist())
            pieces.append(b"".join(map(both.__getitem__, slices)))
        self._ids = b"".join(pieces)
        self._id_starts = np.zeros(len(kept) + 1, dtype=np.int64)
        np.cumsum(starts[kept + 1] - starts[kept], out=self._id_starts[1:])

    def places(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where in `columns` the entries with these hashed ids are, -1 for those that are not."""
        return places_of(ids, self.columns.ids)

    def entry_id(self, place: int) -> bytes:
        """The id of the entry at this place of `columns`."""
        return self._ids[self._id_starts[place] : self._id_starts[place + 1]]

    @property
    def unreadable(self) -> int:
        """Keys whose value is no entry."""
        return int(np.count_nonzero(self.columns.lists == UNREADABLE))
