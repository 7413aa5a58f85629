"""Judges the producers by a sample of the latest reads; it keeps only counts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from engine import limits
from engine.cli.doctor.findings import Finding, State
from engine.clock import duration
from engine.documents.droppable import Dropped
from engine.documents.model import Detection
from engine.documents.producer_faults import DESCRIBED, PRODUCER_FAULTS, key_fault
from engine.documents.value_formats import Values, decode_any
from engine.errors import DocumentError
from engine.plates.normal_form import is_normal, normalize
from engine.wire.java_partitioner import murmur2_partition
from engine.wire.partitioners import crc32_partition, fnv1a_partition

_PARTITIONERS: Final = {
    "murmur2": murmur2_partition,
    "crc32": crc32_partition,
    "fnv1a": fnv1a_partition,
}
#: The clients whose default a partitioner is.
_CLIENTS: Final = {
    "crc32": "crc32, the default of librdkafka's clients (confluent-kafka, kcat, node-rdkafka)",
    "fnv1a": "FNV-1a, the default of Sarama",
}


@dataclass(slots=True)
class Sample:
    """Counts over a sample of reads."""

    values: Values = field(default_factory=Values)
    reads: int = 0
    #: Reads that match nothing, whatever is listed.
    lost: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Reads with a key, and of these the ones that lie where a partitioner puts them.
    placed: Counter[str] = field(default_factory=Counter)
    keyed: int = 0
    bad: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    odd_keys: Counter[str] = field(default_factory=Counter)
    without_policy: int = 0
    from_future: int = 0
    #: By how much each read's own time is earlier than its record's.
    produced_late_s: list[float] = field(default_factory=list)

    def take(
        self,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        sources: frozenset[str],
        place: tuple[int, int] = (0, 1),
    ) -> None:
        """Count a record of the reads; `sources` are those that have a policy.

        `place` is the record's partition, and how many there are. The schema that the value names
        must be known.
        """
        self.reads += 1
        if value is None:
            self._reject("value_missing", "$", "must not be empty")
            return
        if len(value) > limits.READ_VALUE_BYTES:
            rule = f"must have at most {limits.READ_VALUE_BYTES} bytes"
            self._reject("value_too_large", "$", rule)
            return
        self._look_at_partition(key, *place)
        try:
            (read, dropped), is_marked = decode_any(value, self.values)
            plate = normalize(read.plate)
        except DocumentError as error:
            if error.reason in PRODUCER_FAULTS:
                self.lost += 1
                self.faults[error.reason] += 1
            else:
                self._reject(error.reason, error.field, error.rule)
            return
        self.faults["byte_order_mark"] += is_marked
        self._look_at_dropped(dropped)
        self._look_at_key(key, read, plate)
        self.without_policy += read.source not in sources
        if timestamp_ms >= 0:
            self._look_at_time(read, timestamp_ms)

    def _reject(self, reason: str, place: str, rule: str) -> None:
        self.lost += 1
        self.bad[reason, place, rule] += 1

    def _look_at_dropped(self, dropped: tuple[Dropped, ...]) -> None:
        for path, rule in {(each.field, each.rule) for each in dropped}:
            self.dropped[path, rule] += 1

    def _look_at_key(self, key: bytes | None, read: Detection, plate: str) -> None:
        text = None if key is None else key.decode("utf-8", "replace")
        found = None if key is None or text == plate else key_fault(key, read)
        if found is not None:
            self.faults[found[1]] += 1
        if text is None:
            self.odd_keys["missing"] += 1
        elif not is_normal(text):
            self.odd_keys["not in normal form"] += 1
        elif text != plate and found is None:
            self._reject("key_mismatch", "the key", "must be the plate in normal form")
        elif text != plate:
            self.lost += 1

    def _look_at_partition(self, key: bytes | None, partition: int, count: int) -> None:
        if key and count > 1:
            self.keyed += 1
            for name, chooses in _PARTITIONERS.items():
                self.placed[name] += chooses(key, count) == partition

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
    yield from _faults(check, sample)
    yield from _dropped(check, sample)
    yield from _partitioners(check, sample)
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
    good = sample.reads - sample.lost
    late = sorted(sample.produced_late_s)
    typical = (
        f", typically produced {duration(late[len(late) // 2])} after the camera" if late else ""
    )
    yield Finding(check, "ok", f"{good:,} of the latest {sample.reads:,} are good{typical}")


#: Faults with which a read is matched all the same.
_HARMLESS: Final = frozenset({"byte_order_mark"})


def _faults(check: str, sample: Sample) -> Iterator[Finding]:
    for fault, count in sample.faults.most_common():
        if count:
            what, todo = DESCRIBED[fault]
            state: State = "warning" if fault in _HARMLESS else "problem"
            yield Finding(check, state, f"{count:,} of {sample.reads:,} {what}", todo)


def _dropped(check: str, sample: Sample) -> Iterator[Finding]:
    for (name, rule), count in sample.dropped.most_common():
        yield Finding(
            check,
            "warning",
            f"{count:,} of {sample.reads:,} lose their {name}, or a part of it: it {rule}",
            "they are matched without it; correct the producer: hotlist check",
        )


def _partitioners(check: str, sample: Sample) -> Iterator[Finding]:
    """Judge whether the reads of one plate lie on one partition."""
    elsewhere = sample.keyed - sample.placed["murmur2"]
    if not elsewhere:
        return
    shares = f"{elsewhere:,} of {sample.keyed:,}"
    for name, clients in _CLIENTS.items():
        if sample.placed[name] == sample.keyed:
            what = f"all reads are partitioned by {clients}"
            todo = "fine while every producer does so; hotlist ingest and replay use murmur2"
            yield Finding(check, "note", what, todo)
            return
    what, todo = DESCRIBED["other_partitioner"]
    likely = max(_CLIENTS, key=lambda name: sample.placed[name])
    if sample.placed[likely] > sample.keyed // 2:
        what += f"; {sample.placed[likely]:,} fit {_CLIENTS[likely]}"
    yield Finding(check, "warning", f"{shares} {what}", todo)


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
