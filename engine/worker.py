"""The worker: all parts wired into one Faust app.

Three threads share the work. The main one runs the event loop: Faust's agent, the control
replica, the producer, HTTP. Faust's consumer thread fetches. The heart's thread alone touches
the lists: it takes control records and fetches one after the other.

A fetch passes: consumer thread → agent → gate → heart → (matches, rejects) → sink → done, and
only then may its offset be committed. A bounded number of fetches is in delivery while the
next are matched. Whatever goes wrong beyond a bad record ends the worker without a commit, so
that the reads are processed again by the next one.

Besides `engine.transport` this is the only module that imports faust.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import faust
from faust.tables.manager import TableManager
from yarl import URL

from engine import limits
from engine.batches import parse
from engine.clock import Clock, SystemClock
from engine.config import Settings
from engine.control import ControlReplica
from engine.errors import HotlistError
from engine.heart import Heart, Outcome
from engine.http import HttpServer
from engine.lists import ControlRecord, Lists
from engine.metrics import Metrics
from engine.rules import Purposes
from engine.sink import Outgoing, Sink, match_record, reject_record
from engine.topics import Topics, check_topics
from engine.transport import Fetch, Transport

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class WorkerOptions:
    """What differs between a worker in production, in the demo and in tests."""

    clock: Clock
    check_topics: bool = True


class Worker:
    """One engine process. `run` returns after `stop` was called and everything is put away."""

    def __init__(self, settings: Settings, options: WorkerOptions | None = None) -> None:
        limits.check()
        self.settings = settings
        self.options = options or WorkerOptions(SystemClock())
        self.topics = Topics(settings.prefix)
        self.metrics = Metrics()
        self.lists = Lists(Purposes.load(settings.purposes))
        self._heart = Heart(self.lists, settings.verify_keys, parse)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heart")
        self._replica: ControlReplica | None = None
        self._stage = "starting"
        self._reads_processed = 0
        self._ending: asyncio.Future[None] | None = None
        self.http = HttpServer(
            settings.http_host,
            settings.http_port,
            self._exposition,
            lambda: "" if self._ending is None or not self._ending.done() else "stopping",
            lambda: self.not_ready_because,
        )

    @property
    def not_ready_because(self) -> str:
        """Why no reads are taken; an empty string while they are."""
        if self._replica is not None and not self._replica.gate.is_open:
            return self._replica.gate.reason
        return self._stage

    @property
    def reads_processed(self) -> int:
        """Reads processed so far, their matches delivered or not."""
        return self._reads_processed

    async def run(self) -> None:
        """Start, work until `stop` or a failure, put everything away.

        Raises HotlistError where a part cannot start or fails.
        """
        self._ending = asyncio.get_running_loop().create_future()
        await self.http.start()
        try:
            if self.options.check_topics:
                for warning in await check_topics(self.settings.bootstrap, self.topics):
                    log.warning("%s", warning)
            log.info("metrics and health at http://%s:%d", self.settings.http_host, self.http.port)
            await self._run_with_lists()
        finally:
            await self.http.stop()
            self._thread.shutdown()

    def stop(self) -> None:
        """End `run` in order: what is in flight is delivered and committed first."""
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if self._ending is not None and not self._ending.done():
            self._ending.set_exception(error)

    async def _run_with_lists(self) -> None:
        self._stage = "joining the consumer group"  # as soon as the gate is open
        self._replica = ControlReplica(self.settings.bootstrap, self.topics, self._apply)
        await self._replica.start()
        tasks = [asyncio.create_task(self._replica.run()), asyncio.create_task(self._expire())]
        for task in tasks:
            task.add_done_callback(self._on_task_done)
        gc.disable()  # what is loaded is no garbage, and looking takes a fifth of the time
        try:
            started_s = time.monotonic()
            if await self._first(self._replica.gate.passed()):
                # The lists stay: no need to look for garbage in them again and again.
                gc.collect()
                gc.freeze()
                gc.enable()
                log.info(
                    "lists loaded in %.1f s: %d entries, %d policies, %d refused",
                    time.monotonic() - started_s,
                    len(self.lists.index),
                    self.lists.eligibility.policy_count,
                    self.lists.refused_count,
                )
                await self._run_with_reads()
        finally:
            gc.enable()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._replica.stop()

    async def _run_with_reads(self) -> None:
        sink = Sink(self.settings.bootstrap)
        await sink.start()
        pipeline = _Pipeline(self, sink)
        app = _faust_app(self.settings, self.topics, pipeline)
        app.on_crash = self._fail
        try:
            await app.start()
            _return_free_memory()
            self._stage = ""
            log.info("ready: taking reads from %s", self.topics.detections)
            assert self._ending is not None
            await self._ending
        finally:
            self._stage = "stopping"
            await app.stop()
            await pipeline.close()
            await sink.stop()

    async def _first(self, awaited: Any) -> bool:
        """Wait for something; False where the worker was stopped before it came about."""
        assert self._ending is not None
        waiting = asyncio.ensure_future(awaited)
        await asyncio.wait({waiting, self._ending}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return True
        waiting.cancel()
        await self._ending  # raises what ended it
        return False

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _in_heart_thread(self, function: Callable[[], T]) -> T:
        """Call a function on the heart's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def process(self, fetch: Fetch) -> Outcome | None:
        """Wait for the gate, then match a fetch at the time at which its turn comes.

        None where the worker ends before the gate opens.
        """
        if not await self._passed_gate():
            return None
        started_s = time.perf_counter()
        outcome = await self._in_heart_thread(
            lambda: self._heart.process(fetch.raw, self.options.clock.now_ms())
        )
        self._reads_processed += outcome.reads
        self.metrics.count_fetch(
            outcome, fetch.raw.partition, fetch.lag, time.perf_counter() - started_s
        )
        return outcome

    async def _passed_gate(self) -> bool:
        assert self._replica is not None
        assert self._ending is not None
        gate = self._replica.gate
        while not gate.is_open and not self._ending.done():
            opening = asyncio.ensure_future(gate.passed())
            await asyncio.wait({opening, self._ending}, return_when=asyncio.FIRST_COMPLETED)
            opening.cancel()
        return gate.is_open

    async def _apply(self, records: list[ControlRecord], loading: bool) -> None:
        applied = await self._in_heart_thread(
            lambda: self.lists.apply(records, self.options.clock.now_ms())
        )
        for reason, count in applied.refused.items():
            log.warning("%d %s records refused: %s", count, records[0].kind.value, reason)
        self.metrics.count_control(
            records, applied, self.options.clock.now_ms(), first_load=loading
        )

    async def _expire(self) -> None:
        """Start and end entries by the clock while no reads come to do it."""
        while True:
            await asyncio.sleep(limits.EXPIRY_INTERVAL_S)
            await self._in_heart_thread(lambda: self.lists.advance(self.options.clock.now_ms()))

    def count_delivered(self, outcome: Outcome, took_s: float) -> None:
        """Count what the broker has acknowledged."""
        self.metrics.count_delivered(outcome, self.options.clock.now_ms(), took_s)

    def _exposition(self) -> bytes:
        self.metrics.show_lists(self.lists, self.options.clock.now_ms())
        self.metrics.ready.set(0 if self.not_ready_because else 1)
        return self.metrics.exposition()


