"""A member leaves its consumer group at once, whatever it is about.

aiokafka's consumer waits at its end for what its coordinator is doing. While a group is shared
out anew, that is as long as the slowest member takes, and while the broker is away as long as a
request may take. And it signs off only who has been given partitions once, so that a group waits
a whole session for somebody who has asked to join and gone. Here the join is broken off, and the
group is told in any case, in a bounded time.

To be called when all is committed that will be, in the consumer's own event loop, before its
`stop`. Stands on private parts of aiokafka; tests/kafka/worker/test_shutdown.py holds it to them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from engine import limits

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.01


async def leave_group(consumer: Any) -> None:
    """Leave a started aiokafka consumer's group. Takes `limits.LEAVE_S` at the most, and a handing
    over of partitions that is under way may take as long once more."""
    coordinator = consumer._coordinator
    if coordinator is None or coordinator._closing.done():
        return
    coordinator._closing.set_result(None)
    joins = await _break_off(coordinator)
    member_id, node_id = coordinator.member_id, coordinator.coordinator_id
    # aiokafka's own end finds nothing to leave any more.
    coordinator.reset_generation()
    if not member_id or node_id is None:
        return
    try:
        async with asyncio.timeout(limits.LEAVE_S):
            # The broker answers in order on each connection, and the request to join is in front
            # on the one that is for the coordination.
            await consumer._client.send(
                node_id,
                LeaveGroupRequest(coordinator.group_id, member_id),
                group=ConnectionGroup.DEFAULT if joins else ConnectionGroup.COORDINATION,
            )
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning(
            "consumer group %s was not told that this worker leaves (%s); it waits for it %g s",
            *(coordinator.group_id, type(error).__name__, limits.SESSION_S),
        )


async def _break_off(coordinator: Any) -> bool:
    """End the coordination and the heartbeats; whether a join was broken off. Partitions that are
    being handed over are handed over first, because what is committed until then counts."""
    task: asyncio.Task[None] = coordinator._coordination_task
    deadline_s = time.monotonic() + limits.LEAVE_S
    joins = False
    while not task.done():
        joins = coordinator._performed_join_prepare
        if joins or time.monotonic() > deadline_s or coordinator.coordinator_id is None:
            task.cancel()
        await asyncio.wait({task}, timeout=_LOOK_S)
    for other in (task, coordinator._heartbeat_task, coordinator._commit_refresh_task):
        if other is not None:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
    return joins
