"""The thread in which Faust runs the group's aiokafka consumer.

The consumer returns whole batches for the batch topics and reads committed records only. A commit
that fails while the broker is away is tried again instead of crashing the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Set
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service
from mode.threads import ServiceThread, WorkerThread

from engine import limits
from engine.errors import BrokerError
from engine.kafka.fetch_limit import FetchRoom
from engine.kafka.group_commits import GroupCommits
from engine.kafka.group_errors import GroupErrors
from engine.kafka.group_protocols import join_once
from engine.kafka.leave_group import leave_group
from engine.kafka.nearest_replica import let_leaders_decide
from engine.kafka.raw_fetcher import deliver_batches
from engine.kafka.static_member import end_when_fenced
from engine.kafka.until_answered import until_answered
from engine.transport.batch_topics import BatchTopics
from engine.transport.cooperation import Cooperation
from engine.transport.group_source import GroupSource
from engine.transport.holdings import Holdings
from engine.transport.positions import Fetched, PositionedFetcher
from engine.transport.sticky_assignor import protocols

log = logging.getLogger(__name__)


class _Thread(WorkerThread):
    """A thread that keeps no process alive: whatever it hangs in, the worker's end is the end."""

    def __init__(self, service: ServiceThread, **options: Any) -> None:
        super().__init__(service, **options)
        self.daemon = True


