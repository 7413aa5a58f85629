"""Trials of where reading begins in partitions of which the group has committed nothing.

`python -m tests.kafka.position_trials --kind added --delivery at_least_once --trials 50 --seed 1`
starts a Kafka of its own; each trial has topics, a group and two workers of its own, and a stream
of reads, a fifth of them of listed plates. Partitions begin at times of their own: some have reads
before there is a worker, the first reads of others come in the middle of a rebalance. The kinds:

    added            partitions are added to the reads, and the workers are restarted around that
    new_group        the group is new, the lists change, and one of the workers is killed within two
                     seconds of being ready; it is started again
    offsets_deleted  all was read and committed; then the group's offsets are deleted and the
                     entries have new revisions, so that everything must match again from the
                     beginning of the log, and one of the workers is restarted meanwhile

Judged is what lies on the topics when the group has committed everything. A read of a listed plate
below a committed offset whose match is not there is lost; with exactly_once a match that is there
more often than its read is doubled. What nobody has read in UNREAD_S is a failure of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import secrets
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaError
from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics, delete_topics
from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.broker import RealBroker
from tests.kafka.following import sent
from tests.kafka.forked_worker import ForkedWorker
from tests.kafka.records import (
    ToSend,
    committed_offsets,
    end_offsets,
    produce,
    producing,
    read_topic,
    send_to_partition,
    until,
)
from tests.kafka.worker_process import WorkerProcess
from tests.models.naive import match_id

KINDS: Final = ("added", "new_group", "offsets_deleted")
DELIVERIES: Final = ("at_least_once", "exactly_once")

#: Longer than it takes until a partition that is new is found, and a killed worker is given up.
UNREAD_S: Final = 90.0
#: Partitions of the reads when a trial begins.
PARTITIONS: Final = 24

_READS_A_SECOND = 2_000
#: From so many reads on only a tenth of that, on a machine that takes long over a trial.
_MANY_READS = 20_000
_TICK_S = 0.02
_LISTED_SHARE = 0.2
#: Reads of plates that are listed for a while only, which may match and may not.
_SOMETIMES_SHARE = 0.05
#: So many partitions are added.
_ADDED = 16
#: The longest silence: a worker has joined its group long before.
_SILENT_S = 30.0
_POLL_S = 0.2
#: Until a worker is ready; the first one compiles, which takes a while.
_READY_S = 300.0
_WORKERS = ("a", "b")
#: Markers of a transaction may come to the matches later than to the offsets.
_MARKERS_S = 5.0

_LISTED = [f"LST{number:04d}" for number in range(40)]
_SOMETIMES = [f"SMT{number:04d}" for number in range(10)]


@dataclass(frozen=True)
class Plan:
    """One trial; what of it is a matter of chance follows from the seed and the number. In each
    rebalance a worker goes on late, by up to `late_s`."""

    kind: str
    delivery: str
    seed: int
    number: int
    late_s: float = 0.8

    @property
    def chance(self) -> random.Random:
        return random.Random(f"{self.seed} {self.kind} {self.delivery} {self.number}")


class Read(NamedTuple):
    """A read as it lies on its topic, of a plate that is listed all the time, and its match."""

    partition: int
    offset: int
    match_id: str


class Lost(NamedTuple):
    """Reads of one partition whose matches are not there."""

    how_many: int
    first_offset: int
    last_offset: int


@dataclass
class Outcome:
    """What a trial came to; `unread` is how far each partition was read that was not read to its
    end, and that end."""

    reads: int = 0
    expected: int = 0
    lost: dict[int, Lost] = field(default_factory=dict)
    doubled: int = 0
    unread: dict[int, tuple[int, int]] = field(default_factory=dict)
    failure: str = ""
    took_s: float = 0.0

    @property
    def lost_count(self) -> int:
        return sum(lost.how_many for lost in self.lost.values())

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.unread or self.failure)

    def problems(self) -> Iterator[str]:
        """What is wrong, a line each."""
        for partition, lost in sorted(self.lost.items()):
            yield (
                f"partition {partition}: {lost.how_many} lost, "
                f"from offset {lost.first_offset} to {lost.last_offset}"
            )
        if self.doubled:
            yield f"{self.doubled} matches doubled"
        for partition, (done, end) in sorted(self.unread.items()):
            yield f"partition {partition}: not read within {UNREAD_S:.0f} s: {done} of {end}"
        if self.failure:
            yield self.failure

    def __str__(self) -> str:
        counted = f"{self.reads:,} reads, {self.expected:,} to match, {self.lost_count:,} lost"
        wrong = "".join(f"; {problem}" for problem in self.problems())
        return f"{counted}, {self.took_s:.1f} s{wrong}"


def judged(
    reads: Iterable[Read],
    found: Mapping[str, int],
    committed: Mapping[int, int],
    ends: Mapping[int, int],
    *,
    is_exactly_once: bool,
) -> Outcome:
    """What is wrong with the matches that were found, by id how often; `committed` and `ends` are
    offsets by partition."""
    listed = list(reads)
    outcome = Outcome(sum(ends.values()), len(listed))
    lost: dict[int, list[int]] = {}
    for read in listed:
        if read.match_id not in found and read.offset < committed.get(read.partition, 0):
            lost.setdefault(read.partition, []).append(read.offset)
    outcome.lost = {
        partition: Lost(len(offsets), min(offsets), max(offsets))
        for partition, offsets in lost.items()
    }
    if is_exactly_once:
        allowed = Counter(read.match_id for read in listed)
        outcome.doubled = sum(found.get(each, 0) > count for each, count in allowed.items())
    for partition, end in ends.items():
        done = committed.get(partition, 0)
        if done < end:
            outcome.unread[partition] = (done, end)
    return outcome


class Stream:
    """Reads at a steady rate, evenly to the partitions that have begun, while it is open."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, chance: random.Random) -> None:
        self._producer = producer
        self._topic = topic
        self._chance = chance
        self._count = 0
        self._begun: set[int] = set()
        self._is_over = asyncio.Event()
        self._is_silent = False

    async def __aenter__(self) -> None:
        self._sending = asyncio.create_task(self._run())

    async def __aexit__(self, *_: object) -> None:
        self._is_over.set()
        await self._sending

    def begin(self, *partitions: int) -> None:
        """Send to partitions too."""
        self._begun.update(partitions)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Nothing is sent."""
        self._is_silent = True
        try:
            yield
        finally:
            self._is_silent = False

    async def knows(self, partitions: int) -> None:
        """Wait until so many partitions can be sent to."""

        async def so() -> bool:
            await self._producer.client.force_metadata_update()
            return len(await self._producer.partitions_for(self._topic)) >= partitions

        await until(so, f"there are {partitions} partitions")

    async def send(self, partitions: Iterable[int], count: int) -> None:
        """So many reads at once to each of the partitions; returns when the broker has them."""
        await asyncio.gather(
            *(
                send_to_partition(
                    self._producer, self._topic, partition, [self._read() for _ in range(count)]
                )
                for partition in partitions
            )
        )

    async def _run(self) -> None:
        """At the end it sends to all partitions once more, so that in none of them what was passed
        over is the last."""
        last_s = time.monotonic()
        while not self._is_over.is_set():
            await asyncio.sleep(_TICK_S)
            if self._is_silent:
                last_s = time.monotonic()
                continue
            if not self._begun:
                continue
            now_s = time.monotonic()
            # After a stall of this program it sends no more than in one second.
            rate = _READS_A_SECOND / (10 if self._count > _MANY_READS else 1)
            count = round(min(1.0, now_s - last_s) * rate / len(self._begun))
            if count:
                last_s = now_s
                await self.send(self._begun, count)
        await self.send(self._begun, 50)

    def _read(self) -> ToSend:
        self._count += 1
        drawn = self._chance.random()
        if drawn < _LISTED_SHARE:
            plate = self._chance.choice(_LISTED)
        elif drawn < _LISTED_SHARE + _SOMETIMES_SHARE:
            plate = self._chance.choice(_SOMETIMES)
        else:
            plate = f"FREE{self._count % 10_000:04d}"
        return ToSend(plate.encode(), orjson.dumps(a_read(read_id=f"R-{self._count}", plate=plate)))


class Trial:
    """One trial on a Kafka; `directory` is where the logs of its workers go."""

    def __init__(self, bootstrap: str, plan: Plan, directory: Path) -> None:
        self._bootstrap = bootstrap
        self._plan = plan
        self._directory = directory
        self._chance = plan.chance
        self._topics = Topics(f"trial-{uuid.uuid4().hex[:12]}.")
        self._group = f"{self._topics.prefix}group"
        self._workers: dict[str, WorkerProcess] = {}
        self._starts = 0
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._partitions = PARTITIONS
        #: Partitions that have no reads yet.
        self._quiet: list[int] = []
        #: What the entries' records begin with in their topic: the newest revisions.
        self._entries_at = 0
        self._stack = AsyncExitStack()

    async def run(self) -> Outcome:
        """The trial, and what it came to."""
        began_s = time.monotonic()
        kinds: dict[str, Callable[[Stream], Coroutine[Any, Any, None]]] = {
            "added": self._added,
            "new_group": self._new_group,
            "offsets_deleted": self._offsets_deleted,
        }
        await create_topics(Cluster(self._bootstrap, self._topics), partitions=4, replication=1)
        await self._make_partitions(PARTITIONS)
        await produce(self._bootstrap, self._topics.policies, sent(a_policy()))
        await self._list_entries()
        try:
            async with (
                self._stack,
                producing(
                    self._bootstrap, acks="all", enable_idempotence=True, compression_type="lz4"
                ) as producer,
            ):
                stream = Stream(producer, self._topics.detections, self._chance)
                await stream.knows(PARTITIONS)
                await kinds[self._plan.kind](stream)
                committed, ends = await self._drained()
                await asyncio.gather(*(worker.stop() for worker in self._workers.values()))
                outcome = await self._judged(committed, ends)
        except (AssertionError, KafkaError, KafkaException) as error:
            outcome = Outcome(failure=f"{type(error).__name__}: {error}")
        outcome.took_s = time.monotonic() - began_s
        await delete_topics(Cluster(self._bootstrap, self._topics))
        return outcome

    # ---- the kinds

    async def _added(self, stream: Stream) -> None:
        stream.begin(*range(PARTITIONS))
        async with stream:
            await self._join_all(stream)
            await self._pause(1.0)
            adding = asyncio.create_task(self._add_partitions(stream))
            # One worker after the other, so that the one that shares out knows of the partitions,
            # also where it would hear of them late by itself.
            for name, share in zip(self._chance.sample(_WORKERS, 2), (0.2, 0.7), strict=True):
                await self._pause(1.0)
                await self._end(name)
                await self._join(name, stream, begins=share)
            await adding
            await self._pause(2.0)
            stream.begin(*self._quiet)

    async def _new_group(self, stream: Stream) -> None:
        await self._begin_some(stream)
        over = asyncio.Event()
        changing = asyncio.create_task(self._change_lists(over))
        try:
            async with stream:
                await self._join_and_restart(stream, self._kill)
        finally:
            over.set()
            await changing

    async def _offsets_deleted(self, stream: Stream) -> None:
        await stream.send(range(PARTITIONS // 3), 20)
        await self._join_all(stream)
        await self._drained()
        await asyncio.gather(*(self._stop(name) for name in _WORKERS))
        await asyncio.to_thread(self._delete_group)
        await self._list_entries()
        await self._begin_some(stream)
        async with stream:
            await self._join_and_restart(stream, self._end)

    async def _join_and_restart(
        self, stream: Stream, end: Callable[[str], Coroutine[Any, Any, None]]
    ) -> None:
        """One worker, then the other; one of them ends soon after and is started again."""
        first, second = self._chance.sample(_WORKERS, 2)
        await self._join(first, stream)
        await self._join(second, stream, begins=0.5)
        name = self._chance.choice(_WORKERS)
        await self._pause(1.9)
        await end(name)
        await self._join(name, stream, begins=0.9)
        await self._pause(2.0)
        stream.begin(*self._quiet)

    # ---- the steps

    async def _pause(self, at_most_s: float) -> None:
        await asyncio.sleep(self._chance.uniform(0, at_most_s))

    async def _begin_some(self, stream: Stream) -> None:
        """Some partitions have reads, and more are to come; the others begin later."""
        begun = PARTITIONS // 3
        await stream.send(range(begun), self._chance.randint(100, 3_000))
        stream.begin(*range(begun))
        self._quiet = list(range(begun, PARTITIONS))

    async def _join_all(self, stream: Stream) -> None:
        await asyncio.gather(*(self._join(name, stream) for name in _WORKERS))

    async def _join(self, name: str, stream: Stream, *, begins: float = 0.0) -> None:
        """Start a worker; returns when it is ready.

        While it joins the group no reads come, so that the other one waits for some, and the first
        that come are of a share of the partitions that had none before.
        """
        self._starts += 1
        worker = await self._stack.enter_async_context(
            ForkedWorker(
                self._directory / f"{self._starts}-{name}.log",
                self._bootstrap,
                self._topics.prefix,
                *("--delivery", self._plan.delivery),
                program=("-m", "tests.kafka.unhurried_worker", str(self._plan.late_s)),
            )
        )
        self._workers[name] = worker
        await _reached(worker, lambda status: status != 0)
        with stream.silence():
            before = await self._members()
            until_s = time.monotonic() + _SILENT_S
            while await self._members() <= before and time.monotonic() < until_s:
                await asyncio.sleep(_TICK_S)
            begin = self._chance.sample(self._quiet, round(begins * len(self._quiet)))
            self._quiet = [each for each in self._quiet if each not in begin]
            await stream.send(begin, 50)
            stream.begin(*begin)
        await _reached(worker, lambda status: status == 200)

    async def _stop(self, name: str) -> None:
        await self._workers.pop(name).stop()

    async def _kill(self, name: str) -> None:
        await self._workers.pop(name).kill()

    async def _end(self, name: str) -> None:
        """In order, or in one of three trials as the kernel would."""
        await (self._kill if self._chance.random() < 1 / 3 else self._stop)(name)

    async def _add_partitions(self, stream: Stream) -> None:
        """One of them begins at once, the others later."""
        have = self._partitions
        await self._make_partitions(have + _ADDED)
        await stream.knows(self._partitions)
        stream.begin(have)
        self._quiet += range(have + 1, self._partitions)

    async def _make_partitions(self, wanted: int) -> None:
        """So many partitions of the reads. Other topics have no more of them: what is remembered of
        a partition lies in the suppression topic where its number says."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            partitions = {self._topics.detections: NewPartitions(wanted)}
            await admin.create_partitions(partitions)
        finally:
            await admin.close()
        self._partitions = wanted

    async def _members(self) -> set[str]:
        """Who is in the group, when it has last shared out; nobody while it does."""
        described = self._admin.describe_consumer_groups([self._group])[self._group]
        try:
            group = await asyncio.to_thread(described.result)
        except KafkaException:
            return set()  # nobody has been in it yet
        is_stable = group.state is ConsumerGroupState.STABLE
        return {member.member_id for member in group.members} if is_stable else set()

    def _delete_group(self) -> None:
        """Delete what the group has committed, and the group."""
        for future in self._admin.delete_consumer_groups([self._group]).values():
            future.result()

    async def _list_entries(self) -> None:
        """The entries of the listed plates, in revisions of their own."""
        topic = self._topics.hotlist
        self._entries_at = sum((await end_offsets(self._bootstrap, topic)).values())
        entries = (an_entry(entry_id=_entry_of(plate), plate=plate) for plate in _LISTED)
        await produce(self._bootstrap, topic, sent(*entries))

    async def _change_lists(self, over: asyncio.Event) -> None:
        """Plates are listed and unlisted, until it is over."""
        while not over.is_set():
            plate = self._chance.choice(_SOMETIMES)
            entry = an_entry(entry_id=_entry_of(plate), plate=plate)
            gone = _entry_of(self._chance.choice(_SOMETIMES)), None
            await produce(self._bootstrap, self._topics.hotlist, sent(entry, gone))
            await asyncio.sleep(0.1)

    # ---- what came of it

    async def _drained(self) -> tuple[dict[int, int], dict[int, int]]:
        """Wait until everything is committed, or for UNREAD_S; what is committed, and the ends."""
        topic, until_s = self._topics.detections, time.monotonic() + UNREAD_S
        while True:
            for worker in self._workers.values():
                await worker.alive()
            ends = _by_number(await end_offsets(self._bootstrap, topic))
            found = await committed_offsets(self._bootstrap, topic, self._group)
            committed = _by_number(found)
            if all(committed.get(partition, 0) >= end for partition, end in ends.items()):
                return committed, ends
            if time.monotonic() > until_s:
                return committed, ends
            await asyncio.sleep(_POLL_S)

    async def _judged(self, committed: dict[int, int], ends: dict[int, int]) -> Outcome:
        revisions = {plate: self._entries_at + place for place, plate in enumerate(_LISTED)}
        listed = []
        for record in await read_topic(self._bootstrap, self._topics.detections):
            read = orjson.loads(record.value)
            if read["plate"] in revisions:
                plate = read["plate"]
                found_id = match_id(
                    _entry_of(plate), revisions[plate], read["source"], read["read_id"]
                )
                listed.append(Read(record.partition, record.offset, found_id))
        until_s = time.monotonic() + _MARKERS_S
        while True:
            matches = await read_topic(self._bootstrap, self._topics.matches)
            found = Counter(orjson.loads(record.value)["match_id"] for record in matches)
            is_exactly_once = self._plan.delivery == "exactly_once"
            outcome = judged(listed, found, committed, ends, is_exactly_once=is_exactly_once)
            if not outcome.lost or time.monotonic() > until_s:
                return outcome
            await asyncio.sleep(_POLL_S)


