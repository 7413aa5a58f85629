"""Entries that a load added, kept for the audit in a few bytes each.

A first load adds every entry, and the worker takes reads before all of that is audited. As `Change`
objects, which take a kilobyte each, the changes of a long list would take more than the list
itself. Here they share the packed entries with the index, and become changes a few at a time.

An entry that ends meanwhile stays here until it is audited, as it does in a `Change`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engine.audit.changes import Change, ControlKind, ControlRecord, entry_added
from engine.clock import format_time
from engine.index.packed_entry import AT

_decode = msgspec.msgpack.Decoder().decode
_ID, _REFERENCE, _LIST, _AGENCY, _PURPOSE, _KIND, _REQUESTED_BY, _EXPIRES = map(
    AT.__getitem__,
    (
        *("entry_id", "reference", "list_id", "agency", "purpose", "kind"),
        *("requested_by", "expires_at"),
    ),
)


class Shared(NamedTuple):
    """The shared values of packed entries by their number, as it was when these were packed."""

    names: Mapping[Any, str]
    requesters: Mapping[Any, str]
    times: Mapping[Any, str]


class Loaded(NamedTuple):
    """Entries that records of one partition added, in the order of their `offsets`.

    `stamped_ms` are the records' times, `packed` the entries as the index keeps them, and
    `operators` who sent each, as the record claims.
    """

    partition: int
    offsets: npt.NDArray[np.int64]
    stamped_ms: npt.NDArray[np.int64]
    packed: Sequence[bytes]
    operators: Sequence[str | None]
    shared: Shared
    at_ms: int


class AddedEntries:
    """What is left of loaded entries from a place on; at least one. Unchangeable."""

    __slots__ = ("_begin", "_loaded")

    def __init__(self, loaded: Loaded, begin: int = 0) -> None:
        self._loaded: Final = loaded
        self._begin: Final = begin

    def __len__(self) -> int:
        return len(self._loaded.offsets) - self._begin

    @property
    def offset(self) -> int:
        """The offset of the first record."""
        return int(self._loaded.offsets[self._begin])

    def after(self, count: int) -> AddedEntries | None:
        """Return those after the first ones, or None."""
        begin = self._begin + count
        return AddedEntries(self._loaded, begin) if begin < len(self._loaded.offsets) else None

    def from_offset(self, offset: int) -> AddedEntries | None:
        """Return those whose records have this offset or a later one, or None."""
        below = int(np.searchsorted(self._loaded.offsets[self._begin :], offset))
        return self.after(below) if below else self

    def changes(self, count: int) -> list[Change]:
        """Return the first changes, at most `count`."""
        places = range(self._begin, min(self._begin + count, len(self._loaded.offsets)))
        return [self._change(place) for place in places]

    def _change(self, place: int) -> Change:
        entry = _decode(self._loaded.packed[place])
        names, requesters, times = self._loaded.shared
        name = names.get
        expires = entry[_EXPIRES]
        fields: dict[str, str | int] = {
            "entry_id": entry[_ID],
            "list_id": name(entry[_LIST], entry[_LIST]),
            "agency": name(entry[_AGENCY], entry[_AGENCY]),
            "purpose": name(entry[_PURPOSE], entry[_PURPOSE]),
            "authority": f"{name(entry[_KIND], entry[_KIND])} {entry[_REFERENCE]}",
            "requested_by": requesters.get(entry[_REQUESTED_BY], entry[_REQUESTED_BY]),
            "expires_at": times.get(expires)
            or (expires if isinstance(expires, str) else format_time(expires)),
        }
        loaded = self._loaded
        record = ControlRecord(
            kind=ControlKind.ENTRY,
            partition=loaded.partition,
            offset=int(loaded.offsets[place]),
            timestamp_ms=int(loaded.stamped_ms[place]),
            key=None,
            value=None,
            operator=loaded.operators[place],
        )
        return entry_added(record, fields, self._loaded.at_ms)


#: What waits for the audit: changes one by one, or the entries that a load added.
Waiting = Change | AddedEntries
