"""What reads come to: candidates decided and counted, made matches or rejects.

A candidate is an entry that a plate is like. In this order: whether the policy of the read's source
and the clock allow the match, whether the entry's narrowing rules the read out, and whether the
match is folded into another one. What is left becomes a match.

Nothing of a read is kept but in a match, and of a bad one no more than where it lies and why.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.alternates import NONE_ASKED, Asked
from engine.candidates import candidates_of, match_of
from engine.clock import format_time
from engine.documents import Detection, Entry, Match, Reject, decode_detection
from engine.errors import DocumentError
from engine.fields import RejectReason
from engine.likeness import Likeness
from engine.lists import Lists
from engine.narrowing import narrowed_out
from engine.plate import normalize
from engine.policy import POLICY_DENIALS
from engine.raw import RawFetch
from engine.suppress import FOLDED, Suppression, SuppressionRecord

#: A slot, its entry, and how a plate is like it.
Candidate = tuple[int, Entry, Likeness]


class FoundMatch(NamedTuple):
    """A match to deliver, and the broker's or producer's timestamp of its read."""

    match: Match
    read_ms: int


@dataclass(slots=True)
class Outcome:
    """What a fetch came to, at what time. Counters are by reason; of what a policy denied,
    `denied_by_source` counts by the read's source too. `suppressed` counts the matches that were
    folded into another one, `suppression` is what changed in what is remembered of that."""

    at_ms: int = 0
    reads: int = 0
    matches: list[FoundMatch] = field(default_factory=list)
    suppressed: int = 0
    suppression: list[SuppressionRecord] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    denied: Counter[str] = field(default_factory=Counter)
    denied_by_source: Counter[tuple[str, str]] = field(default_factory=Counter)
    odd_keys: Counter[str] = field(default_factory=Counter)
    values_opened: int = 0
    batches_parsed_slowly: int = 0


class Read(NamedTuple):
    """Where a read that has to be looked at lies, and its parts."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    asked: Asked = NONE_ASKED


class Step:
    """The handling of one fetch: its clock, its position and what has come of it so far."""

    def __init__(
        self, lists: Lists, suppression: Suppression, fetch: RawFetch, now_ms: int
    ) -> None:
        self._lists = lists
        self._suppression = suppression
        self._fetch = fetch
        self._now_ms = now_ms
        self.outcome = Outcome(at_ms=now_ms)

    def open(self, read: Read, plate: str | None) -> tuple[Detection, str] | None:
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

    def match(self, read: Read, detection: Detection, plate: str, found: list[Candidate]) -> None:
        """Emit a match for every entry that may match the read, or else one of the alternates
        that it asks for; count what is denied. `found` are the candidates for its own plate."""
        lists = self._lists
        for slot, each in candidates_of(lists.index, detection, plate, found, read.asked):
            denial = lists.eligibility.denial(slot, detection.source, detection.region)
            if denial is None:
                denial = narrowed_out(each.entry, detection)
            if denial is not None:
                self.outcome.denied[denial] += 1
                if denial in POLICY_DENIALS:
                    self.outcome.denied_by_source[detection.source, denial] += 1
                continue
            suppressed = self._suppression.admit(
                each.entry,
                each.plate,
                detection.camera,
                detection.captured_ms,
                self._fetch.partition,
                read.offset,
                read.timestamp_ms,
            )
            if suppressed == FOLDED:
                self.outcome.suppressed += 1
                continue
            match = match_of(
                each,
                detection,
                lists.misreads,
                suppressed,
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
