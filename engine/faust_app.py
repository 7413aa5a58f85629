"""The Faust app that hands fetches of the reads to the pipeline, and nothing more.

Of what Faust starts besides, all is left out that the engine does itself or does not have: no
tables, no producer, no web server, no directories.

Besides `engine.transport` this is the only module that imports faust.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import faust
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from yarl import URL

from engine import limits
from engine.config import Settings
from engine.connection import Security
from engine.topics import Topics
from engine.transport import Consumer, Fetch, Transport


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

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.on_crash(reason)


def make_app(
    settings: Settings,
    topics: Topics,
    security: Security,
    take: Callable[[Fetch], Awaitable[None]],
    given_up: Callable[[], Awaitable[None]],
    taken_over: Callable[[Iterable[int]], None],
    on_crash: Callable[[BaseException], None],
) -> App:
    """An app whose one agent hands each fetch to `take`, and asks for the next when it returns.

    Whenever the group shares out anew, all partitions are given up first, and `given_up` is
    called when what was in flight of them is done; no fetch is taken until it returns. Then
    `taken_over` is told of the partitions that are ours.
    """
    loop = asyncio.get_running_loop()
    servers = [URL(f"kafka://{server}") for server in settings.bootstrap.split(",")]
    app = App(
        settings.group,
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
    app.on_crash = on_crash
    app.transport = Transport(
        servers, app, loop=loop, batch_topics=[topics.detections], security=security
    )
    detections = app.topic(topics.detections, key_serializer="raw", value_serializer="raw")

    async def match_fetches(stream: Any) -> None:
        async for fetch in stream:
            await take(fetch)

    async def on_partitions_revoked(*_: Any, **__: Any) -> None:
        await given_up()

    async def on_partitions_assigned(*told: Any, **_: Any) -> None:
        _, assigned = told
        taken_over([tp.partition for tp in assigned if tp.topic == topics.detections])

    app.agent(detections, name="match_fetches")(match_fetches)
    app.on_partitions_revoked.connect(on_partitions_revoked)
    app.on_partitions_assigned.connect(on_partitions_assigned)
    return app
