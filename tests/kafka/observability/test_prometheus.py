"""A real Prometheus beside real workers: panels and rules have data, and faults make alerts fire.

It scrapes twice a second, and its rules look back for, and wait, a fraction of the time that they
have in `deploy/prometheus`. What every alert fires for and what not is in the rules' own tests;
here are those whose fault is quick to make.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient

from engine.config import Settings
from engine.ingest.adapters import ADAPTERS, Site
from engine.ingest.metrics import IngestMetrics
from engine.ingest.producer import ingesting
from engine.ingest.webhook import Endpoint, IngestServer
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from tests.fakes.examples import an_entry
from tests.fakes.faulty_proxy import FaultyProxy
from tests.kafka.following import sent
from tests.kafka.own_broker import OwnBroker
from tests.kafka.records import ToSend, produce, until
from tests.kafka.town import Town
from tests.kafka.worker_process import WorkerProcess
from tests.repository.monitoring import (
    PrometheusServer,
    faster,
    faster_rules,
    filled_in,
    metrics_in,
    queries,
    rules,
    tool,
)

_TIMES = 120
_INTERVAL = "500ms"
_RATES_OVER = "3s"
#: A slow network: less than the reads that are produced then.
_SLOW_BYTES_A_SECOND = 2_000_000
_READS_A_STEP = 1_000
_STEP_S = 0.1
_MESSAGE = (Path(__file__).parents[2] / "data" / "vendors" / "openalpr-v2.json").read_bytes()

#: Two deployments of a worker each: one has reads and a network that fails, and all else befalls
#: the other.
_BUSY, _OTHER = "hotlist-busy", "hotlist-other"
#: An ingest process, which this test is itself.
_INGEST = "hotlist-ingest"
_TOKEN = "a token of a test"
#: By dashboard, whose data it shows here.
_JOBS = {"hotlist": _BUSY, "hotlist-ingest": _INGEST}


@asynccontextmanager
async def meanwhile(step: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Something that is done again and again beside the rest."""
    over = asyncio.Event()

    async def go_on() -> None:
        while not over.is_set():
            await step()
            await asyncio.sleep(_STEP_S)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        # To its end: a producer that is cancelled while it connects leaves its socket behind.
        over.set()
        await task


async def fires(prometheus: PrometheusServer, *wanted: tuple[str, str]) -> None:
    """Wait until each of these alerts fires, or has fired, for its job."""
    missing = set(wanted)

    async def all_have() -> bool:
        for name, labels, notes in await asyncio.to_thread(lambda: list(prometheus.alerts())):
            missing.discard((name, labels["job"]))
            for note in notes.values():
                assert note
                assert "<no value>" not in note
                assert "error" not in note
        return not missing

    await until(all_have, f"alerts fire: {sorted(missing)}", lambda: f"not yet: {missing}")


def without_data(prometheus: PrometheusServer) -> list[str]:
    """Which panels and rules have nothing to show."""
    asked = [
        (query.panel, filled_in(faster(query.expr, _TIMES), _JOBS[query.dashboard], _RATES_OVER))
        for query in queries()
    ]
    for rule in rules():
        if not rule.is_alert:
            asked.append((rule.name, rule.name))
        # An alert's expression has a result in its fault alone. What it asks for is there, except
        # for the files of a verification and of a sync.
        asked += [
            (rule.name, f'{{__name__="{metric}"}}')
            for metric in metrics_in(rule.expr)
            if not metric.startswith(("hotlist_audit_verify_", "hotlist_sync_"))
        ]
    return [
        f"{name}: {expr}"
        for name, expr in asked
        if not any(math.isfinite(value) for _, value in prometheus.query(expr))
    ]


@asynccontextmanager
async def taking_messages(bootstrap: str, prefix: str) -> AsyncIterator[int]:
    """Take OpenALPR's messages as `hotlist ingest` does, at the port that this yields."""
    metrics = IngestMetrics("openalpr")
    metrics.watch_mqtt(lambda: True)
    metrics.show_certificate(expires_ms=4_000_000_000_000)
    settings = Settings(bootstrap=bootstrap, prefix=prefix)
    async with ingesting(settings, ADAPTERS["openalpr"], Site("S1"), metrics) as ingest:
        server = IngestServer(ingest, Endpoint("127.0.0.1", 0, _TOKEN))
        await server.start()
        try:
            yield server.port
        finally:
            await server.stop()


