"""The heart: fetched batches and control records in, matches and rejects out.

Synchronous and pure but for its state (index, policies): no I/O, no event loop, no clock but
the one it is given. Control records and fetches are handled one after the other by one thread,
so a change counts for every read that is processed after it, and nothing is ever seen half
changed.

A read that matches nothing leaves only counts. Nothing of a read may be logged, kept or put
into an error here, and no bad record may stop what follows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from engine import limits, scan
from engine.clock import format_time
from engine.decompress import JOINABLE_CODECS, CodecError, Decompressor
from engine.documents import Detection, Entry, Match, Reject, decode_detection
from engine.errors import DocumentError
from engine.fields import RejectReason
from engine.index import Index
from engine.lists import Lists
from engine.match import build_match, narrowed_out
from engine.plate import is_normal, normalize
from engine.policy import ENTRY_REGION, POLICY_DENIALS
from engine.raw import BatchError, Parse, RawBatch, RawFetch
from engine.scan import Malformed, Scanner


class FoundMatch(NamedTuple):
    """A match to deliver, and the broker's or producer's timestamp of its read."""

    match: Match
    read_ms: int


@dataclass(slots=True)
class Outcome:
    """What a fetch came to, at what time. Counters are by reason; of what a policy denied,
    `denied_by_source` counts by the read's source too."""

    at_ms: int = 0
    reads: int = 0
    matches: list[FoundMatch] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    denied: Counter[str] = field(default_factory=Counter)
    denied_by_source: Counter[tuple[str, str]] = field(default_factory=Counter)
    odd_keys: Counter[str] = field(default_factory=Counter)
    values_opened: int = 0
    batches_parsed_slowly: int = 0


class _Read(NamedTuple):
    """Where a read that has to be looked at lies, and its parts."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Heart:
    """See the module.

    `sample_every`: one in so many unmatched reads has its key checked. `parse` reads the
    batches that the scanner does not.
    """

    def __init__(self, lists: Lists, sample_every: int, parse: Parse) -> None:
        self._parse = parse
        self.lists = lists
        self._index: Index = lists.index
        self._sample_every = sample_every
        self._decompressor = Decompressor()
        self._scanner = Scanner(sample_every)

    def process(self, fetch: RawFetch, now_ms: int) -> Outcome:
        """Match all reads of a fetch at one point in time."""
        self.lists.turn_to(now_ms)
        step = _Step(self.lists, fetch, now_ms)
        for group in _groups(fetch.batches):
            if len(group) == 1 or not self._process_group(group, step):
                for batch in group:
                    self._process_alone(batch, step)
        return step.outcome

    def forget(self) -> None:
        """Wipe the buffers that are used again, in which the last reads still lie.

        Costs as much as writing the buffers once.
        """
        self._decompressor.forget()
        self._scanner.forget()

    def _process_group(self, group: list[RawBatch], step: _Step) -> bool:
        """Take several batches in one go; False, and nothing done, where one is not well formed.

        What a step costs beside its work, the passing of the GIL from thread to thread above
        all, is paid once for the group.
        """
        joined = b"".join([batch.records for batch in group])
        try:
            self._scan(group, memoryview(joined), step)
        except (CodecError, Malformed):
            return False
        return True

    def _process_alone(self, batch: RawBatch, step: _Step) -> None:
        try:
            self._process_batch(batch, step)
        except BatchError as error:
            step.reject_rest(error.reason, error.next_offset, batch.next_offset - 1)

    def _process_batch(self, batch: RawBatch, step: _Step) -> None:
        if not batch.intact:
            raise BatchError("corrupt_batch", batch.first_offset)
        if batch.magic < 2:
            self._parse_batch(batch, step)
            return
        try:
            self._scan([batch], batch.records, step)
        except CodecError as error:
            raise BatchError(error.reason, batch.first_offset) from error
        except Malformed:
            self._parse_batch(batch, step)

    def _scan(self, batches: list[RawBatch], records: memoryview, step: _Step) -> None:
        """Take batches whose records, as compressed, are these; nothing is done where it raises.

        Raises CodecError and Malformed.
        """
        data = self._decompressor.decompress(batches[0].codec, records)
        rows, seen = self._scanner.scan(batches, data, self._index.plates)
        step.outcome.reads += seen
        view = data.data
        for kind, slot, offset, timestamp_ms, key_at, key_length, at, length in rows.tolist():
            key = None if key_length < 0 else bytes(view[key_at : key_at + key_length])
            value = None if length < 0 else bytes(view[at : at + length])
            read = _Read(offset, timestamp_ms, key, value)
            if kind == scan.HIT and key is not None:
                plate = key.decode("ascii")
                found = self._index.chain(slot, plate)
                self._process_keyed(read, plate, found, step)
            elif kind == scan.SAMPLED and key is not None:
                step.open(read, key.decode("ascii"))
            else:
                self._process_read(read, step)

    def _parse_batch(self, batch: RawBatch, step: _Step) -> None:
        """Take a batch that the scanner does not, record by record."""
        step.outcome.batches_parsed_slowly += 1
        for record in self._parse(batch):
            step.outcome.reads += 1
            read = _Read(record.offset, record.timestamp_ms, record.key, record.value)
            self._process_read(read, step)

    def _process_read(self, read: _Read, step: _Step) -> None:
        """Take one read by all the rules, without the scanner's help."""
        if read.value is None:
            step.reject("value_missing", read.offset)
            return
        if len(read.value) > limits.READ_VALUE_BYTES:
            step.reject("value_too_large", read.offset)
            return
        plate = _normal_key(read.key)
        if plate is not None:
            self._process_keyed(read, plate, self._index.slots_of(plate), step)
            return
        step.outcome.odd_keys["missing" if read.key is None else "not_normal"] += 1
        opened = step.open(read, None)
        if opened is not None:
            detection, plate = opened
            step.match(read, detection, plate, self._index.slots_of(plate))

    def _process_keyed(
        self, read: _Read, plate: str, found: Iterable[tuple[int, Entry]], step: _Step
    ) -> None:
        """Take a read whose key is a plate in normal form; `found` are that plate's entries."""
        if not step.candidate(read, plate, found) and scan.is_sampled(
            read.offset, self._sample_every
        ):
            step.open(read, plate)


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


