"""Vendors' messages into Kafka as detections.

A message is accepted when the broker has acknowledged all reads that it caused. Until then its
sender keeps it, and may send it again: it gives the same reads with the same ids. The reads of a
car that its camera still reports are held for seconds (`engine.ingest.adapters.cars`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.errors import KafkaError

from engine import limits
from engine.config import Settings
from engine.documents.model import Detection
from engine.documents.read_record import ReadRecord, encode_read
from engine.errors import BrokerError, DocumentError
from engine.ingest.adapters import Adapted, Adapter, AdapterError, Cars, Site
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
        self.sent = 0

    async def take(self, message: bytes) -> Adapted:
        """Take one message; return its result.

        Raises AdapterError if it gives no read, and BrokerError if the broker has not acknowledged
        its reads in time: then it must be sent again.
        """
        adapted = self._adapter(message, self._site)
        records = [_record(read) for read in adapted.reads]
        if adapted.car is None:
            await self._send(records)
        else:
            self._queue(self._cars.take(adapted, self._now_s()))
            await self._send_queued()
        return adapted

    async def finish(self) -> None:
        """Send what is held, because no more messages will come. Raises BrokerError."""
        self._queue(self._cars.all())
        await self._send_queued()

    async def look(self) -> None:
        """Send the reads of cars that are no longer reported, repeatedly."""
        while True:
            await asyncio.sleep(limits.CAR_LOOK_S)
            self._queue(self._cars.due(self._now_s()))
            try:
                await self._send_queued()
            except BrokerError:
                continue  # they are still queued

    @property
    def is_behind(self) -> bool:
        """Whether so many reads wait that no message can be accepted."""
        return len(self._unsent) >= limits.CARS_HELD

    def _queue(self, reads: list[Detection]) -> None:
        self._unsent |= {read.read_id: _record(read) for read in reads}

    async def _send_queued(self) -> None:
        async with self._sending:  # one call at a time, so that no read is sent twice
            queued = dict(self._unsent)
            await self._send(list(queued.values()))
            for read_id in queued:
                del self._unsent[read_id]

    async def _send(self, records: list[ReadRecord]) -> None:
        if not records:
            return
        try:
            async with asyncio.timeout(limits.INGEST_DELIVERY_S):
                acknowledgements = [
                    await self._producer.send(
                        self._topic, key=record.key, value=record.value, headers=record.headers
                    )
                    for record in records
                ]
                await asyncio.gather(*acknowledgements)
        except (KafkaError, TimeoutError) as error:
            raise BrokerError(
                f"the broker has not acknowledged the reads ({type(error).__name__})",
                where=f"topic {self._topic}",
                hint="send the message again",
            ) from error
        self.sent += len(records)


def _record(read: Detection) -> ReadRecord:
    try:
        return encode_read(read)
    except DocumentError as error:
        raise AdapterError("$", f"gives no read ({error})") from None


@asynccontextmanager
async def ingesting(settings: Settings, adapter: Adapter, site: Site) -> AsyncIterator[Ingest]:
    """Open an Ingest into the detections topic; when the context ends, it disconnects.

    Raises BrokerError, or TopicError if the topic is missing.
    """
    topic = Topics(settings.prefix).detections
    async with producing(settings, topic, linger_ms=limits.INGEST_LINGER_MS) as (producer, _):
        yield Ingest(producer, topic, adapter, site)
