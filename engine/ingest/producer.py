"""Vendors' messages into Kafka as detections.

A message is accepted when the broker has acknowledged all reads that it caused. Until then its
sender keeps it, and may send it again: it gives the same reads with the same ids. The reads of a
car that its camera still reports are held for seconds (`engine.ingest.adapters.cars`). The reads of
senders that never send again are held until the broker has them (`engine.ingest.spool`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.errors import KafkaError

from engine import limits
from engine.config import Settings
from engine.documents.model import Detection
from engine.documents.read_record import ReadRecord, encode_read
from engine.errors import BrokerError, DocumentError
from engine.ingest.adapters import Adapted, Adapter, AdapterError, Cars, Site
from engine.ingest.metrics import IngestMetrics
from engine.ingest.spool import ReadSpool, SpoolFullError
from engine.kafka.topics import Topics
from engine.kafka.writer import producing


class Ingest:
    """The producer of a vendor's reads. Made by `ingesting()`. `sent` counts acknowledged reads."""

    def __init__(
        self,
        producer: Any,
        topic: str,
        adapter: Adapter,
        site: Site,
        metrics: IngestMetrics | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._adapter = adapter
        self._site = site
        self._now_s = now_s
        self._cars = Cars()
        #: Reads of cars that must be sent and are not acknowledged yet, by their ids.
        self._unsent: dict[str, ReadRecord] = {}
        self._sending = asyncio.Lock()
        self._failed_s: float | None = None
        self._spool = ReadSpool(self._hand_over, self._delivered, now_s)
        self.metrics = IngestMetrics("none") if metrics is None else metrics
        self.metrics.watch(
            lambda: len(self._spool) + len(self._unsent),
            lambda: self._spool.held_bytes,
            lambda: self.not_ready is None,
        )
        self.sent = 0

    async def take(self, message: bytes) -> Adapted:
        """Take one message; return its result.

        Raises AdapterError if it gives no read, and BrokerError if the broker has not acknowledged
        its reads in time: then it must be sent again.
        """
        begun_s = self._now_s()
        adapted, records = self._adapted(message)
        if adapted.car is not None:
            self._queue(self._cars.take(adapted, self._now_s()))
            await self._send_queued()
        elif records:
            await self._send(records)
            self.metrics.count_delivered(len(records), self._now_s() - begun_s)
        return adapted

    def hold(self, message: bytes) -> Adapted:
        """Take one message of a sender that never sends again; return its result.

        Its reads are held until the broker has them. Raises AdapterError if it gives no read, and
        BrokerError if too many are held.
        """
        adapted, records = self._adapted(message)
        if adapted.car is not None:
            self._queue(self._cars.take(adapted, self._now_s()))
            return adapted
        try:
            self._spool.put(records)
        except SpoolFullError:
            self.metrics.count_refused(len(records))
            raise
        return adapted

    def _adapted(self, message: bytes) -> tuple[Adapted, list[ReadRecord]]:
        try:
            adapted = self._adapter(message, self._site)
            records = [_record(read) for read in adapted.reads]
        except AdapterError as error:
            self.metrics.count_problems([error])
            raise
        self.metrics.count_adapted(adapted)
        return adapted, records

    async def finish(self) -> None:
        """Send what is held, because no more messages will come.

        Waits for the broker a bounded time; `look()` must go on meanwhile if messages were held.
        Raises BrokerError that says how many reads are lost.
        """
        self._queue(self._cars.all())
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(limits.INGEST_DRAIN_S):
                await asyncio.gather(self._send_queued(), self._spool.drained())
        lost = len(self._spool) + len(self._unsent)
        if lost:
            raise BrokerError(
                f"{lost} {'read is' if lost == 1 else 'reads are'} lost: the broker has not "
                "acknowledged them",
                where=f"topic {self._topic}",
            )

    @asynccontextmanager
    async def sending_held(self) -> AsyncIterator[None]:
        """Send what is held meanwhile (`look`), and the rest of it at the end (`finish`)."""
        looking = asyncio.create_task(self.look())
        try:
            yield
        finally:
            try:
                await self.finish()
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

    async def look(self) -> None:
        """Send what is held, repeatedly: the reads of cars that are no longer reported, and those
        of senders that never send again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._spool.run())
            while True:
                await asyncio.sleep(limits.CAR_LOOK_S)
                self._queue(self._cars.due(self._now_s()))
                with contextlib.suppress(BrokerError):  # they are still queued
                    await self._send_queued()

    @property
    def is_behind(self) -> bool:
        """Whether so many reads wait that no message can be accepted."""
        return len(self._unsent) >= limits.CARS_HELD

    @property
    def not_ready(self) -> str | None:
        """Why messages are not accepted now; None if they are.

        A delivery that failed counts for seconds: then the next message shows whether it is over.
        """
        if self.is_behind or self._spool.is_full:
            return "too many reads wait for the broker"
        failed_s = self._failed_s
        if failed_s is not None and self._now_s() - failed_s < limits.INGEST_FAILED_S:
            return "the broker does not acknowledge reads"
        return None

    def _queue(self, reads: list[Detection]) -> None:
        self._unsent |= {read.read_id: _record(read) for read in reads}

    async def _send_queued(self) -> None:
        async with self._sending:  # one call at a time, so that no read is sent twice
            queued = dict(self._unsent)
            if not queued:
                return
            begun_s = self._now_s()
            await self._send(list(queued.values()))
            for read_id in queued:
                del self._unsent[read_id]
            self.metrics.count_delivered(len(queued), self._now_s() - begun_s)

    async def _send(self, records: list[ReadRecord]) -> None:
        try:
            async with asyncio.timeout(limits.INGEST_DELIVERY_S):
                acknowledgements = [await self._hand_over(record) for record in records]
                await asyncio.gather(*acknowledgements)
        except (KafkaError, TimeoutError) as error:
            self._failed_s = self._now_s()
            raise BrokerError(
                f"the broker has not acknowledged the reads ({type(error).__name__})",
                where=f"topic {self._topic}",
                hint="send the message again",
            ) from error
        self._failed_s = None
        self.sent += len(records)

    async def _hand_over(self, record: ReadRecord) -> Awaitable[Any]:
        acknowledgement: Awaitable[Any] = await self._producer.send(
            self._topic, key=record.key, value=record.value, headers=record.headers
        )
        return acknowledgement

    def _delivered(self, took_s: float) -> None:
        self.sent += 1
        self.metrics.count_delivered(1, took_s)


def _record(read: Detection) -> ReadRecord:
    try:
        return encode_read(read)
    except DocumentError as error:
        raise AdapterError("$", f"gives no read ({error})") from None


@asynccontextmanager
async def ingesting(
    settings: Settings, adapter: Adapter, site: Site, metrics: IngestMetrics | None = None
) -> AsyncIterator[Ingest]:
    """Open an Ingest into the detections topic; when the context ends, it disconnects.

    Raises BrokerError, or TopicError if the topic is missing.
    """
    topic = Topics(settings.prefix).detections
    async with producing(settings, topic, linger_ms=limits.INGEST_LINGER_MS) as (producer, _):
        yield Ingest(producer, topic, adapter, site, metrics)