class _InApp:
    """The changes of the consumer's partitions, in the event loop of the app."""

    def __init__(self, thread: ConsumerThread) -> None:
        self._thread = thread

    async def add(self, partitions: Set[Any], generation: int) -> None:
        await self._call(self._holdings.add, partitions, generation)

    async def remove(self, partitions: Set[Any], generation: int) -> None:
        await self._call(self._holdings.remove, partitions, generation)

    async def lose(self) -> None:
        await self._call(self._holdings.lose)

    @property
    def _holdings(self) -> Holdings:
        return cast(Holdings, cast(Any, self._thread.consumer).holdings)

    async def _call(self, method: Callable[..., Coroutine[Any, Any, None]], *about: Any) -> None:
        calling = asyncio.run_coroutine_threadsafe(method(*about), self._thread.parent_loop)
        await asyncio.wrap_future(calling)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, whose consumer delivers batches for `batch_topics`."""

    def __init__(self, *args: Any, batch_topics: BatchTopics, **kwargs: Any) -> None:
        self.room = FetchRoom()
        self._cluster = batch_topics.cluster
        self._batch_topics = batch_topics.names
        self._source = GroupSource(
            self._ensure_consumer, self._may_fetch, self._ready, self._batch_topics
        )
        self._cooperation = Cooperation(
            self._source, _InApp(self), self._end, is_eager=self._cluster.member.is_eager
        )
        self._commits: GroupCommits | None = None
        self._protocols = protocols(self._group_generation, self._cooperation.claims)
        self.positioned: PositionedFetcher[TP] = PositionedFetcher(self._source)
        super().__init__(*args, **kwargs)

    Worker = _Thread

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        conf = self.app.conf
        return self._cluster.consumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=self._cluster.member.instance_id,
            client_rack=self._cluster.member.rack,
            partition_assignment_strategy=self._protocols,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=self._cluster.reads_wait_ms,
            max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
            fetch_max_bytes=limits.FETCH_BYTES,
            metadata_max_age_ms=int(limits.METADATA_MAX_AGE_S * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(limits.REBALANCE_S * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
        )

    async def on_thread_stop(self) -> None:
        self._cooperation.stop()
        try:
            if self._consumer is not None:
                if self._commits is not None:
                    self._commits.stop()
                await leave_group(self._consumer)
        finally:
            await super().on_thread_stop()

    async def on_start(self) -> None:
        await self._connect()
        consumer = self._ensure_consumer()
        self._commits = GroupCommits(consumer, self._cooperation.owned)
        deliver_batches(consumer, self._batch_topics.__contains__, self.room.hold)
        self.room.mind(consumer)
        let_leaders_decide(consumer)
        end_when_fenced(consumer, self._end)
        join_once(consumer)
        self._cooperation.watch(consumer)

    async def _connect(self) -> None:
        """Start a consumer. Raises BrokerError if no broker takes one in limits.CONNECT_S."""

        def failed(error: Exception) -> BrokerError:
            return BrokerError(
                f"no broker takes the consumer of the reads ({type(error).__name__})",
                hint="start the worker again when the cluster is well",
            )

        await until_answered(super().on_start, failed, pause_s=limits.RETRY_PAUSE_S)

    def batch_partitions(self) -> list[Any]:
        """The partitions of the batch topics that are assigned."""
        assigned = () if self._consumer is None else self._consumer.assignment()
        return [tp for tp in assigned if tp.topic in self._batch_topics]

    def fetches_from(self, tp: TP) -> int | None:
        """The offset at which a partition is fetched on; None if that is not known now."""
        assignment = None if self._consumer is None else self._source.assignment()
        state = None if assignment is None else assignment.state_value(tp)
        # Asked by another thread, in which it may be gone by the next look.
        return None if state is None else cast("int | None", state._position)

    @Service.task
    async def _hear_of_refusal(self) -> None:
        """End the worker if the broker refuses it the group.

        aiokafka raises such an error when records are requested. Without partitions this worker
        requests none. An error that passes (`engine.kafka.group_errors`) does not end it.
        """
        errors = GroupErrors()
        while not self.should_stop:
            await self.sleep(limits.RETRY_PAUSE_S)
            consumer = self._consumer
            if consumer is None or consumer.assignment():
                errors.passed()
                continue
            try:
                consumer._coordinator.check_errors()
            except KafkaError as error:
                if errors.is_final(error):
                    self._end(error)
                    return
            else:
                errors.passed()

    def _group_generation(self) -> int:
        return int(self._ensure_consumer()._coordinator.generation)

    def _end(self, error: BaseException) -> None:
        """End the worker."""
        self.parent_loop.call_soon_threadsafe(cast(Any, self.app).on_crash, error)

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        # Faust's own would print it, with what the exception says.
        log.error("Faust's consumer thread has crashed: %s", fmt[-1], exc_info=fmt[-1])

    async def fetch(self, timeout_s: float, *, restart: bool) -> Fetched[TP] | None:
        """As `PositionedFetcher.fetch`, in the consumer's thread; one `FetchedBatches` for each
        partition of the batch topics."""
        return cast(
            "Fetched[TP] | None",
            await self.call_thread(self.positioned.fetch, timeout_s, restart=restart),
        )

    async def log_start(self, tp: TP) -> int:
        """The first offset of a partition that is kept now. Raises KafkaError."""
        return int(await self.call_thread(self._log_start, tp))

    def fetch_ready(self) -> None:
        """Fetch partitions that are ready now. Called in another thread, perhaps after the end."""
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self.thread_loop.call_soon_threadsafe(self._fetch_ready)

    def _fetch_ready(self) -> None:
        if self._consumer is not None:
            self._source.fetch_ready()

    def _ready(self, generation: int) -> frozenset[int]:
        return cast("frozenset[int]", cast(Any, self.consumer).ready(generation))

    def _may_fetch(self) -> bool:
        return bool(self.consumer.flow_active)

    async def _log_start(self, tp: TP) -> int:
        fetcher = self._ensure_consumer()._fetcher
        starts = await fetcher.beginning_offsets([tp], limits.OFFSETS_MS)
        return int(starts[tp])

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        assert self._commits is not None, "it has started"
        try:
            await self._commits.commit(offsets)
        except KafkaError as error:
            log.warning("offsets not committed, will be tried again: %s", type(error).__name__)
            return False
        return True

    async def reassign(self, partitions: Set[Any]) -> None:
        """Ask the group to assign partitions again."""
        self._cooperation.give_back(partitions)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own check compares two kinds of clock; the engine's metrics show lag."""
