"""Entries kept small: what many of them share is kept once.

An entry's JSON takes several hundred bytes, most of which it shares with its neighbours: list,
agency, purpose, requester, makes and colours. Here an entry becomes a MessagePack array in
which such values are numbers into tables of shared values, and its own values (id, plate,
reference) stand as they are: some fifty bytes. `get` gives back an equal
Entry, which a test holds for all entries that can be generated.

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
    """Entries by slot. Slots are small numbers that the owner gives out."""

    def __init__(self) -> None:
        self._packed: list[bytes | None] = []
        self._times = SharedTimes()
        self._requesters: SharedValues[str] = SharedValues()
        self._names: SharedValues[str] = SharedValues()
        self._vehicles: SharedValues[Vehicle] = SharedValues()
        self._instructions: SharedValues[str] = SharedValues()

    def copy(self) -> EntryStore:
        """A store of its own with the same entries."""
        copied = EntryStore()
        copied._packed = self._packed.copy()
        copied._times, copied._requesters = self._times.copy(), self._requesters.copy()
        copied._names, copied._vehicles = self._names.copy(), self._vehicles.copy()
        copied._instructions = self._instructions.copy()
        return copied

    @property
    def packed(self) -> Sequence[bytes | None]:
        """By slot, entries as they are kept, None for a slot that is not in use; not to be
        changed."""
        return self._packed

    @property
    def shared(self) -> dict[str, list[Any]]:
        """By name, the tables of shared values; not to be changed. None is a free number."""
        return {name: table.values for name, table in self._tables.items()}

    def restore(
        self,
        packed: list[bytes | None],
        shared: dict[str, list[Any]],
        uses: dict[str, Counter[Any]],
    ) -> str | None:
        """Make an empty store into the one that had this `packed` and `shared`; `uses` says, by
        table, what stands in the packed entries and how often. None, or the first table that
        does not go with them: then the store is of no use."""
        self._packed = packed
        for name, table in self._tables.items():
            if not table.restore(shared[name], uses[name]):
                return name
        return None

    def time_ms(self, packed: int | str) -> int:
        """A time as it stands in a packed entry, in milliseconds since 1970."""
        return self._times.time_ms(packed)

    @property
    def least_time_ms(self) -> int:
        """From here on a number that stands for a time is its milliseconds since 1970, and not
        that of a shared value."""
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
            starts, region, _, _, instructions, *_ = rare
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
            entry.distance,
            entry.hours,
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
        assert packed is not None, "only slots in use are asked for"
        return _decode(packed)

    def _vehicle(self, packed: Any) -> Vehicle | None:
        if isinstance(packed, dict):
            return msgspec.convert(packed, Vehicle)
        vehicle: Vehicle | None = self._vehicles.unpack(packed)
        return vehicle


#: What most entries leave as it is: starts_at, region, confusables, priority, instructions,
#: area, suppress_s, distance, hours.
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
