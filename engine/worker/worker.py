"""The worker: all parts of one engine process, wired together, started and stopped in order.

Four threads share the work. The main one runs the event loop: Faust's agent, the control
replica, the producer, HTTP. Faust's consumer thread fetches. The matcher thread alone touches
the lists: it takes fetches, and control records between two groups of a fetch's batches. One
more scans groups of a large fetch while it does.

A fetch passes: consumer thread → agent → gate → matcher → (matches, rejects, audit records) →
sink → done, and only then may its offset be committed. Whatever goes wrong beyond a bad record
ends the worker without a commit, so that the reads are processed again by the next one.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from engine import limits
from engine.audit.pending_changes import Listed
from engine.clock import Clock, SystemClock
from engine.config import Settings
from engine.control.auditing import Auditing
from engine.control.gate import Gate
from engine.control.list_updater import ListUpdater
from engine.control.replica import ControlReplica
from engine.delivery.at_least_once import AtLeastOnce
from engine.delivery.pipeline import Pipeline
from engine.delivery.port import Delivery
from engine.delivery.sink import Sink
from engine.delivery.suppression_restore import Suppressing
from engine.delivery.transactional_producer import GroupOffsets, TransactionalSink
from engine.delivery.transactions import Transactions
from engine.documents.admission import Purposes
from engine.documents.model import Entry
from engine.documents.schema_cache import SchemaCache
from engine.documents.value_formats import Values
from engine.errors import ConfigError
from engine.kafka.cluster import Cluster
from engine.kafka.raw_fetcher import parse
from engine.kafka.schema_registry import SchemaRegistry
from engine.matching.lists import Lists
from engine.matching.matcher import Matcher
from engine.matching.suppression import Suppression
from engine.observability.broker_view import BrokerView
from engine.observability.http_server import HttpServer
from engine.observability.lag_monitor import LagMonitor
from engine.observability.log_sampling import Fault
from engine.observability.metrics import Metrics
from engine.observability.stall_monitor import Watching
from engine.observability.tracing import make_tracing
from engine.plates.misreads import Misreads
from engine.tasks import StoppedError, Supervisor
from engine.transport.app import App, make_app
from engine.transport.memory import return_free_memory, scrub_reads
from engine.transport.runtime import MatcherThread, Runtime
from engine.worker.health import Health
from engine.worker.processor import Processor, Waits
from engine.worker.schemas import SchemaFetcher
from engine.worker.shutdown import Shutdown
from engine.worker.startup import enough_entries, introduce, prepare_topics, report_lists

log = logging.getLogger(__name__)


@dataclass(slots=True)
class WorkerOptions:
    """What differs between a worker in production, in the demo, in benchmarks and in tests.

    `check_topics` is false on the embedded broker, which has no settings of topics. `reads_wait_ms`
    is how long the broker may delay the answer to an idle fetch of reads. `faults` gives what the
    process's log had to report, for the status page.
    """

    clock: Clock
    check_topics: bool = True
    reads_wait_ms: int = limits.FETCH_WAIT_MS
    faults: Callable[[], list[Fault]] | None = None
    processor: type[Processor] = Processor


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
        cluster = replace(Cluster.of(settings), reads_wait_ms=self.options.reads_wait_ms)
        self.metrics = Metrics()
        self._tracing = make_tracing(settings, self.metrics)
        misreads = Misreads.load(settings.misreads)
        self.lists = Lists(Purposes.load(settings.purposes), misreads)
        self.suppression = Suppression()
        self.metrics.suppression_keys.set_function(partial(len, self.suppression))
        self._registry = SchemaRegistry.of(settings)
        self._schemas = SchemaCache()
        self.matcher = Matcher(
            *(self.lists, settings.verify_keys, parse, self.suppression),
            values=Values(settings.value_format, self._schemas),
            look_ms=int(1000 * limits.LOOK_S),
        )
        self.gate = Gate("starting")
        self._watching = Watching(cluster.topics.detections, self.metrics)
        self._thread = MatcherThread(self._watching)
        self._tasks = Supervisor()
        self._runtime = Runtime(
            cluster, self.options.clock, self.metrics, self._tasks, self._thread
        )
        self.health = Health(
            *(settings, self._runtime, self.lists, self.gate, self._watching),
            self.options.faults,
        )
        self.http = HttpServer(
            settings.http_host,
            settings.http_port,
            self.health.exposition,
            self.health.unhealthy,
            self.health.unready,
            self.health.status,
        )
        self._shutdown = Shutdown()

    @property
    def not_ready_because(self) -> str:
        """Why no reads are taken; an empty string while they are."""
        return self.health.not_ready_because

    @property
    def stuck(self) -> list[str]:
        """A line for each partition of the reads that is stuck: which, since when and at what."""
        return self._watching.says()

    @property
    def reads_processed(self) -> int:
        """Reads processed so far, their matches delivered or not."""
        return self.metrics.reads_processed

    def stop(self) -> None:
        """End `run` in order: what is in flight is delivered and committed first."""
        self._tasks.stop()

    async def run(self) -> None:
        """Start, work until `stop` or a failure, put everything away.

        Raises HotlistError if a part cannot start or fails.
        """
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._run(stack)
        except StoppedError:
            log.info("stopped before it took reads")

    async def _run(self, stack: contextlib.AsyncExitStack) -> None:
        """Start all parts, in the order of their needs; the stack stops them in the other one."""
        tasks, cluster = self._tasks, self._runtime.cluster
        stack.callback(self.matcher.close)
        stack.callback(self._thread.close)
        stack.push_async_callback(self.http.stop)
        await self.http.start()
        await stack.enter_async_context(tasks.running(self.health.sample()))
        if self.options.check_topics:
            await tasks.unless_ended(prepare_topics(cluster))
        # Only now: a worker that cannot start prints only one line, with the reason.
        introduce(self.settings, cluster.topics, self.http.port)

        sink = Sink(cluster)
        self._stops(stack, "the producer's end", sink.stop)
        audit = Auditing(self.settings, self._runtime, sink, lambda: self.lists.listed)
        self._stops(stack, "the audit's end", audit.stop)
        self.metrics.audit_pending.set_function(lambda: audit.changes.waiting)
        await tasks.unless_ended(sink.start())
        # Before the lists are read, so that what is audited already is not reported again.
        audited = await tasks.unless_ended(audit.start())
        self.lists.audited_to = dict(audited.offsets)
        self.lists.expired_until_ms = audited.expired_until_ms

        async with tasks.running(self._watching.run(dict, self.health.is_ready)):
            await self._load_lists(stack, audit, audited.listed)
            app, processor = await self._start_reads(stack, sink, audit)
        for work in (
            self._watching.run(app.seen, self.health.is_ready),
            scrub_reads(
                lambda: processor.fetches_processed,
                partial(self._thread.call, self.matcher.scrub),
            ),
            LagMonitor(
                *(cluster.topics, BrokerView(cluster), self.metrics, app.seen),
                self._watching.note_held,
            ).run(),
        ):
            await stack.enter_async_context(tasks.running(work))
        stack.callback(self.health.stopping)
        self.health.stage = ""
        log.info("ready: taking reads from %s", cluster.topics.detections)
        await tasks.ended()

    def _stops(
        self, stack: contextlib.AsyncExitStack, what: str, stop: Callable[[], Awaitable[None]]
    ) -> None:
        """Have a part stopped at the end, in the time that there is."""
        stack.push_async_callback(self._shutdown.step, what, stop)

    async def _load_lists(
        self, stack: contextlib.AsyncExitStack, audit: Auditing, before: Listed | None
    ) -> None:
        """Read the lists to their end, and follow them from then on."""
        tasks, lists = self._tasks, self.lists
        updater = ListUpdater(self._runtime, lists, audit.changes, self.gate)
        replica = ControlReplica(self._runtime.cluster, updater, self.gate)
        self._stops(stack, "the control replica's end", replica.stop)
        stack.callback(gc.enable)
        gc.disable()  # what is loaded is no garbage, and looking takes a fifth of the time
        await tasks.unless_ended(replica.start())
        for work in (replica.run(), updater.expire()):
            await stack.enter_async_context(tasks.running(work))
        started_s = time.monotonic()
        await tasks.unless_ended(self.gate.passed())
        # The lists stay: no need to look for garbage in them again and again.
        gc.collect()
        gc.freeze()
        gc.enable()
        report_lists(lists, before, time.monotonic() - started_s)
        await tasks.unless_ended(enough_entries(self.settings.require_entries, lists, self.health))

    async def _start_reads(
        self, stack: contextlib.AsyncExitStack, sink: Sink, audit: Auditing
    ) -> tuple[App, Processor]:
        """Join the group and take reads."""
        tasks, runtime = self._tasks, self._runtime
        delivery = self._delivery(sink, audit)
        lists = _Lists(self.gate, self.lists)
        suppressing = Suppressing(runtime, self.suppression, sink.partitions_of, lists, delivery)
        waits = Waits(self.gate, SchemaFetcher(self._registry, self._schemas, runtime, self.health))
        processor = self.options.processor(
            *(runtime, self.matcher, waits, suppressing, self._watching, self._tracing)
        )
        pipeline = Pipeline(processor.process, delivery, processor.count_delivered, tasks.fail)
        self.metrics.in_delivery.set_function(lambda: pipeline.in_delivery)
        app = make_app(
            runtime,
            pipeline.take,
            suppressing.on_assigned,
            suppressing.on_revoked,
            delivery.commit,
        )
        self._stops(stack, "what is handed over", delivery.stop)
        self._stops(stack, "the suppression's end", suppressing.stop)
        if self._tracing is not None:
            self._stops(stack, "the last spans", self._tracing.stop)
        self._stops(stack, "what is in delivery", pipeline.close)
        self._stops(stack, "what is in flight", app.stop)
        stack.callback(self.health.stopping)
        if self._tracing is not None:
            self._tracing.start()
        await tasks.unless_ended(delivery.start())
        await tasks.unless_ended(suppressing.start())
        await tasks.unless_ended(app.start())
        self.metrics.fetched_bytes.set_function(lambda: app.fetched_bytes)
        return_free_memory()  # what loading took for a while
        return app, processor

    def _delivery(self, sink: Sink, audit: Auditing) -> Delivery:
        """Delivery as the settings ask for it."""
        if self.settings.delivery == "at_least_once":
            return AtLeastOnce(self._runtime, sink, audit.append)
        cluster = self._runtime.cluster
        return Transactions(
            self._runtime,
            partial(TransactionalSink, cluster),
            GroupOffsets(cluster),
            audit.chains,
            audit.count,
        )


@dataclass(frozen=True, slots=True)
class _Lists:
    """The lists as the suppression asks them."""

    gate: Gate
    lists: Lists

    @property
    def are_whole(self) -> bool:
        return self.gate.is_open

    def listed(self, entry_id: str) -> list[Entry]:
        return self.lists.index.listed(entry_id)
