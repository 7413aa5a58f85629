"""One campaign: a Kafka, workers, a load, rounds of faults, and a calm after each in which
everything must drain and is judged. It ends at the first round that finds a problem.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from tests.kafka.node import BrokerFailedError
from tests.torture.churn import Churn
from tests.torture.cluster import PARTITIONS, OwnBrokers
from tests.torture.disk import Disk, best_disk
from tests.torture.evidence import Evidence
from tests.torture.faults import Faults
from tests.torture.judge import Findings
from tests.torture.load import Load
from tests.torture.schedule import COPY, EVERY_S, Fault, Round, rounds
from tests.torture.site import Site
from tests.torture.town import TortureTown
from tests.torture.waits import StuckError, bounded, cancelled, has_come, within
from tests.torture.workers import Network, Slot, now_s

#: Longer than any time-out of the engine's, twice: what has not drained by then is stuck.
DRAIN_S: Final = 150.0
_COMMAND_S: Final = 120.0
#: What the broker may take to start, and the topics to be created.
_BEGIN_S: Final = 180.0
#: What a copy of the topics may take.
_COPY_S: Final = 600.0
_PREFIX: Final = "torture."
#: What a round's faults may take beyond the round: each has bounds of its own.
_BEYOND_ROUND_S: Final = 600.0
_ROOT: Final = Path(__file__).resolve().parents[2]

Say = Callable[[str], None]
Keep = Callable[["Result"], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes a campaign; the same plan makes the same schedule."""

    seed: int
    seconds: float
    kinds: tuple[str, ...]
    delivery: str = "at_least_once"
    workers: int = 3
    reads_a_second: int = 150
    session_s: float = 6.0
    brokers: int = 1
    every_s: float = EVERY_S


class Done(NamedTuple):
    """A fault that was done, in which round, from when until when; whether it met anybody."""

    round_name: str
    fault: Fault
    began_s: float
    ended_s: float
    had_effect: bool


@dataclass
class Result:
    """What a campaign was and came to."""

    plan: Plan
    disk: str
    findings: Findings = field(default_factory=Findings)
    done: list[Done] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)
    #: How often workers were started again, by their last word.
    errors: Counter[str] = field(default_factory=Counter)
    #: How often SIGTERM did not end a worker in time.
    forced_ends: int = 0
    audit: str = ""
    #: False until it has come to its end: of one that was ended early, or found a problem.
    is_whole: bool = False
    took_s: float = 0.0
    #: Of the topics at the beginning, and of each copy.
    evidence: list[Evidence] = field(default_factory=lambda: [Evidence()])


