"""What the suppression's states are of, each written once: entries and sources, by numbers.

A row of numbers (`suppression_table`) cannot name its entry, so it has the number of its names
here. Entries with the same names share them. The texts are JSON, as a state's document has them.

Belongs to one thread.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np

from engine.arrays import Bytes
from engine.documents.codec import encode
from engine.documents.model import Authority, Entry, SuppressionState
from engine.matching.ready_tables import Rows, Texts
from engine.matching.suppression_key import listing_of, terms_of

#: The columns of names: where their texts are and how long each is. The state up to its matches,
#: what is behind its source, and the same of one with a count of suppressed reads.
HEAD_AT, HEAD_BYTES, TAIL_AT, TAIL_BYTES, COUNTING_AT, COUNTING_BYTES = range(6)
#: The columns of a source.
SOURCE_AT, SOURCE_BYTES = range(2)

_encode = msgspec.json.Encoder().encode
_SOME: Final = 1 << 10


class StateSubject(NamedTuple):
    """What a state is of: the entry, the hash of what it lists, and the plate that it lists; then
    what a count of suppressed reads belongs to."""

    entry_id: str
    listing: str
    plate: str
    list_id: str
    agency: str
    purpose: str
    authority: Authority

    @property
    def terms(self) -> tuple[str, str, str, Authority]:
        return self.list_id, self.agency, self.purpose, self.authority


class StateNames:
    """See the module. `generation` counts how often numbers have changed."""

    def __init__(self) -> None:
        self.generation = 0
        self._names: list[StateSubject] = []
        self._numbers: dict[StateSubject, int] = {}
        self._by_entry: dict[tuple[str, str, str, str, str, Authority], int] = {}
        self._texts = Texts(1 << 62)
        self.rows: Rows = np.zeros((_SOME, 6), dtype=np.int64)
        self._sources: list[str] = []
        self._source_numbers: dict[str, int] = {}
        self._source_texts = Texts(1 << 62)
        self.source_rows: Rows = np.zeros((_SOME, 2), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def texts(self) -> Bytes:
        return self._texts.data

    @property
    def source_texts(self) -> Bytes:
        return self._source_texts.data

    def of(self, number: int) -> StateSubject:
        """Return the names with a number."""
        return self._names[number]

    def source(self, number: int) -> str:
        """Return the source with a number."""
        return self._sources[number]

    def of_entry(self, entry: Entry) -> int:
        """Return the number of an entry's names."""
        by = entry.entry_id, entry.plate, *terms_of(entry)
        number = self._by_entry.get(by)
        if number is None:
            subject = StateSubject(entry.entry_id, listing_of(entry), entry.plate, *terms_of(entry))
            number = self._by_entry[by] = self.number_of(subject)
        return number

    def number_of(self, names: StateSubject) -> int:
        """Return the number of names."""
        number = self._numbers.get(names)
        if number is None:
            number = self._numbers[names] = len(self._names)
            self._names.append(names)
            self._write(number, names)
        return number

    def of_source(self, source: str) -> int:
        """Return the number of a source."""
        number = self._source_numbers.get(source)
        if number is None:
            number = self._source_numbers[source] = len(self._sources)
            self._sources.append(source)
            self.source_rows = _with_room(self.source_rows, number)
            self.source_rows[number] = self._source_texts.add(_encode(source))
        return number

    def keep(self, numbers: list[int]) -> None:
        """Keep these names only, numbered in this order."""
        kept = [self._names[number] for number in numbers]
        self._names, self._numbers, self._by_entry = [], {}, {}
        self._texts.wipe()
        self.rows = np.zeros((_SOME, 6), dtype=np.int64)
        self.generation += 1
        for names in kept:
            self.number_of(names)

    def _write(self, number: int, names: StateSubject) -> None:
        self.rows = _with_room(self.rows, number)
        add = self._texts.add
        list_id, agency, purpose, authority = names.terms
        of_entry = SuppressionState(
            entry_id=names.entry_id,
            matches=(),
            suppress_s=0,
            offset=0,
            suppressed=1,
            listing=names.listing,
            list_id=list_id,
            agency=agency,
            purpose=purpose,
            authority=authority,
        )
        counting = encode(of_entry)
        at = counting.index(b',"listing":"')
        head = b'{"entry_id":%b,"matches":[' % _encode(names.entry_id)
        tail = b',"listing":"%b"}' % names.listing.encode()
        self.rows[number] = (*add(head), *add(tail), *add(counting[at:]))


def _with_room(rows: Rows, number: int) -> Rows:
    if number < len(rows):
        return rows
    return np.concatenate([rows, np.zeros_like(rows)])
