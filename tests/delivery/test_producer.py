"""`engine.delivery.producer`: what is changed of aiokafka's producer.

No broker: what a broker's answer leads to is called here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced
from hypothesis import given
from hypothesis import strategies as st

from engine.delivery.producer import by_partition, make_producer
from engine.delivery.records import Outgoing
from engine.wire.java_partitioner import murmur2_partition
from tests.fakes.runtime import CLUSTER

_PLACE = TopicPartition("lpr.matches.v1", 0)


class _Topics:
    """The partitions of topics, which a producer knows."""

    async def partitions_for(self, topic: str) -> set[int]:
        return {"matches": {0, 1, 2}, "rejects": {5, 3}}[topic]


@given(st.lists(st.tuples(st.sampled_from(["matches", "rejects"]), st.binary(max_size=9))))
def test_each_record_is_in_the_partition_of_its_key(keys: list[tuple[str, bytes]]) -> None:
    """In their order, also where topics take turns; the naive way is one by one."""
    records = [Outgoing(topic, key, b"%d" % n) for n, (topic, key) in enumerate(keys)]
    partitions = {"matches": [0, 1, 2], "rejects": [3, 5]}
    expected: dict[tuple[str, int], list[Outgoing]] = {}
    for record in records:
        known = partitions[record.topic]
        place = record.topic, known[murmur2_partition(record.key, len(known))]
        expected.setdefault(place, []).append(record)
    assert asyncio.run(by_partition(_Topics(), records)) == expected


@pytest.mark.parametrize("fails", ["before it is queued again", "after it is queued again"])
async def test_a_batch_that_fails_while_it_waits_to_be_sent_again(fails: str) -> None:
    """As when another worker fences this one's producer while a connection is lost."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    producer = make_producer(CLUSTER)
    accumulator = producer._message_accumulator
    built = producer.create_batch()
    built.append(key=b"K", value=b"{}", timestamp=None)
    built.close()
    sent = await accumulator.add_batch(built, _PLACE, 1)
    producer._txn_manager.set_pid_and_epoch(1, 0)
    batch = accumulator._pop_batch(_PLACE)

    if fails == "before it is queued again":
        accumulator.fail_all(ProducerFenced())
        await asyncio.sleep(0)
        accumulator.reenqueue(batch)
    else:
        accumulator.reenqueue(batch)
        accumulator.fail_all(ProducerFenced())
        await asyncio.sleep(0)

    with pytest.raises(ProducerFenced):
        await sent
    await producer.stop()
    assert errors == []
