"""What is sent: reads at their pace, and changes of the lists beside them.

What the broker does not take is sent again until it does, by a new producer where need be, and
what could not be sent in time follows as soon as it can: an outage holds reads back and takes none
away. When the sending of something was begun first stands in the evidence.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from engine.kafka.topics import Topics
from tests.kafka.records import ToSend, send_to_partition
from tests.torture.churn import Change, Churn, records
from tests.torture.cluster import ReadPartitions
from tests.torture.evidence import Evidence, name_of
from tests.torture.town import TortureTown
from tests.torture.waits import CLIENT_S, StuckError, has_come, within
from tests.torture.workers import now_s

_TICK_S = 0.05
_RETRY_PAUSE_S = 0.2
#: A request that the broker does not answer is given up after this; it must be over soon after
#: an outage is.
_REQUEST_MS = 8_000
#: One attempt to send is given up after this, whatever it waits for; and all attempts after this:
#: longer than any outage of the broker and its start on a slow machine.
_ATTEMPT_S = 60.0
_SEND_S = 300.0
#: Changes of one entry or policy, and transactions, come this often; how long one stays open.
_SINGLE_EVERY_S = 0.4
_TRANSACTION_EVERY_S = (2.0, 6.0)
_OPEN_S = (0.0, 2.0)
#: Reads of what changes, a second.
_CHURN_READS = 25


class Session:
    """A producer, until it is put away: what waits for it then waits no longer."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.producer = producer
        self._closed = asyncio.Event()

    async def do(self, attempt: Callable[[AIOKafkaProducer], Awaitable[None]]) -> bool:
        """Make an attempt; False if the producer was put away before it was over.

        A producer that is closed leaves the futures of its batches pending for ever.
        """
        trying = asyncio.ensure_future(attempt(self.producer))
        closing = asyncio.ensure_future(self._closed.wait())
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                await asyncio.wait((trying, closing), return_when=asyncio.FIRST_COMPLETED)
            if not trying.done():
                return False
            trying.result()
            return True
        finally:
            closing.cancel()
            trying.cancel()
            await asyncio.wait((trying, closing), timeout=CLIENT_S)
            if trying.done() and not trying.cancelled():
                trying.exception()  # was raised above, or is of a producer that is gone

    async def put_away(self) -> None:
        """End a producer that may have lost its broker; what waits in it may be lost too."""
        if self._closed.is_set():
            return
        self._closed.set()
        producer = self.producer
        producer._closed = True  # `stop` would wait for the broker
        for close in (producer._sender.close, producer.client.close):
            with contextlib.suppress(KafkaError, OSError):
                async with within(CLIENT_S, "a producer of the load is closed"):
                    await close()


class Sender:
    """A producer that takes its time: `send` returns when the broker has it. `name` says in an
    error which of them was stuck."""

    def __init__(self, name: str, bootstrap: str, **options: Any) -> None:
        self._name = name
        self._bootstrap = bootstrap
        self._options = options
        self._session: Session | None = None
        self._starting = asyncio.Lock()

    async def send(self, attempt: Callable[[AIOKafkaProducer], Awaitable[None]]) -> None:
        """Try until it succeeds; raises StuckError after _SEND_S."""
        last: BaseException | None = None
        try:
            async with asyncio.timeout(_SEND_S):
                while True:
                    session: Session | None = None
                    try:
                        session = await self._started()
                        if await session.do(attempt):
                            return
                    except (KafkaError, OSError, AssertionError, TimeoutError) as error:
                        # Whether the broker has it is not known; the topic will show.
                        last = error
                        if session is not None:
                            await self._put_away(session)
                    await asyncio.sleep(_RETRY_PAUSE_S)
        except TimeoutError as error:
            raise StuckError(
                f"the load's producer of {self._name} could not send for {_SEND_S:g} s: {last!r}"
            ) from error

    async def renew(self) -> None:
        """Go on with a new producer, whatever the old one has left open."""
        if self._session is not None:
            await self._put_away(self._session)

    async def _started(self) -> Session:
        async with self._starting:
            if self._session is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    request_timeout_ms=_REQUEST_MS,
                    retry_backoff_ms=50,
                    **self._options,
                )
                session = Session(producer)
                try:
                    async with asyncio.timeout(_ATTEMPT_S):
                        await producer.start()
                except BaseException:
                    await session.put_away()
                    raise
                self._session = session
            return self._session

    async def _put_away(self, session: Session) -> None:
        if session is self._session:
            self._session = None
        await session.put_away()


