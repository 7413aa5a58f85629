"""What a worker reports: whether it is alive, whether it takes reads, its metrics and status.

`stage` is the reason why it takes no reads while the gate is open; empty while it takes them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from engine import limits
from engine.config import Settings
from engine.control.gate import Gate
from engine.matching.lists import Lists
from engine.observability.log_sampling import Fault
from engine.observability.metric_families import Exposition
from engine.observability.stall_monitor import Watching
from engine.observability.status import Facts, HeldPartition, Status, StuckPartition, Watch
from engine.transport.runtime import Runtime
from engine.versions import versions


class Health:
    """See the module. `faults` returns the faults in the process's log."""

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        lists: Lists,
        gate: Gate,
        watching: Watching,
        faults: Callable[[], list[Fault]] | None,
    ) -> None:
        self.stage = "joining the consumer group"  # as soon as the gate is open
        self._waiting_for = ""
        self._settings = settings
        self._runtime = runtime
        self._lists = lists
        self._gate = gate
        self._watching = watching
        self._faults = faults
        self._versions = versions()
        self._watch = Watch(runtime.metrics, runtime.clock.now_ms())

    @property
    def not_ready_because(self) -> str:
        """The reason why the worker takes no reads; empty while it takes them."""
        return self.stage or self._waiting_for if self._gate.is_open else self._gate.reason

    def is_ready(self) -> bool:
        """Return whether the worker takes reads."""
        return not self.not_ready_because

    def waits(self, reason: str) -> None:
        """Note why the reads wait, though the lists are current; empty if they do not."""
        self._waiting_for = reason

    def stopping(self) -> None:
        """Note that the worker is stopping and takes no more reads."""
        self.stage = "stopping"

    def unhealthy(self) -> str:
        """Return why this process should be restarted; empty if it should not."""
        return "stopping" if self._runtime.tasks.has_ended else self._watching.unhealthy()

    def unready(self) -> str:
        """Return why it takes no reads, or which partitions are stuck; empty if neither."""
        return self.not_ready_because or self._watching.unready()

    def status(self) -> Status:
        """Return the current content of the status page."""
        self._set_gauges()
        topics = self._runtime.cluster.topics
        return self._watch.status(
            Facts(
                at_ms=self._runtime.clock.now_ms(),
                not_ready_because=self.not_ready_because,
                group=self._settings.group,
                delivery=self._settings.delivery,
                topics={
                    "reads": topics.detections,
                    "entries": topics.hotlist,
                    "policies": topics.policies,
                    "matches": topics.matches,
                },
                versions=self._versions,
                stuck=[
                    StuckPartition(each.partition, time.monotonic() - each.since_s, each.why)
                    for each in self._watching.stuck
                ],
                held=[
                    HeldPartition(*part, time.monotonic() - each.since_s, each.why)
                    for part, each in self._watching.held_elsewhere.items()
                ],
                faults=None if self._faults is None else self._faults(),
            )
        )

    def exposition(self, accept: str = "") -> Exposition:
        """Return the current metrics in the format that a request accepts."""
        self._set_gauges()
        return self._runtime.metrics.exposition(accept)

    async def sample(self) -> None:
        """Sample the counts for the status page at intervals, until cancelled."""
        while True:
            self._watch.sample(time.monotonic())
            await asyncio.sleep(limits.STATUS_SAMPLE_S)

    def _set_gauges(self) -> None:
        """Set the gauges whose values are not counted as they change."""
        metrics = self._runtime.metrics
        metrics.show_lists(self._lists, self._runtime.clock.now_ms())
        metrics.control_followed.set(1 if self._gate.is_open else 0)
        metrics.ready.set(1 if self.is_ready() else 0)
