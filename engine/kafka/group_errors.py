"""Which errors of a consumer group a member outlives.

aiokafka joins a group again after each failure. It raises an answer that it does not expect, such
as that of a coordinator that loads the group while a member syncs, as a bare KafkaError with the
answer as text, so it is not retriable by its type. A member that has ended for good raises one too,
with the reason as its cause.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka.errors import KafkaError

from engine import limits
from engine.kafka.diagnosis import refusal
from engine.tasks import retrieve


def retrieve_commits(consumer: Any) -> None:
    """Count the error of a commit that nothing waits for any more as retrieved.

    aiokafka lets such a commit go on, and the event loop would log its error. The consumer, one of
    a group, must have been started.
    """
    coordinator = consumer._coordinator
    commit = coordinator._do_commit_offsets

    def committing(*args: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(commit(*args))
        task.add_done_callback(retrieve)
        return task

    coordinator._do_commit_offsets = committing


class GroupErrors:
    """The errors of one member of a group, as they come."""

    def __init__(self) -> None:
        self._failing_since_s: float | None = None

    def is_final(self, error: KafkaError) -> bool:
        """Return whether the member is of no use after this error.

        It is if the group is denied, if the member has ended, and if it has failed for
        DELIVERY_TIMEOUT_S.
        """
        if error.retriable:
            return False
        if type(error) is not KafkaError or refusal(error) or error.__cause__ is not None:
            return True
        now_s = time.monotonic()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        return now_s - self._failing_since_s >= limits.DELIVERY_TIMEOUT_S

    def passed(self) -> None:
        """Note that there is no error now."""
        self._failing_since_s = None
