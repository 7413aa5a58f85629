"""`engine.delivery.producer`: what is changed of aiokafka's producer.

No broker: what a broker's answer leads to is called here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced

from engine.delivery.producer import make_producer
from tests.fakes.runtime import CLUSTER

_PLACE = TopicPartition("lpr.matches.v1", 0)


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