class _Step:
    """The handling of one fetch: its clock, its position and what has come of it so far."""

    def __init__(self, lists: Lists, fetch: RawFetch, now_ms: int) -> None:
        self._lists = lists
        self._fetch = fetch
        self._now_ms = now_ms
        self.outcome = Outcome(at_ms=now_ms)

    def candidate(self, read: _Read, plate: str, found: Iterable[tuple[int, Entry]]) -> bool:
        """Verify a read whose key's hash is listed; False where no entry has its plate."""
        entries = list(found)
        if not entries:
            return False
        opened = self.open(read, plate)
        if opened is not None:
            self.match(read, opened[0], plate, entries)
        return True

    def open(self, read: _Read, plate: str | None) -> tuple[Detection, str] | None:
        """Open a read's value: the detection and its normalized plate, or None and a reject.

        `plate` is the read's key in normal form, which the value must agree with; None where
        the key says nothing.
        """
        self.outcome.values_opened += 1
        assert read.value is not None
        try:
            detection = decode_detection(read.value)
            opened_plate = normalize(detection.plate)
        except DocumentError as error:
            self.reject(error.reason, read.offset, error)
            return None
        if plate is not None and opened_plate != plate:
            self.reject("key_mismatch", read.offset)
            return None
        return detection, opened_plate

    def match(
        self, read: _Read, detection: Detection, plate: str, found: Iterable[tuple[int, Entry]]
    ) -> None:
        """Emit a match for every entry that may match the read; count the others."""
        lists = self._lists
        for slot, entry in found:
            denial = lists.eligibility.denial(slot, detection.source, detection.region)
            if denial is None and narrowed_out(entry, detection):
                denial = ENTRY_REGION
            if denial is not None:
                self.outcome.denied[denial] += 1
                if denial in POLICY_DENIALS:
                    self.outcome.denied_by_source[detection.source, denial] += 1
                continue
            match = build_match(
                entry,
                lists.index.revision(slot),
                detection,
                plate,
                lists.eligibility.revision_of(detection.source),
                lists.list_revision,
                self._now_ms,
            )
            self.outcome.matches.append(FoundMatch(match, read.timestamp_ms))

    def reject(self, reason: RejectReason, offset: int, error: DocumentError | None = None) -> None:
        """Point to one bad record."""
        self._reject(reason, offset, None, error)

    def reject_rest(self, reason: RejectReason, offset: int, last_offset: int) -> None:
        """Point to the records of a batch from an offset on; to its last one at the least."""
        self._reject(reason, min(offset, last_offset), last_offset, None)

    def _reject(
        self,
        reason: RejectReason,
        offset: int,
        last_offset: int | None,
        error: DocumentError | None,
    ) -> None:
        self.outcome.rejects.append(
            Reject(
                topic=self._fetch.topic,
                partition=self._fetch.partition,
                offset=offset,
                last_offset=last_offset,
                reason=reason,
                field=None if error is None else error.field,
                rule=None if error is None else error.rule,
                rejected_at=format_time(self._now_ms),
            )
        )
