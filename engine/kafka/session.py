"""What the commands do with Kafka: write records, read a topic to its end, follow one.

Everything here is for one command at a time, run by `run()`. The rules:

- A topic is looked up before anything else and never made by asking for it.
- A record counts as sent when every in-sync replica has it; `outbox` ends without an error
  only when that is so for each of its records.
- Only committed records are read.
- A broker that does not answer is a BrokerError of one line within `limits.CONNECT_S`, or
  `limits.DELIVERY_TIMEOUT_S` for records on their way. aiokafka's own log stays silent.

The worker does not use this module: it has its own way in and out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Container,
    Coroutine,
    Iterator,
)
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    ProducerFenced,
)
from aiokafka.partitioner import DefaultPartitioner

from engine import limits
from engine.config import Settings
from engine.errors import BrokerError, TopicError
from engine.kafka.acl_probe import topics_as_shown
from engine.kafka.diagnosis import Refusal, hidden, not_allowed, refusal, unreachable
from engine.kafka.raw_fetcher import deliver_batches
from engine.kafka.security import arguments, security
from engine.kafka.topics import Topics, create_command

#: Records go out in batches of this size, a few of them on their way at a time.
_BATCH_BYTES: Final = 256 * limits.KIB
_BATCHES_ON_THEIR_WAY: Final = 8
_STOP_S: Final = 3.0
_POLL_MS: Final = 500

_T = TypeVar("_T")
Headers = list[tuple[str, bytes]]
#: Told of a partition's records that are gone: the first of them, and the oldest that is kept.
Deleted = Callable[[TopicPartition, int, int], None]
Progress = Callable[[int], contextlib.AbstractContextManager[Callable[[int], None]]]


def run(body: Coroutine[Any, Any, _T]) -> _T:
    """Run a command's body; what aiokafka would log comes as an error instead."""
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        return asyncio.run(body)
    finally:
        logger.setLevel(level)


class FencedError(BrokerError):
    """Somebody else has taken the transactional id; nothing of the open transaction counts."""