class Campaign:
    """See the module. `directory` is where logs go, `say` takes lines for people, and `keep` the
    result as it is after each round."""

    def __init__(self, plan: Plan, directory: Path, say: Say, keep: Keep) -> None:
        self.plan = plan
        self._directory = directory
        self._say = say
        self._keep = keep
        self._ends_early = asyncio.Event()
        self._schedule = rounds(
            plan.seed, plan.seconds, plan.kinds, session_s=plan.session_s, every_s=plan.every_s
        )
        self._slots: list[Slot] = []
        self._problems: list[str] = []

    async def run(self) -> Result:
        """The whole of it."""
        disk = best_disk()
        result = Result(self.plan, disk.what)
        began_s = now_s()
        try:
            async with AsyncExitStack() as stack:
                await self._run(stack, disk, result)
        except* StuckError as group:
            self._problems += [str(error) for error in _leaves(group)]
        finally:
            disk.close()
        self._count(result, began_s)
        result.findings.problems += self._problems
        return result

    def end_early(self) -> None:
        """Begin no further fault, and judge what was sent."""
        self._ends_early.set()

    def _count(self, result: Result, began_s: float) -> None:
        """Note what the workers have come to by now."""
        result.took_s = now_s() - began_s
        result.errors = sum((slot.errors for slot in self._slots), Counter())
        result.forced_ends = sum(slot.forced_ends for slot in self._slots)

    async def _run(self, stack: AsyncExitStack, disk: Disk, result: Result) -> None:
        plan, began_s = self.plan, now_s()
        brokers = OwnBrokers(plan.brokers, plan.workers + 1, disk)
        stack.callback(self._keep_log, brokers)
        await bounded(asyncio.to_thread(brokers.start), _BEGIN_S, "the brokers are started")
        cluster = Cluster(brokers.bootstrap, Topics(_PREFIX), f"{_PREFIX}group")
        creating = create_topics(cluster, partitions=PARTITIONS, replication=plan.brokers)
        await bounded(creating, _BEGIN_S, "the topics are created")
        is_exactly_once = plan.delivery == "exactly_once"
        [evidence] = result.evidence
        site = Site(cluster, evidence, result.findings, is_exactly_once=is_exactly_once)
        load_s = sum(each.lasts_s for each in self._schedule)
        town = TortureTown(plan.seed, round(plan.reads_a_second * load_s))
        churn = Churn(plan.seed)
        load = Load(
            brokers.bootstrap,
            site.topics,
            town,
            churn,
            plan.seed,
            load_s,
            evidence,
            site.partitions,
        )
        result.changes = load.changes
        stack.push_async_callback(load.close)
        await load.begin()
        await site.follow(stack)
        await self._start_workers(stack, brokers)
        await self._all_ready()
        self._say(
            f"brokers ({plan.brokers}) and workers ({plan.workers}) are ready after "
            f"{now_s() - began_s:.0f} s"
        )
        for each in self._schedule:
            faults = Faults(brokers, disk, self._slots, plan.workers, site)
            await self._round(each, load, faults, result)
            if any(
                done.round_name == each.name and done.fault.kind == COPY for done in result.done
            ):
                site = await self._copied(stack, site, load, result)
            await self._calm(site)
            self._count(result, began_s)
            self._keep(result)
            if result.findings.problems or self._problems:
                return
            if self._ends_early.is_set():
                break
        site.judge.finish()
        for slot in self._slots:
            if not await slot.end():
                self._problems.append(f"worker {slot.number} did not end when it was asked to")
        result.audit = await self._audit_command(site.cluster)
        result.is_whole = not self._ends_early.is_set()

    # ---- rounds

    async def _round(self, each: Round, load: Load, faults: Faults, result: Result) -> None:
        began_s = now_s()
        over = asyncio.Event()

        async def do(fault: Fault) -> None:
            if await has_come(self._ends_early, began_s + fault.at_s - now_s()):
                return
            await faults.wait_for_target(fault)
            fault_began_s = now_s()
            had_effect = await faults.do(fault)
            done = Done(each.name, fault, fault_began_s, now_s(), had_effect)
            result.done.append(done)
            self._say(
                f"  {fault_began_s - began_s:6.1f} s  {fault.kind}, "
                f"{done.ended_s - fault_began_s:.1f} s{'' if had_effect else ', met nobody'}"
            )

        self._say(f"round {each.name!r}: {len(each.faults)} faults in {each.lasts_s:.0f} s")
        async with (
            within(each.lasts_s + _BEYOND_ROUND_S, f"the end of round {each.name!r}"),
            asyncio.TaskGroup() as changing,
        ):
            changing.create_task(load.change_singly(over))
            changing.create_task(load.change_together(over))
            async with asyncio.TaskGroup() as group:
                group.create_task(load.send_reads(each.lasts_s, self._ends_early))
                for fault in each.faults:
                    group.create_task(do(fault))
            over.set()

    async def _copied(self, stack: AsyncExitStack, site: Site, load: Load, result: Result) -> Site:
        """All goes on at a copy of the topics, where what waits is read first."""
        began_s, count = now_s(), len(result.evidence)
        copying = site.copied(f"{_PREFIX}{count}.", self.plan.brokers)
        copy = await bounded(copying, _COPY_S, "the topics are copied")
        result.evidence.append(copy.evidence)
        load.go_on_at(copy.topics, copy.partitions)
        await copy.follow(stack)
        for slot in self._slots:
            slot.prefix = copy.topics.prefix
            slot.want(slot.number < self.plan.workers)
        await self._all_ready()
        self._say(f"the topics are copied, and workers ready, in {now_s() - began_s:.1f} s")
        return copy

    async def _calm(self, site: Site) -> None:
        """Everything drains, and is judged."""
        began_s, judge = now_s(), site.judge
        missing = await site.follower.drained(DRAIN_S)
        if missing:
            states = [await slot.state() for slot in self._slots]
            self._problems.append(
                f"stuck for {DRAIN_S:.0f} s without faults: {missing}; {'; '.join(states)}"
            )
        drained_s = now_s() - began_s
        found = judge.judge()
        judged_s = now_s() - began_s - drained_s
        self._say(
            f"calm: drained in {drained_s:.1f} s, judged in {judged_s:.1f} s; "
            f"{judge.findings.reads:,} reads, {judge.findings.matches:,} matches, "
            f"{len(found)} problems"
        )

    # ---- what stands around the rounds

    async def _start_workers(self, stack: AsyncExitStack, brokers: OwnBrokers) -> None:
        """A slot for each worker, and one for a worker more."""
        plan = self.plan
        for number in range(plan.workers + 1):
            ways = brokers.networks(number)
            slot = Slot(
                number,
                Network([await stack.enter_async_context(way) for way in ways]),
                _PREFIX,
                self._directory,
                plan.session_s,
                ["--delivery", plan.delivery],
                self._problems,
            )
            self._slots.append(slot)
            slot.want(number < plan.workers)
            stack.push_async_callback(
                cancelled, asyncio.create_task(slot.supervise()), f"worker {number}'s supervisor"
            )

    async def _all_ready(self) -> None:
        async with within(DRAIN_S, f"{self.plan.workers} workers are ready"):
            while True:
                states = [await slot.state() for slot in self._slots[: self.plan.workers]]
                if all(": 200 " in state for state in states):
                    return
                await asyncio.sleep(0.2)

    async def _audit_command(self, cluster: Cluster) -> str:
        """What `hotlist audit verify` says."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "engine", "audit", "verify"),
            *("--bootstrap", cluster.bootstrap, "--prefix", cluster.topics.prefix),
            cwd=_ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, errors = await bounded(
                process.communicate(), _COMMAND_S, "the end of `hotlist audit verify`"
            )
        finally:
            if process.returncode is None:
                process.kill()
        said = out.decode().strip()
        if process.returncode:
            self._problems.append(f"hotlist audit verify: {said} {errors.decode().strip()}")
        return said

    def _keep_log(self, brokers: OwnBrokers) -> None:
        with contextlib.suppress(OSError, BrokerFailedError):
            (self._directory / "broker.log").write_text(brokers.log())
        brokers.close()


def _leaves(group: BaseExceptionGroup[StuckError]) -> Iterator[StuckError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
