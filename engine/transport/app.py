"""The Faust app, which only passes fetches of the reads to the pipeline.

Faust features that the engine replaces or does not need are disabled: tables, the producer, the web
server, directories.

Besides this module only the driver, its consumer, its thread and `holdings` import faust.
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
from engine.transport.batch_topics import Commit, OnAssigned, OnRevoked
from engine.transport.consumer import Consumer
from engine.transport.driver import Transport
from engine.transport.fetch import Fetch
from engine.transport.runtime import Runtime


class _NoTables(TableManager):
    """Faust's table manager, without its wait of a second: the app has no tables."""

    logger = logging.getLogger("faust")

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class _Boot(BootStrategy):
    """Faust's services, without its producer: the sink sends the matches."""

    enable_kafka_producer = False


class App(faust.App):
    """Faust's app, which creates no directories: a worker keeps nothing on disk."""

    BootStrategy = _Boot
    logger = logging.getLogger("faust.app")  # else its services would log in this module's name

    #: Called when one of Faust's services has crashed; by itself that ends none of the others.
    on_crash: Callable[[BaseException], None]

    def _create_directories(self) -> None:
        pass

    def on_init_dependencies(self) -> Iterable[Any]:
        """Return Faust's services, without its monitor: the engine has its own metrics."""
        services: Iterable[Any] = super().on_init_dependencies()
        self.sensors.remove(self.monitor)
        return services

    @property
    def fetched_bytes(self) -> int:
        """The size of the reads that are fetched and not processed yet, in bytes as fetched."""
        return cast(Consumer, self.consumer).fetched_bytes

    def seen(self) -> Mapping[int, Seen]:
        """Return the observed state of the assigned partitions of the reads."""
        return cast(Consumer, self.consumer).seen()

    def may_take(self, fetch: Fetch) -> bool:
        """Return whether a fetch from Faust's buffers still belongs to this worker.

        A fetch that was added while the buffers were emptied comes out later.
        """
        may_begin = fetch.assignment.may_begin(fetch.raw.partition)
        return bool(self.flow_control.is_active() and may_begin)

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        # While it stops, Faust would revoke at once, before what is in flight is committed.
        if self.should_stop:
            await cast(Consumer, self.consumer).wait_empty()
        else:
            await super()._on_partitions_revoked(revoked)

    def _on_rebalance_when_stopped(self) -> None:
        # Faust would close the consumer here, in the event loop of the wrong thread, and close its
        # connections before it leaves the group. The consumer is stopped in order later.
        pass

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.on_crash(reason)


def make_app(
    runtime: Runtime,
    take: Callable[[Fetch], Awaitable[None]],
    on_assigned: OnAssigned,
    on_revoked: OnRevoked,
    commit: Commit,
) -> App:
    """Make an app whose only agent passes each fetch to `take`, which begins it, and requests the
    next one when that returns.

    A partition is revoked when its fetches in flight are done: it ends in its assignment, and
    `on_revoked` is called. `on_assigned` is called with each new assignment and its partitions.
    `commit` commits offsets.
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
        broker_session_timeout=cluster.member.session_s,
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
        on_assigned=on_assigned,
        on_revoked=on_revoked,
        expired=expired,
    )
    detections = app.topic(reads, key_serializer="raw", value_serializer="raw")

    async def match_fetches(stream: Any) -> None:
        async for fetch in stream:
            if app.may_take(fetch):
                await take(fetch)
            else:
                fetch.abandon()

    app.agent(detections, name="match_fetches")(match_fetches)
    return app
