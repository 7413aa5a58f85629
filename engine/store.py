"""Entries kept small: what many of them share is kept once.

An entry's JSON takes several hundred bytes, most of which it shares with its neighbours: list,
agency, purpose, requester, makes and colours. Here an entry becomes a MessagePack array in
which such values are numbers into tables of shared values, and its own values (id, plate,
reference) stand as they are: some fifty bytes. `get` gives back an equal
Entry, which a test holds for all entries that can be generated.

A table takes a bounded number of values; what finds it full is kept in the entry itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, Generic, TypeVar

import msgspec

from engine.clock import format_time, parse_time
from engine.documents import Area, Authority, Entry, Vehicle

_SHARED_VALUES: Final = 1 << 13

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

T = TypeVar("T", bound=Hashable)


class _Shared(Generic[T]):
    """Values by number. A value that found the table full stands for itself."""

    __slots__ = ("_numbers", "_values")

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}
        self._values: list[T] = []

    def pack(self, value: T) -> int | T:
        number = self._numbers.get(value)
        if number is not None:
            return number
        if len(self._values) >= _SHARED_VALUES:
            return self._alone(value)
        self._numbers[value] = len(self._values)
        self._values.append(value)
        return len(self._values) - 1

    def unpack(self, packed: Any) -> Any:
        return self._values[packed] if isinstance(packed, int) else packed

    def _alone(self, value: T) -> int | T:
        return value


class _SharedTimes(_Shared[str]):
    """Times by number; one that found the table full is a number too: its milliseconds.

    Entries that came in one import share their times; those made one by one do not.
    """

    __slots__ = ()

    def unpack(self, packed: Any) -> Any:
        if isinstance(packed, int) and packed >= _SHARED_VALUES:
            return format_time(packed)
        return super().unpack(packed)

    def _alone(self, value: str) -> int | str:
        ms = parse_time(value)
        # Only where that gives back the text as it was written.
        return ms if ms >= _SHARED_VALUES and format_time(ms) == value else value


class EntryStore:
    """Entries by slot. Slots are small numbers that the owner gives out."""

    def __init__(self) -> None:
        self._packed: list[bytes | None] = []
        self._times = _SharedTimes()
        self._requesters: _Shared[str] = _Shared()
        self._names: _Shared[str] = _Shared()
        self._vehicles: _Shared[Vehicle] = _Shared()
        self._instructions: _Shared[str] = _Shared()

    def __len__(self) -> int:
        """Slots given out so far, those in use and those free again."""
        return len(self._packed)

    def add_slot(self) -> int:
        """A new slot, which is not in use yet."""
        self._packed.append(None)
        return len(self._packed) - 1

    def in_use(self, slot: int) -> bool:
        """Whether a slot holds an entry."""
        return self._packed[slot] is not None

    def clear(self, slot: int) -> None:
        """Forget a slot's entry."""
        self._packed[slot] = None

    def put(self, slot: int, entry: Entry) -> None:
        """Keep an entry in a slot."""
        name, time = self._names.pack, self._times.pack
        authority = entry.authority
        common = (
            entry.entry_id,
            entry.plate,
            authority.reference,
            name(entry.list_id),
            name(entry.agency),
            name(entry.purpose),
            name(authority.kind),
            self._requesters.pack(entry.requested_by),
            time(entry.created_at),
            time(entry.expires_at),
            None if entry.vehicle is None else self._vehicles.pack(entry.vehicle),
        )
        if not _has_rare_fields(entry):
            self._packed[slot] = _encode(common)
            return
        rare = (
            None if entry.starts_at is None else time(entry.starts_at),
            None if entry.region is None else name(entry.region),
            entry.confusables,
            entry.priority,
            None if entry.instructions is None else self._instructions.pack(entry.instructions),
            entry.area,
            entry.suppress_s,
        )
        self._packed[slot] = _encode(common + rare)

    def get(self, slot: int) -> Entry:
        """The entry in a slot that is in use."""
        packed = self._packed[slot]
        assert packed is not None, "only slots in use are asked for"
        (entry_id, plate, reference, list_id, agency, purpose, kind, requester, created, expires,
         vehicle, *rare) = _decode(packed)  # fmt: skip
        name, time = self._names.unpack, self._times.unpack
        starts, region, confusables, priority, instructions, area, suppress_s = (
            rare or _COMMON_VALUES
        )
        return Entry(
            entry_id=entry_id,
            list_id=name(list_id),
            plate=plate,
            agency=name(agency),
            purpose=name(purpose),
            authority=Authority(kind=name(kind), reference=reference),
            requested_by=self._requesters.unpack(requester),
            created_at=time(created),
            expires_at=time(expires),
            starts_at=None if starts is None else time(starts),
            region=name(region),
            confusables=confusables,
            vehicle=self._vehicle(vehicle),
            priority=priority,
            instructions=self._instructions.unpack(instructions),
            area=None if area is None else msgspec.convert(area, tuple[Area, ...]),
            suppress_s=suppress_s,
        )

    def _vehicle(self, packed: Any) -> Vehicle | None:
        if isinstance(packed, dict):
            return msgspec.convert(packed, Vehicle)
        vehicle: Vehicle | None = self._vehicles.unpack(packed)
        return vehicle


#: What most entries leave as it is: starts_at, region, confusables, priority, instructions,
#: area, suppress_s.
_COMMON_VALUES: Final = (None, None, None, None, None, None, None)


def _has_rare_fields(entry: Entry) -> bool:
    return (
        entry.starts_at is not None
        or entry.region is not None
        or entry.confusables is not None
        or entry.priority is not None
        or entry.instructions is not None
        or entry.area is not None
        or entry.suppress_s is not None
    )
