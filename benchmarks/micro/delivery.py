"""What the event loop does for each match between the matcher and the socket.

From a found match to its two records in batches: the match's record with its headers and its
partition, the audit's record sealed into a chain, both written, compressed and checksummed. The
time is that of the thread. A thread that compresses a large batch does not hold the GIL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.scenery import probe_entry
from benchmarks.micro.material import reads
from engine.audit.chain import Chain
from engine.delivery.audit_writer import Sealing
from engine.delivery.batch import batches
from engine.delivery.records import Outgoing, match_events, records_of
from engine.documents.codec import decode_detection
from engine.kafka.topics import Topics
from engine.matching.candidates import Found
from engine.matching.match import Basis, build_match, found_match
from engine.matching.outcome import FoundMatch, Outcome
from engine.plates.likeness import Likeness
from engine.wire.java_partitioner import murmur2_partitions

_MATCHES = 2_000
_PARTITIONS = 4
_GOES = 15
_NOW_MS = 1_764_000_000_000


def measure() -> list[MeasuredCase]:
    """One case for each step; the last one is all of them."""
    topics = Topics("bench.")
    outcome = Outcome(at_ms=_NOW_MS, matches=_found())
    matches, events = records_of(topics, outcome), match_events(outcome)

    def sealed() -> list[Outgoing]:
        sealing = Sealing(topics, Chain("c" * 32))
        return list(sealing.records(events))

    audited = sealed()
    steps: dict[str, Callable[[], object]] = {
        "the matches' records": lambda: records_of(topics, outcome),
        "their partitions": lambda: murmur2_partitions([r.key for r in matches], _PARTITIONS),
        "the audit's events": lambda: match_events(outcome),
        "sealed": sealed,
        "matches in batches": lambda: _built(matches),
        "audit records in batches": lambda: _built(audited),
    }
    times_us = {name: _us_a_match(step) for name, step in steps.items()}
    times_us["all of it"] = sum(times_us.values())
    return [
        MeasuredCase(case=name, figures=[Figure(name="time", unit="µs a match", values=[took_us])])
        for name, took_us in times_us.items()
    ]


def _found() -> list[FoundMatch]:
    entry = probe_entry("AG0001-0000000", "X")
    found = []
    for number, (key, value) in enumerate(reads(_MATCHES)):
        plate, read = key.decode(), decode_detection(value)
        listed = msgspec.structs.replace(entry, plate=plate, entry_id=f"AG0001-{number:07}")
        candidate = Found(listed, number, Likeness("exact"), plate)
        basis = Basis(1, 1, _NOW_MS, read.captured_ms)  # a fetch has one time
        found.append(found_match(build_match(candidate, read, 0.99, 0, basis), read.captured_ms))
    return found


def _built(records: Sequence[Outgoing]) -> list[bytes]:
    return [batch.build() for batch in batches(records, is_transactional=False)]


def _us_a_match(step: Callable[[], object]) -> float:
    """The least of several goes: a thread's time grows when others use the processor."""
    least_s = float("inf")
    for _ in range(_GOES):
        started_s = time.thread_time()
        step()
        least_s = min(least_s, time.thread_time() - started_s)
    return least_s / _MATCHES * 1e6