class Outbox:
    """Writes records to one topic, in batches. Made by `outbox()`.

    `sent` counts the records that the broker has acknowledged, `next_offsets` has by partition
    the offset after the last of them.
    """

    def __init__(self, producer: Any, bootstrap: str, topic: str, partitions: list[int]) -> None:
        self._producer = producer
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = partitions
        # The partition of a key is the one that every Kafka client chooses, so that all
        # changes of one entry lie in one partition whoever makes them.
        self._partitioner = DefaultPartitioner()
        self._open: dict[int, Any] = {}
        self._on_their_way: deque[tuple[Any, int]] = deque()
        self.sent = 0
        self.next_offsets: dict[TopicPartition, int] = {}

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All records sent within count at once when it is left, or none of them does.

        Only for an outbox with a transactional id.
        """
        await self._producer.begin_transaction()
        try:
            yield
            await self.flush()
            await self._in_time(self._producer.commit_transaction())
        except BaseException:
            self._open.clear()
            # Whoever is gone or was put out of the way cannot abort; the broker does it.
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(self._producer.abort_transaction(), _STOP_S)
            raise

    async def send(self, key: bytes, value: bytes | None, headers: Headers | None = None) -> None:
        """Take one record; it leaves with its batch. Raises BrokerError for an earlier one."""
        if len(self._partitions) == 1:
            partition = self._partitions[0]
        else:
            partition = self._partitioner(key, self._partitions, self._partitions)
        batch = self._open.get(partition)
        if batch is None:
            batch = self._open[partition] = self._producer.create_batch()
        if batch.append(key=key, value=value, timestamp=None, headers=headers or []) is None:
            await self._submit(partition)
            batch = self._open[partition] = self._producer.create_batch()
            # The first record of a batch is taken whatever its size.
            batch.append(key=key, value=value, timestamp=None, headers=headers or [])

    async def flush(self) -> None:
        """Return when everything taken so far is acknowledged; BrokerError otherwise."""
        for partition in list(self._open):
            await self._submit(partition)
        while self._on_their_way:
            await self._acknowledged()

    async def _submit(self, partition: int) -> None:
        batch = self._open.pop(partition)
        count = batch.record_count()
        future = await self._in_time(
            self._producer.send_batch(batch, self._topic, partition=partition)
        )
        self._on_their_way.append((future, count))
        while len(self._on_their_way) > _BATCHES_ON_THEIR_WAY:
            await self._acknowledged()

    async def _acknowledged(self) -> None:
        future, count = self._on_their_way.popleft()
        acknowledged = await self._in_time(future)
        self.sent += count
        part = TopicPartition(self._topic, acknowledged.partition)
        self.next_offsets[part] = acknowledged.offset + count

    async def _in_time(self, waiting: Any) -> Any:
        try:
            return await asyncio.wait_for(waiting, limits.DELIVERY_TIMEOUT_S)
        except (TimeoutError, KafkaTimeoutError):
            raise BrokerError(
                f"the broker stopped acknowledging records, after {self.sent} of them",
                where=self._bootstrap,
            ) from None
        except MessageSizeTooLargeError:
            raise BrokerError(
                "a record is larger than the topic takes", where=f"topic {self._topic}"
            ) from None


@contextlib.asynccontextmanager
async def outbox(
    settings: Settings, topic: str, *, transactional_id: str | None = None
) -> AsyncIterator[Outbox]:
    """An Outbox for the topic; on leaving, all its records are acknowledged.

    With a transactional id it is the only one of that id from here on: whoever had it before is
    put out of the way, and a transaction of theirs that is still open counts for nothing.
    Raises BrokerError, or TopicError when the topic is missing.
    """
    async with producing(
        settings,
        topic,
        max_batch_size=_BATCH_BYTES,
        transactional_id=transactional_id,
        transaction_timeout_ms=int(limits.TRANSACTION_S * 1000),
    ) as (producer, partitions):
        box = Outbox(producer, settings.bootstrap, topic, partitions)
        yield box
        await box.flush()


@contextlib.asynccontextmanager
async def producing(
    settings: Settings, topic: str, **options: Any
) -> AsyncIterator[tuple[Any, list[int]]]:
    """A producer with further options of aiokafka's, and the topic's partitions.

    Raises BrokerError, or TopicError when the topic is missing.
    """
    with _broker_errors(settings.bootstrap, topic, "Write"):
        partitions = await _partitions(settings, topic, "Write")
        producer = AIOKafkaProducer(
            **arguments(settings.bootstrap, security(settings)),
            client_id="hotlist-command",
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            **options,
        )
        try:
            await _started(producer.start(), settings)
            yield producer, partitions
        finally:
            await _stopped(producer)


async def read_to_end(
    settings: Settings,
    topic: str,
    progress: Progress,
    *,
    only: Container[bytes] | None = None,
) -> dict[bytes, bytes]:
    """The last value of each key of a compacted topic, without those removed.

    `only` names the keys that are kept; without it all are.
    `progress` makes a progress bar for a number of steps; the context that it returns gives
    what is called with the steps just done. Reads up to where the topic ended when it was
    asked. Raises BrokerError, or TopicError when the topic is missing.
    """
    found: dict[bytes, bytes] = {}
    async with consuming(settings, topic) as (consumer, partitions):
        starts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        with progress(sum(ends.values()) - sum(starts.values())) as step:
            async for fetched, moved in between(consumer, starts, ends):
                for records in fetched.values():
                    _apply(records, found, only)
                step(moved)
    return found


async def between(
    consumer: Any, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]
) -> AsyncGenerator[tuple[dict[TopicPartition, list[Any]], int], None]:
    """What lies between these offsets of the consumer's partitions, as it is fetched.

    Gives what `getmany` gives, and by how many offsets that went on; some records from behind
    the ends may be among it. Raises BrokerError where nothing comes any more.
    """
    waiting = {part for part in ends if starts[part] < ends[part]}
    for part in waiting:
        consumer.seek(part, starts[part])
    at = dict(starts)
    loop = asyncio.get_running_loop()
    moved_s = loop.time()
    while waiting:
        fetched = await consumer.getmany(*waiting, timeout_ms=_POLL_MS)
        moved = 0
        # Compaction and transaction markers leave gaps, so the position says where we are, not
        # the last record.
        for part in list(waiting):
            position = min(await consumer.position(part), ends[part])
            moved += position - at[part]
            at[part] = position
            if position == ends[part]:
                waiting.remove(part)
        if moved:
            moved_s = loop.time()
        elif loop.time() - moved_s > limits.DELIVERY_TIMEOUT_S:
            topic = next(iter(waiting)).topic
            raise BrokerError("is not readable to its end", where=f"topic {topic}")
        yield fetched, moved


def _apply(records: list[Any], found: dict[bytes, bytes], only: Container[bytes] | None) -> None:
    for record in records:
        if record.key is None:
            continue  # a compacted topic takes none
        if only is not None and record.key not in only:
            continue
        if record.value is None:
            found.pop(record.key, None)
        else:
            found[record.key] = record.value


def _no_matter(part: TopicPartition, first: int, next_offset: int) -> None:
    pass


async def follow(
    settings: Settings, topic: str, *, from_start: bool, deleted: Deleted = _no_matter
) -> AsyncGenerator[bytes, None]:
    """The values of a topic's records as they come, for ever.

    From the first one that is kept, or only what comes from now on. Partitions that are added to
    the topic, and a topic that is made anew, are read from their beginning. `deleted` is told of
    records that the topic did not keep until they were read. Raises BrokerError, or TopicError when
    the topic is missing.
    """
    async with consuming(settings, topic, reset="none") as (consumer, partitions):
        # Offsets are asked for now, so that what is sent after this moment is never skipped.
        look_up = consumer.beginning_offsets if from_start else consumer.end_offsets
        for part, offset in (await look_up(partitions)).items():
            consumer.seek(part, offset)
        topic_id: bytes | None = None
        loop = asyncio.get_running_loop()
        look_at_s = loop.time()
        while True:
            if loop.time() >= look_at_s:
                topic_id = await _follow_changes(consumer, topic, topic_id)
                look_at_s = loop.time() + limits.METADATA_MAX_AGE_S
            try:
                async with asyncio.timeout_at(look_at_s):
                    record = await consumer.getone()
            except TimeoutError:
                continue
            except OffsetOutOfRangeError as error:
                await _begin_anew(consumer, error.args[0], deleted)
                continue
            if record.value is not None:
                yield record.value


async def _follow_changes(consumer: Any, topic: str, known_id: bytes | None) -> bytes | None:
    """Take partitions into the assignment that the topic has by now; the topic's id.

    Those that are read go on where they are, unless the topic's id is another one than is known.
    """
    try:
        async with asyncio.timeout(limits.CONNECT_S):
            [shown] = await topics_as_shown(consumer._client, [topic])
    except (KafkaError, TimeoutError, OSError):
        return known_id  # what comes is read on; the next look may find a broker
    if shown.error:
        return known_id
    is_anew = shown.is_other_than(known_id)
    partitions = [TopicPartition(topic, number) for number in range(len(shown.partitions))]
    assigned = consumer.assignment()
    if is_anew or not assigned.issuperset(partitions):
        offsets = dict.fromkeys(partitions, 0)
        if not is_anew:
            offsets |= {part: await consumer.position(part) for part in assigned}
        # Nothing may come in between: an assignment begins without positions.
        consumer.assign(list(offsets))
        for part, offset in offsets.items():
            consumer.seek(part, offset)
    return shown.id or known_id


async def _begin_anew(consumer: Any, lost: dict[TopicPartition, int], deleted: Deleted) -> None:
    """Go on at the oldest record of partitions that do not hold these offsets any more."""
    begins = await consumer.beginning_offsets(list(lost))
    for part, offset in lost.items():
        if offset < begins[part]:
            deleted(part, offset, begins[part])
        consumer.seek(part, begins[part])


@contextlib.asynccontextmanager
async def consuming(
    settings: Settings, topic: str, *, unopened: bool = False, reset: str = "earliest"
) -> AsyncIterator[tuple[Any, list[TopicPartition]]]:
    """A consumer outside any group, assigned to all partitions of the topic.

    `unopened`: it gives a `RawBatch` for each record batch instead of its records. `reset`: what it
    does about an offset that is gone, as aiokafka has it. Raises BrokerError, or TopicError when
    the topic is missing.
    """
    with _broker_errors(settings.bootstrap, topic, "Read"):
        numbers = await _partitions(settings, topic, "Read")
        partitions = [TopicPartition(topic, part) for part in numbers]
        consumer = AIOKafkaConsumer(
            **arguments(settings.bootstrap, security(settings)),
            client_id="hotlist-command",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset=reset,
            isolation_level="read_committed",
            fetch_max_wait_ms=limits.FETCH_WAIT_MS,
            max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
        )
        try:
            await _started(consumer.start(), settings)
            if unopened:
                deliver_batches(consumer, lambda _: True)
            consumer.assign(partitions)
            yield consumer, partitions
        finally:
            await _stopped(consumer)


async def _partitions(settings: Settings, topic: str, operation: str) -> list[int]:
    """The topic's partitions in order, found without creating the topic, for an operation."""
    client = AIOKafkaClient(
        **arguments(settings.bootstrap, security(settings)), client_id="hotlist-command"
    )
    try:
        await _started(client.bootstrap(), settings)
        cluster = await _started(client.fetch_all_metadata(), settings)
    finally:
        await client.close()
    partitions = cluster.partitions_for_topic(topic)
    if not partitions:
        if await _started(hidden(settings.bootstrap, [topic], security(settings)), settings):
            raise not_allowed(Refusal("topic", (topic,)), operation)
        raise TopicError(
            f"topic {topic} missing",
            where=settings.bootstrap,
            hint=f"run: {create_command(settings.bootstrap, Topics(settings.prefix))}",
        )
    return sorted(partitions)


