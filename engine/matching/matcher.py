"""The matcher: fetched batches and control records in, matches and rejects out.

Synchronous and pure except for its state (index, policies): no I/O, no event loop, and the caller
provides the time. One thread handles control records and fetches. It may apply a change between two
groups of the batches of a fetch. So a change takes effect for every read that is processed after
it, and no read sees half of a change.

A read's value is opened in three cases: its key, or an alternate that its header names, is like a
visible entry's plate; its key is missing or not in normal form, or that header is malformed; or the
read is in the sample of key checks. No other value is decoded, whatever the scanner passes. The
read's other headers are parsed if it makes a match, because they name its trace.

A read that matches nothing leaves only counts. Nothing of a read may be logged, kept or put into an
error here, and no bad record may stop the records after it.

Long because all ways of a record from its batch to the decision stand beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Final

from engine import limits
from engine.arrays import Bytes
from engine.documents.value_formats import Values
from engine.index.hash_table import NO_SLOT, HashTable
from engine.index.plate_index import Index
from engine.matching.compiled_matches import KEPT, UNKNOWN
from engine.matching.decide import Candidate, Decider
from engine.matching.group_scans import Group, GroupScanner, GroupScans, ScanArguments, Scanned
from engine.matching.like_reads import ONLY, LikeReads
from engine.matching.lists import Lists
from engine.matching.opening import Opening, Read, asked_at
from engine.matching.outcome import ApplyChanges, HandOver, Outcome
from engine.matching.plain_reads import PlainRead, PlainReads
from engine.matching.ready_matches import ReadyMatches
from engine.matching.scanner import is_sampled
from engine.matching.suppression import Suppression
from engine.plates.normal_form import is_normal
from engine.wire.alternates import NONE_ASKED, asked_by
from engine.wire.decompress import CodecError
from engine.wire.record_batch import BatchError, Parse, RawBatch, RawFetch
from engine.wire.record_decoder import (
    HIT,
    OFFSET,
    SAMPLED,
    Malformed,
    TooManyRecords,
)

_NOTHING_LISTED: Final = HashTable()
_PLAIN: Final = Values()
#: The kinds of rows whose reads have a key in normal form and request no alternates.
_OF_NORMAL_KEYS: Final = (HIT, SAMPLED)


def _nothing() -> None:
    pass


def _no_changes(_: Callable[[], None]) -> None:
    pass


class Matcher:
    """The matcher; see the module.

    One in `sample_every` unmatched reads has its key checked. `parse` reads the batches that the
    scanner cannot. `suppression` decides which matches are repeats. With `look_ms`, about
    `limits.LOOK_READS` reads of a fetch are sampled, all of them if it has no more, for each
    partition once in that time. So a producer of few reads that gets something wrong is found soon.
    `values` says how values are opened. Close it at the end.
    """

    def __init__(
        self,
        lists: Lists,
        sample_every: int,
        parse: Parse,
        suppression: Suppression,
        *,
        values: Values = _PLAIN,
        look_ms: int | None = None,
    ) -> None:
        self._parse = parse
        self._suppression = suppression
        self.lists = lists
        self._index: Index = lists.index
        self._sample_every = sample_every
        self._values = values
        self._look_ms = look_ms
        #: When a fetch of each partition was last looked at.
        self._looked_ms: dict[int, int] = {}
        #: For the batches of small fetches, and for those that are processed alone.
        self._alone = GroupScanner()
        self._scans: GroupScans | None = None  # made when the first large fetch comes
        self._plain_reads = PlainReads(lists.misreads)
        self._like = LikeReads(lists.index)
        self._ready = ReadyMatches(lists, suppression.states.table)

    def process(
        self,
        fetch: RawFetch,
        now_ms: int,
        hand_over: HandOver | None = None,
        apply_changes: ApplyChanges = _no_changes,
    ) -> Outcome:
        """Match the reads of a fetch: at one point in time, until `apply_changes` has changed the
        lists between two groups of its batches and gives the next one.

        If their outcome exceeds `limits.OUTCOME_BYTES`, only the reads below its `next_offset` are
        matched. One read may exceed twice that limit, because very many entries list its plate. Its
        matches go to `hand_over` in parts, and what that raises is raised here.

        The same holds for a read whose schema must be fetched first, the outcome's
        `missing_schema`: the read is at its `next_offset`, and is neither matched nor counted.
        """
        self._turn_to(now_ms)
        look_every = self._look_every(fetch, now_ms)
        opening = Opening(self._sample_every, look_every, self._values)
        decider = Decider(self.lists, self._suppression, fetch, now_ms, opening, hand_over)
        self._ready.begin(decider.plain)
        groups = [*_groups(fetch.batches)]
        if len(groups) > 1 and self._scans is None:
            self._scans = GroupScans()
        scans = self._scans if len(groups) > 1 else None
        with nullcontext() if scans is None else scans.of(groups):
            for number, group in enumerate(groups):
                changed_ms = apply_changes(_nothing if scans is None else scans.pause)
                if changed_ms is not None:
                    self._turn_to(changed_ms)
                    decider.turn_to(changed_ms)
                    self._ready.begin(decider.plain)
                scan = None if scans is None else scans.get(number, partial(self._tables, decider))
                self._process_group(group, scan, decider)
                if decider.is_full:
                    break
        if decider.is_waiting:
            self._looked_ms.pop(fetch.partition, None)  # look at what is not opened yet
        return decider.finish()

    def _turn_to(self, now_ms: int) -> None:
        self.lists.turn_to(now_ms)
        self._suppression.turn_to(now_ms)

    def _look_every(self, fetch: RawFetch, now_ms: int) -> int:
        """Return one in how many of a fetch's reads are opened to see what producers get wrong."""
        every, look_ms = self._sample_every, self._look_ms
        if look_ms is None or every <= 1:
            return every
        looked_ms = self._looked_ms.get(fetch.partition)
        if looked_ms is not None and 0 <= now_ms - looked_ms < look_ms:
            return every
        self._looked_ms[fetch.partition] = now_ms
        count = sum(batch.record_count for batch in fetch.batches)
        return min(every, max(1, count // limits.LOOK_READS))

    def scrub(self) -> None:
        """Wipe the reused buffers, which still hold the last reads.

        It costs as much as writing the buffers once.
        """
        self._alone.scrub()
        if self._scans is not None:
            self._scans.scrub()
        self._plain_reads.scrub()
        self._like.scrub()
        self._ready.scrub()

    def close(self) -> None:
        """End the thread that scans ahead."""
        if self._scans is not None:
            self._scans.close()

    def _tables(self, decider: Decider) -> ScanArguments:
        index = self._index
        return ScanArguments(index.plates, index.similar.scan_tables, decider.look_every)

    def _process_group(self, group: Group, scan: Scanned | None, decider: Decider) -> None:
        """Process a group of batches by its scan, or batch by batch if there is none.

        The overhead of a call, above all of passing the GIL between threads, is paid once for a
        scan.
        """
        if scan is None and len(group) > 1:
            scan = self._scanned_alone(group, decider)
        if scan is not None:
            self._take(group, scan, decider)
            decider.taken_to(group[-1].next_offset)
            return
        for batch in group:
            if not decider.is_full:
                self._process_alone(batch, decider)

    def _scanned_alone(self, group: Group, decider: Decider) -> Scanned | None:
        """Scan a group on this thread; None if one of its batches is malformed."""
        try:
            return self._alone.scan(group, self._tables(decider))
        except (CodecError, Malformed, TooManyRecords):
            return None

    def _process_alone(self, batch: RawBatch, decider: Decider) -> None:
        try:
            self._process_batch(batch, decider)
        except BatchError as error:
            decider.reject_rest(error.reason, error.next_offset, batch.next_offset - 1)
        decider.taken_to(batch.next_offset)

    def _process_batch(self, batch: RawBatch, decider: Decider) -> None:
        if not batch.intact:
            raise BatchError("corrupt_batch", batch.first_offset)
        try:
            if batch.magic < 2:
                self._alone.decompressor.check_wrapped(batch)
                self._parse_batch(batch, decider)
                return
            scan = self._alone.scan([batch], self._tables(decider))
        except CodecError as error:
            raise BatchError(error.reason, batch.first_offset) from error
        except TooManyRecords as error:
            raise BatchError("batch_too_large", batch.first_offset) from error
        except Malformed:
            self._parse_batch(batch, decider)
        else:
            self._take([batch], scan, decider)

    def _take(self, batches: Group, scan: Scanned, decider: Decider) -> None:
        """Process what a scan found in batches."""
        data, rows, seen = scan
        ready = self._ready
        decider.outcome.reads += seen
        view = data.data
        if len(rows) < limits.PLAIN_ROWS_FEWEST:
            for row in rows.tolist():
                self._process_row(view, row, decider)
                if decider.is_full:
                    self._stop_behind(row[OFFSET], batches, data, decider)
                    return
            return
        for step in self._plain_reads.steps(data, rows, decider.look_every):
            only = self._like.only(data, step)
            are_kept = self._suppression.states.count != 0
            decided = ready.decide(data, step, only, are_kept=are_kept)
            number, states = 0, decided.states
            while number < len(states):
                state = states[number]
                if state >= KEPT:
                    next_number = decider.take(step, decided, ready.listed, number)
                if state < KEPT or next_number == number:
                    slot = NO_SLOT if only is None else int(only[number, ONLY])
                    if (read := step.read(number)) is None:
                        self._process_row(view, step.row(number), decider)
                    elif state == KEPT:
                        decider.match_kept(read, *decided.kept(number))
                    elif read.slot != NO_SLOT:
                        self._process_plain(read, state, decider)
                    elif slot == NO_SLOT or not self._process_only(read, slot, state, decider):
                        self._process_row(view, step.row(number), decider)
                    next_number = number + 1
                number = next_number
                if decider.is_full:
                    offset = int(step.rows[number - 1, OFFSET])
                    self._stop_behind(offset, batches, data, decider)
                    return

    def _stop_behind(self, offset: int, batches: Group, data: Bytes, decider: Decider) -> None:
        """Note that the read at an offset is the last one that is processed, or that it waits; the
        rows are no longer valid afterwards."""
        end = offset + (not decider.is_waiting)
        decider.taken_to(end)
        decider.outcome.reads -= self._count_from(end, batches, data)

    def _process_plain(self, read: PlainRead, state: int, decider: Decider) -> None:
        """Process a plain read of a listed plate that compiled code does not decide."""
        if (first := self._index.listed_from(read.slot, read.key)) is not None:
            decider.match_plainly(read, first)
            if state == UNKNOWN:
                self._ready.learn(read, first)

    def _process_only(self, read: PlainRead, slot: int, state: int, decider: Decider) -> bool:
        """Process a plain read that is like the entry in this slot alone; return False, with
        nothing done, if it takes all the rules."""
        if decider.deny_only(read, slot):
            if state == UNKNOWN:
                self._ready.learn_denial(read.source, slot)
            return True
        return decider.match_only(read, slot)

    def _process_row(self, view: memoryview, row: Sequence[int], decider: Decider) -> None:
        """Process the read of a scan's row, whatever its value is."""
        kind, slot, offset, timestamp_ms, key_at, key_length, at, length = row
        key = None if key_length < 0 else bytes(view[key_at : key_at + key_length])
        end = at if length < 0 else at + length
        value = None if length < 0 else bytes(view[at:end])
        headers = view[end:] if view[end] else ()  # they begin with their number
        asked = NONE_ASKED if kind in _OF_NORMAL_KEYS else asked_at(view, slot)
        read = Read(offset, timestamp_ms, key, value, asked, headers)
        if kind == HIT and key is not None:
            self._process_hit(read, key.decode("ascii"), slot, decider)
        elif kind == SAMPLED and key is not None:
            decider.open(read, key.decode("ascii"))
        else:
            self._process_read(read, decider)

    def _count_from(self, offset: int, batches: Group, data: Bytes) -> int:
        """Count the batches' reads from an offset on; the rows are no longer valid afterwards."""
        rest = [replace(batch, from_offset=max(offset, batch.from_offset)) for batch in batches]
        return self._alone.scanner.scan(rest, data, _NOTHING_LISTED)[1]

    def _parse_batch(self, batch: RawBatch, decider: Decider) -> None:
        """Process a batch that the scanner cannot, record by record."""
        decider.outcome.batches_parsed_slowly += 1
        for record in self._parse(batch):
            read = Read(
                *(record.offset, record.timestamp_ms, record.key, record.value),
                asked_by(record.headers),
                record.headers,
            )
            self._process_read(read, decider)
            if decider.is_waiting:
                decider.taken_to(record.offset)
                return
            decider.outcome.reads += 1
            if decider.is_full:
                decider.taken_to(record.offset + 1)
                return

    def _process_read(self, read: Read, decider: Decider) -> None:
        """Process one read by all the rules, without the scanner's result."""
        if read.value is None:
            decider.reject("value_missing", read.offset)
            return
        if len(read.value) > limits.READ_VALUE_BYTES:
            decider.reject("value_too_large", read.offset)
            return
        plate = _normal_key(read.key)
        if plate is not None:
            self._process_keyed(read, plate, self._index.candidates(plate), decider)
        else:
            opened = decider.open(read, None)
            if opened is not None:
                decider.match(read, opened, self._index.candidates(opened[1]))
        if decider.is_waiting:
            return
        if read.asked is None:
            decider.outcome.odd_keys["alternates"] += 1
        if plate is None:
            decider.outcome.odd_keys["missing" if read.key is None else "not_normal"] += 1

    def _process_hit(self, read: Read, plate: str, slot: int, decider: Decider) -> None:
        """Process a read whose plate is listed at most exactly, by its hash from a slot on."""
        first = self._index.listed_from(slot, plate)
        if first is not None:
            opened = decider.open(read, plate)
            if opened is not None:
                decider.match_exactly(read, opened, first)
        elif is_sampled(read.offset, decider.look_every):
            decider.open(read, plate)

    def _process_keyed(
        self, read: Read, plate: str, found: Iterator[Candidate], decider: Decider
    ) -> None:
        """Process a read whose key is a plate in normal form, with these candidates for it."""
        asked = read.asked
        first = next(found, None)
        if first is not None or asked is None or any(map(self._is_listed, asked)):
            opened = decider.open(read, plate)
            if opened is not None:
                decider.match(read, opened, () if first is None else chain((first,), found))
        elif is_sampled(read.offset, decider.look_every):
            decider.open(read, plate)

    def _is_listed(self, plate: str) -> bool:
        return next(self._index.candidates(plate), None) is not None


def _groups(batches: Iterable[RawBatch]) -> Iterator[list[RawBatch]]:
    """Yield the batches in order, in groups that can be decompressed and scanned at once."""
    group: list[RawBatch] = []
    size_bytes = 0
    for batch in batches:
        joins = (
            group
            and group[0].is_scannable
            and batch.is_scannable
            and batch.codec == group[0].codec
            and size_bytes + len(batch.data) <= limits.SCAN_BYTES
        )
        if group and not joins:
            yield group
            group, size_bytes = [], 0
        group.append(batch)
        size_bytes += len(batch.data)
    if group:
        yield group


def _normal_key(key: bytes | None) -> str | None:
    """Return a key in normal form as text; None for any other key."""
    if key is None or not 0 < len(key) <= limits.PLATE_BYTES:
        return None
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return text if is_normal(text) else None
