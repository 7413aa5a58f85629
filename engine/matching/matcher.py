"""The matcher: fetched batches and control records in, matches and rejects out.

Synchronous and pure but for its state (index, policies): no I/O, no event loop, no clock but
the one it is given. Control records and fetches are handled one after the other by one thread,
so a change counts for every read that is processed after it, and nothing is ever seen half
changed.

A read's value is opened where an entry that counts is like its key, or like an alternate that its
header names; where its key or that header is odd; and for the sample of key checks. No other value
is looked at, whatever the scanner lets through. A read's headers are looked at, beside the one that
asks for alternates, where it makes a match: they say which trace it belongs to.

A read that matches nothing leaves only counts. Nothing of a read may be logged, kept or put
into an error here, and no bad record may stop what follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Final

from engine import limits
from engine.index.hash_table import HashTable
from engine.index.plate_index import Index
from engine.matching.lists import Lists
from engine.matching.outcome import Candidate, Read, Step
from engine.matching.outcome import FoundMatch as FoundMatch
from engine.matching.outcome import HandOver as HandOver
from engine.matching.outcome import Outcome as Outcome
from engine.matching.scanner import Scanner, is_sampled
from engine.matching.suppression import Suppression
from engine.plates.likeness import Likeness
from engine.plates.normal_form import is_normal
from engine.wire import record_decoder
from engine.wire.alternates import NONE_ASKED, Asked, asked_by, asked_for
from engine.wire.decompress import JOINABLE_CODECS, Bytes, CodecError, Decompressor
from engine.wire.record_batch import BatchError, Parse, RawBatch, RawFetch
from engine.wire.record_decoder import Malformed, TooManyRecords, in_steps

_EXACT: Final = Likeness("exact")
_NOTHING_LISTED: Final = HashTable()


class Matcher:
    """See the module.

    `sample_every`: one in so many unmatched reads has its key checked. `parse` reads the
    batches that the scanner does not. `suppression` says which matches are folded.
    """

    def __init__(
        self, lists: Lists, sample_every: int, parse: Parse, suppression: Suppression
    ) -> None:
        self._parse = parse
        self._suppression = suppression
        self.lists = lists
        self._index: Index = lists.index
        self._sample_every = sample_every
        self._decompressor = Decompressor()
        self._scanner = Scanner(sample_every)

    def process(self, fetch: RawFetch, now_ms: int, hand_over: HandOver | None = None) -> Outcome:
        """Match the reads of a fetch at one point in time: all of them, or those below the
        outcome's `next_offset`, where they come to more than `limits.OUTCOME_BYTES`.

        One read that comes to more than twice as much, because very many entries list its plate,
        goes to `hand_over` some matches at a time. What that raises is raised here.
        """
        self.lists.turn_to(now_ms)
        self._suppression.turn_to(now_ms)
        step = Step(self.lists, self._suppression, fetch, now_ms, self._sample_every, hand_over)
        for group in _groups(fetch.batches):
            if len(group) == 1 or not self._process_group(group, step):
                for batch in group:
                    if not step.is_full:
                        self._process_alone(batch, step)
            if step.is_full:
                break
        return step.ended()

    def forget(self) -> None:
        """Wipe the buffers that are used again, in which the last reads still lie.

        Costs as much as writing the buffers once.
        """
        self._decompressor.forget()
        self._scanner.forget()

    def _process_group(self, group: list[RawBatch], step: Step) -> bool:
        """Take several batches in one go; False, and nothing done, where one is not well formed.

        What a step costs beside its work, the passing of the GIL from thread to thread above
        all, is paid once for the group.
        """
        joined = b"".join([batch.records for batch in group])
        try:
            self._scan(group, memoryview(joined), step)
        except (CodecError, Malformed, TooManyRecords):
            return False
        step.taken_to(group[-1].next_offset)
        return True

    def _process_alone(self, batch: RawBatch, step: Step) -> None:
        try:
            self._process_batch(batch, step)
        except BatchError as error:
            step.reject_rest(error.reason, error.next_offset, batch.next_offset - 1)
        step.taken_to(batch.next_offset)

    def _process_batch(self, batch: RawBatch, step: Step) -> None:
        if not batch.intact:
            raise BatchError("corrupt_batch", batch.first_offset)
        try:
            if batch.magic < 2:
                self._decompressor.check_wrapped(batch)
                self._parse_batch(batch, step)
                return
            self._scan([batch], batch.records, step)
        except CodecError as error:
            raise BatchError(error.reason, batch.first_offset) from error
        except TooManyRecords as error:
            raise BatchError("batch_too_large", batch.first_offset) from error
        except Malformed:
            self._parse_batch(batch, step)

    def _scan(self, batches: list[RawBatch], records: memoryview, step: Step) -> None:
        """Take batches whose records, as compressed, are these; nothing is done where it raises.

        Raises CodecError, Malformed and TooManyRecords.
        """
        data = self._decompressor.decompress(batches[0].codec, records)
        index = self._index
        rows, seen = self._scanner.scan(batches, data, index.plates, index.similar.probes)
        step.outcome.reads += seen
        view = data.data
        for kind, slot, offset, timestamp_ms, key_at, key_length, at, length in in_steps(rows):
            key = None if key_length < 0 else bytes(view[key_at : key_at + key_length])
            value = None if length < 0 else bytes(view[at : at + length])
            end = at + max(length, 0)
            headers = view[end:] if view[end] else ()  # which begin with how many there are
            read = Read(offset, timestamp_ms, key, value, NONE_ASKED, headers)
            if kind == record_decoder.HIT and key is not None:
                plate = key.decode("ascii")
                found = ((slot, entry, _EXACT) for slot, entry in index.chain(slot, plate))
                self._process_keyed(read, plate, found, step)
            elif kind == record_decoder.SAMPLED and key is not None:
                step.open(read, key.decode("ascii"))
            else:
                self._process_read(read._replace(asked=_asked_at(view, slot)), step)
            if step.is_full:
                step.taken_to(offset + 1)
                step.outcome.reads -= self._count_from(offset + 1, batches, data)
                return

    def _count_from(self, offset: int, batches: list[RawBatch], data: Bytes) -> int:
        """How many of the batches' reads lie from an offset on; rows are not valid any more."""
        rest = [replace(batch, from_offset=max(offset, batch.from_offset)) for batch in batches]
        return self._scanner.scan(rest, data, _NOTHING_LISTED)[1]

    def _parse_batch(self, batch: RawBatch, step: Step) -> None:
        """Take a batch that the scanner does not, record by record."""
        step.outcome.batches_parsed_slowly += 1
        for record in self._parse(batch):
            step.outcome.reads += 1
            read = Read(
                *(record.offset, record.timestamp_ms, record.key, record.value),
                asked_by(record.headers),
                record.headers,
            )
            self._process_read(read, step)
            if step.is_full:
                step.taken_to(record.offset + 1)
                return

    def _process_read(self, read: Read, step: Step) -> None:
        """Take one read by all the rules, without the scanner's help."""
        if read.value is None:
            step.reject("value_missing", read.offset)
            return
        if len(read.value) > limits.READ_VALUE_BYTES:
            step.reject("value_too_large", read.offset)
            return
        if read.asked is None:
            step.outcome.odd_keys["alternates"] += 1
        plate = _normal_key(read.key)
        if plate is not None:
            self._process_keyed(read, plate, self._index.candidates(plate), step)
            return
        step.outcome.odd_keys["missing" if read.key is None else "not_normal"] += 1
        opened = step.open(read, None)
        if opened is not None:
            detection, plate = opened
            step.match(read, detection, plate, self._index.candidates(plate))

    def _process_keyed(
        self, read: Read, plate: str, found: Iterator[Candidate], step: Step
    ) -> None:
        """Take a read whose key is a plate in normal form, which these candidates are like."""
        asked = read.asked
        first = next(found, None)
        if first is not None or asked is None or any(map(self._is_listed, asked)):
            opened = step.open(read, plate)
            if opened is not None:
                step.match(read, opened[0], plate, () if first is None else chain((first,), found))
        elif is_sampled(read.offset, self._sample_every):
            step.open(read, plate)

    def _is_listed(self, plate: str) -> bool:
        return next(self._index.candidates(plate), None) is not None


def _groups(batches: Iterable[RawBatch]) -> Iterator[list[RawBatch]]:
    """The batches in order, in groups that can be decompressed and scanned in one go."""
    group: list[RawBatch] = []
    size_bytes = 0
    for batch in batches:
        joins = (
            group
            and _joinable(group[0])
            and _joinable(batch)
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


def _joinable(batch: RawBatch) -> bool:
    return batch.intact and batch.magic >= 2 and batch.codec in JOINABLE_CODECS


def _normal_key(key: bytes | None) -> str | None:
    """A key in normal form as text; None for any other."""
    if key is None or not 0 < len(key) <= limits.PLATE_BYTES:
        return None
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return text if is_normal(text) else None


def _asked_at(data: memoryview, slot: int) -> Asked:
    """What the alternates header asks for, from the SLOT of a read's row."""
    if slot == record_decoder.NO_ALTERNATES:
        return NONE_ASKED
    if slot == record_decoder.ALTERNATES_TWICE:
        return None
    at, length = record_decoder.alternates_span(slot)
    return asked_for([bytes(data[at : at + length])])
