"""`engine.observability.lag_monitor` on a real broker: partitions are added, and no member of the
group knows them."""

from __future__ import annotations

from typing import Any

from engine.kafka.cluster import Cluster
from engine.kafka.topics import Topics
from engine.observability.broker_view import BrokerView
from engine.observability.lag_monitor import LagMonitor
from engine.observability.metrics import Metrics
from engine.observability.stall import Seen
from tests.kafka.records import (
    ToSend,
    add_partitions,
    member,
    produce,
    producing,
    send_to_partition,
    until,
)


def seen(own: set[int]) -> dict[int, Seen]:
    """What a worker sees that has done nothing yet."""
    return {number: Seen(None, None, None, None) for number in own}


def shown(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["partition"]: sample.value
        for family in metrics.lag.collect()
        for sample in family.samples
    }


async def test_partitions_that_nobody_knows_yet(real_kafka: str, prefix: str) -> None:
    topic, group = Topics(prefix).detections, f"{prefix}group"
    metrics = Metrics()
    own: set[int] = set()
    brokers = BrokerView(Cluster(real_kafka, Topics(prefix), group))
    lag = LagMonitor(Topics(prefix), brokers, metrics, lambda: seen(own))

    async def shows(wanted: dict[str, int]) -> None:
        async def so() -> bool:
            await lag.look()
            return shown(metrics) == wanted

        await until(so, f"the lag is {wanted}", lambda: str(shown(metrics)))

    try:
        async with member(real_kafka, topic, group) as consumer:
            own |= {tp.partition for tp in consumer.assignment()}
            assert own == {0, 1, 2, 3}
            await shows({"0": 0, "1": 0, "2": 0, "3": 0})
            await add_partitions(real_kafka, topic, 6)
            record = ToSend(b"K", b"{}")
            await produce(real_kafka, topic, {0: [record] * 9, 4: [record] * 3})
            of_own = {"0": 9, "1": 0, "2": 0, "3": 0}
            await shows(of_own | {"4": 3, "5": 0})
            # What an open transaction holds back waits too.
            async with producing(
                real_kafka, transactional_id=f"{prefix}open", acks="all"
            ) as producer:
                await producer.begin_transaction()
                await send_to_partition(producer, topic, 5, [record] * 2)
                await shows(of_own | {"4": 3, "5": 2})
                await producer.abort_transaction()
        own.clear()
        metrics.drop_partitions(range(6))
        await shows({})
        async with member(real_kafka, topic, group) as consumer:
            own |= {tp.partition for tp in consumer.assignment()}
            assert own == set(range(6))
            await shows(of_own | {"4": 3, "5": 3})  # the end of the transaction is an offset, too
    finally:
        await brokers.close()


async def test_one_of_two_workers_shows_it(real_kafka: str, prefix: str) -> None:
    topic, group = Topics(prefix).detections, f"{prefix}group"
    async with (
        member(real_kafka, topic, group) as one,
        member(real_kafka, topic, group) as other,
    ):
        members: list[Any] = [one, other]

        async def shared() -> bool:
            for each in members:
                await each.getmany(timeout_ms=0)
            return [len(each.assignment()) for each in members] == [2, 2]

        await until(shared, "both have partitions")
        await add_partitions(real_kafka, topic, 5)
        await produce(real_kafka, topic, {4: [ToSend(b"K", b"{}")]})
        found = []
        for each in members:
            own = {tp.partition for tp in each.assignment()}
            brokers, metrics = BrokerView(Cluster(real_kafka, Topics(prefix), group)), Metrics()
            lag = LagMonitor(Topics(prefix), brokers, metrics, lambda own=own: seen(own))  # type: ignore[misc]

            async def answered(lag: LagMonitor = lag, metrics: Metrics = metrics) -> bool:
                await lag.look()
                return "4" in shown(metrics) or (0 not in own and bool(shown(metrics)))  # noqa: B023

            await until(answered, "the partition is seen")
            await brokers.close()
            found.append((0 in own, shown(metrics).get("4")))
        assert sorted(found, key=str) == [(False, None), (True, 1)]
