"""One command's session with Kafka, run by `run()`; `reader` and `writer` belong to it.

The rules for all three:

- A topic is looked up first and is never created by asking for it.
- A record counts as sent when every in-sync replica has it; `outbox` ends without an error
  only if that is so for each of its records.
- Only committed records are read.
- A broker that does not answer is a BrokerError of one line within `limits.CONNECT_S`, or
  `limits.DELIVERY_TIMEOUT_S` for records in flight. aiokafka's own log stays silent.

The worker has its own consumer and producer; of these modules it uses only `reader.between`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator
from typing import Any, Final, TypeVar

from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidTransactionTimeout,
    InvalidTxnState,
    KafkaError,
    ProducerFenced,
)

from engine import limits
from engine.config import Settings
from engine.errors import BrokerError, TopicError
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import Refusal, hidden, not_allowed, refusal, unreachable
from engine.kafka.security import security
from engine.kafka.topics import Topics, create_command

_T = TypeVar("_T")


def run(body: Coroutine[Any, Any, _T]) -> _T:
    """Run a command's body; what aiokafka would log is raised as an error instead."""
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        return asyncio.run(body)
    finally:
        logger.setLevel(level)


_FENCED: Final = (ProducerFenced, InvalidProducerEpoch, InvalidTxnState)


class FencedError(BrokerError):
    """Another producer has taken the transactional id; the open transaction is lost."""


async def partitions_of(settings: Settings, topic: str, operation: str) -> list[int]:
    """The topic's partitions in order, found without creating the topic, for an operation."""
    client = Cluster.of(settings).client(client_id="hotlist-command")
    try:
        await started(client.bootstrap(), settings)
        cluster = await started(client.fetch_all_metadata(), settings)
    finally:
        await client.close()
    partitions = cluster.partitions_for_topic(topic)
    if not partitions:
        if await started(hidden(settings.bootstrap, [topic], security(settings)), settings):
            raise not_allowed(Refusal("topic", (topic,)), operation)
        raise TopicError(
            f"topic {topic} missing",
            where=settings.bootstrap,
            hint=f"run: {create_command(settings.bootstrap, Topics(settings.prefix))}",
        )
    return sorted(partitions)


async def started(start: Coroutine[Any, Any, _T], settings: Settings) -> _T:
    try:
        return await asyncio.wait_for(start, limits.CONNECT_S)
    except (TimeoutError, KafkaError, OSError) as error:
        if refusal(error) is not None or isinstance(error, InvalidTransactionTimeout):
            raise  # the broker answers, and denies it
        raise await unreachable(settings.bootstrap, security(settings)) from error


async def stopped(client: Any) -> None:
    """Close a producer or a consumer, whether or not the broker still answers."""
    with contextlib.suppress(TimeoutError, KafkaError, OSError):
        await asyncio.wait_for(client.stop(), limits.CLIENT_STOP_S)


@contextlib.contextmanager
def broker_errors(bootstrap: str, topic: str, operation: str) -> Iterator[None]:
    """Convert aiokafka's errors to ours; `operation` is what we do on the topic."""
    try:
        yield
    except KafkaError as error:
        # What ends aiokafka's sender is the cause of what it raises afterwards.
        if isinstance(error, _FENCED) or isinstance(error.__cause__, _FENCED):
            raise FencedError(
                "fenced by another producer, or the transaction was open for too long",
                where=bootstrap,
                hint="none of its records count",
            ) from error
        if isinstance(error, InvalidTransactionTimeout):
            raise BrokerError(
                "the brokers do not allow a transaction that is open for so long",
                where=bootstrap,
                hint="ask the cluster's operator to raise transaction.max.timeout.ms",
            ) from error
        refused = refusal(error)
        if refused is not None:
            if refused.kind == "cluster":  # the broker says so if we may write to no topic
                refused = Refusal("topic", (topic,))
            raise not_allowed(refused, operation) from error
        raise BrokerError(
            f"the broker answers with an error: {error!r}", where=bootstrap
        ) from error
