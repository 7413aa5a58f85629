"""Entries in compact form: values that many of them share are stored once.

An entry's JSON takes several hundred bytes, and many entries share most of it: list, agency,
purpose, requester, makes and colours. Here an entry becomes a MessagePack array. Shared values are
numbers of a table's rows, and its own values (id, plate, reference) are stored as they are: some
fifty bytes. `packed_entry` has the layout. `get` returns an equal Entry; a test checks that for all
entries that can be generated.

Nothing of an entry outlives it: see `intern_table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

from engine import limits
from engine.documents.model import Authority, Entry, Vehicle
from engine.index import intern_table
from engine.index.intern_table import SharedTimes, SharedValues
from engine.index.open_entry import OpenEntry
from engine.index.packed_entry import AT, COMMON, RARE, TABLES, PackedField

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

#: Where the plate is in what is packed.
PLATE: Final = AT["plate"]
_AGENCY, _PURPOSE = AT["agency"], AT["purpose"]
_rare_values = attrgetter(*(place.name for place in RARE))
_NO_RARE_VALUES: Final = (None,) * len(RARE)


class EntryStore:
    """Entries by slot. Slots are small numbers that the owner assigns."""

    def __init__(self) -> None:
        self._packed: list[bytes | None] = []
        #: Entries that were matched lately, by slot, the oldest first.
        self._opened: dict[int, OpenEntry] = {}
        self._set_tables(
            {name: SharedTimes() if name == "times" else SharedValues() for name in TABLES}
        )

    def _set_tables(self, tables: dict[str, SharedValues[Any]]) -> None:
        self._tables = tables
        times = tables["times"]
        assert isinstance(times, SharedTimes)
        self._times = times
        # Looked up once, because each entry needs them.
        often = [tables[name] for name in ("names", "times", "requesters", "vehicles")]
        self._pack = tuple(table.pack for table in often)
        self._unpack = tuple(table.unpack for table in often)
        self._names: SharedValues[Any] = tables["names"]
        of_places = [(at, tables[p.table]) for at, p in enumerate(COMMON + RARE) if p.table]
        self._rare_packs = [(at, table.pack) for at, table in of_places if at >= len(COMMON)]
        self._releases = [(at, table.release) for at, table in of_places if at < len(COMMON)]
        self._rare_releases = [(at, table.release) for at, table in of_places if at >= len(COMMON)]
        self._rare_fields = [(place.name, self._unpack_of(place)) for place in RARE]

    def _unpack_of(self, place: PackedField) -> Callable[[Any], Any] | None:
        """What makes a field's value of what is packed; None if it is the value itself."""
        if place.table is not None:
            return self._tables[place.table].unpack
        return None if place.is_plain else partial(msgspec.convert, type=place.kind)

    def copy(self) -> EntryStore:
        """Return an independent copy."""
        copied = EntryStore()
        copied._packed = self._packed.copy()
        copied._set_tables({name: table.copy() for name, table in self._tables.items()})
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

    def __len__(self) -> int:
        """Return the number of slots, those in use and those that are free again."""
        return len(self._packed)

    def add_slots(self, count: int) -> range:
        """Add so many slots, which are not in use yet, and return them."""
        first = len(self._packed)
        self._packed.extend([None] * count)
        return range(first, first + count)

    def in_use(self, slot: int) -> bool:
        """Return whether a slot holds an entry."""
        return self._packed[slot] is not None

    def take(self, slot: int) -> tuple[str, str, str, str]:
        """Remove the entry in a slot that is in use; return by what it was filed: entry id,
        plate, agency and purpose."""
        unpacked = self.values(slot)
        self._packed[slot] = None
        self._opened.pop(slot, None)
        name = self._unpack[0]
        filed_by = unpacked[0], unpacked[1], name(unpacked[_AGENCY]), name(unpacked[_PURPOSE])
        for at, release in self._releases:
            release(unpacked[at])
        if len(unpacked) > len(COMMON):
            for at, release in self._rare_releases:
                release(unpacked[at])
        return filed_by

    def put(self, slot: int, entry: Entry) -> None:
        """Keep an entry in a slot that is not in use."""
        name, time, requester, vehicle = self._pack
        authority = entry.authority
        common = (
            entry.entry_id,
            entry.plate,
            authority.reference,
            name(entry.list_id),
            name(entry.agency),
            name(entry.purpose),
            name(authority.kind),
            requester(entry.requested_by),
            time(entry.created_at),
            time(entry.expires_at),
            None if entry.vehicle is None else vehicle(entry.vehicle),
        )
        values = _rare_values(entry)
        if values == _NO_RARE_VALUES:
            self._packed[slot] = _encode(common)
            return
        packed = [*common, *values]
        for at, pack in self._rare_packs:
            if packed[at] is not None:
                packed[at] = pack(packed[at])
        self._packed[slot] = _encode(packed)

    def share(self, table: str, value: Any, count: int) -> Any:
        """Count so many entries more with a shared value; return what stands for it in them."""
        return self._tables[table].pack_many(value, count)

    def put_packed(self, slots: Sequence[int], packed: list[bytes]) -> None:
        """Keep packed entries in slots that are not in use; `share` has counted their values."""
        in_slots = self._packed
        for slot, one in zip(slots, packed, strict=True):
            in_slots[slot] = one

    def entry_id(self, slot: int) -> str:
        """Return the id of the entry in a slot that is in use."""
        entry_id: str = self.values(slot)[0]
        return entry_id

    def get(self, slot: int) -> Entry:
        """The entry in a slot that is in use."""
        return self.entry_of(self.values(slot))

    def values(self, slot: int) -> Any:
        """Return the values packed in a slot that is in use; the one at `PLATE` is the plate."""
        packed = self._packed[slot]
        assert packed is not None, "callers ask only for slots in use"
        return _decode(packed)

    def opened(self, slot: int) -> OpenEntry | None:
        """Return the entry in a slot if it is kept open."""
        return self._opened.get(slot)

    def keep_open(self, slot: int, entry: OpenEntry) -> None:
        """Keep the entry of a slot, so that the next match need not unpack it.

        It is kept until it is taken, or until `limits.ENTRIES_KEPT_OPEN` others have come.
        """
        if len(self._opened) >= limits.ENTRIES_KEPT_OPEN:
            del self._opened[next(iter(self._opened))]
        self._opened[slot] = entry

    def entry_of(self, unpacked: Any) -> Entry:
        """Return the entry of what `values` returned. Nothing may have been taken or put since."""
        (entry_id, plate, reference, list_id, agency, purpose, kind, requested_by, created, expires,
         listed) = unpacked[: len(COMMON)]  # fmt: skip
        _, time, requester, vehicle = self._unpack
        # What unpacking a name does, without four calls: each match comes here.
        names: list[Any] = self._names.values
        try:
            list_id, agency, purpose, kind = (
                names[list_id],
                names[agency],
                names[purpose],
                names[kind],
            )
        except TypeError:  # the table is full, so some of them are not shared
            name = self._names.unpack
            list_id, agency, purpose, kind = map(name, (list_id, agency, purpose, kind))
        entry = Entry(
            entry_id=entry_id,
            list_id=list_id,
            plate=plate,
            agency=agency,
            purpose=purpose,
            authority=Authority(kind=kind, reference=reference),
            requested_by=requester(requested_by),
            created_at=time(created),
            expires_at=time(expires),
            vehicle=msgspec.convert(listed, Vehicle) if type(listed) is dict else vehicle(listed),
        )
        if len(unpacked) > len(COMMON):
            rare = unpacked[len(COMMON) :]
            for (field, unpack), packed in zip(self._rare_fields, rare, strict=True):
                if packed is not None:  # set here, because the entry is not yet anyone else's
                    force_setattr(entry, field, packed if unpack is None else unpack(packed))
        return entry
