"""Measure `workers`: throughput by the number of worker processes in one group.

The workers join while the topic is empty and hold what they fetch while it is filled, so that no
rebalance falls into what is measured. Then all are let go at once. What they had fetched by then
is not in the rate: it counts from the moment at which a quarter of the reads is processed.
"""

from __future__ import annotations

import contextlib
import time
import uuid

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from benchmarks import fill
from benchmarks.definitions import Expected, Input
from benchmarks.fill import FillError
from benchmarks.measure import ProcessFailedError
from benchmarks.measures.children import Child
from benchmarks.measures.definition import Count, Strict
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.member import Member, Progress
from benchmarks.runner import TIMEOUT_S, Say, WrongCountError
from engine.kafka.topics import Topics

_JOIN_S = 60.0
_LOOK_EVERY_S = 0.02
_ADMIN_S = 10


class Settings(Strict, frozen=True, kw_only=True):
    """The numbers of workers; each must divide the partitions."""

    input: Input
    expected: Expected
    workers: tuple[Count, ...]

    def __post_init__(self) -> None:
        if any(self.input.partitions % number for number in self.workers):
            raise ValueError("partitions must be a multiple of the workers")


def measure(bootstrap: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """Measure each number of workers; they take turns within a round."""
    rates: dict[int, list[float]] = {number: [] for number in settings.workers}
    failures: dict[int, str] = {}
    for _ in range(rounds):
        for number in settings.workers:
            prefix = f"bench-{uuid.uuid4().hex[:8]}."
            try:
                rate = _run_once(bootstrap, prefix, settings, number)
            except (ProcessFailedError, WrongCountError) as error:
                failures[number] = str(error)
                say(f"  {number}: FAILED: {error}")
                continue
            finally:
                fill.remove(bootstrap, prefix)
            rates[number].append(rate)
            say(f"  {number} in the group: {rate:.0f} M reads/min")
    return [
        MeasuredCase(
            case=str(number),
            figures=[]
            if number in failures
            else [Figure(name="drained", unit="M reads/min", values=rates[number])],
            failure=failures.get(number),
        )
        for number in settings.workers
    ]


def _run_once(bootstrap: str, prefix: str, settings: Settings, number: int) -> float:
    """Million reads a minute of one group."""
    fill.declare_topics(bootstrap, prefix, settings.input)
    group = f"{prefix}group"
    member = Member(bootstrap=bootstrap, prefix=prefix, group=group)
    with contextlib.ExitStack() as stack:
        members = [
            stack.enter_context(Child("benchmarks.measures.member", member)) for _ in range(number)
        ]
        _wait_joined(bootstrap, group, number, settings.input.partitions)
        filled = fill.fill(bootstrap, prefix, settings.input, declare=False)
        if filled.expected != settings.expected:
            raise FillError(f"the input gives {filled.expected}, not {settings.expected}")
        for one in members:
            one.tell("go")
        timelines = _follow(members, settings.input.reads)
        for one in members:
            one.end(_JOIN_S)
        delivered = fill.count_records(bootstrap, Topics(prefix).matches)
    return _checked_rate(timelines, delivered, settings)


def _wait_joined(bootstrap: str, group: str, number: int, partitions: int) -> None:
    """Wait until so many members share the partitions evenly."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline_s = time.monotonic() + _JOIN_S
    while time.monotonic() < deadline_s:
        asked = admin.describe_consumer_groups([group], request_timeout=_ADMIN_S)
        found = asked[group].result()
        shares = [len(one.assignment.topic_partitions) for one in found.members]
        even = shares == [partitions // number] * number
        if even and found.state == ConsumerGroupState.STABLE:
            return
        time.sleep(10 * _LOOK_EVERY_S)
    raise ProcessFailedError(f"{number} workers did not share the partitions in time")


def _follow(members: list[Child], reads: int) -> list[list[Progress]]:
    """What each said until all reads were processed and all matches acknowledged."""
    timelines: list[list[Progress]] = [[] for _ in members]
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        for one, timeline in zip(members, timelines, strict=True):
            timeline += one.available(Progress)
        last = [timeline[-1] for timeline in timelines if timeline]
        if sum(one.reads for one in last) >= reads and all(
            one.delivered == one.found for one in last
        ):
            return timelines
        time.sleep(_LOOK_EVERY_S)
    raise ProcessFailedError("the workers did not drain the topic in time")


def _checked_rate(timelines: list[list[Progress]], delivered: int, settings: Settings) -> float:
    reads = sum(timeline[-1].reads for timeline in timelines if timeline)
    if reads != settings.input.reads:
        raise WrongCountError(f"{reads:,} reads processed instead of {settings.input.reads:,}")
    found = sum(timeline[-1].delivered for timeline in timelines if timeline)
    if not found == delivered == settings.expected.reads:
        raise WrongCountError(
            f"{found:,} matches reported and {delivered:,} on the topic instead of "
            f"{settings.expected.reads:,}"
        )
    quarter = settings.input.reads // 4
    so_far = dict.fromkeys(range(len(timelines)), 0)
    steps = [(one.at_s, number, one.reads) for number, line in enumerate(timelines) for one in line]
    for at_s, number, of_member in sorted(steps):
        so_far[number] = of_member
        if sum(so_far.values()) >= quarter:
            end_s = max(line[-1].at_s for line in timelines if line)
            return (reads - sum(so_far.values())) / (end_s - at_s) * 60 / 1e6
    raise AssertionError("a quarter of the reads comes before all of them")
