"""Exact matches of plain reads, decided and written by compiled code.

They are what `decide` and `plain_match` make of the same reads, byte for byte; a property test
compares the two. Compiled code knows what `ready_parts` holds. It leaves the first reads of each
kind to Python, and `learn` makes the next ones like them ready. Always left to Python are reads

* of a plate that several entries list;
* of an entry with an area or hours;
* from a source whose policy names regions, unless it denies the entry anyway;
* with headers, or with a confidence that `compiled_confidence` does not know.

Whether a match is a repeat is decided afterwards (`compiled_admission`).

What is ready of the lists is dropped when anything in them changes, and what is ready of reads is
wiped with the buffers that reads lie in (`scrub`).

Belongs to one thread.

Long because what makes reads ready stands beside what decides them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import limits
from engine.arrays import Bytes
from engine.index.eligibility import DENIAL_REASONS
from engine.index.open_entry import OpenEntry
from engine.matching.compiled_admission import admit_one, admit_rows
from engine.matching.compiled_hash import Sums
from engine.matching.compiled_matches import (
    COLUMNS,
    HASHED_BYTES,
    ID_BYTES,
    LEFT,
    NUMBERS_BYTES,
    decide,
    write,
)
from engine.matching.decided_step import DecidedStep, are_written
from engine.matching.like_reads import deny
from engine.matching.lists import Lists
from engine.matching.plain_match import EntryParts, PlainMatches
from engine.matching.plain_reads import FOUND_COLUMNS, PlainRead, PlainStep
from engine.matching.ready_parts import ALLOWED, BY_REGION, DENIED, ListedParts, ReadParts
from engine.matching.ready_tables import NONE, Rows
from engine.matching.suppression_table import StateTable
from engine.wire.record_decoder import COLUMNS as RECORD_COLUMNS
from engine.wire.record_decoder import NO_DATA


class ReadyMatches:
    """See the module."""

    def __init__(self, lists: Lists, states: StateTable) -> None:
        self._lists = lists
        self._names_of_states = states.names
        self._plain = PlainMatches(0, lists)
        self._listed = ListedParts()
        self._of_reads = ReadParts()
        #: Until when what is ready stays if there is no room for more.
        self._kept_until_ms = 0
        #: Which state of the lists is ready.
        self._as_of: tuple[int, int, int] | None = None
        self._entries: dict[int, int] = {}
        self._sources: dict[str, int] = {}
        self._descriptions: dict[tuple[str | None, bytes | None], int] = {}
        #: By row: the sources, and the entries that are ready.
        self._names: list[str] = []
        self._opened: list[OpenEntry | None] = []
        #: By the numbers of agencies and purposes that are ready.
        self._purposes: dict[int, str] = {}
        #: The slots of reads that `learn` has seen, perhaps only once.
        self._seen_once: set[int] = set()
        #: What all matches of a fetch have, and which fetch that is.
        self._fixed: Bytes = np.zeros(0, dtype=np.uint8)
        self._fixed_at: Rows = np.zeros(1, dtype=np.int64)
        self._fixed_of: PlainMatches | None = None
        self._decided: Rows = np.zeros((0, COLUMNS), dtype=np.int64)
        self._ids: Bytes = np.zeros(0, dtype=np.uint8)
        self._hashed: Bytes = np.zeros(HASHED_BYTES, dtype=np.uint8)
        self._sums: Sums = np.zeros(8, dtype=np.uint64)
        self._out: Bytes = np.zeros(0, dtype=np.uint8)
        # Compile what is not in numba's cache now, and not when the first hit waits.
        rows = np.zeros((1, RECORD_COLUMNS), dtype=np.int64)
        step = PlainStep(NO_DATA.data, rows, np.zeros((1, FOUND_COLUMNS), dtype=np.int64), NO_DATA)
        decided, _ = self._decide(NO_DATA, step, are_kept=False)
        self._written(NO_DATA, step, decided, NO_DATA, 0)
        admit_rows(states, step, decided, self._listed, 1, partition=0, room_bytes=0, now_ms=0)
        self._deny(step, np.full((1, 2), NONE, dtype=np.int64), decided)
        seen = PlainRead(*(0, 0, "", "", "", None), (0,) * FOUND_COLUMNS, "", b"", NO_DATA.data)
        admit_one(states, bytes(16), 0, 0, seen, partition=0, window_ms=0, now_ms=0)

    def begin(self, plain: PlainMatches) -> None:
        """Begin a fetch, or go on with it after the lists have changed; `plain` is for both."""
        self._plain = plain
        lists = self._lists
        as_of = lists.index.changes, lists.list_revision, self._names_of_states.generation
        is_old = not self._listed.has_room() and plain.now_ms >= self._kept_until_ms
        if as_of != self._as_of or is_old:
            self._drop()
            self._as_of = as_of

    @property
    def listed(self) -> ListedParts:
        """What is ready of the lists."""
        return self._listed

    def decide(
        self, data: Bytes, step: PlainStep, only: Rows | None = None, *, are_kept: bool
    ) -> DecidedStep:
        """Decide the reads of a step; with `are_kept` every match may be a repeat. `only` has the
        only entries of those that are like a listed plate (`LikeReads.only`)."""
        count = len(step.rows)
        decided, room_bytes = np.full((count, COLUMNS), LEFT, dtype=np.int64), 0
        if count >= limits.ROWS_FEWEST:
            decided, room_bytes = self._decide(data, step, are_kept=are_kept)
        if only is not None:
            self._deny(step, only, decided)
        matches = int(np.count_nonzero(are_written(decided)))
        if not matches:
            return self._step(decided, NO_DATA)
        ids = self._ids[: ID_BYTES * matches]
        return self._step(decided, self._written(data, step, decided, ids, room_bytes))

    def _step(self, decided: Rows, written: Bytes) -> DecidedStep:
        return DecidedStep(
            *(decided, written, self._plain.matched_at),
            *(self._names, self._opened, self._purposes),
        )

    def _decide(self, data: Bytes, step: PlainStep, *, are_kept: bool) -> tuple[Rows, int]:
        """Return what becomes of each read, and more than how much is to be written besides what
        all matches have."""
        count = len(step.rows)
        if len(self._decided) < count:
            self._decided = np.zeros((count, COLUMNS), dtype=np.int64)
            self._ids = np.zeros(count * ID_BYTES, dtype=np.uint8)
        decided, listed, of_reads = self._decided[:count], self._listed, self._of_reads
        room_bytes = decide(
            data,
            step.rows,
            step.found,
            listed.entries.places,
            listed.entries.rows,
            listed.sources.places,
            listed.sources.rows,
            listed.terms_of,
            listed.terms.rows,
            listed.texts,
            step.written,
            of_reads.sources.places,
            of_reads.sources.rows,
            of_reads.compared.places,
            of_reads.compared.rows,
            of_reads.texts,
            are_kept,
            self._hashed,
            self._sums,
            self._ids,
            decided,
        )
        return decided, room_bytes

    def _deny(self, step: PlainStep, only: Rows, decided: Rows) -> None:
        listed, of_reads = self._listed, self._of_reads
        deny(
            step.found,
            only,
            listed.sources.places,
            listed.sources.rows,
            listed.terms_of,
            listed.terms.rows,
            listed.texts,
            step.written,
            of_reads.sources.places,
            of_reads.sources.rows,
            of_reads.texts,
            decided,
        )

    def _written(
        self, data: Bytes, step: PlainStep, decided: Rows, ids: Bytes, room_bytes: int
    ) -> Bytes:
        """Return the matches, each followed by what the audit records of it and by its key."""
        if self._fixed_of is not self._plain:
            self._fixed_of, fixed = self._plain, self._plain.fixed
            self._fixed = np.frombuffer(b"".join(fixed), dtype=np.uint8)
            self._fixed_at = np.cumsum([0, *map(len, fixed)])
        matches = len(ids) // ID_BYTES
        size_bytes = room_bytes + matches * (len(self._fixed) + 2 * ID_BYTES + NUMBERS_BYTES)
        if len(self._out) < size_bytes:
            self._out = np.zeros(size_bytes, dtype=np.uint8)
        size = write(
            data,
            step.rows,
            step.found,
            decided,
            self._listed.entries.rows,
            self._listed.terms.rows,
            self._listed.texts,
            step.written,
            self._of_reads.compared.rows,
            self._of_reads.texts,
            ids,
            self._fixed,
            self._fixed_at,
            self._plain.now_ms,
            self._out,
        )
        return self._out[:size]

    def learn(self, seen: PlainRead, first: tuple[int, Any]) -> None:
        """Make the next read like this one ready, which Python has decided; `first` is what
        `Index.listed_from` returned of it before that."""
        slot, opened = first
        if slot not in self._seen_once:  # it may remain the only one
            if len(self._seen_once) == limits.READY_ENTRIES:
                self._seen_once.clear()
            self._seen_once.add(slot)
            return
        index, eligibility = self._lists.index, self._lists.eligibility
        pair = eligibility.pair_of(slot)
        is_only = slot == seen.slot and index.is_last(slot)
        if not is_only or slot not in eligibility.active or pair >= limits.READY_PAIRS:
            return
        if not self._listed.has_room():
            return
        row = self._entries.get(slot)
        if row is None:
            row = self._entries[slot] = self._listed.add_entry(slot, seen.key.encode(), pair)
            self._opened.append(None)
        source = self._source(seen.source)
        if source is None:
            return
        is_known = self._listed.has_terms(source, pair)
        if not is_known and eligibility.is_denied(slot, seen.source):
            self._listed.add_terms(source, pair, DENIED)
        elif not is_known and eligibility.has_regions(seen.source):
            self._listed.add_terms(source, pair, BY_REGION)
        elif type(opened) is OpenEntry:
            is_new = not is_known or self._opened[row] is None
            if is_new and opened.made and not self._plain.is_auditable(opened.made, seen.source):
                self._listed.leave(row)  # sealing its record says why
                return
            if not is_known:
                terms = self._plain.of_source(seen.source, opened.entry.purpose)
                self._listed.add_terms(source, pair, ALLOWED, *terms)
            if opened.made is None:
                self._listed.leave(row)
            else:
                self._purposes[pair] = opened.entry.purpose
                self._add_parts(seen, row, opened)

    def learn_denial(self, source: str, slot: int) -> None:
        """Make ready what a read's source says of an entry in a slot, which has started, if it
        denies the entry."""
        eligibility = self._lists.eligibility
        pair = eligibility.pair_of(slot)
        if pair >= limits.READY_PAIRS or not self._listed.has_room():
            return
        row = self._source(source)
        if row is None or self._listed.has_terms(row, pair):
            return
        if eligibility.is_denied(slot, source):
            self._listed.add_terms(row, pair, DENIED)

    def _source(self, source: str) -> int | None:
        """Return the row of a source; None if it has no policy. Either is ready afterwards if there
        is room."""
        if not self._lists.eligibility.has_policy(source):
            self._of_reads.add_source(source.encode())
            return None
        row = self._sources.get(source)
        if row is None:
            row = self._sources[source] = self._listed.add_source(
                source.encode(), self._names_of_states.of_source(source)
            )
            self._names.append(source)
        return row

    def _add_parts(self, seen: PlainRead, row: int, opened: OpenEntry) -> None:
        """Add what a match is made of, as far as it is not there."""
        parts: EntryParts = opened.made
        described = parts.region, parts.vehicle
        kind = self._descriptions.setdefault(described, len(self._descriptions))
        if self._opened[row] is None:
            self._opened[row] = opened
            names = self._names_of_states.of_entry(opened.entry)
            self._listed.add_parts(row, parts, names, kind)
        region = None if seen.region is None else seen.region.encode()
        key = kind, region, seen.vehicle
        if not self._of_reads.has_compared(*key):
            denial, checks = self._plain.compared(parts, seen)
            reason = NONE if denial is None else DENIAL_REASONS.index(denial)
            self._of_reads.add_compared(*key, reason, checks)

    def scrub(self) -> None:
        """Wipe what is left of the last reads."""
        self._of_reads.clear()
        self._decided.fill(0)
        self._ids.fill(0)
        self._hashed.fill(0)
        self._sums.fill(0)
        self._out.fill(0)

    def _drop(self) -> None:
        self._kept_until_ms = self._plain.now_ms + 1000 * limits.READY_S
        self._listed.clear()
        for each in (
            *(self._seen_once, self._entries, self._sources, self._descriptions),
            *(self._names, self._opened),
        ):
            each.clear()
        self._purposes = {}  # matches that are not delivered yet have the others
        self._of_reads.clear()
