"""The worker: all parts wired into one Faust app.

Three threads share the work. The main one runs the event loop: Faust's agent, the control
replica, the producer, HTTP. Faust's consumer thread fetches. The heart's thread alone touches
the lists: it takes control records and fetches one after the other.

A fetch passes: consumer thread → agent → gate → heart → (matches, rejects, audit records) →
sink → done, and only then may its offset be committed. Whatever goes wrong beyond a bad record
ends the worker without a commit, so that the reads are processed again by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from engine import limits
from engine.acls import worker_needs
from engine.auditing import Auditing
from engine.batches import parse
from engine.clock import Clock, SystemClock
from engine.config import Settings
from engine.connection import security
from engine.control import ControlReplica
from engine.errors import HotlistError
from engine.faust_app import make_app
from engine.forgetting import forget_reads, return_free_memory, settle_memory
from engine.heart import Heart, Outcome
from engine.http import HttpServer
from engine.list_keeper import ListKeeper
from engine.lists import Lists
from engine.metrics import Metrics
from engine.misreads import Misreads
from engine.pipeline import Pipeline
from engine.refusals import not_allowed, refusal
from engine.rules import Purposes
from engine.sink import Sink
from engine.suppress import Suppression
from engine.suppressing import Suppressing
from engine.topics import Topics, check_topics, make_own_topic
from engine.transport import Fetch

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
        self._security = security(settings)
        self.metrics = Metrics()
        misreads = Misreads.load(settings.misreads)
        self.lists = Lists(Purposes.load(settings.purposes), misreads)
        self.suppression = Suppression()
        self._heart = Heart(self.lists, settings.verify_keys, parse, self.suppression)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heart")
        self._replica: ControlReplica | None = None
        self._audit: Auditing | None = None
        self._suppressing: Suppressing | None = None
        self._stage = "starting"
        self._reads_processed = 0
        self._fetches_processed = 0
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
                made = await make_own_topic(self.settings.bootstrap, self.topics, self._security)
                if made is not None:
                    log.info("made topic %s", made)
                for warning in await check_topics(
                    self.settings.bootstrap, self.topics, self._security
                ):
                    log.warning("%s", warning)
            log.info("metrics and health at http://%s:%d", self.settings.http_host, self.http.port)
            await self._run_with_producer()
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

    async def _run_with_producer(self) -> None:
        sink = Sink(self.settings.bootstrap, self._security)
        await sink.start()
        self._audit = Auditing(
            self.settings,
            self.topics,
            self._security,
            sink,
            self.options.clock,
            self.metrics,
            self._fail,
        )
        try:
            # Before the lists are read, so that what is audited already is told by none.
            audited = await self._audit.start()
            self.lists.audited_to = dict(audited.offsets)
            self.lists.expired_until_ms = audited.expired_until_ms
            await self._run_with_lists(sink, self._audit)
        finally:
            await self._audit.stop()
            await sink.stop()

    async def _run_with_lists(self, sink: Sink, audit: Auditing) -> None:
        self._stage = "joining the consumer group"  # as soon as the gate is open
        keeper = ListKeeper(
            self.lists, audit, self._in_heart_thread, self.options.clock, self.metrics
        )
        self._replica = ControlReplica(
            self.settings.bootstrap,
            self.topics,
            keeper.apply,
            keeper.commit,
            audited_to=self.lists.audited_to,
            security=self._security,
        )
        keeper.gate = self._replica.gate
        await self._replica.start()
        tasks = [asyncio.create_task(self._replica.run()), asyncio.create_task(keeper.expire())]
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
                await self._run_with_reads(sink, audit)
        finally:
            gc.enable()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._replica.stop()

    async def _run_with_reads(self, sink: Sink, audit: Auditing) -> None:
        replica = self._replica
        assert replica is not None
        suppressing = self._suppressing = Suppressing(
            self.settings.bootstrap,
            self.topics,
            self.settings.group,
            self._security,
            self.suppression,
            sink,
            audit.append,
            self._in_heart_thread,
            lambda: replica.gate.is_open,
            self.lists.index.is_listed,
            self.options.clock,
            self.metrics,
            self._fail,
        )
        pipeline = Pipeline(
            self.topics,
            self.process,
            sink,
            audit.append,
            suppressing.note,
            self.count_delivered,
            self._fail,
        )
        app = make_app(
            self.settings,
            self.topics,
            self._security,
            pipeline.take,
            suppressing.given_up,
            suppressing.taken_over,
            self._fail,
        )
        forgetting: asyncio.Task[None] | None = None
        try:
            await suppressing.start()
            if not await self._first(app.start()):
                return
            return_free_memory()  # what loading took for a while
            forgetting = asyncio.create_task(
                forget_reads(
                    lambda: self._fetches_processed,
                    lambda: self._in_heart_thread(self._heart.forget),
                    app.overwrite_received,
                )
            )
            forgetting.add_done_callback(self._on_task_done)
            self._stage = ""
            log.info("ready: taking reads from %s", self.topics.detections)
            assert self._ending is not None
            await self._ending
        finally:
            self._stage = "stopping"
            if forgetting is not None:
                forgetting.cancel()
            await app.stop()
            await pipeline.close()
            await suppressing.stop()

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

        None where the worker ends before the gate opens, or the fetch's partition is given up.
        """
        suppressing = self._suppressing
        assert suppressing is not None
        epoch = suppressing.epoch
        if not await self._passed_gate() or not await suppressing.prepare(fetch, epoch):
            return None
        started_s = time.perf_counter()
        outcome = await self._in_heart_thread(
            lambda: self._heart.process(fetch.raw, self.options.clock.now_ms())
        )
        if epoch != suppressing.epoch:
            return None  # whoever has the partition now has its state too
        self._reads_processed += outcome.reads
        self._fetches_processed += 1
        self.metrics.count_fetch(
            outcome, fetch.raw.partition, fetch.lag, time.perf_counter() - started_s
        )
        fetch.release()
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

    def count_delivered(self, outcome: Outcome, took_s: float) -> None:
        """Count what the broker has acknowledged."""
        self.metrics.count_delivered(outcome, self.options.clock.now_ms(), took_s)

    def _exposition(self) -> bytes:
        self.metrics.show_lists(self.lists, self.options.clock.now_ms())
        self.metrics.audit_pending.set(0 if self._audit is None else self._audit.waiting)
        self.metrics.suppression_keys.set(len(self.suppression))
        self.metrics.ready.set(0 if self.not_ready_because else 1)
        return self.metrics.exposition()


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
    settle_memory()
    asyncio.run(_run_until_signal(Worker(settings)))


async def _run_until_signal(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    try:
        await worker.run()
    except Exception as error:
        refused = refusal(error)
        if refused is not None:
            raise not_allowed(refused, worker_needs(worker.settings, refused)) from error
        if isinstance(error, HotlistError):
            raise
        log.exception("the worker failed")
        raise HotlistError(
            f"the worker failed ({type(error).__name__})",
            hint="nothing was committed for the reads in flight; start it again",
        ) from error
