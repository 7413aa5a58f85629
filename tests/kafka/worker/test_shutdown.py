"""SIGTERM in every state of the worker: it ends in order, soon, and as if it had never been there.

In each state: the run ends without an error, neither of its groups has a member left, what is
committed is exactly what was delivered, and the next worker delivers the rest, nothing of it
twice. How long it takes is for the benchmarks; `PATIENCE_S` only tells an end from a hang, and
is shorter than anything that a group or a broker would make it wait for.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.measures.group_view import NO_COORDINATOR_YET
from engine import limits
from engine.control import auditing
from engine.control.list_updater import ListUpdater
from engine.control.replica import ControlReplica
from engine.delivery import sink, suppression_reader
from engine.delivery.suppression_restore import Suppressing
from engine.errors import BrokerError
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from engine.worker import startup
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.fakes.faulty_proxy import FaultyProxy
from tests.kafka.following import sent
from tests.kafka.own_broker import OwnBroker
from tests.kafka.records import (
    WAIT_S,
    ToSend,
    committed_offsets,
    partition_of,
    produce,
    read_topic,
    until,
)
from tests.kafka.worker_here import WorkerHere, worker_here
from tests.kafka.worker_process import WorkerProcess

#: Half of the session, a fourth of what a group waits for a member that hands over.
PATIENCE_S = limits.SESSION_S / 2
PLATES = [f"SHUT{number:03d}" for number in range(24)]
NOBODY = orjson.dumps(a_read(plate="NOBODY"))


class Street:
    """Reads in all four partitions of a deployment, and which of them must match, once each."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.topics = Topics(prefix)
        self.group = f"{prefix}group"
        self.read_ids: list[str] = []
        self._offsets: Counter[int] = Counter()
        self._places: dict[str, tuple[int, int]] = {}

    async def list_plates(self) -> None:
        entries = [an_entry(entry_id=f"E-{plate}", plate=plate) for plate in PLATES]
        await produce(self.bootstrap, self.topics.hotlist, sent(*entries))
        await produce(self.bootstrap, self.topics.policies, sent(a_policy()))

    async def pass_by(self, count: int, *, unlisted: int = 0) -> None:
        """So many reads more, and behind each of them so many that match nothing."""
        records: dict[int, list[ToSend]] = {partition: [] for partition in range(4)}
        for _ in range(count):
            number = len(self.read_ids)
            plate, read_id = PLATES[number % len(PLATES)], f"R-{number}"
            partition = partition_of(plate.encode(), 4)
            read = a_read(read_id=read_id, plate=plate)
            records[partition].append(ToSend(plate.encode(), orjson.dumps(read)))
            self._places[read_id] = partition, self._offsets[partition]
            records[partition] += unlisted * [ToSend(b"NOBODY", NOBODY)]
            self._offsets[partition] += 1 + unlisted
            self.read_ids.append(read_id)
        await produce(self.bootstrap, self.topics.detections, records)

    async def matched(self) -> list[str]:
        records = await read_topic(self.bootstrap, self.topics.matches)
        return [orjson.loads(record.value)["read"]["read_id"] for record in records]

    async def committed(self) -> dict[int, int]:
        """What the group has committed, by partition."""
        found = await committed_offsets(self.bootstrap, self.topics.detections, self.group)
        return {tp.partition: offset for tp, offset in found.items()}

    async def members(self) -> dict[str, int]:
        """How many members both groups have, and those that have asked to join."""
        groups = [self.group, f"{self.group}.audit"]

        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        members: dict[str, int] = {}

        def ask() -> None:
            told = admin.describe_consumer_groups(groups, request_timeout=10)
            members.update({name: len(told[name].result().members) for name in groups})

        async def answered() -> bool:
            try:
                await asyncio.to_thread(ask)
            except KafkaException as error:
                if error.args[0].code() not in NO_COORDINATOR_YET:
                    raise
            return bool(members)

        await until(answered, "the groups' coordinators answer")
        return members

    async def nobody_is_left(self) -> None:
        assert set((await self.members()).values()) == {0}

    async def committed_is_delivered(self) -> None:
        """No read above what is committed was delivered, none below it was not, none twice."""
        below = await self.committed()
        matched = await self.matched()
        assert Counter(matched) == Counter(
            read_id
            for read_id, (partition, offset) in self._places.items()
            if offset < below.get(partition, 0)
        )

    async def rest_comes_once(self, prefix: str) -> None:
        """What the next worker delivers makes all of it whole, nothing twice."""
        assert Counter(await self.rest_comes(prefix)) == Counter(self.read_ids)

    async def rest_comes(self, prefix: str) -> list[str]:
        """What is matched when the next worker is through."""
        async with worker_here(self.bootstrap, prefix) as successor:

            async def all_done() -> bool:
                await successor.alive()
                return await self.committed() == self._offsets

            await until(all_done, "all reads are done", successor.log)
        matched = await self.matched()
        assert set(matched) == set(self.read_ids)
        return matched


