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
import os
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from engine import limits
from engine.clock import Clock, SystemClock
from engine.config import Settings
from engine.control.auditing import Auditing
from engine.control.gate import Gate
from engine.control.list_updater import ListUpdater
from engine.control.replica import ControlReplica
from engine.delivery.pipeline import Abandoned, AtLeastOnce, Pipeline, whereabouts
from engine.delivery.sink import Sink
from engine.delivery.suppression_restore import Suppressing
from engine.delivery.transactional_producer import GroupOffsets, TransactionalSink
from engine.delivery.transactions import Transactions
from engine.documents.admission import Purposes
from engine.errors import ConfigError, HotlistError
from engine.kafka.acls import worker_needs
from engine.kafka.diagnosis import not_allowed, refusal
from engine.kafka.raw_fetcher import parse
from engine.kafka.security import security
from engine.kafka.topic_admin import check_topics, make_own_topic
from engine.kafka.topics import Topics
from engine.matching.lists import Lists
from engine.matching.matcher import HandOver, Heart, Outcome
from engine.matching.suppression import Suppression
from engine.observability.http_server import HttpServer
from engine.observability.log_sampling import Fault
from engine.observability.logs import Log, ignore_signals
from engine.observability.metrics import Metrics
from engine.observability.stall_monitor import See, Watching
from engine.observability.status import Facts, Status, StuckPartition, Watch
from engine.observability.tracing import make_tracing
from engine.observability.unowned_lag import show_unowned_lag
from engine.plates.misreads import Misreads
from engine.transport.app import make_app
from engine.transport.consumer import Fetch
from engine.transport.memory import forget_reads, return_free_memory, settle_memory
from engine.versions import DISTRIBUTION, versions
from engine.worker.shutdown import Ending, obey_signals

log = logging.getLogger(__name__)

T = TypeVar("T")


class _StoppedError(Exception):
    """The worker was stopped before something came about."""


@dataclass(slots=True)
class WorkerOptions:
    """What differs between a worker in production, in the demo and in tests. `check_topics` is
    false on the embedded broker, which has no settings of topics. `faults` tells what the process's
    log had to tell, for the status page."""

    clock: Clock
    check_topics: bool = True
    faults: Callable[[], list[Fault]] | None = None


