"""Vendors' messages into Kafka as detections.

A message is taken when the broker has acknowledged all reads that it made count. Until then
whoever sent it keeps it, and may send it again: it gives the same reads with the same ids. The
reads of a car that its camera still tells of are held for seconds (`engine.ingest.adapters.cars`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.errors import KafkaError

from engine import limits
from engine.config import Settings
from engine.documents.model import Detection
from engine.documents.read_record import ReadRecord, encode
from engine.errors import BrokerError, DocumentError
from engine.ingest.adapters import Adapted, Adapter, AdapterError, Cars, Site
from engine.kafka.topics import Topics
from engine.kafka.writer import producing

#: How often it is looked for cars of which nothing more is heard.
_LOOK_S: Final = 1.0


class Ingest:
    """See the module. Made by `ingesting()`. `sent` counts the acknowledged reads."""

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
        #: Reads of cars that count and are not acknowledged yet, by their ids.
        self._owed: dict[str, ReadRecord] = {}
        self._paying = asyncio.Lock()
        self.sent = 0

    async def take(self, message: bytes) -> Adapted:
        """Take one message; what it came to.

        Raises AdapterError where it gives no read, and BrokerError where the broker has not
        acknowledged in time what is to be sent: then it must come again.
        """
        adapted = self._adapter(message, self._site)
        records = [_record(read) for read in adapted.reads]
        if adapted.car is None:
            await self._send(records)
        else:
            self._owe(self._cars.take(adapted, self._now_s()))
            await self._pay()
        return adapted

    async def finish(self) -> None:
        """Send what is held: no more messages will come. Raises BrokerError."""
        self._owe(self._cars.all())
        await self._pay()

    async def look(self) -> None:
        """Send the reads of cars of which nothing more is heard, again and again."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._owe(self._cars.due(self._now_s()))
            try:
                await self._pay()
            except BrokerError:
                continue  # they are owed still

    @property
    def is_behind(self) -> bool:
        """Whether so much is owed that no more can be taken."""
        return len(self._owed) >= limits.CARS_HELD

    def _owe(self, reads: list[Detection]) -> None:
        self._owed |= {read.read_id: _record(read) for read in reads}

    async def _pay(self) -> None:
        async with self._paying:  # one at a time, so that none of it is sent twice
            owed = dict(self._owed)
            await self._send(list(owed.values()))
            for read_id in owed:
                del self._owed[read_id]

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
        return encode(read)
    except DocumentError as error:
        raise AdapterError("$", f"gives no read ({error})") from None


@asynccontextmanager
async def ingesting(settings: Settings, adapter: Adapter, site: Site) -> AsyncIterator[Ingest]:
    """An Ingest into the detections topic; on leaving, it is disconnected.

    Raises BrokerError, or TopicError when the topic is missing.
    """
    topic = Topics(settings.prefix).detections
    async with producing(settings, topic, linger_ms=limits.INGEST_LINGER_MS) as (producer, _):
        yield Ingest(producer, topic, adapter, site)
