"""The rows of one step of a load, and the different values of their shared fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from engine import limits
from engine.arrays import Bytes
from engine.audit.added_entries import Shared
from engine.clock import CANONICAL_TIME_CHARACTERS
from engine.documents import entry_scan as scan
from engine.documents.admission import Purposes
from engine.documents.entry_scan import Rows
from engine.documents.fields import AuthorityKind, Name, Region
from engine.documents.json_tokens import NO_TIME
from engine.documents.model import Vehicle
from engine.documents.text_numbers import number_texts
from engine.index.eligibility import Pair
from engine.index.entry_rows import (
    LEAST_TIME,
    SHARED,
    Asking,
    PackedRows,
    SharedColumns,
    pack_rows,
)
from engine.index.plate_index import Index
from engine.index.timer_wheel import NEVER_MS

#: A time that fewer entries of a step share is packed in milliseconds.
_FEW: Final = 8
#: What the schema allows.
_INSTRUCTIONS_CHARACTERS: Final = 2000
_DAY_MS: Final = 86_400_000
_SUPPRESS_MOST: Final = 86_400
_PRIORITY: Final = 5

Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_AGENCY, _PURPOSE, _REGION = map(list(SHARED).index, ("agency", "purpose", "region"))
_TIMES: Final = {
    list(SHARED).index(name): column
    for name, column in (
        ("created_at", scan.CREATED_MS),
        ("expires_at", scan.EXPIRES_MS),
        ("starts_at", scan.STARTS_MS),
    )
}


def _name(text: str) -> str:
    return msgspec.convert(text, Name)


def _instructions(text: str) -> str:
    if len(text) > _INSTRUCTIONS_CHARACTERS:
        raise msgspec.ValidationError
    return text


def _kind(text: str) -> str:
    if text not in get_args(AuthorityKind):
        raise msgspec.ValidationError
    return text


#: What makes a value of the text of a shared field. Raises what msgspec raises.
_VALUE: Final[dict[str, Callable[[str], Any]]] = dict.fromkeys(SHARED, _name) | {
    "kind": _kind,
    "vehicle": lambda text: msgspec.json.decode(text, type=Vehicle),
    "region": lambda text: msgspec.convert(text, Region),
    "instructions": _instructions,
}


class ValueCache:
    """The values of shared fields by their text, a bounded number of each field."""

    def __init__(self) -> None:
        self._by_text: list[dict[bytes, Any]] = [{} for _ in SHARED]

    def clear(self) -> None:
        """Drop all values."""
        for values in self._by_text:
            values.clear()

    def of(self, field: int, name: str, text: bytes) -> Any:
        """Return the value of a shared field's text, or None if it is not valid."""
        values = self._by_text[field]
        if text in values:
            return values[text]
        try:
            value = _VALUE[name](text.decode())
        except (msgspec.DecodeError, UnicodeError):
            value = None
        if len(values) >= limits.LOAD_RECORDS_A_STEP:
            values.clear()
        values[text] = value
        return value


