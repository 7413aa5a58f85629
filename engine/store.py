"""Entries kept small: what many of them share is kept once.

An entry's JSON takes several hundred bytes, most of which it shares with its neighbours: list,
agency, purpose, requester, makes and colours. Here an entry becomes a MessagePack array in
which such values are numbers into tables of shared values, and its own values (id, plate,
reference) stand as they are: some fifty bytes. `get` gives back an equal
Entry, which a test holds for all entries that can be generated.

A table takes a bounded number of values; what finds it full is kept in the entry itself. What
no entry shares any more is forgotten with the last of them: nothing of an entry outlives it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, Generic, TypeVar

import msgspec

from engine.clock import CANONICAL_TIME_CHARACTERS, format_time
from engine.documents import Area, Authority, Entry, Vehicle, entry_time_ms

_SHARED_VALUES: Final = 1 << 13

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

T = TypeVar("T", bound=Hashable)


class _Shared(Generic[T]):
    """Values by number. A value that found the table full stands for itself."""

    __slots__ = ("_counts", "_free", "_numbers", "_values")

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}
        self._values: list[T | None] = []
        self._counts: list[int] = []
        self._free: list[int] = []

    def pack(self, value: T) -> int | T:
        number = self._numbers.get(value)
        if number is None:
            number = self._new_number(value)
            if number is None:
                return self._alone(value)
        self._counts[number] += 1
        return number

    def unpack(self, packed: Any) -> Any:
        return self._values[packed] if isinstance(packed, int) else packed

    def release(self, packed: Any) -> None:
        """One entry less has what `pack` gave."""
        if not isinstance(packed, int) or packed >= _SHARED_VALUES:
            return
        self._counts[packed] -= 1
        if not self._counts[packed]:
            value = self._values[packed]
            assert value is not None, "what is counted is there"
            del self._numbers[value]
            self._values[packed] = None
            self._free.append(packed)

    def _new_number(self, value: T) -> int | None:
        if self._free:
            number = self._free.pop()
            self._values[number] = value
        elif len(self._values) < _SHARED_VALUES:
            number = len(self._values)
            self._values.append(value)
            self._counts.append(0)
        else:
            return None
        self._numbers[value] = number
        return number

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
        # Only where that gives back the text as it was written.
        if len(value) != CANONICAL_TIME_CHARACTERS:
            return value
        ms = entry_time_ms(value)
        return value if ms < _SHARED_VALUES else ms


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

    def take(self, slot: int) -> tuple[str, str, str, str]:
        """Forget the entry in a slot that is in use; by what it was filed: entry id, plate,
        agency and purpose."""
        (entry_id, plate, _, list_id, agency, purpose, kind, requester, created, expires,
         vehicle, *rare) = self._unpacked(slot)  # fmt: skip
        self._packed[slot] = None
        name = self._names.unpack
        filed_by = entry_id, plate, name(agency), name(purpose)
        for packed in (list_id, agency, purpose, kind):
            self._names.release(packed)
        self._requesters.release(requester)
        self._times.release(created)
        self._times.release(expires)
        self._vehicles.release(vehicle)
        if rare:
            starts, region, _, _, instructions, _, _ = rare
            self._times.release(starts)
            self._names.release(region)
            self._instructions.release(instructions)
        return filed_by

    def put(self, slot: int, entry: Entry) -> None:
        """Keep an entry in a slot that is not in use."""
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

    def entry_id(self, slot: int) -> str:
        """The id of the entry in a slot that is in use."""
        entry_id: str = self._unpacked(slot)[0]
        return entry_id

    def get(self, slot: int) -> Entry:
        """The entry in a slot that is in use."""
        (entry_id, plate, reference, list_id, agency, purpose, kind, requester, created, expires,
         vehicle, *rare) = self._unpacked(slot)  # fmt: skip
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

    def _unpacked(self, slot: int) -> Any:
        packed = self._packed[slot]
        assert packed is not None, "only slots in use are asked for"
        return _decode(packed)

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
