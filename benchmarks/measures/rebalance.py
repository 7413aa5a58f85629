"""Measure `rebalance`: how long partitions pause that stay with their worker, and that move.

A group is under a steady load, with one probe in a few reads. Members join, leave, are killed and
are restarted, one after the other. Before and after each of these rebalances the broker says which
member owns which partition. The pause of a partition is the longest delay of a probe of it, from
its intended time to its visible match, less the usual delay. Lost probes are a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from benchmarks import fill
from benchmarks.commands import UnavailableError
from benchmarks.definitions import Expected, Input
from benchmarks.measure import ProcessFailedError
from benchmarks.measures.children import Child
from benchmarks.measures.definition import Count, Strict
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.group_view import GroupView, Owners
from benchmarks.measures.live import LiveWorker
from benchmarks.measures.observer import Seen, Watch, Watching
from benchmarks.measures.pacer import Pace, Paced, Ready
from benchmarks.measures.peer_member import ConfluentMember, StreamsMember
from benchmarks.measures.scenery import (
    PROBE,
    PROBE_PLATES,
    fill_by_plate,
    fill_lists,
    partition_of,
    probe_entry,
    quantiles,
    send_states,
    state_entries,
)
from benchmarks.reads import Scene
from benchmarks.runner import Say, WrongCountError
from engine.kafka.topics import Topics

_READY_S: Final = 120.0
_END_S: Final = 120.0
#: How late commits may be while nothing waits: members commit once a second.
_LATE_S: Final = 2.0
#: Longer than all steps; the load is stopped when they are over.
_PACED_S: Final = 3600.0

System = Literal[
    "hotlist", "hotlist, exactly once", "librdkafka, cooperative-sticky", "Kafka Streams"
]
_LIBRDKAFKA: Final = "librdkafka, cooperative-sticky"
_STREAMS: Final = "Kafka Streams"
Member = LiveWorker | ConfluentMember | StreamsMember


class Settings(Strict, frozen=True, kw_only=True):
    """`workers` share the partitions of `input`. After each rebalance they catch up, and the
    load goes on for `settle_s`. `states` are suppression keys."""

    input: Input
    expected: Expected
    systems: tuple[System, ...]
    workers: Count
    restarts: Count
    states: Count
    reads_per_s: float
    probe_every: Count
    settle_s: float


@dataclass(slots=True)
class Rebalance:
    """One rebalance: from and to, in nanoseconds of the machine's clock, and who owned which
    partition."""

    step: str
    from_ns: int
    to_ns: int
    before: Owners
    after: Owners


@dataclass(slots=True)
class _Run:
    """One system's run. By step, the pauses of partitions that stayed and that moved, in ms."""

    usual_ms: float = 0.0
    doubled: int = 0
    stayed_ms: dict[str, list[float]] = field(default_factory=dict)
    moved_ms: dict[str, list[float]] = field(default_factory=dict)


