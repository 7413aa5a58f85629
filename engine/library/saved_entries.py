"""The entries of a saved index, packed as the store keeps them.

    entries/lengths.npy  int32 by slot: bytes of the packed entry, 0 if the slot is not in use
    entries/packed.bin   the packed entries by slot, one after the other
    entries/shared.json  the values that entries share, by table and number

Each entry is unpacked once when the file is loaded, and the index files it by what it holds. So the
file holds nothing that could contradict the entries. An entry that `EntryStore` could not have
packed is refused with an IndexFileError, which shows no part of it. Whether entries are admissible
was checked before the file was saved, and is not checked again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise
from types import GenericAlias
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from engine.documents.fields import PRINTABLE_PATTERN, Name
from engine.documents.hours import zone_names
from engine.index.eligibility import Pair
from engine.index.entry_rows import Asking
from engine.index.entry_store import EntryStore
from engine.index.hash_table import Hashes, Slots, hashes_of
from engine.index.packed_entry import AT, COMMON, RARE, TABLES, PackedField
from engine.index.timer_wheel import NEVER_MS, Times
from engine.library.archive import PartsReader, PartsWriter
from engine.plates.normal_form import WILDCARD, is_normal_pattern, updated

_LENGTHS: Final = "entries/lengths.npy"
_PACKED: Final = "entries/packed.bin"
_SHARED: Final = "entries/shared.json"
#: The number of entries that are unpacked before they are collected in columns.
_AT_A_TIME: Final = 4096
#: More than an entry takes if each of its texts has the greatest length.
_PACKED_BYTES: Final = 1 << 20

#: To the end of the year 2999.
_TimeMs = Annotated[int, Meta(ge=0, lt=32_503_680_000_000)]
_Number = Annotated[int, Meta(ge=0)]


def _packed_kind(place: PackedField) -> Any:
    """What may stand at a place of a packed entry."""
    if place.name == "entry_id":
        return Name  # ids are checked many at a time for what else they may not hold
    kind = place.kind | None if place.is_optional else place.kind
    if place.table is None:
        return kind
    return kind | (_TimeMs if place.table == "times" else _Number)


def _decoder(places: Iterable[PackedField]) -> Callable[[bytes], tuple[Any, ...]]:
    return msgspec.msgpack.Decoder(GenericAlias(tuple, tuple(map(_packed_kind, places)))).decode


_TIMES: Final = [at for at, place in enumerate(COMMON + RARE) if place.table == "times"]
_AGENCY, _PURPOSE, _EXPIRES = AT["agency"], AT["purpose"], AT["expires_at"]
_STARTS, _REGION, _CONFUSABLES, _DISTANCE, _HOURS = map(
    AT.__getitem__, ("starts_at", "region", "confusables", "distance", "hours")
)
#: By place, the table that a number stands for a value of, and what that value must be.
_SHARING: Final = {
    at: (place.table, place.kind) for at, place in enumerate(COMMON + RARE) if place.table
}
_decode_common, _decode_rare = _decoder(COMMON), _decoder(COMMON + RARE)
#: How the packed form of an entry without rare fields begins: an array of so many.
_COMMON_BEGINS: Final = 0x90 | len(COMMON)
_PLAIN: Final = re.compile(r"[A-Z0-9?]*")
_PRINTABLE: Final = re.compile(PRINTABLE_PATTERN)


#: The tables of shared values; None is a number that is free.
_Shared = msgspec.defstruct(
    "_Shared",
    [(name, GenericAlias(list, (kind | None,))) for name, kind in TABLES.items()],
    forbid_unknown_fields=True,
)


class Filing(NamedTuple):
    """The keys by which entries are filed: each entry has one position in all arrays.

    The positions are in ascending order of slots. `pair_numbers` are positions in `pairs`.
    `starts_ms` is NEVER_MS if an entry has no start. `asking` has only the slots whose entries
    match more than their exact plate.
    """

    slots: Slots
    ids: Hashes
    plates: Hashes
    pairs: list[Pair]
    pair_numbers: npt.NDArray[np.int32]
    starts_ms: Times
    expires_ms: Times
    asking: list[tuple[int, Asking]]


def save_entries(store: EntryStore, parts: PartsWriter) -> None:
    """Write the parts that the module lists."""
    packed = store.packed
    parts.array(_LENGTHS, np.array([len(one or b"") for one in packed], dtype=np.int32))
    parts.blob(_PACKED, b"".join([one for one in packed if one is not None]))
    parts.value(_SHARED, store.shared)


def load_entries(parts: PartsReader, slots: int) -> tuple[EntryStore, Filing]:
    """Load the entries of so many slots, and the keys by which they are filed."""
    lengths = parts.array(_LENGTHS, np.int32, slots, below=_PACKED_BYTES)
    packed = _split(parts, lengths)
    shared = parts.value(_SHARED, _Shared)
    store = EntryStore()
    columns = _Columns(parts, store)
    in_use = np.flatnonzero(lengths).astype(np.int32)
    for begin in range(0, len(in_use), _AT_A_TIME):
        some = in_use[begin : begin + _AT_A_TIME].tolist()
        columns.add(some, [packed[slot] or b"" for slot in some])
    tables = msgspec.structs.asdict(shared)
    if store.restore(packed, tables, columns.uses()) is not None:
        raise parts.refuse(_SHARED, "does not go with the entries")
    columns.check_values(tables)
    return store, columns.filing(in_use)


def _split(parts: PartsReader, lengths: Slots) -> list[bytes | None]:
    data = parts.blob(_PACKED)
    if int(lengths.sum(dtype=np.int64)) != len(data):
        raise parts.refuse(_PACKED, f"has not the length that {_LENGTHS} says")
    ends = pairwise(accumulate(lengths.tolist(), initial=0))
    return [data[begin:end] or None for begin, end in ends]


class _Columns:
    """Unpacked entries, collected by position."""

    def __init__(self, parts: PartsReader, store: EntryStore) -> None:
        self._parts = parts
        self._store = store
        self._uses: dict[int, Counter[Any]] = {place: Counter() for place in _SHARING}
        self._ids: list[Hashes] = []
        self._plates: list[Hashes] = []
        self._pairs: dict[tuple[Any, Any], int] = {}
        self._pair_numbers: list[npt.NDArray[np.int32]] = []
        self._expires: list[Any] = []
        self._starts: dict[int, Any] = {}
        self._asking: list[tuple[int, tuple[Any, ...]]] = []

    def add(self, slots: list[int], packed: list[bytes]) -> None:
        """Unpack and check the entries of these slots."""
        try:
            rows: list[tuple[Any, ...]] = [
                _decode_common(one) if one[0] == _COMMON_BEGINS else _decode_rare(one)
                for one in packed
            ]
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise self._parts.refuse(_PACKED, "holds an entry that is none") from None
        by_place = list(zip(*[row[: len(COMMON)] for row in rows], strict=True))
        ids, plates, agencies, purposes = (by_place[place] for place in (0, 1, _AGENCY, _PURPOSE))
        if not _PRINTABLE.fullmatch("".join(ids)):
            raise self._parts.refuse(_PACKED, "holds an id that is none")
        joined = "".join(plates)
        if not _PLAIN.fullmatch(joined) and not all(map(is_normal_pattern, plates)):
            if None not in map(updated, plates):
                what = (
                    "has plates in the normal form of version 0.1; add its entries to a new index"
                )
                raise self._parts.refuse(_PACKED, what)
            raise self._parts.refuse(_PACKED, "holds a plate that is not in normal form")
        self._ids.append(hashes_of(ids))
        self._plates.append(hashes_of(plates))
        for place in range(3, len(COMMON)):
            self._uses[place].update(self._shared(place, by_place[place]))
        self._expires += by_place[_EXPIRES]
        pairs = list(zip(agencies, purposes, strict=True))
        for pair in dict.fromkeys(pairs):
            self._pairs.setdefault(pair, len(self._pairs))
        self._pair_numbers.append(np.array([*map(self._pairs.__getitem__, pairs)], dtype=np.int32))
        if WILDCARD not in joined and all(one[0] == _COMMON_BEGINS for one in packed):
            return
        for slot, row in zip(slots, rows, strict=True):
            if len(row) > len(COMMON):
                self._add_rare(slot, row)
            elif WILDCARD in row[1]:
                self._asking.append((slot, row))

    def uses(self) -> dict[str, Counter[Any]]:
        """Count, by table, what the packed entries hold for its values."""
        uses: dict[str, Counter[Any]] = {table: Counter() for table, _ in _SHARING.values()}
        for place, (table, _) in _SHARING.items():
            uses[table].update(self._uses[place])
        return uses

    def check_values(self, tables: dict[str, list[Any]]) -> None:
        """Raise IndexFileError if a shared value is not valid for its field."""
        for place, (table, kind) in _SHARING.items():
            values = tables[table]
            used = [
                values[number]
                for number in self._uses[place]
                if isinstance(number, int) and number < len(values)
            ]
            try:
                msgspec.convert(used, list[kind])  # type: ignore[valid-type]
            except msgspec.ValidationError:
                raise self._parts.refuse(_SHARED, "holds a value that is none") from None

    def filing(self, in_use: Slots) -> Filing:
        """Return the keys by which entries are filed; the store must have its shared values."""
        store = self._store
        names = store.shared["names"]
        starts_ms: Times = np.full(len(in_use), NEVER_MS, dtype=np.int64)
        for slot, packed in self._starts.items():
            starts_ms[np.searchsorted(in_use, slot)] = store.time_ms(packed)
        filing = Filing(
            slots=in_use,
            ids=_joined(self._ids, np.uint64),
            plates=_joined(self._plates, np.uint64),
            pairs=[(_name(names, one), _name(names, other)) for one, other in self._pairs],
            pair_numbers=_joined(self._pair_numbers, np.int32),
            starts_ms=starts_ms,
            expires_ms=np.array(self._times_ms(self._expires), dtype=np.int64),
            asking=[(slot, _asking(names, row)) for slot, row in self._asking],
        )
        self._check_ids(filing)
        return filing

    def _add_rare(self, slot: int, row: tuple[Any, ...]) -> None:
        for place in range(len(COMMON), len(COMMON + RARE)):
            if place in _SHARING:
                self._uses[place][row[place]] += 1
        if row[_STARTS] is not None:
            self._starts[slot] = row[_STARTS]
        if WILDCARD in row[1] or row[_CONFUSABLES] or row[_DISTANCE]:
            self._asking.append((slot, row))
        hours = row[_HOURS]
        if hours is not None and hours.time_zone not in zone_names():
            raise self._parts.refuse(_PACKED, "holds an entry with an unknown time zone")

    def _shared(self, place: int, packed: tuple[Any, ...]) -> Iterable[Any]:
        """Return what may refer to shared values; most times do not."""
        if place not in _TIMES:
            return packed
        least_ms = self._store.least_time_ms
        return [one for one in packed if type(one) is not int or one < least_ms]

    def _times_ms(self, packed: list[Any]) -> list[int]:
        known: dict[Any, int] = {
            one: self._store.time_ms(one)
            for one in dict.fromkeys(self._shared(_EXPIRES, tuple(packed)))
        }
        return [known.get(one, one) for one in packed]

    def _check_ids(self, filing: Filing) -> None:
        """Raise IndexFileError if two entries have the same id."""
        order = np.argsort(filing.ids, kind="stable")
        hashes = filing.ids[order]
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        slots = filing.slots[order[np.union1d(same, same + 1)]].tolist()
        if len({self._store.entry_id(slot) for slot in slots}) != len(slots):
            raise self._parts.refuse(_PACKED, "holds two entries with one id")


def _joined(arrays: list[npt.NDArray[Any]], dtype: type[Any]) -> npt.NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)


def _asking(names: list[Any], row: tuple[Any, ...]) -> Asking:
    if len(row) == len(COMMON):
        return Asking(row[1], None, None)
    region = row[_REGION]
    named = None if region is None else _name(names, region)
    return Asking(row[1], row[_CONFUSABLES], row[_DISTANCE], named)


def _name(names: list[Any], packed: int | str) -> str:
    name: str = names[packed] if isinstance(packed, int) else packed
    return name
