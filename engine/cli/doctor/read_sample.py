"""Judges the producers by a sample of the latest reads; it keeps only counts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engine import limits
from engine.cli.doctor.findings import Finding
from engine.documents.droppable import decode_read
from engine.documents.model import Detection
from engine.errors import DocumentError
from engine.plates.normal_form import is_normal, normalize


@dataclass(slots=True)
class Sample:
    """Counts over a sample of reads."""

    reads: int = 0
    bad: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    odd_keys: Counter[str] = field(default_factory=Counter)
    without_policy: int = 0
    from_future: int = 0
    #: By how much each read's own time is earlier than its record's.
    produced_late_s: list[float] = field(default_factory=list)

    def take(
        self, key: bytes | None, value: bytes | None, timestamp_ms: int, sources: frozenset[str]
    ) -> None:
        """Count a record of the reads; `sources` are those that have a policy."""
        self.reads += 1
        if value is None:
            self.bad["value_missing", "$", "must not be empty"] += 1
            return
        if len(value) > limits.READ_VALUE_BYTES:
            rule = f"must have at most {limits.READ_VALUE_BYTES} bytes"
            self.bad["value_too_large", "$", rule] += 1
            return
        try:
            read, _ = decode_read(value)
            plate = normalize(read.plate)
        except DocumentError as error:
            self.bad[error.reason, error.field, error.rule] += 1
            return
        self._look_at_key(key, plate)
        self.without_policy += read.source not in sources
        if timestamp_ms >= 0:
            self._look_at_time(read, timestamp_ms)

    def _look_at_key(self, key: bytes | None, plate: str) -> None:
        text = None if key is None else key.decode("utf-8", "replace")
        if text is None:
            self.odd_keys["missing"] += 1
        elif not is_normal(text):
            self.odd_keys["not in normal form"] += 1
        elif text != plate:
            self.bad["key_mismatch", "the key", "must be the plate in normal form"] += 1

    def _look_at_time(self, read: Detection, timestamp_ms: int) -> None:
        late_s = (timestamp_ms - read.captured_ms) / 1000
        if late_s < -limits.CLOCK_SKEW_S:
            self.from_future += 1
        else:
            self.produced_late_s.append(late_s)


def judge_sample(sample: Sample) -> Iterator[Finding]:
    """Judge the producers by a sample of the latest reads."""
    check = "reads"
    if not sample.reads:
        yield Finding(check, "note", "there are no reads to check", "produce some, and check again")
        return
    yield from _bad(check, sample.bad.most_common(), sample.reads)
    if sample.odd_keys:
        parts = ", ".join(f"{count:,} {reason}" for reason, count in sample.odd_keys.most_common())
        yield Finding(
            check,
            "warning",
            f"{sample.odd_keys.total():,} of {sample.reads:,} have odd keys ({parts})",
            "they are matched, but more slowly; make keys with engine.normalize",
        )
    if sample.from_future:
        yield Finding(
            check,
            "warning",
            f"{sample.from_future:,} of {sample.reads:,} were captured later than produced",
            "the clocks of the cameras or of the producers are wrong",
        )
    if sample.without_policy:
        share = f"{sample.without_policy:,} of {sample.reads:,}"
        yield Finding(
            check,
            "note",
            f"{share} are of sources without a policy, so they match nothing",
            "if that is not intended: hotlist policies set",
        )
    good = sample.reads - sample.bad.total()
    late = sorted(sample.produced_late_s)
    typical = f", typically produced {late[len(late) // 2]:.1f} s after the camera" if late else ""
    yield Finding(check, "ok", f"{good:,} of the latest {sample.reads:,} are good{typical}")


def _bad(
    check: str, bad: Iterable[tuple[tuple[str, str, str], int]], reads: int
) -> Iterator[Finding]:
    for (reason, place, rule), count in bad:
        yield Finding(
            check,
            "problem",
            f"{count:,} of {reads:,} are rejected: {reason}, {place} {rule}".rstrip(),
            "correct the producer; hotlist check checks a file of reads",
        )
