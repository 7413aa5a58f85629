"""What a worker does when another producer has the transactional id of one of its partitions.

It gives the partition back to the group, and claims the id again if it is assigned to it again. If
that helps nothing, another group uses the same id, and the worker ends.
"""

from __future__ import annotations

import asyncio
import logging

from engine import limits
from engine.delivery.transactional_producer import Fenced
from engine.errors import BrokerError
from engine.tasks import Supervisor
from engine.transport.assignment import Assignment

log = logging.getLogger(__name__)


class Fencing:
    """See the module. Other failures of a partition's transactions end the worker at once."""

    def __init__(self, tasks: Supervisor) -> None:
        self._tasks = tasks

    def on_done(self, assignment: Assignment, partition: int, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if not isinstance(error, Fenced):
            if error is not None:
                self._tasks.fail(error)
            return
        if not assignment.owns(partition):
            return
        log.warning("partition %d is another worker's now, or was; the group rebalances", partition)
        assignment.ask_to_reassign(partition)
        loop = asyncio.get_running_loop()
        loop.call_later(limits.FENCED_S, self._still_fenced, assignment, partition, str(error))

    def _still_fenced(self, assignment: Assignment, partition: int, transactional_id: str) -> None:
        if assignment.owns(partition):
            self._tasks.fail(
                BrokerError(
                    "another process uses it, and is not in this consumer group",
                    where=f"transactional id {transactional_id}",
                    hint="give each deployment a --group (HOTLIST_GROUP) of its own",
                )
            )