async def ends(here: WorkerHere) -> None:
    """Stop it; raises what it raises, and where it hangs."""
    here.worker.stop()
    async with asyncio.timeout(PATIENCE_S):
        await here._run


@pytest.fixture
async def street(real_kafka: str, prefix: str) -> Street:
    street = Street(real_kafka, prefix)
    await street.list_plates()
    return street


@asynccontextmanager
async def running(street: Street, prefix: str) -> AsyncIterator[WorkerHere]:
    """A worker that the test ends itself; what it has not ended is cancelled."""
    async with worker_here(street.bootstrap, prefix) as here:
        yield here


class Held:
    """A function of the engine that waits where it is called, and says that it was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.reached = asyncio.Event()
        self.opens = asyncio.Event()
        real = getattr(owner, name)

        async def held(*arguments: Any, **options: Any) -> Any:
            self.reached.set()
            await self.opens.wait()
            return await real(*arguments, **options)

        monkeypatch.setattr(owner, name, held)

    async def wait(self, here: WorkerHere) -> None:
        """Until it is called."""

        async def called() -> bool:
            await here.alive()
            return self.reached.is_set()

        await until(called, "the state is reached", here.log)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        pytest.param(startup, "check_topics", id="starting"),
        pytest.param(sink.Sink, "start", id="connecting"),
        pytest.param(auditing.Auditing, "start", id="beginning its chain"),
        pytest.param(ControlReplica, "start", id="finding the lists"),
        pytest.param(ListUpdater, "apply", id="loading lists"),
        pytest.param(Suppressing, "start", id="about to join"),
    ],
)
async def test_before_it_takes_reads(
    street: Street, prefix: str, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    await street.pass_by(20)
    held = Held(monkeypatch, owner, name)
    async with running(street, prefix) as here:
        await held.wait(here)
        await ends(here)
    await street.nobody_is_left()
    assert await street.matched() == []
    assert await street.committed() == {}


@asynccontextmanager
async def slow_member(street: Street) -> AsyncIterator[asyncio.Event]:
    """Somebody in the group who does not hand over while the event, which is yielded, is not
    set: no other gets an answer."""
    hands_over = asyncio.Event()

    class Slow(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
        async def on_partitions_revoked(self, revoked: Any) -> None:
            if revoked:
                await hands_over.wait()

        async def on_partitions_assigned(self, assigned: Any) -> None: ...

    consumer = AIOKafkaConsumer(
        bootstrap_servers=street.bootstrap,
        group_id=street.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        rebalance_timeout_ms=60_000,
        heartbeat_interval_ms=100,
    )
    await consumer.start()
    try:
        consumer.subscribe([street.topics.detections], listener=Slow())
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=100)
        yield hands_over
    finally:
        hands_over.set()
        await consumer.stop()


async def test_joining(street: Street, prefix: str) -> None:
    """It has asked to join, and the group does not answer."""
    await street.pass_by(20)
    async with slow_member(street) as hands_over:
        async with running(street, prefix) as here:

            async def asked() -> bool:
                await here.alive()
                return (await street.members())[street.group] == 2

            await until(asked, "it has asked to join", here.log)
            await ends(here)
        members = await street.members()
        assert members == {street.group: 1, f"{street.group}.audit": 0}
        hands_over.set()
    assert await street.matched() == []
    await street.rest_comes_once(prefix)


async def test_while_the_group_rebalances(
    street: Street, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its partitions are revoked, and those of another one are not."""
    revoked: list[Any] = []
    on_revoked = Suppressing.on_revoked

    async def noted(suppressing: Suppressing, *about: Any) -> None:
        revoked.append(suppressing)
        await on_revoked(suppressing, *about)

    monkeypatch.setattr(Suppressing, "on_revoked", noted)
    async with running(street, prefix) as here:
        await here.ready()
        await street.pass_by(40)
        await here.has_processed(40)
        times = len(revoked)
        # Both hand over when the third one comes, but for the slow one.
        async with slow_member(street) as hands_over, worker_here(street.bootstrap, prefix):

            async def is_revoked() -> bool:
                await here.alive()
                return revoked[0] in revoked[times:]

            await until(is_revoked, "its partitions are revoked", here.log)
            await ends(here)
            hands_over.set()
    await street.nobody_is_left()
    await street.committed_is_delivered()
    await street.rest_comes_once(prefix)