def _return_free_memory() -> None:
    """Give what loading took for a while back to the system, where the C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


class _Pipeline:
    """Fetches through the heart one by one, deliveries beside it, a bounded number at a time."""

    def __init__(self, worker: Worker, sink: Sink) -> None:
        self._worker = worker
        self._sink = sink
        self._room = asyncio.Semaphore(limits.FETCHES_IN_DELIVERY)
        self._deliveries: set[asyncio.Task[None]] = set()

    async def take(self, fetch: Fetch) -> None:
        """Process a fetch; returns when the next may be taken."""
        try:
            outcome = await self._worker.process(fetch)
        except Exception as error:
            self._worker._fail(error)
            fetch.abandon()
            raise
        if outcome is None:
            fetch.abandon()
            return
        if not outcome.matches and not outcome.rejects:
            fetch.done()
            return
        await self._room.acquire()
        delivery = asyncio.create_task(self._deliver(fetch, outcome))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._on_delivered)

    async def close(self) -> None:
        """Wait for what is in delivery."""
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    async def _deliver(self, fetch: Fetch, outcome: Outcome) -> None:
        started_s = time.perf_counter()
        try:
            await self._sink.deliver(self._records(outcome))
        except Exception:
            fetch.abandon()
            raise
        fetch.done()
        self._worker.count_delivered(outcome, time.perf_counter() - started_s)

    def _records(self, outcome: Outcome) -> list[Outgoing]:
        topics = self._worker.topics
        return [match_record(topics, found.match) for found in outcome.matches] + [
            reject_record(topics, reject) for reject in outcome.rejects
        ]

    def _on_delivered(self, delivery: asyncio.Task[None]) -> None:
        self._deliveries.discard(delivery)
        self._room.release()
        self._worker._on_task_done(delivery)


class _NoTables(TableManager):
    """Faust's table manager, which would wait a second for tables to come: there are none."""

    logger = logging.getLogger("faust")

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class _App(faust.App):
    """Faust's app, which leaves no directories behind: nothing of a worker lies on disk."""

    logger = logging.getLogger("faust.app")  # else its services would log in this module's name

    #: Told when any of Faust's services has crashed, which ends none of the others by itself.
    on_crash: Callable[[BaseException], None]

    def _create_directories(self) -> None:
        pass

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.on_crash(reason)


def _faust_app(settings: Settings, topics: Topics, pipeline: _Pipeline) -> _App:
    loop = asyncio.get_running_loop()
    servers = [URL(f"kafka://{server}") for server in settings.bootstrap.split(",")]
    app = _App(
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
    app.transport = Transport(servers, app, loop=loop, batch_topics=[topics.detections])
    detections = app.topic(topics.detections, key_serializer="raw", value_serializer="raw")

    async def match_fetches(stream: Any) -> None:
        async for fetch in stream:
            await pipeline.take(fetch)

    app.agent(detections, name="match_fetches")(match_fetches)
    return app


def use_uvloop() -> None:
    """Make the event loops to come those of uvloop, where it is to be had.

    They cost a twentieth less of all the CPU time. A policy, and not a loop of our own, because
    Faust makes the loop of its consumer thread by itself.
    """
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def run_worker(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT. Raises HotlistError where it cannot go on."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("engine").setLevel(logging.INFO)
    logging.getLogger("engine.transport").setLevel(logging.WARNING)  # Faust's services log there
    for noisy in ("aiokafka", "faust", "mode"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    use_uvloop()
    asyncio.run(_run_until_signal(Worker(settings)))


async def _run_until_signal(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    try:
        await worker.run()
    except HotlistError:
        raise
    except Exception as error:
        log.exception("the worker failed")
        raise HotlistError(
            f"the worker failed ({type(error).__name__})",
            hint="nothing was committed for the reads in flight; start it again",
        ) from error