class LoadStep:
    """The rows of one step, and the different values of their shared fields."""

    def __init__(self, values: ValueCache, data: Bytes, rows: Rows) -> None:
        self._data = data
        self._rows = rows
        size = len(rows)
        heads = np.empty(1 << (2 * size).bit_length(), dtype=np.int32)
        firsts = np.empty(size, dtype=np.int32)
        self._numbers = np.empty((len(SHARED), size), dtype=np.int32)
        self._firsts: list[npt.NDArray[np.int32]] = []
        for field, name in enumerate(SHARED):
            numbers = self._numbers[field]
            count = number_texts(data, rows, scan.at(name), numbers, firsts, heads)
            self._firsts.append(firsts[:count].copy())
        #: By field and number; None for a value that is not valid, and for times, which are.
        self._values: list[list[Any]] = [
            [None] * len(self._firsts[field])
            if field in _TIMES
            else [values.of(field, name, text) for text in self._texts(field, name)]
            for field, name in enumerate(SHARED)
        ]

    def _texts(self, field: int, name: str) -> list[bytes]:
        column = scan.at(name)
        spans = self._rows[self._firsts[field], column : column + 2].tolist()
        return [bytes(self._data.data[at : at + length]) for at, length in spans]

    def admissible(self, known: Purposes, sent_ms: Places) -> Mask:
        """Return which records have an admissible entry, as `documents.admission` says."""
        rows = self._rows
        is_admissible: Mask = rows[:, scan.IS_PLAIN] == 1
        for field, values in enumerate(self._values):
            if field not in _TIMES:
                # An absent field has the number -1, that of the last one.
                is_valid = np.array([value is not None for value in values] + [True])
                is_admissible &= is_valid[self._numbers[field]]
        purposes = [known.get(code or "") for code in self._values[_PURPOSE]]
        of_purpose = self._numbers[_PURPOSE]
        is_known = np.array([purpose is not None for purpose in purposes] + [False])
        floors = np.array([p.known_characters_floor if p else 0 for p in purposes] + [0])
        terms_ms = np.array([p.longest_term_days * _DAY_MS if p else 0 for p in purposes] + [0])
        priority, suppress_s, distance = (
            rows[:, scan.value_of(name)] for name in ("priority", "suppress_s", "distance")
        )
        is_admissible &= is_known[of_purpose]
        is_admissible &= (distance <= 1) & (suppress_s <= _SUPPRESS_MOST)
        is_admissible &= (priority <= _PRIORITY) & (priority != 0)
        is_admissible &= (distance <= 0) | (rows[:, scan.HAS_WILDCARD] == 0)
        is_admissible &= rows[:, scan.KNOWN] >= floors[of_purpose] + np.maximum(distance, 0)
        created_ms, expires_ms = rows[:, scan.CREATED_MS], rows[:, scan.EXPIRES_MS]
        is_admissible &= (expires_ms > created_ms) & (
            expires_ms - created_ms <= terms_ms[of_purpose]
        )
        is_admissible &= created_ms <= sent_ms + limits.CREATED_AHEAD_MS
        is_admissible &= rows[:, scan.STARTS_MS] < expires_ms
        return is_admissible

    def packed(self, index: Index, places: Places) -> tuple[list[bytes], Shared]:
        """Pack the entries at some places, and count their shared values in the index."""
        rows, numbers = self._rows, self._numbers
        if len(places) < len(rows):
            rows, numbers = rows[places], np.ascontiguousarray(numbers[:, places])
        most = max(1, *map(len, self._firsts))
        at = np.zeros((len(SHARED), most), dtype=np.int64)
        lengths = np.zeros((len(SHARED), most), dtype=np.int64)
        data = bytearray()
        shared: dict[str, dict[Any, Any]] = {table: {} for table in SHARED.values()}
        for field, (name, table) in enumerate(SHARED.items()):
            present = numbers[field][numbers[field] >= 0]
            counts = np.bincount(present, minlength=len(self._firsts[field]))
            values = self._values[field]
            if field in _TIMES:
                counts[self._in_ms(field, name, counts)] = 0
            for number in np.flatnonzero(counts).tolist():
                value = values[number]
                if field in _TIMES:
                    row = self._rows[self._firsts[field][number]]
                    begin, length = int(row[scan.at(name)]), int(row[scan.at(name) + 1])
                    value = bytes(self._data.data[begin : begin + length]).decode()
                as_packed = index.share(table, value, int(counts[number]))
                encoded = msgspec.msgpack.encode(as_packed)
                at[field, number], lengths[field, number] = len(data), len(encoded)
                data += encoded
                if isinstance(as_packed, int):
                    shared[table][as_packed] = value
        blob = np.frombuffer(bytes(data) or b"\0", dtype=np.uint8)
        packed = pack_rows(self._data, rows, SharedColumns(numbers, blob, at, lengths))
        return packed, Shared(shared["names"], shared["requesters"], shared["times"])

    def _in_ms(self, field: int, name: str, counts: Places) -> Mask:
        """Return which values of a time are packed in milliseconds: if few entries share it."""
        firsts = self._firsts[field]
        is_canonical: Mask = self._rows[firsts, scan.at(name) + 1] == CANONICAL_TIME_CHARACTERS
        in_ms: Mask = (
            is_canonical & (self._rows[firsts, _TIMES[field]] >= LEAST_TIME) & (counts < _FEW)
        )
        return in_ms

    def filed(self, places: Places, packed: list[bytes], revisions: Places) -> PackedRows:
        """Return the packed entries with what the index files them by."""
        rows = self._rows if len(places) == len(self._rows) else self._rows[places]
        starts_ms = rows[:, scan.STARTS_MS]
        agencies, purposes = self._numbers[_AGENCY, places], self._numbers[_PURPOSE, places]
        both = agencies.astype(np.int64) * len(self._firsts[_PURPOSE]) + purposes
        order = np.argsort(both, kind="stable")
        _, begins = np.unique(both[order], return_index=True)
        pairs: list[tuple[Pair, Places]] = []
        for positions in np.split(order, begins[1:]):
            agency = self._values[_AGENCY][int(agencies[positions[0]])]
            purpose = self._values[_PURPOSE][int(purposes[positions[0]])]
            pairs.append(((agency, purpose), positions))
        return PackedRows(
            packed=packed,
            ids=rows[:, scan.KEY_HASH].view(np.uint64).copy(),
            plates=rows[:, scan.PLATE_HASH].view(np.uint64).copy(),
            revisions=revisions,
            starts_ms=np.where(starts_ms == NO_TIME, NEVER_MS, starts_ms),
            expires_ms=rows[:, scan.EXPIRES_MS].copy(),
            pairs=pairs,
            asking=self._asking(places, rows),
        )

    def _asking(self, places: Places, rows: Rows) -> list[tuple[int, Asking]]:
        confusables, distance = (
            rows[:, scan.value_of(name)] for name in ("confusables", "distance")
        )
        asks = (confusables > 0) | (distance > 0) | (rows[:, scan.HAS_WILDCARD] > 0)
        asking: list[tuple[int, Asking]] = []
        for position in np.flatnonzero(asks).tolist():
            at, length = rows[position, scan.at("plate") : scan.at("plate") + 2].tolist()
            number = int(self._numbers[_REGION, places[position]])
            region = None if number < 0 else self._values[_REGION][number]
            plate = bytes(self._data.data[at : at + length]).decode()
            look_alikes, apart = int(confusables[position]), int(distance[position])
            asking.append((position, Asking(plate, look_alikes > 0, max(apart, 0), region)))
        return asking