async def test_running(street: Street, prefix: str) -> None:
    """In the middle of a backlog, fetches in all places that a fetch may be in."""
    await street.pass_by(1_500, unlisted=40)
    async with running(street, prefix) as here:
        await here.has_processed(1)
        await ends(here)
    await street.nobody_is_left()
    await street.committed_is_delivered()
    await street.rest_comes_once(prefix)


async def test_another_one_joins_while_it_waits_for_what_is_in_flight(
    street: Street, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust would take that for the end, before anything is committed and the group is left."""
    deliver = Held(monkeypatch, sink.Sink, "deliver")
    async with running(street, prefix) as here:
        await here.ready()
        await street.pass_by(8)
        await deliver.wait(here)
        here.worker.stop()
        other = AIOKafkaConsumer(
            street.topics.detections,
            bootstrap_servers=street.bootstrap,
            group_id=street.group,
            enable_auto_commit=False,  # or it would commit the ends of what it has not read
        )
        joining = asyncio.create_task(other.start())

        async def asked() -> bool:
            return (await street.members())[street.group] == 2

        await until(asked, "another one has asked to join", here.log)
        await asyncio.sleep(2 * limits.HEARTBEAT_S)  # until it hears of that
        deliver.opens.set()
        await ends(here)
        await joining
        assert await street.members() == {street.group: 1, f"{street.group}.audit": 0}
        await other.stop()
    await street.committed_is_delivered()
    await street.rest_comes_once(prefix)


async def test_at_a_closed_gate(
    street: Street, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetches wait before the matcher and in Faust's buffers; nobody waits for them."""
    async with running(street, prefix) as here:
        await here.ready()
        monkeypatch.setattr(here.worker.gate, "open", lambda: None)
        here.worker.gate.close("closed by a test")
        for _ in range(limits.FETCHES_WAITING):  # each a fetch of its own in each partition
            await street.pass_by(100)
            await asyncio.sleep(2 * limits.FETCH_WAIT_MS / 1000)
        await ends(here)
        assert here.metric("hotlist_reads_total") == 0
    await street.nobody_is_left()
    await street.rest_comes_once(prefix)


async def test_restoring_what_was_folded(
    street: Street, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, suppression_reader.SuppressionReader, "states_of")
    await street.pass_by(20)
    async with running(street, prefix) as here:
        await held.wait(here)
        await ends(here)
        assert here.metric("hotlist_reads_total") == 0
    await street.nobody_is_left()
    monkeypatch.undo()
    await street.rest_comes_once(prefix)


async def test_a_static_member_comes_back_without_a_rebalance(
    street: Street, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not leave, so no other partitions move. A second process with its id ends it."""
    assigned: list[Suppressing] = []
    on_assigned = Suppressing.on_assigned

    def noted(suppressing: Suppressing, assignment: Any, partitions: Collection[int]) -> None:
        if partitions:  # a worker that joins has none until another one has revoked them
            assigned.append(suppressing)
        on_assigned(suppressing, assignment, partitions)

    async def two_are_assigned() -> bool:
        return len(set(assigned)) == 2

    async def all_done() -> bool:
        return await street.committed() == street._offsets

    monkeypatch.setattr(Suppressing, "on_assigned", noted)
    here = partial(worker_here, street.bootstrap, prefix)
    async with here(group_instance_id="west"):
        async with here(group_instance_id="east", client_rack="a") as east:
            await until(two_are_assigned, "both have partitions", east.log)
            await ends(east)
        assert (await street.members())[street.group] == 2
        assigned.clear()
        await street.pass_by(40)

        async def comes_back_and_is_replaced() -> None:
            async with here(group_instance_id="east") as again:
                await again.has_processed(1)
                assert len(assigned) == 1, "only the one that came back"
                async with here(group_instance_id="east") as usurper:
                    await asyncio.wait({again._run}, timeout=WAIT_S)
                    await until(all_done, "all reads are done", usurper.log)
                    await usurper.alive()
                assigned.clear()

        with pytest.raises(BrokerError, match=r"another worker .* instance id 'east'"):
            await comes_back_and_is_replaced()
        assert assigned == [], "the fenced one ends, and the one that took its place does not"
    assert set(await street.matched()) == set(street.read_ids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(
    street: Street, prefix: str, tmp_path: Path, number: signal.Signals
) -> None:
    async with WorkerProcess(tmp_path / "log", street.bootstrap, prefix) as process:
        await process.ready()
        await street.pass_by(200)
        process._running.send_signal(number)
        assert await process.ends() == 0, process.log()
    assert f"stopping on {number.name}" in process.log()
    await street.nobody_is_left()
    await street.committed_is_delivered()
    await street.rest_comes_once(prefix)


@pytest.fixture
async def cut_off(own_broker: OwnBroker) -> AsyncIterator[tuple[Street, FaultyProxy]]:
    """A street at a broker of its own, and the way to it that workers take."""
    prefix = f"own-{os.urandom(4).hex()}."
    await create_topics(Cluster(own_broker.straight, Topics(prefix)), partitions=4, replication=1)
    street = Street(own_broker.straight, prefix)
    await street.list_plates()
    async with FaultyProxy(own_broker.proxy_port, own_broker.proxy_target) as proxy:
        yield street, proxy


async def test_while_the_broker_is_away(
    cut_off: tuple[Street, FaultyProxy],
    own_broker: OwnBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With matches under way that nobody acknowledges; the group finds out by itself."""
    street, proxy = cut_off
    for name, seconds in {
        "SHUTDOWN_S": 1.5,
        "LEAVE_S": 0.5,
        "SPAN_EXPORT_S": 0.5,
        "END_S": 4.0,
        "SESSION_S": 6.0,
    }.items():
        monkeypatch.setattr(limits, name, seconds)
    deliver = Held(monkeypatch, sink.Sink, "deliver")
    async with worker_here(own_broker.behind_proxy, street.topics.prefix) as here:
        await here.ready()
        await street.pass_by(8)
        await deliver.wait(here)
        proxy.pause()
        deliver.opens.set()
        await ends(here)
        assert here.metric("hotlist_matches_total") == 0
    monkeypatch.undo()
    proxy.resume()
    await street.rest_comes(street.topics.prefix)


async def test_a_second_signal_ends_it_at_once(
    cut_off: tuple[Street, FaultyProxy], own_broker: OwnBroker, tmp_path: Path
) -> None:
    """What the first one made it wait for is not waited for: it is as if it were killed."""
    street, proxy = cut_off
    bootstrap, prefix = own_broker.behind_proxy, street.topics.prefix
    async with WorkerProcess(tmp_path / "log", bootstrap, prefix) as process:
        await process.ready()
        await street.pass_by(8)
        await process.has_processed(8)
        proxy.pause()
        process._running.send_signal(signal.SIGTERM)

        async def stopping() -> bool:
            return "stopping on SIGTERM; once more ends it at once" in process.log()

        await until(stopping, "it is stopping", process.log)
        process._running.send_signal(signal.SIGINT)
        assert await process.ends() == -signal.SIGINT, process.log()
    assert "SIGINT again: ended at once" in process.log()
