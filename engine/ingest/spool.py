"""Reads of senders that never send again, held until the broker has them.

Such a sender is answered at once, so its reads are here alone until the broker acknowledges them.
They are held in memory, bounded in number and in bytes. A spool that is full refuses a message
whole. The producer sends a record again until the broker has it; what it gives up is handed over
to it again.

Knows nothing of HTTP or of vendors.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from aiokafka.errors import KafkaError

from engine import limits
from engine.documents.read_record import ReadRecord
from engine.errors import BrokerError

#: What a record takes besides its content.
_OVERHEAD_BYTES: Final = 512

#: Hands a record over to the producer; what it returns ends when the broker has acknowledged it.
HandOver = Callable[[ReadRecord], Awaitable[Awaitable[object]]]


class SpoolFullError(BrokerError):
    """Too many reads are held; none of the message's was taken."""


class _Held(NamedTuple):
    record: ReadRecord
    since_s: float
    size: int


class ReadSpool:
    """The held reads; see the module. `delivered` is called with each one's time in seconds."""

    def __init__(
        self,
        hand_over: HandOver,
        delivered: Callable[[float], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hand_over = hand_over
        self._delivered = delivered
        self._now_s = now_s
        self._waiting: deque[_Held] = deque()
        self._is_filled = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._count = 0
        self._bytes = 0

    def __len__(self) -> int:
        """The number of reads held."""
        return self._count

    @property
    def held_bytes(self) -> int:
        """The bytes of the reads held."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """Whether a message with reads would be refused, or nearly."""
        return (
            self._count >= limits.INGEST_SPOOL_READS
            or self._bytes + limits.READ_VALUE_BYTES > limits.INGEST_SPOOL_BYTES
        )

    def put(self, records: Sequence[ReadRecord]) -> None:
        """Hold a message's records. Raises SpoolFullError, and then holds none of them."""
        now_s = self._now_s()
        held = [_Held(record, now_s, _size(record)) for record in records]
        size = sum(each.size for each in held)
        if (
            self._count + len(held) > limits.INGEST_SPOOL_READS
            or self._bytes + size > limits.INGEST_SPOOL_BYTES
        ):
            raise SpoolFullError(
                "too many reads wait for the broker",
                where="the endpoint",
                hint="see whether the brokers are up",
            )
        self._waiting += held
        self._count += len(held)
        self._bytes += size
        if held:
            self._is_filled.set()
            self._is_empty.clear()

    async def run(self) -> None:
        """Hand the held reads over to the producer, repeatedly."""
        room = asyncio.Semaphore(limits.INGEST_SPOOL_IN_FLIGHT)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._is_filled.wait()
                while self._waiting:
                    await room.acquire()
                    task = tasks.create_task(self._deliver(self._waiting.popleft()))
                    task.add_done_callback(lambda _: room.release())
                self._is_filled.clear()

    async def drained(self) -> None:
        """Wait until no read is held."""
        await self._is_empty.wait()

    async def _deliver(self, held: _Held) -> None:
        """Hand over one record until the broker has it."""
        while True:
            try:
                await (await self._hand_over(held.record))
                break
            except KafkaError:
                await asyncio.sleep(limits.RETRY_PAUSE_S)
        self._count -= 1
        self._bytes -= held.size
        if not self._count:
            self._is_empty.set()
        self._delivered(self._now_s() - held.since_s)


def _size(record: ReadRecord) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return _OVERHEAD_BYTES + len(record.key) + len(record.value) + headers
