"""From a read that may match to an outcome: each candidate is decided and counted.

A candidate is an entry that a plate is like. It passes three checks, in this order: whether the
policy of the read's source and the clock allow the match, whether the entry's conditions exclude
the read, and whether the match repeats an earlier one. A candidate that passes becomes a match.

Nothing of a read is kept except in its matches. Of a bad read, only its position and the reason are
kept.

Long because a plain read and a decoded one are decided side by side, with the same counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from engine import limits
from engine.clock import format_time
from engine.documents.codec import encode_part
from engine.documents.model import Detection, Entry, Reject
from engine.documents.producer_faults import PRODUCER_FAULTS, key_fault
from engine.documents.schema_cache import SchemaMissing
from engine.documents.value_formats import decode_any
from engine.errors import DocumentError, RejectReason
from engine.in_parts import InParts, PartsList
from engine.index.eligibility import POLICY_DENIALS
from engine.index.open_entry import OpenEntry
from engine.matching.candidates import Found, candidates_of
from engine.matching.conditions import narrowed_out
from engine.matching.decided_step import DecidedStep
from engine.matching.lists import Lists
from engine.matching.match import Basis, build_match, confidence_of, found_match
from engine.matching.opening import Opened, Opening, Read
from engine.matching.outcome import FoundMatch, HandOver, Outcome
from engine.matching.plain_match import EntryParts, PlainMatches
from engine.matching.plain_reads import PlainRead, PlainStep
from engine.matching.quality import Quality
from engine.matching.ready_parts import ListedParts
from engine.matching.scanner import is_sampled
from engine.matching.sizes import COUNT_BYTES, REJECT_BYTES, match_bytes, read_bytes
from engine.matching.suppression import SUPPRESSED, Suppression
from engine.matching.suppression_key import Sighting, plain_key
from engine.matching.verification import like_plate_check
from engine.matching.written_matches import joined_parts
from engine.plates.confidence import confidence
from engine.plates.likeness import EXACT, Likeness
from engine.plates.normal_form import normalize
from engine.wire.headers import Headers, headers_at
from engine.wire.java_partitioner import murmur2_partition
from engine.wire.record_batch import RawFetch
from engine.wire.trace_context import TraceContext, carried_by

#: A slot, its entry, and how a plate is like it.
Candidate = tuple[int, Entry, Likeness]


class Decider:
    """The decisions on one fetch at one point in time, and their outcome so far.

    The caller stops after the read with which the outcome `is_full`.
    """

    def __init__(
        self,
        lists: Lists,
        suppression: Suppression,
        fetch: RawFetch,
        now_ms: int,
        opening: Opening,
        hand_over: HandOver | None = None,
    ) -> None:
        self._lists = lists
        self._suppression = suppression
        self._fetch = fetch
        self._now_ms = now_ms
        self._sample_every = opening.sample_every
        self.look_every = opening.look_every
        self._values = opening.values
        self._hand_over = hand_over
        #: Those of the outcome.
        self._matches: PartsList[FoundMatch] = PartsList()
        self.outcome = Outcome(at_ms=now_ms, partition=fetch.partition, matches=self._matches)
        self._size_bytes = 0
        self.plain = PlainMatches(now_ms, lists)
        #: The offset of the read whose headers were parsed last, and its trace.
        self._traced: tuple[int, TraceContext | None] | None = None

    @property
    def size_bytes(self) -> int:
        """The approximate size of the outcome so far."""
        return self._size_bytes + self._suppression.states.changed_bytes

    @property
    def is_full(self) -> bool:
        """Whether no more reads are processed: the outcome has reached its limit, or the last read
        waits for its schema."""
        # Not by way of the properties: it is asked after each read that is opened.
        return (
            self._size_bytes + self._suppression.states.changed_bytes >= limits.OUTCOME_BYTES
            or self.outcome.missing_schema is not None
        )

    @property
    def is_waiting(self) -> bool:
        """Whether the last read is not processed, because its schema must be fetched first."""
        return self.outcome.missing_schema is not None

    def turn_to(self, now_ms: int) -> None:
        """Set the time of the reads from now on and of the outcome, after a change of the lists."""
        self._now_ms = self.outcome.at_ms = now_ms
        self.plain = PlainMatches(now_ms, self._lists)

    def taken_to(self, offset: int) -> None:
        """Note that all reads below an offset are processed; if it is full, no more will be."""
        if self.is_full and self.outcome.next_offset is None:
            self.outcome.next_offset = offset

    def finish(self) -> Outcome:
        """Finish and return the outcome."""
        outcome = self.outcome
        if outcome.next_offset is not None and outcome.next_offset > self._fetch.last_offset:
            outcome.next_offset = None
        outcome.matches = InParts(joined_parts(self._matches.parts))
        outcome.suppression = self._suppression.take_changes()
        return outcome

    def open(self, read: Read, plate: str | None) -> Opened | None:
        """Decode a read's value; return the detection, its normalized plate, and what was dropped.

        If the value is bad, add a reject and return None. If its schema must be fetched first,
        return None too, and the read is not processed. `plate` is the read's key in normal form,
        with which the value must agree; None if the key names no plate.
        """
        assert read.value is not None
        self.outcome.values_opened += 1
        try:
            (detection, dropped), is_marked = decode_any(read.value, self._values)
            # The usual plate is its own key, which is in normal form.
            opened_plate = plate if detection.plate == plate else normalize(detection.plate)
        except SchemaMissing as missing:
            self.outcome.missing_schema = missing.schema_id
            self.outcome.values_opened -= 1
            return None
        except DocumentError as error:
            if error.reason in PRODUCER_FAULTS:
                self.outcome.producer_faults[error.reason] += 1
            self.reject(error.reason, read.offset, error)
            return None
        if is_marked:
            self.outcome.producer_faults["byte_order_mark"] += 1
        if opened_plate != plate:
            fault = None if read.key is None else self._key_fault(read.key, detection)
            if plate is not None:
                self.reject("key_mismatch", read.offset, fault)
                return None
        if is_sampled(read.offset, self.look_every):
            self._look_at(read, detection)
        if dropped:
            self.outcome.dropped_fields.update({each.field for each in dropped})
        return detection, opened_plate, dropped

    def _key_fault(self, key: bytes, detection: Detection) -> DocumentError | None:
        """Count a key that is another field of its read; return the error that says so."""
        found = key_fault(key, detection)
        if found is None:
            return None
        field, fault = found
        self.outcome.producer_faults[fault] += 1
        rule = "is the record's key, which must be the plate in normal form"
        return DocumentError("key_mismatch", field=f"$.{field}", rule=rule)

    def _look_at(self, read: Read, detection: Detection) -> None:
        """Count a sampled read for its source, and whether Java's producer places it elsewhere."""
        if is_sampled(read.offset, self._sample_every):
            self.outcome.sampled_by_source[self._known_source(detection.source)] += 1
        count = self._fetch.partition_count
        if read.key and count > 1 and murmur2_partition(read.key, count) != self._fetch.partition:
            self.outcome.producer_faults["other_partitioner"] += 1

    def match(self, read: Read, opened: Opened, found: Iterable[Candidate]) -> None:
        """Emit a match for each entry that may match the opened read; count the denied ones.

        `found` are the candidates for the read's own plate. Entries that it is not like may match
        one of the alternates that the read requests.
        """
        detection, plate, _ = opened
        for slot, each in candidates_of(self._lists.index, detection, plate, found, read.asked):
            if self._is_allowed(slot, detection.source, detection.region):
                self._match(read, opened, each)

    def match_exactly(self, read: Read, opened: Opened, first: tuple[int, Any]) -> None:
        """Do as `match` for entries of exactly the read's plate; see `Index.listed_from`.

        Most reads of a listed plate come here, so no entry is made of one that is denied, and one
        that has matched is ready for the next read.
        """
        detection, plate, _ = opened
        index = self._lists.index
        found: tuple[int, Any] | None = first
        while found is not None:
            slot, listed = found
            if self._is_allowed(slot, detection.source, detection.region):
                entry = index.open_entry(listed)
                found_entry = Found(entry.entry, index.revision(slot), EXACT, plate)
                if self._match(read, opened, found_entry) and entry is not listed:
                    index.keep_open(slot, entry)
            found = index.listed_after(slot, plate)

    def match_plainly(self, read: PlainRead, first: tuple[int, Any]) -> None:
        """Do as `match_exactly` for a plain read, without making a Detection."""
        self.outcome.values_opened += 1
        index, source = self._lists.index, read.source
        found: tuple[int, Any] | None = first
        while found is not None:
            slot, listed = found
            denial = self._lists.eligibility.denial(slot, source, read.region)
            if denial is None:
                entry = index.open_entry(listed)
                if self._match_plainly(read, slot, entry) and entry is not listed:
                    index.keep_open(slot, entry)
            else:
                self._count_denied(denial, source)
            found = index.listed_after(slot, read.key)

    def deny_only(self, read: PlainRead, slot: int) -> bool:
        """Return whether the clock or the source's policy denies the match of a plain read that is
        like the entry in this slot alone; count it then."""
        denial = self._lists.eligibility.denial(slot, read.source, read.region)
        if denial is None:
            return False
        self.outcome.values_opened += 1
        self._count_denied(denial, read.source)
        return True

    def match_only(self, read: PlainRead, slot: int) -> bool:
        """Do as `match` for a plain read that `deny_only` has not denied, and whose key is not the
        entry's plate; return False, with nothing done, if that takes a Detection or the
        suppression."""
        lists, outcome, plain = self._lists, self.outcome, self.plain
        index = lists.index
        kept = index.opened(slot)
        opened = OpenEntry(index.entry(slot)) if kept is None else kept
        entry = opened.entry
        denial = plain.excluded(entry, read)
        if denial is not None:
            outcome.values_opened += 1
            outcome.denied[denial] += 1
            return True
        is_narrow = entry.area is not None or entry.hours is not None
        if is_narrow or self._suppression.concerns(entry):
            return False
        likeness = index.likeness(read.key, entry, read.region)
        if likeness is None:  # never, because compiled code has found it
            return False
        if opened.made is None:
            opened.made = plain.parts(entry, index.revision(slot))
        if kept is None:
            index.keep_open(slot, opened)
        parts: EntryParts = opened.made
        headers = read.headers
        trace = None if headers is None else self._trace_of(read.offset, headers)
        found = plain.found(
            parts,
            read,
            plain.compared(parts, read).checks,
            confidence(likeness, entry.plate, read.key, read.confidence, lists.misreads),
            0,
            trace,
            encode_part(like_plate_check(likeness, read.plate, entry.plate, None)),
            likeness.match_type,
        )
        outcome.values_opened += 1
        self._matches.append(found)
        self._size_bytes += parts.size_bytes + read_bytes(read.size_bytes, trace, 0)
        return True

    def take(self, step: PlainStep, decided: DecidedStep, listed: ListedParts, begin: int) -> int:
        """Take what compiled code has made of the reads of a step from a number on, with the counts
        of `match_plainly`, until one that Python decides or until the outcome is full; return the
        number of the next read. `listed` is what it was made from."""
        room_bytes, outcome = limits.OUTCOME_BYTES - self.size_bytes, self.outcome
        admitted = None
        if decided.are_kept:
            admitted = self._suppression.admit_ready(
                *(step, decided.decided, listed, begin),
                partition=outcome.partition,
                room_bytes=room_bytes,
            )
        if admitted is not None:
            end = admitted.end
            outcome.suppressed += admitted.suppressed
            size_bytes = admitted.size_bytes
        else:
            end = decided.next_left(begin)
            if end == begin:
                return end
            end = decided.filling(begin, end, room_bytes)
            size_bytes = decided.size_bytes(begin, end)
        if end == begin:
            return end
        outcome.values_opened += end - begin
        self._matches.add(decided.matches(begin, end))
        for reason, source, count in decided.denials(begin, end):
            outcome.denied[reason] += count
            if reason in POLICY_DENIALS:
                outcome.denied_by_source[source, reason] += count
        self._size_bytes += size_bytes
        return end

    def match_kept(self, read: PlainRead, opened: OpenEntry, found: FoundMatch) -> None:
        """Do as `match_plainly` for a read whose match is written, as one that reports no repeat,
        and may itself be one."""
        self.outcome.values_opened += 1
        suppressed, confidence = self._admit(read, opened)
        if suppressed == SUPPRESSED:
            return
        parts = opened.made
        if suppressed:
            _, checks = self.plain.compared(parts, read)
            found = self.plain.found(parts, read, checks, confidence, suppressed, None)
        self._matches.append(found)
        self._size_bytes += parts.size_bytes + read.size_bytes

    def _admit(self, read: PlainRead, opened: OpenEntry) -> tuple[int, float]:
        """Return how many repeats the match of a plain read reports, or SUPPRESSED if it is one
        itself; and its confidence."""
        plain, parts = self.plain, opened.made
        if not parts.window_ms and not self._suppression.states.count:
            return 0, plain.confidence(parts, read)
        key = plain_key(parts.key_front, read.source.encode(), read.camera.encode())
        known = read.exact_confidence
        if known >= 0:
            answer = self._suppression.admit_plain(
                opened.entry, read, key, self.outcome.partition, parts.window_ms
            )
            if answer == SUPPRESSED:
                self.outcome.suppressed += 1
            if answer is not None:
                return answer, known
        quality = Quality("exact", partial(plain.confidence, parts, read), known)
        seen = Sighting(
            *(read.key, read.source, read.camera, read.captured_ms, read.timestamp_ms),
            *(self.outcome.partition, read.offset, quality),
        )
        suppressed = self._suppression.admit(opened.entry, seen, key)
        self._suppression.make_ready(key, opened.entry, seen.partition)
        if suppressed == SUPPRESSED:
            self.outcome.suppressed += 1
            return SUPPRESSED, 0.0
        return suppressed, quality.confidence

    def _match_plainly(self, read: PlainRead, slot: int, opened: OpenEntry) -> bool:
        """Do as `_match` for a plain read."""
        plain, parts = self.plain, opened.made
        if parts is None:
            lists, entry = self._lists, opened.entry
            if entry.area is not None or entry.hours is not None:
                found = Found(entry, lists.index.revision(slot), EXACT, read.key)
                (detection, dropped), _ = decode_any(read.value, self._values)
                return self._match(read.whole(), (detection, read.key, dropped), found)
            parts = opened.made = plain.parts(entry, lists.index.revision(slot))
        if self._hand_over is not None:
            self._hand_over_early()
        denial, checks = plain.compared(parts, read)
        if denial is not None:
            self.outcome.denied[denial] += 1
            return False
        suppressed, confidence = self._admit(read, opened)
        if suppressed == SUPPRESSED:
            return False
        headers = read.headers
        trace = None if headers is None else self._trace_of(read.offset, headers)
        self._matches.append(plain.found(parts, read, checks, confidence, suppressed, trace))
        self._size_bytes += parts.size_bytes + read_bytes(read.size_bytes, trace, 0)
        return True

    def _is_allowed(self, slot: int, source: str, region: str | None) -> bool:
        """Return whether the clock and the source's policy allow a match; count it if not."""
        denial = self._lists.eligibility.denial(slot, source, region)
        if denial is not None:
            self._count_denied(denial, source)
        return denial is None

    def _count_denied(self, denial: str, source: str) -> None:
        self.outcome.denied[denial] += 1
        if denial in POLICY_DENIALS:
            self.outcome.denied_by_source[self._known_source(source), denial] += 1
            self._size_bytes += COUNT_BYTES

    def _match(self, read: Read, opened: Opened, found: Found) -> bool:
        """Emit the match unless the entry's conditions exclude the read or it is a repeat; return
        whether there is one."""
        self._hand_over_early()
        lists = self._lists
        detection, _, dropped = opened
        entry = found.entry
        denial = narrowed_out(entry, detection)
        if denial is not None:
            self.outcome.denied[denial] += 1
            return False
        captured_ms = detection.captured_ms
        if self._suppression.concerns(entry):
            quality = Quality(
                found.likeness.match_type, partial(confidence_of, found, detection, lists.misreads)
            )
            seen = Sighting(
                *(found.plate, detection.source, detection.camera, captured_ms),
                *(read.timestamp_ms, self.outcome.partition, read.offset, quality),
            )
            suppressed = self._suppression.admit(entry, seen)
            if suppressed == SUPPRESSED:
                self.outcome.suppressed += 1
                return False
            confidence = quality.confidence
        else:
            suppressed, confidence = 0, confidence_of(found, detection, lists.misreads)
        policy_revision = lists.eligibility.revision_of(detection.source)
        basis = Basis(policy_revision, lists.list_revision, self._now_ms, captured_ms, dropped)
        match = build_match(found, detection, confidence, suppressed, basis)
        trace = self._trace_of(read.offset, read.headers) if read.headers else None
        self._matches.append(found_match(match, read.timestamp_ms, trace))
        value_bytes = len(read.value or b"")
        self._size_bytes += match_bytes(entry) + read_bytes(value_bytes, trace, len(dropped))
        return True

    def _hand_over_early(self) -> None:
        """Hand over the matches of a read that has very many, while it is still being matched."""
        if self._hand_over is not None and self.size_bytes >= 2 * limits.OUTCOME_BYTES:
            self._hand_over(self._taken_out())

    def _trace_of(self, offset: int, headers: Headers | memoryview) -> TraceContext | None:
        """Return the trace that a read belongs to, from its headers, which are parsed once."""
        if self._traced is None or self._traced[0] != offset:
            parsed = headers_at(headers) if isinstance(headers, memoryview) else headers
            self._traced = offset, carried_by(parsed) if parsed else None
        return self._traced[1]

    def _known_source(self, source: str) -> str | None:
        """Return a read's source if it has a policy: no other text of a read may be counted by."""
        return source if self._lists.eligibility.has_policy(source) else None

    def _taken_out(self) -> Outcome:
        """Remove and return the matches so far, which need not wait for the rest of a read."""
        outcome = self.outcome
        some = Outcome(
            at_ms=self._now_ms,
            partition=outcome.partition,
            matches=InParts(joined_parts(self._matches.parts)),
            suppressed=outcome.suppressed,
            suppression=self._suppression.take_changes(),
        )
        self._matches = outcome.matches = PartsList()
        outcome.suppressed = self._size_bytes = 0
        return some

    def reject(self, reason: RejectReason, offset: int, error: DocumentError | None = None) -> None:
        """Add a reject for one bad record."""
        self._reject(reason, offset, None, error)

    def reject_rest(self, reason: RejectReason, offset: int, last_offset: int) -> None:
        """Add a reject for a batch's records from an offset on, at least for the last one."""
        self._reject(reason, min(offset, last_offset), last_offset, None)

    def _reject(
        self,
        reason: RejectReason,
        offset: int,
        last_offset: int | None,
        error: DocumentError | None,
    ) -> None:
        self._size_bytes += REJECT_BYTES
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