async def _reached(worker: WorkerProcess, is_so: Callable[[int], bool]) -> None:
    """Wait until a worker answers so to whether it is ready."""
    until_s = time.monotonic() + _READY_S
    while not is_so((await worker.get("/readyz"))[0]):
        if time.monotonic() > until_s:
            raise AssertionError(f"not within {_READY_S:.0f} s: a worker is ready\n{worker.log()}")
        await asyncio.sleep(0.05)


def _entry_of(plate: str) -> str:
    return f"E-{plate}"


def _by_number(offsets: Mapping[Any, int]) -> dict[int, int]:
    return {tp.partition: offset for tp, offset in offsets.items()}


async def trials(
    bootstrap: str,
    plans: Iterable[Plan],
    directory: Path,
    say: Callable[[str], None] = lambda _: None,
    at_once: int = 1,
) -> dict[Plan, Outcome]:
    """Trials, so many at a time; the logs of those that were good are not kept."""
    room = asyncio.Semaphore(at_once)
    outcomes: dict[Plan, Outcome] = {}

    async def one(plan: Plan) -> None:
        async with room:
            own = directory / f"{plan.kind}-{plan.delivery}-{plan.number}"
            own.mkdir(parents=True)
            outcome = outcomes[plan] = await Trial(bootstrap, plan, own).run()
            if outcome.is_good:
                shutil.rmtree(own)
            say(f"{plan.kind}, {plan.delivery}, trial {plan.number}: {outcome}")

    async with asyncio.TaskGroup() as group:
        for plan in plans:
            group.create_task(one(plan))
    return outcomes