async def send_message(port: int, message: bytes) -> int:
    """The status that the endpoint answers a message with."""
    headers = {"Authorization": f"Bearer {_TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.post(f"http://127.0.0.1:{port}/", data=message) as answer,
    ):
        return answer.status


async def delete_topic(bootstrap: str, topic: str) -> None:
    """Delete a topic behind the backs of those who write to it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()


async def test_a_prometheus_beside_real_workers(own_broker: OwnBroker, tmp_path: Path) -> None:
    tool("prometheus")
    village = Town(entries=500, sources=4, reads=4_000, hit_rate=0.1, seed=5)
    bootstrap = own_broker.straight
    busy, other = (Topics(f"{name}-{os.urandom(4).hex()}.") for name in (_BUSY, _OTHER))
    for topics in (busy, other):
        await create_topics(Cluster(bootstrap, topics), partitions=4, replication=1)
        await village.produce_control(bootstrap, topics.hotlist, topics.policies)
    ports = {job: _free_port() for job in (_BUSY, _OTHER)}
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(
            FaultyProxy(own_broker.proxy_port, own_broker.proxy_target)
        )
        workers = [
            await stack.enter_async_context(
                WorkerProcess(
                    tmp_path / f"{job}.log", address, topics.prefix, "--http-port", str(ports[job])
                )
            )
            for job, address, topics in (
                (_BUSY, own_broker.behind_proxy, busy),
                (_OTHER, bootstrap, other),
            )
        ]
        ingest_port = await stack.enter_async_context(taking_messages(bootstrap, busy.prefix))
        prometheus = stack.enter_context(
            PrometheusServer(
                tmp_path,
                faster_rules(_TIMES, _INTERVAL),
                {
                    job: [f"127.0.0.1:{port}"]
                    for job, port in (ports | {_INGEST: ingest_port}).items()
                },
                interval=_INTERVAL,
            )
        )
        for worker in workers:
            await worker.ready()

        shares = itertools.cycle([village.reads_between(at / 4, (at + 1) / 4) for at in range(4)])
        changes = itertools.count()

        async def work_as_usual() -> None:
            entry = an_entry(entry_id="changing", priority=1 + next(changes) % 5)
            await produce(bootstrap, busy.hotlist, sent(entry))
            await produce(bootstrap, busy.detections, next(shares))
            assert await send_message(ingest_port, _MESSAGE) == 200

        missing = {*await asyncio.to_thread(without_data, prometheus)}

        async def all_have_data() -> bool:
            # What a transaction holds back has data only while one is open: each has its moment.
            missing.intersection_update(await asyncio.to_thread(without_data, prometheus))
            return not missing

        async with meanwhile(work_as_usual):
            await until(all_have_data, "every panel and rule has data", lambda: "\n".join(missing))
        assert "HotlistRejectsRising" not in {name for name, _, _ in prometheus.alerts()}

        proxy.slow(_SLOW_BYTES_A_SECOND, 0)
        await delete_topic(bootstrap, other.audit)
        many = {0: village.reads[0][:_READS_A_STEP]}
        bad = {0: [ToSend(None, b"{")] * 10}

        async def all_goes_wrong() -> None:
            await produce(bootstrap, busy.detections, many, codec=None)
            await produce(bootstrap, other.detections, bad)
            entry = an_entry(entry_id="changing", priority=1 + next(changes) % 5)
            await produce(bootstrap, other.hotlist, sent(entry))
            assert await send_message(ingest_port, b"{}") == 400

        async with meanwhile(all_goes_wrong):
            await fires(
                prometheus,
                ("HotlistLagGrowing", _BUSY),
                ("HotlistRejectsRising", _OTHER),
                ("HotlistAuditStalled", _OTHER),
                ("HotlistIngestAllBad", _INGEST),
            )

        proxy.pause()
        with contextlib.suppress(ProcessLookupError):  # without its audit it ends after a minute
            await workers[1].kill()
        await fires(
            prometheus,
            ("HotlistControlNotFollowed", _BUSY),
            ("HotlistNoWorkerReady", _BUSY),
            ("HotlistWorkerDown", _OTHER),
            ("HotlistNoWorkerReady", _OTHER),
        )
        assert prometheus.failing_rules() == {}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
