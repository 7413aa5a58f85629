"""Entries in compact form: values that many of them share are stored once.

An entry's JSON takes several hundred bytes. It shares most of them with other entries: list,
agency, purpose, requester, makes and colours. Here an entry becomes a MessagePack array of about
fifty bytes. Shared values are numbers into tables; the entry's own values (id, plate, reference)
are stored directly. `get` returns an equal Entry, which a test checks for generated entries.

Nothing of an entry outlives it: see `intern_table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from engine.documents.model import Area, Authority, Entry, Hours, Vehicle
from engine.index import intern_table
from engine.index.intern_table import SharedTimes, SharedValues

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class EntryStore:
    """Entries by slot. Slots are small numbers that the owner assigns."""

    def __init__(self) -> None:
        self._packed: list[bytes | None] = []
        self._times = SharedTimes()
        self._requesters: SharedValues[str] = SharedValues()
        self._names: SharedValues[str] = SharedValues()
        self._vehicles: SharedValues[Vehicle] = SharedValues()
        self._instructions: SharedValues[str] = SharedValues()

    def copy(self) -> EntryStore:
        """Return an independent copy."""
        copied = EntryStore()
        copied._packed = self._packed.copy()
        copied._times, copied._requesters = self._times.copy(), self._requesters.copy()
        copied._names, copied._vehicles = self._names.copy(), self._vehicles.copy()
        copied._instructions = self._instructions.copy()
        return copied

    @property
    def packed(self) -> Sequence[bytes | None]:
        """The packed entries by slot, None for a free slot. Callers must not change it."""
        return self._packed

    @property
    def shared(self) -> dict[str, list[Any]]:
        """The tables of shared values by name, None for a free number. Not to be changed."""
        return {name: table.values for name, table in self._tables.items()}

    def restore(
        self,
        packed: list[bytes | None],
        shared: dict[str, list[Any]],
        uses: dict[str, Counter[Any]],
    ) -> str | None:
        """Fill an empty store with these packed entries and shared values.

        `uses` counts, by table, the numbers in the packed entries. Returns None, or the name of
        the first table that contradicts them; the store is then unusable.
        """
        self._packed = packed
        for name, table in self._tables.items():
            if not table.restore(shared[name], uses[name]):
                return name
        return None

    def time_ms(self, packed: int | str) -> int:
        """Return a time in a packed entry in milliseconds since 1970."""
        return self._times.time_ms(packed)

    @property
    def least_time_ms(self) -> int:
        """The smallest number that is a time in ms since 1970, and not that of a shared value."""
        return intern_table.SHARED_VALUES

    @property
    def _tables(self) -> dict[str, SharedValues[Any]]:
        return {
            "times": self._times,
            "requesters": self._requesters,
            "names": self._names,
            "vehicles": self._vehicles,
            "instructions": self._instructions,
        }

    def __len__(self) -> int:
        """Return the number of slots, those in use and those that are free again."""
        return len(self._packed)

    def add_slot(self) -> int:
        """Add a slot, which is not in use yet, and return it."""
        self._packed.append(None)
        return len(self._packed) - 1

    def in_use(self, slot: int) -> bool:
        """Return whether a slot holds an entry."""
        return self._packed[slot] is not None

    def take(self, slot: int) -> tuple[str, str, str, str]:
        """Remove the entry in a slot; return its id, plate, agency and purpose.

        The slot must be in use. The entry was filed by these four values.
        """
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
            starts, region, _, _, instructions, *_ = rare
            self._times.release(starts)
            self._names.release(region)
            self._instructions.release(instructions)
        return filed_by

    def put(self, slot: int, entry: Entry) -> None:
        """Store an entry in a slot that is not in use."""
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
            entry.distance,
            entry.hours,
        )
        self._packed[slot] = _encode(common + rare)

    def entry_id(self, slot: int) -> str:
        """Return the id of the entry in a slot that is in use."""
        entry_id: str = self._unpacked(slot)[0]
        return entry_id

    def get(self, slot: int) -> Entry:
        """Return the entry in a slot that is in use."""
        (entry_id, plate, reference, list_id, agency, purpose, kind, requester, created, expires,
         vehicle, *rare) = self._unpacked(slot)  # fmt: skip
        name, time = self._names.unpack, self._times.unpack
        starts, region, confusables, priority, instructions, area, suppress_s, distance, hours = (
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
            distance=distance,
            vehicle=self._vehicle(vehicle),
            priority=priority,
            instructions=self._instructions.unpack(instructions),
            area=None if area is None else msgspec.convert(area, tuple[Area, ...]),
            hours=None if hours is None else msgspec.convert(hours, Hours),
            suppress_s=suppress_s,
        )

    def _unpacked(self, slot: int) -> Any:
        packed = self._packed[slot]
        assert packed is not None, "callers ask only for slots in use"
        return _decode(packed)

    def _vehicle(self, packed: Any) -> Vehicle | None:
        if isinstance(packed, dict):
            return msgspec.convert(packed, Vehicle)
        vehicle: Vehicle | None = self._vehicles.unpack(packed)
        return vehicle


#: The rare fields, which most entries leave out: starts_at, region, confusables, priority,
#: instructions, area, suppress_s, distance, hours.
_COMMON_VALUES: Final = (None,) * 9


def _has_rare_fields(entry: Entry) -> bool:
    return (
        entry.starts_at is not None
        or entry.region is not None
        or entry.confusables is not None
        or entry.priority is not None
        or entry.instructions is not None
        or entry.area is not None
        or entry.suppress_s is not None
        or entry.distance is not None
        or entry.hours is not None
    )