def summary(outcomes: Iterable[Outcome]) -> str:
    """All trials in one line."""
    every = list(outcomes)
    failed = sum(not each.is_good for each in every)
    return (
        f"{len(every)} trials, {failed} of them failed: "
        f"{sum(each.expected for each in every):,} reads to match, "
        f"{sum(each.lost_count for each in every):,} lost in "
        f"{sum(bool(each.lost) for each in every)} trials, "
        f"{sum(each.doubled for each in every):,} doubled where none may be, "
        f"{sum(len(each.unread) for each in every)} partitions not read to their ends"
    )


def main() -> int:
    """0 where all trials are good, 1 where one is not, 2 where they cannot be run."""
    options = _parser().parse_args()
    reason = RealBroker.unavailable_reason()
    if reason is not None:
        print(f"cannot start Kafka: {reason}", file=sys.stderr)
        return 2
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    plans = [Plan(options.kind, options.delivery, seed, each) for each in range(options.trials)]
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    directory = Path(tempfile.mkdtemp(prefix="hotlist-positions-"))
    print(f"seed {seed}; the logs of trials that fail lie in {directory}", flush=True)
    with RealBroker() as broker:
        running = trials(
            broker.bootstrap,
            plans,
            directory,
            lambda line: print(line, flush=True),
            options.at_once,
        )
        outcomes = asyncio.run(running).values()
    print(summary(outcomes))
    if not all(outcome.is_good for outcome in outcomes):
        return 1
    with suppress(OSError):
        directory.rmdir()
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kafka.position_trials",
        description="Where reading begins in partitions of which nothing is committed.",
    )
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--delivery", choices=DELIVERIES, default=DELIVERIES[0])
    parser.add_argument("--trials", type=int, default=50, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, help="the same one makes the same plans (any)")
    parser.add_argument("--at-once", type=int, default=1, help="trials at a time (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