async def _started(start: Coroutine[Any, Any, _T], settings: Settings) -> _T:
    try:
        return await asyncio.wait_for(start, limits.CONNECT_S)
    except (TimeoutError, KafkaError, OSError) as error:
        if refusal(error) is not None:
            raise  # it is reached, and says no
        raise await unreachable(settings.bootstrap, security(settings)) from error


async def _stopped(client: Any) -> None:
    """Close a producer or a consumer, whether or not the broker is still there."""
    with contextlib.suppress(TimeoutError, KafkaError, OSError):
        await asyncio.wait_for(client.stop(), _STOP_S)


@contextlib.contextmanager
def _broker_errors(bootstrap: str, topic: str, operation: str) -> Iterator[None]:
    """Errors of aiokafka as ours; `operation` is what we do on the topic."""
    try:
        yield
    except ProducerFenced as error:
        raise FencedError(
            f"the transaction was ended by another, or took over {limits.TRANSACTION_S:g} s",
            where=bootstrap,
            hint="nothing of it counts",
        ) from error
    except KafkaError as error:
        refused = refusal(error)
        if refused is not None:
            if refused.kind == "cluster":  # which is asked of those who may write to no topic
                refused = Refusal("topic", (topic,))
            raise not_allowed(refused, operation) from error
        raise BrokerError(
            f"the broker answers with an error: {error!r}", where=bootstrap
        ) from error
