"""The Faust app that hands fetches of the reads to the pipeline, and nothing more.

Of what Faust starts besides, all is left out that the engine does itself or does not have: no
tables, no producer, no web server, no directories.

Besides `engine.transport.consumer` this is the only module that imports faust.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

import faust
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from faust.types import TP
from yarl import URL

from engine import limits
from engine.observability.stall import Seen
from engine.transport.assignment import Assignment
from engine.transport.consumer import Commit, Consumer, Fetch, Transport
from engine.transport.runtime import Runtime


class _NoTables(TableManager):
    """Faust's table manager, which would wait a second for tables to come: there are none."""

    logger = logging.getLogger("faust")

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class _Boot(BootStrategy):
    """What Faust starts: no producer of its own, because matches go out through the sink."""

    enable_kafka_producer = False


class App(faust.App):
    """Faust's app, which leaves no directories behind: nothing of a worker lies on disk."""

    BootStrategy = _Boot
    logger = logging.getLogger("faust.app")  # else its services would log in this module's name

    #: Told when any of Faust's services has crashed, which ends none of the others by itself.
    on_crash: Callable[[BaseException], None]

    def _create_directories(self) -> None:
        pass

    async def overwrite_received(self) -> None:
        """Overwrite what was received last, reads among it, in the thread that fetches."""
        await cast(Consumer, self.consumer).overwrite_received()

    @property
    def fetched_bytes(self) -> int:
        """What is fetched of the reads and not processed yet, in bytes as fetched."""
        return cast(Consumer, self.consumer).fetched_bytes

    def seen(self) -> Mapping[int, Seen]:
        """What there is to see of the partitions of the reads that are assigned."""
        return cast(Consumer, self.consumer).seen()

    def may_take(self, fetch: Fetch) -> bool:
        """Whether a fetch that comes out of Faust's buffers still belongs to this worker.

        One that was on its way into them while they were emptied comes out later.
        """
        return bool(self.flow_control.is_active() and fetch.assignment.is_ours)

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        # Faust hands over at once while it stops, before what is in flight is committed.
        if self.should_stop:
            await cast(Consumer, self.consumer).wait_empty()
        else:
            await super()._on_partitions_revoked(revoked)

    def _on_rebalance_when_stopped(self) -> None:
        # Faust would close the consumer here, in another thread's event loop than its own, and
        # its connections before it has left the group. It is about to be stopped in order.
        pass

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.on_crash(reason)


def make_app(
    runtime: Runtime,
    take: Callable[[Fetch], Awaitable[None]],
    on_assigned: Callable[[Assignment, Iterable[int]], None],
    on_revoked: Callable[[Assignment], Awaitable[None]],
    commit: Commit,
) -> App:
    """An app whose one agent hands each fetch to `take`, and asks for the next when it returns.

    In a rebalance all partitions are revoked first. When what was in flight of them is done, their
    assignment ends, and `on_revoked` is called; no fetch is taken until it returns. Then
    `on_assigned` is given the next assignment and its partitions. `commit` commits offsets.
    """
    loop = asyncio.get_running_loop()
    cluster, reads = runtime.cluster, runtime.cluster.topics.detections
    servers = [URL(f"kafka://{server}") for server in cluster.bootstrap.split(",")]

    def expired(partition: int, count: int) -> None:
        runtime.metrics.expired_reads.inc(count)

    app = App(
        cluster.group,
        broker=servers,
        loop=loop,
        autodiscover=False,
        TableManager=_NoTables,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=True,
        stream_buffer_maxsize=limits.FETCHES_WAITING,
        broker_commit_interval=limits.COMMIT_INTERVAL_S,
        broker_session_timeout=limits.SESSION_S,
        broker_heartbeat_interval=limits.HEARTBEAT_S,
    )
    app.on_crash = runtime.tasks.fail
    app.transport = Transport(
        servers,
        app,
        loop=loop,
        cluster=cluster,
        batch_topics=[reads],
        commit=commit,
        expired=expired,
    )
    detections = app.topic(reads, key_serializer="raw", value_serializer="raw")

    async def match_fetches(stream: Any) -> None:
        async for fetch in stream:
            fetch.begin()
            if app.may_take(fetch):
                await take(fetch)
            else:
                fetch.abandon()

    async def revoked(*_: Any, **__: Any) -> None:
        assignment = cast(Consumer, app.consumer).current
        assignment.end()
        await on_revoked(assignment)

    async def assigned(*sent: Any, **_: Any) -> None:
        _, partitions = sent
        assignment = cast(Consumer, app.consumer).current
        on_assigned(assignment, [tp.partition for tp in partitions if tp.topic == reads])

    app.agent(detections, name="match_fetches")(match_fetches)
    app.on_partitions_revoked.connect(revoked)
    app.on_partitions_assigned.connect(assigned)
    return app