class Load:
    """Sends the town's reads and reads of what changes; and changes."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        town: TortureTown,
        churn: Churn,
        seed: int,
        seconds: float,
        evidence: Evidence,
        partitions: ReadPartitions,
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._town = town
        self._churn = churn
        self._chance = random.Random(f"{seed} load")
        self._seconds = seconds
        self._evidence = evidence
        self._partitions = partitions
        #: Partitions that there are reads for, of what changes: what is folded must not move.
        self._known_partitions = partitions.count
        self._sent_share = 0.0
        self._churn_left = 0.0
        self._change_count = 0
        self._reads = Sender("reads", bootstrap, enable_idempotence=True, compression_type="lz4")
        self._singles = Sender("single changes", bootstrap, enable_idempotence=True)
        self._transactions = Sender(
            "transactions", bootstrap, transactional_id=f"{topics.prefix}sync"
        )
        #: How many changes were sent, by how.
        self.changes: dict[str, int] = {"plain": 0, "commit": 0, "abort": 0, "leave": 0}

    async def begin(self) -> None:
        """The lists as they stand before the first read."""
        topics, town = self._topics, self._town

        async def produce(producer: AIOKafkaProducer) -> None:
            await send_to_partition(producer, topics.hotlist, 0, town.entries[0])
            await send_to_partition(producer, topics.policies, 0, town.policies[0])

        await self._singles.send(produce)
        for change in self._churn.begin():
            await self._change(change)

    async def send_reads(self, lasts_s: float, over: asyncio.Event) -> None:
        """Reads at their pace, for so long or until it is over."""
        began_s = now_s()
        until_share = self._sent_share + lasts_s / self._seconds
        begin_share = self._sent_share
        while self._sent_share < until_share and not await has_come(over, _TICK_S):
            passed_s = now_s() - began_s
            share = min(until_share, begin_share + passed_s / self._seconds)
            await self._send_tick(share)

    async def change_singly(self, over: asyncio.Event) -> None:
        """Change entries and policies one by one, until it is over."""
        while not await has_come(over, 2 * _SINGLE_EVERY_S * self._chance.random()):
            await self._change(self._churn.single())

    async def change_together(self, over: asyncio.Event) -> None:
        """Transactions, until it is over; none is left open behind the last."""
        while not await has_come(over, self._chance.uniform(*_TRANSACTION_EVERY_S)):
            await self._change(self._churn.transaction())

    def go_on_at(self, topics: Topics, partitions: ReadPartitions) -> None:
        """Send to other topics from now on, of which the reads have as many partitions. Nothing is
        being sent."""
        self._topics, self._partitions = topics, partitions

    async def close(self) -> None:
        """End the producers."""
        for sender in (self._reads, self._singles, self._transactions):
            await sender.renew()

    async def _see_partitions(self) -> None:
        """Have the producer know of the partitions that were added."""

        async def look(producer: AIOKafkaProducer) -> None:
            await producer.client.force_metadata_update()
            known = await producer.partitions_for(self._topics.detections)
            self._known_partitions = max(self._known_partitions, len(known))

        await self._reads.send(look)

    async def _send_tick(self, share: float) -> None:
        if self._known_partitions < self._partitions.count:
            await self._see_partitions()
        self._churn_left += (share - self._sent_share) * self._seconds * _CHURN_READS
        count, self._churn_left = int(self._churn_left), self._churn_left % 1
        # Pairs come first, so that no batch can end between two of them.
        by_partition = self._churn.reads(count, self._known_partitions)
        for partition, reads in self._town.reads_between(self._sent_share, share).items():
            by_partition.setdefault(partition, []).extend(reads)
        self._sent_share = share
        sent_s = now_s()
        for reads in by_partition.values():
            for read in reads:
                name = name_of(orjson.loads(read.value or b""))
                self._evidence.read_sent_s.setdefault(name, sent_s)
        await asyncio.gather(
            *(self._send(partition, reads) for partition, reads in by_partition.items() if reads)
        )

    async def _send(self, partition: int, reads: list[ToSend]) -> None:
        async def produce(producer: AIOKafkaProducer) -> None:
            await send_to_partition(producer, self._topics.detections, partition, reads)

        await self._reads.send(produce)

    async def _change(self, change: Change) -> None:
        self._change_count += 1
        number = self._change_count
        self._evidence.change_sent_s[number] = now_s()
        self.changes[change.how] += 1
        if change.how == "plain":
            await self._singles.send(lambda producer: self._produce(producer, change, number))
            return

        async def in_transaction(producer: AIOKafkaProducer) -> None:
            await producer.begin_transaction()
            await self._produce(producer, change, number)
            await asyncio.sleep(self._chance.uniform(*_OPEN_S))
            if change.how == "commit":
                await producer.commit_transaction()
            elif change.how == "abort":
                await producer.abort_transaction()

        await self._transactions.send(in_transaction)
        if change.how == "leave":
            await self._transactions.renew()
            await self._transactions.send(_nothing)  # which fences the other one off

    async def _produce(self, producer: AIOKafkaProducer, change: Change, number: int) -> None:
        if change.entries:
            entries = records(change.entries, number)
            await send_to_partition(producer, self._topics.hotlist, 0, entries)
        if change.policies:
            policies = records(change.policies, number)
            await send_to_partition(producer, self._topics.policies, 0, policies)


async def _nothing(_: AIOKafkaProducer) -> None:
    pass