class Worker:
    """One engine process. `run` returns after `stop` was called and everything is put away."""

    def __init__(self, settings: Settings, options: WorkerOptions | None = None) -> None:
        limits.check()
        self.settings = settings
        self.options = options or WorkerOptions(SystemClock())
        if settings.delivery == "exactly_once" and not self.options.check_topics:
            raise ConfigError(
                "exactly_once is not possible: the embedded broker keeps no transactions apart",
                where="delivery",
                hint="use a Kafka, or at_least_once",
            )
        self.topics = Topics(settings.prefix)
        self._security = security(settings)
        self.metrics = Metrics()
        self._versions = versions()
        self._tracing = make_tracing(settings, self.metrics)
        self._watch = Watch(self.metrics, self.options.clock.now_ms())
        misreads = Misreads.load(settings.misreads)
        self.lists = Lists(Purposes.load(settings.purposes), misreads)
        self.suppression = Suppression()
        self._heart = Heart(self.lists, settings.verify_keys, parse, self.suppression)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heart")
        self.gate = Gate("starting")
        self._audit: Auditing | None = None
        self._suppressing: Suppressing | None = None
        self._pipeline: Pipeline | None = None
        self._watching = Watching(self.topics.detections, self.metrics)
        self._see: See = dict
        self._stage = "joining the consumer group"  # as soon as the gate is open
        self._reads_processed = 0
        self._fetches_processed = 0
        self._ending: asyncio.Future[None] | None = None
        self._end = Ending()
        self.http = HttpServer(
            settings.http_host,
            settings.http_port,
            self._exposition,
            lambda: "stopping" if self._is_ending else self._watching.unhealthy(),
            lambda: self.not_ready_because or self._watching.unready(),
            self.status,
        )

    @property
    def not_ready_because(self) -> str:
        """Why no reads are taken; an empty string while they are."""
        return self._stage if self.gate.is_open else self.gate.reason

    @property
    def stuck(self) -> list[str]:
        """A line for each partition of the reads that is stuck: which, since when and at what."""
        return self._watching.says()

    @property
    def _is_ending(self) -> bool:
        return self._ending is not None and self._ending.done()

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
        sampling = asyncio.create_task(self._sample())
        try:
            if self.options.check_topics:
                await self._unless_stopped(self._check_topics())
            # Not before: who starts one that cannot work is told why in one line.
            self._introduce()
            log.info("metrics and health at http://%s:%d", self.settings.http_host, self.http.port)
            await self._run_with_producer()
        except _StoppedError:
            log.info("stopped before it took reads")
        finally:
            sampling.cancel()
            await self.http.stop()
            self._thread.shutdown()

    async def _check_topics(self) -> None:
        where = self.settings.bootstrap, self.topics, self._security
        made = await make_own_topic(*where)
        if made is not None:
            log.info("made topic %s", made)
        for warning in await check_topics(*where):
            log.warning("a setting of a topic is another than it must be: %s", warning)

    def _introduce(self) -> None:
        topics, mib = self.topics, limits.MIB
        log.info(
            "%s %s: group %s takes reads from %s, lists from %s and %s; matches go to %s, "
            "delivered %s",
            *(DISTRIBUTION, self._versions[DISTRIBUTION], self.settings.group, topics.detections),
            *(topics.hotlist, topics.policies, topics.matches, self.settings.delivery),
        )
        log.info(
            "limits: %d KiB a read, %d MiB a fetch of a partition, %d MiB a batch unpacked, "
            "%d fetches waiting, %d in delivery; not ready after %d s without news of the lists, "
            "given up by the group after %d s of silence",
            *(limits.READ_VALUE_BYTES // limits.KIB, limits.FETCH_PARTITION_BYTES // mib),
            *(limits.BATCH_BYTES // mib, limits.FETCHES_WAITING, limits.FETCHES_IN_DELIVERY),
            *(limits.CONTROL_STALE_S, limits.SESSION_S),
        )

    def stop(self) -> None:
        """End `run` in order: what is in flight is delivered and committed first."""
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if self._ending is not None and not self._ending.done():
            self._ending.set_exception(error)

    async def _run_with_producer(self) -> None:
        sink = Sink(self.settings.bootstrap, self._security)
        self._audit = Auditing(
            self.settings, self._security, sink, self.options.clock, self.metrics, self._fail
        )
        try:
            await self._unless_stopped(sink.start())
            # Before the lists are read, so that what is audited already is told by none.
            audited = await self._unless_stopped(self._audit.start())
            self.lists.audited_to = dict(audited.offsets)
            self.lists.expired_until_ms = audited.expired_until_ms
            await self._run_with_lists(sink, self._audit)
        finally:
            await self._end.step("the audit's end", self._audit.stop())
            await self._end.step("the producer's end", sink.stop())

    async def _run_with_lists(self, sink: Sink, audit: Auditing) -> None:
        updater = ListUpdater(
            *(self.lists, audit.changes, self.gate, self._in_heart_thread),
            *(self.options.clock, self.metrics),
        )
        replica = ControlReplica(
            self.settings.bootstrap, self.topics, updater, self.gate, security=self._security
        )
        tasks: list[asyncio.Task[None]] = []
        gc.disable()  # what is loaded is no garbage, and looking takes a fifth of the time
        try:
            await self._unless_stopped(replica.start())
            watching = self._watching.run(lambda: self._see(), lambda: not self.not_ready_because)
            tasks += map(asyncio.create_task, (replica.run(), updater.expire(), watching))
            for task in tasks:
                task.add_done_callback(self._on_task_done)
            started_s = time.monotonic()
            await self._unless_stopped(self.gate.passed())
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
            await self._end.step("the control replica's end", replica.stop())

    async def _run_with_reads(self, sink: Sink, audit: Auditing) -> None:
        transactions = self._transactions(audit)
        suppressing = self._suppressing = Suppressing(
            self.settings.bootstrap,
            self.topics,
            self.settings.group,
            self._security,
            self.suppression,
            sink,
            audit.append,
            self._in_heart_thread,
            lambda: self.gate.is_open,
            self.lists.index.is_listed,
            self.options.clock,
            self.metrics,
            self._fail,
            transactions,
        )
        pipeline = self._pipeline = Pipeline(
            self.process,
            transactions or AtLeastOnce(self.topics, sink, audit.append, suppressing.note),
            self.count_delivered,
            self._fail,
        )
        self.metrics.in_delivery.set_function(lambda: pipeline.in_delivery)
        app = make_app(
            self.settings,
            self.topics,
            self._security,
            pipeline.take,
            suppressing.given_up,
            suppressing.taken_over,
            self._fail,
            lambda partition, count: self.metrics.expired_reads.inc(count),
            None if transactions is None else transactions.commit,
        )
        beside: list[asyncio.Task[None]] = []
        try:
            if self._tracing is not None:
                self._tracing.start()
            if transactions is not None:
                transactions.rejoin = app.rejoin
                await self._unless_stopped(transactions.start())
            await self._unless_stopped(suppressing.start())
            await self._unless_stopped(app.start())
            self._see = app.seen
            self.metrics.fetched_bytes.set_function(lambda: app.fetched_bytes)
            return_free_memory()  # what loading took for a while
            forgetting = asyncio.create_task(
                forget_reads(
                    lambda: self._fetches_processed,
                    lambda: self._in_heart_thread(self._heart.forget),
                    app.overwrite_received,
                )
            )
            unowned = asyncio.create_task(
                show_unowned_lag(
                    self.settings.bootstrap,
                    self.topics.detections,
                    self.settings.group,
                    self._security,
                    self.metrics,
                    lambda: self._see().keys(),
                )
            )
            beside += (forgetting, unowned)
            for task in beside:
                task.add_done_callback(self._on_task_done)
            self._stage = ""
            log.info("ready: taking reads from %s", self.topics.detections)
            assert self._ending is not None
            await self._ending
        finally:
            self._stage = "stopping"
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._end.step("what is in flight", app.stop())
            await self._end.step("what is in delivery", pipeline.close())
            if self._tracing is not None:
                await self._end.step("the last spans", self._tracing.stop())
            await self._end.step("the suppression's end", suppressing.stop())
            if transactions is not None:
                await self._end.step("the transactions' end", transactions.stop())

    def _transactions(self, audit: Auditing) -> Transactions | None:
        """What delivers exactly once; None where that is not asked for."""
        if self.settings.delivery == "at_least_once":
            return None
        where = self.settings.bootstrap, self.topics, self.settings.group
        return Transactions(
            self.topics,
            self.settings.group,
            lambda partition: TransactionalSink(*where, partition, self._security),
            GroupOffsets(*where, self._security),
            audit.begin_chain,
            audit.count,
            self._fail,
        )

    async def _unless_stopped(self, awaited: Awaitable[T]) -> T:
        """Wait for something. Raises _StoppedError where the worker was stopped before it came
        about, and what has ended it where that was a failure."""
        assert self._ending is not None
        waiting = asyncio.ensure_future(awaited)
        if await self._comes_in_time(waiting):
            return waiting.result()
        await self._ending  # raises what ended it
        raise _StoppedError

    async def _comes_in_time(self, waiting: asyncio.Future[Any]) -> bool:
        """Wait for something until the worker ends; False where it had not come about by then,
        and is cancelled."""
        assert self._ending is not None
        await asyncio.wait({waiting, self._ending}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return True
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return False

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _in_heart_thread(self, function: Callable[[], T]) -> T:
        """Call a function on the heart's thread."""

        def call() -> T:
            with self._watching.in_heart():
                return function()

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def process(self, fetch: Fetch) -> Outcome | None:
        """Wait for the gate, then match a fetch at the time at which its turn comes.

        None where the worker ends before the gate opens, or the fetch's partition is given up.
        """
        suppressing = self._suppressing
        assert suppressing is not None
        if fetch.epoch is None:
            fetch.epoch = suppressing.epoch
        epoch = fetch.epoch
        if not await self._passed_gate() or not await self._prepared(suppressing, fetch, epoch):
            return None
        if not fetch.raw.batches:
            return Outcome(at_ms=self.options.clock.now_ms())  # all of it is committed already
        started_s = time.perf_counter()
        with self._watching.matching(fetch.raw.partition):
            hand_over = self._hand_over(fetch)
            try:
                outcome = await self._in_heart_thread(
                    lambda: self._heart.process(fetch.raw, self.options.clock.now_ms(), hand_over)
                )
            except Abandoned:
                return None
        if epoch != suppressing.epoch:
            return None  # whoever has the partition now has its state too
        self._reads_processed += outcome.reads
        self._fetches_processed += 1
        self.metrics.count_fetch(
            outcome, fetch.raw.partition, fetch.lag, time.perf_counter() - started_s
        )
        log.debug("a fetch is processed", extra=whereabouts(fetch, outcome.reads))
        if self._tracing is not None:
            self._tracing.enter(outcome)
        if outcome.next_offset is None:
            fetch.release()
        else:
            suppressing.stopped_at(fetch.raw.partition, outcome.next_offset)
        return outcome

    def _hand_over(self, fetch: Fetch) -> HandOver | None:
        """What takes, on the heart's thread, some of what comes of a fetch; None where all of it
        has to count together."""
        pipeline, loop = self._pipeline, asyncio.get_running_loop()
        if pipeline is None or self.settings.delivery != "at_least_once":
            return None

        async def deliver(outcome: Outcome) -> None:
            assert self._suppressing is not None
            if fetch.epoch != self._suppressing.epoch:
                raise Abandoned
            await pipeline.deliver_some(fetch, outcome)

        def hand_over(outcome: Outcome) -> None:
            if self._tracing is not None:
                self._tracing.enter(outcome)
            with self._watching.waiting():
                try:
                    asyncio.run_coroutine_threadsafe(deliver(outcome), loop).result()
                except CancelledError:
                    raise Abandoned from None

        return hand_over

    async def _prepared(self, suppressing: Suppressing, fetch: Fetch, epoch: int) -> bool:
        """As `Suppressing.prepare`; False where the worker ends meanwhile."""
        preparing = asyncio.ensure_future(suppressing.prepare(fetch, epoch))
        return await self._comes_in_time(preparing) and preparing.result()

    async def _passed_gate(self) -> bool:
        gate = self.gate
        while not gate.is_open and not self._is_ending:
            await self._comes_in_time(asyncio.ensure_future(gate.passed()))
        return gate.is_open

    def count_delivered(self, outcome: Outcome, took_s: float) -> None:
        """Count what the broker has acknowledged."""
        now_ms = self.options.clock.now_ms()
        self.metrics.count_delivered(outcome, now_ms, took_s)
        if self._tracing is not None:
            self._tracing.delivered(outcome, now_ms)

    def status(self) -> Status:
        """What the status page shows, now."""
        self._show()
        topics = self.topics
        return self._watch.status(
            Facts(
                at_ms=self.options.clock.now_ms(),
                not_ready_because=self.not_ready_because,
                group=self.settings.group,
                delivery=self.settings.delivery,
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
                faults=None if self.options.faults is None else self.options.faults(),
            )
        )

    async def _sample(self) -> None:
        """Note again and again how far the counts are, for the status page."""
        while True:
            self._watch.sample(time.monotonic())
            await asyncio.sleep(limits.STATUS_SAMPLE_S)

    def _exposition(self) -> bytes:
        self._show()
        return self.metrics.exposition()

    def _show(self) -> None:
        """Set the gauges of what is not counted as it happens."""
        self.metrics.show_lists(self.lists, self.options.clock.now_ms())
        self.metrics.audit_pending.set(0 if self._audit is None else self._audit.changes.waiting)
        self.metrics.suppression_keys.set(len(self.suppression))
        self.metrics.control_followed.set(1 if self.gate.is_open else 0)
        self.metrics.ready.set(0 if self.not_ready_because else 1)


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
    ignore_signals()
    process = f"{socket.gethostname()}:{os.getpid()}"
    logs = Log(
        settings.log_format, settings.log_level, {"group": settings.group, "worker": process}
    )
    logs.begin()
    try:
        use_uvloop()
        settle_memory()
        worker = Worker(settings, WorkerOptions(SystemClock(), faults=logs.faults))
        asyncio.run(_run_until_signal(worker, logs))
    except HotlistError as error:
        if settings.log_format == "json":  # else the command's own line says as much
            log.error("the worker has ended: %s", error, exc_info=error)
        raise
    finally:
        logs.end()


async def _run_until_signal(worker: Worker, logs: Log) -> None:
    loop = asyncio.get_running_loop()
    logs.obey_signals(loop)
    telling = asyncio.create_task(logs.tell_in_time())
    obey_signals(worker.stop)
    try:
        await worker.run()
    except Exception as error:
        refused = refusal(error)
        if refused is not None:
            raise not_allowed(refused, worker_needs(worker.settings, refused)) from error
        if isinstance(error, HotlistError):
            raise
        log.exception("the worker has failed")
        raise HotlistError(
            f"the worker failed ({type(error).__name__})",
            hint="nothing was committed for the reads in flight; start it again",
        ) from error
    finally:
        telling.cancel()
