"""What the event loop does for each match between the matcher and the socket.

From what the matcher found to its two records in batches: the match's record with its headers and
its partition, the audit's record sealed into a chain, both written, compressed and checksummed, and
what the metrics count. Matches that compiled code has written are columns; the same ones are
measured as objects too, as which those come that Python has decided. The time is that of the
thread, and a thread that compresses a large batch does not hold the GIL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.micro.hit import OPEN_SOURCE, listed_reads
from engine.audit.chain import Chain
from engine.delivery.audit_writer import Sealing
from engine.delivery.batch import batches
from engine.delivery.producer import by_partition
from engine.delivery.records import Outgoing, match_events, records_of
from engine.kafka.topics import Topics
from engine.matching.outcome import Outcome
from engine.observability.metrics import Metrics

_PARTITIONS = 4
_GOES = 15
#: After so many fetches of the same reads compiled code decides all of them.
_FETCHES = 4


def measure() -> list[MeasuredCase]:
    """One case for each step; the last one is all of them."""
    now_ms = int(time.time() * 1000)
    matcher, [fetch] = listed_reads(OPEN_SOURCE, 0, 1, now_ms)
    for _ in range(_FETCHES):
        columns = matcher.process(fetch, now_ms)
    objects = Outcome(at_ms=columns.at_ms, matches=[*columns.matches])
    of_kind = {"as columns": _steps_us(columns), "as objects": _steps_us(objects)}
    return [
        MeasuredCase(
            case=step,
            figures=[
                Figure(name=kind, unit="µs a match", values=[steps_us[step]])
                for kind, steps_us in of_kind.items()
            ],
        )
        for step in of_kind["as columns"]
    ]


def _steps_us(outcome: Outcome) -> dict[str, float]:
    topics, metrics = Topics("bench."), Metrics()
    records, events = records_of(topics, outcome), match_events(outcome)
    placed = _placed(records)

    def sealed() -> Sequence[Outgoing]:
        return Sealing(topics, Chain("c" * 32)).every(events)

    audited = sealed()
    steps: dict[str, Callable[[], object]] = {
        "the matches' records": lambda: records_of(topics, outcome),
        "their partitions": lambda: _placed(records),
        "matches in batches": lambda: [_built(some) for some in placed],
        "the audit's events": lambda: match_events(outcome),
        "sealed": sealed,
        "audit records in batches": lambda: _built(audited),
        "counted": partial(metrics.count_delivered, outcome, outcome.at_ms + 50, 0.1),
    }
    count = len(outcome.matches)
    steps_us = {name: _least_s(step) / count * 1e6 for name, step in steps.items()}
    return {**steps_us, "all of it": sum(steps_us.values())}


async def _partitions_for(topic: str) -> set[int]:
    return {*range(_PARTITIONS)}


def _placed(records: Sequence[Outgoing]) -> list[Sequence[Any]]:
    """The records by partition: nothing is waited for."""
    placing: Any = by_partition(SimpleNamespace(partitions_for=_partitions_for), records)
    try:
        placing.send(None)  # an event loop would take longer than the step
    except StopIteration as placed:
        return [*placed.value.values()]
    raise AssertionError("it waits")


def _built(records: Sequence[Any]) -> list[bytes]:
    return [batch.build() for batch in batches(records, is_transactional=False)]


def _least_s(step: Callable[[], object]) -> float:
    """The least of several goes: a thread's time grows when others use the processor."""
    least_s = float("inf")
    for _ in range(_GOES):
        started_s = time.thread_time()
        step()
        least_s = min(least_s, time.thread_time() - started_s)
    return least_s
