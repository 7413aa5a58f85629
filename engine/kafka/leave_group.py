"""A member leaves its consumer group at once, whatever it is doing.

When aiokafka's consumer stops, it waits for what its coordinator is doing. During a rebalance that
takes as long as the slowest member, and during a broker's outage as long as a request may take.
And it sends a leave request only if it ever had an assignment; otherwise the group waits a whole
session for a member that asked to join and is gone. Here the join is cancelled, and the leave
request is sent in any case, in a bounded time.

A static member (KIP-345) does not leave: its partitions wait for it to come back.

Call it after the last commit, in the consumer's own event loop, before its `stop`. It relies on
private parts of aiokafka; tests/kafka/worker/test_shutdown.py tests that they are as expected.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from engine import limits

log = logging.getLogger(__name__)


async def leave_group(consumer: Any) -> None:
    """Leave a started aiokafka consumer's group. Takes `limits.LEAVE_S` at most, and as long again
    if a revocation of partitions is in progress."""
    coordinator = consumer._coordinator
    if coordinator is None or coordinator._closing.done():
        return
    coordinator._closing.set_result(None)
    joins = await _cancel(coordinator)
    member_id, node_id = coordinator.member_id, coordinator.coordinator_id
    is_static = coordinator._group_instance_id is not None
    # aiokafka's own stop then finds no group to leave.
    coordinator.reset_generation()
    if is_static or not member_id or node_id is None:
        return
    try:
        async with asyncio.timeout(limits.LEAVE_S):
            # The broker answers in order on each connection, and the pending join request is first
            # on the connection that is for the coordination.
            await consumer._client.send(
                node_id,
                LeaveGroupRequest(coordinator.group_id, member_id),
                group=ConnectionGroup.DEFAULT if joins else ConnectionGroup.COORDINATION,
            )
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning(
            "could not leave consumer group %s (%s); the group waits %g s for this worker",
            *(coordinator.group_id, type(error).__name__, limits.SESSION_S),
        )


async def _cancel(coordinator: Any) -> bool:
    """End the coordination and the heartbeats; return whether a join was cancelled. A revocation
    in progress is completed first, because what it commits counts."""
    task: asyncio.Task[None] = coordinator._coordination_task
    deadline_s = time.monotonic() + limits.LEAVE_S
    joins = False
    while not task.done():
        joins = coordinator._performed_join_prepare
        if joins or time.monotonic() > deadline_s or coordinator.coordinator_id is None:
            task.cancel()
        await asyncio.wait({task}, timeout=limits.LEAVE_LOOK_S)
    for other in (task, coordinator._heartbeat_task, coordinator._commit_refresh_task):
        if other is not None:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
    return joins