def measure(bootstrap: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """Measure each system; they take turns within a round."""
    runs: dict[System, list[_Run]] = {system: [] for system in settings.systems}
    failures: dict[System, str] = {}
    for _, system in itertools.product(range(rounds), settings.systems):
        prefix = f"bench-{uuid.uuid4().hex[:8]}."
        try:
            with tempfile.TemporaryDirectory() as directory:
                run = _Group(bootstrap, prefix, settings, system, Path(directory)).run()
        except (ProcessFailedError, UnavailableError, WrongCountError) as error:
            failures[system] = str(error)
            say(f"  {system}: FAILED: {error}")
            continue
        finally:
            fill.remove(bootstrap, prefix)
        runs[system].append(run)
        for line in _in_short(run):
            say(f"  {system}: {line}")
    return [
        case
        for system in settings.systems
        for case in (
            [MeasuredCase(case=system, failure=failures[system])]
            if system in failures
            else _cases(system, runs[system])
        )
    ]


class _Group:
    """One system's group, on topics of its own. What members keep lies in the directory."""

    def __init__(
        self, bootstrap: str, prefix: str, settings: Settings, system: System, directory: Path
    ) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._settings = settings
        self._system = system
        self._directory = directory
        self._topics = Topics(prefix)
        self._group = f"{prefix}group"
        self._view = GroupView(bootstrap, self._group, settings.input.partitions)
        #: By their places, which a member that is restarted keeps.
        self._members: list[Member] = []
        self._rebalances: list[Rebalance] = []

    def run(self) -> _Run:
        """Do all steps under load. Raises ProcessFailedError or WrongCountError."""
        settings, scene_ms = self._settings, int(time.time() * 1000)
        fill.declare_topics(self._bootstrap, self._prefix, settings.input)
        entries = [probe_entry(f"{PROBE}{plate}", plate) for plate in PROBE_PLATES]
        entries += state_entries()
        scene = Scene(settings.input, scene_ms)
        asyncio.run(fill_lists(self._bootstrap, self._topics, scene, entries))
        if self._system == _STREAMS:
            by_plate = fill.by_plate(self._prefix)
            asyncio.run(fill_by_plate(self._bootstrap, by_plate, scene, entries))
        pace = Pace(
            bootstrap=self._bootstrap,
            topic=self._topics.detections,
            input=settings.input,
            scene_ms=scene_ms,
            reads=int(_PACED_S * settings.reads_per_s),
            reads_per_s=settings.reads_per_s,
            warm_up_s=settings.settle_s,
            probe_every=settings.probe_every,
            batches=False,
        )
        watch = Watch(
            bootstrap=self._bootstrap,
            topic=self._topics.matches,
            partitions=settings.input.partitions,
            kind="matches",
        )
        with contextlib.ExitStack() as stack:
            if self._system != _LIBRDKAFKA:
                # Before the workers start: one reads its partitions' states when it gets them.
                asyncio.run(send_states(self._bootstrap, self._topics, settings.states))
            for place in range(settings.workers):
                self._members.append(self._start(stack, place))
            self._view.wait_shared(settings.workers, _READY_S)
            self._wait_restored()
            pacer = stack.enter_context(Child("benchmarks.measures.pacer", pace))
            observer = stack.enter_context(Child("benchmarks.measures.observer", watch))
            observer.next(Watching, _READY_S)
            pacer.next(Ready, _READY_S)
            pacer.tell("go")
            time.sleep(settings.settle_s)  # the pacer's warm-up
            self._wait_caught_up()
            time.sleep(settings.settle_s)
            self._do_steps(stack)
            paced = pacer.last(Paced, _END_S)
            self._view.wait_drained(self._topics.detections, _END_S)
            time.sleep(settings.settle_s)
            seen = observer.last(Seen, _END_S)
            for member in self._members:
                member.stop()
        return judged(self._rebalances, paced, seen, settings.input.partitions)

    def _wait_restored(self) -> None:
        """Wait until the members hold the suppression keys."""
        if self._system == _LIBRDKAFKA:
            return
        count = self._settings.states
        deadline_s = time.monotonic() + _READY_S
        while self._held() < count:
            if time.monotonic() > deadline_s:
                raise ProcessFailedError(f"the members do not hold {count:,} suppression keys")
            time.sleep(1)

    def _held(self) -> float:
        """The suppression keys that the members hold, as far as it shows."""
        if self._system == _STREAMS:
            return fill.count_records(self._bootstrap, f"{self._group}-suppression-changelog")
        workers = [member for member in self._members if isinstance(member, LiveWorker)]
        return sum(each.metric("hotlist_suppression_keys") for each in workers)

    def _start(self, stack: contextlib.ExitStack, place: int) -> Member:
        """Start a member, and wait until it works or is about to join."""
        where = self._bootstrap, self._prefix, self._group
        if self._system == _LIBRDKAFKA:
            return stack.enter_context(ConfluentMember(*where))
        if self._system == _STREAMS:
            return stack.enter_context(StreamsMember(*where, self._directory / str(place)))
        delivery = "exactly_once" if self._system.endswith("exactly once") else "at_least_once"
        worker = LiveWorker(
            *where,
            audited=not self._members,
            environment={"HOTLIST_DELIVERY": delivery},
        )
        return stack.enter_context(worker)

    def _do_steps(self, stack: contextlib.ExitStack) -> None:
        members = self._members
        with self._rebalancing("one joins", len(members) + 1, starts=True):
            members.append(self._start(stack, len(members)))
        with self._rebalancing("one leaves", len(members) - 1):
            members.pop().stop()
        with self._rebalancing("one is killed", len(members) - 1):
            members.pop().kill()
        for number in range(min(self._settings.restarts, len(members))):
            with self._rebalancing("rolling restart", len(members) - 1):
                members[number].stop()
            with self._rebalancing("rolling restart", len(members), starts=True):
                members[number] = self._start(stack, number)

    def _wait_caught_up(self) -> None:
        """Wait until the reads that wait are those of the last moment."""
        left = int(_LATE_S * self._settings.reads_per_s)
        self._view.wait_drained(self._topics.detections, _END_S, left)

    @contextlib.contextmanager
    def _rebalancing(self, step: str, members: int, *, starts: bool = False) -> Iterator[None]:
        """Note a rebalance that the block causes, and after which there are so many members.

        A process that `starts` joins some seconds later, and the rebalance counts from there on.
        """
        before = self._view.owners()
        from_ns = time.time_ns()
        yield
        calm_ns = self._view.wait_shared(members, _READY_S)
        self._wait_caught_up()
        to_ns, after = time.time_ns(), self._view.owners()
        # What comes from now on may be delayed by the next step already.
        time.sleep(self._settings.settle_s)
        self._rebalances.append(
            Rebalance(step, calm_ns if starts else from_ns, to_ns, before, after)
        )


def judged(rebalances: list[Rebalance], paced: Paced, seen: Seen, partitions: int) -> _Run:
    """What the rebalances did to the probes. Raises WrongCountError if one is missing."""
    first_ns = seen.first_delays_ns(paced.probes, paced.matches)
    usual_ms = quantiles([delay / 1e6 for delay in first_ns.values()])[50]
    run = _Run(usual_ms, seen.records - paced.matches)
    longest_ms: list[dict[int, float]] = [{} for _ in rebalances]
    # The pacer takes the plates in turn, and a read's time tells which of them it is.
    for intended_ns, plate in zip(sorted(first_ns), itertools.cycle(PROBE_PLATES), strict=False):
        partition = partition_of(plate.encode(), partitions)
        pause_ms = first_ns[intended_ns] / 1e6 - usual_ms
        for rebalance, of_rebalance in zip(rebalances, longest_ms, strict=True):
            if rebalance.from_ns <= intended_ns < rebalance.to_ns:
                of_rebalance[partition] = max(of_rebalance.get(partition, 0.0), pause_ms)
    for rebalance, of_rebalance in zip(rebalances, longest_ms, strict=True):
        for partition, pause_ms in of_rebalance.items():
            is_same = rebalance.before[partition] == rebalance.after[partition]
            by_step = run.stayed_ms if is_same else run.moved_ms
            by_step.setdefault(rebalance.step, []).append(pause_ms)
    return run


def _cases(system: System, runs: list[_Run]) -> list[MeasuredCase]:
    steps = [step for run in runs[:1] for step in {**run.moved_ms, **run.stayed_ms}]
    summaries: tuple[tuple[str, Callable[[list[float]], float]], ...] = (
        ("median", statistics.median),
        ("longest", max),
    )
    return [
        MeasuredCase(
            case=f"{system}: {step}",
            figures=[
                *(
                    Figure(
                        name=f"{kind}, {name}",
                        unit="ms",
                        values=[of(pauses) for each in by_run if (pauses := each.get(step))],
                    )
                    for kind, by_run in (
                        ("stay", [run.stayed_ms for run in runs]),
                        ("move", [run.moved_ms for run in runs]),
                    )
                    for name, of in summaries
                    if any(step in each for each in by_run)
                ),
                Figure(name="usual delay", unit="ms", values=[run.usual_ms for run in runs]),
            ],
        )
        for step in steps
    ]


def _in_short(run: _Run) -> Iterator[str]:
    for step in {**run.moved_ms, **run.stayed_ms}:
        texts = [
            f"{len(pauses)} {kind} {statistics.median(pauses):.0f} ms, at most {max(pauses):.0f}"
            for kind, by_step in (("stay", run.stayed_ms), ("move", run.moved_ms))
            if (pauses := by_step.get(step))
        ]
        yield f"{step}: {'; '.join(texts)}"
    yield f"usual delay {run.usual_ms:.0f} ms, none lost, {run.doubled} doubled"
