"""Which transactions hold back records from readers of committed records, and whose they are.

A reader of committed records sees a partition up to its last stable offset: where the first open
transaction begins. Everything behind it waits until the transaction ends, the records of other
producers too.

aiokafka has none of the requests that say whose transaction that is. They are defined here, by
Kafka's protocol guide: DescribeProducers (61), DescribeTransactions (65) and ListTransactions (66),
which brokers know from Kafka 3.0 on at the latest. The first needs the right to Read the topic. The
others tell the transactional id and its start, and need the right to Describe the id. What the
brokers do not tell is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.types import CompactArray, Int16, Int32, Int64, Schema

from engine.clock import format_time
from engine.kafka.raw_fetcher import log_ends
from engine.kafka.request_fields import COMPACT_TEXT, NO_TAGS, TAGS, define_request


class Ends(NamedTuple):
    """A partition's offsets: the oldest one that is kept, the last stable one, and the log's end,
    open transactions included."""

    begin: int
    stable: int
    end: int


class OpenTransaction(NamedTuple):
    """A transaction that is open on a partition, from `first_offset` of it on.

    `wrote_ms` is when its producer wrote to the partition last. `transactional_id` is empty,
    `started_ms` and `ends_ms` (from when on the broker aborts it) are None if the brokers do not
    tell them.
    """

    producer_id: int
    first_offset: int
    wrote_ms: int
    transactional_id: str = ""
    started_ms: int | None = None
    ends_ms: int | None = None

    def describe(self) -> str:
        """Describe it in one phrase."""
        name = f" ({self.transactional_id})" if self.transactional_id else ""
        if self.started_ms is None:
            return f"producer {self.producer_id}{name}, last write {_when(self.wrote_ms)}"
        return f"producer {self.producer_id}{name} since {_when(self.started_ms)}"


def describe_holders(holders: Iterable[OpenTransaction]) -> str:
    """Describe what holds a partition back, in one phrase."""
    named = " and of ".join(each.describe() for each in holders)
    return f"an open transaction of {named or 'a producer that the brokers do not name'}"


def _when(at_ms: int) -> str:
    return format_time(at_ms) if at_ms >= 0 else "at an unknown time"


_Producers: Final = define_request(
    61,
    0,
    asked=Schema(
        ("topics", CompactArray(("name", COMPACT_TEXT), ("partitions", CompactArray(Int32)), TAGS)),
        TAGS,
    ),
    answered=Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", COMPACT_TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", COMPACT_TEXT),
                        (
                            "producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_leader_epoch", Int32),
                                ("transaction_start_offset", Int64),
                                TAGS,
                            ),
                        ),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    ),
)


_Transactions: Final = define_request(
    65,
    0,
    asked=Schema(("transactional_ids", CompactArray(COMPACT_TEXT)), TAGS),
    answered=Schema(
        ("throttle_time_ms", Int32),
        (
            "transactions",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", COMPACT_TEXT),
                ("state", COMPACT_TEXT),
                ("timeout_ms", Int32),
                ("started_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                (
                    "topics",
                    CompactArray(("name", COMPACT_TEXT), ("partitions", CompactArray(Int32)), TAGS),
                ),
                TAGS,
            ),
        ),
        TAGS,
    ),
)


_Listed: Final = define_request(
    66,
    0,
    asked=Schema(
        ("states", CompactArray(COMPACT_TEXT)), ("producer_ids", CompactArray(Int64)), TAGS
    ),
    answered=Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_states", CompactArray(COMPACT_TEXT)),
        (
            "transactions",
            CompactArray(
                ("transactional_id", COMPACT_TEXT),
                ("producer_id", Int64),
                ("state", COMPACT_TEXT),
                TAGS,
            ),
        ),
        TAGS,
    ),
)


async def all_ends(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, Ends]:
    """Return the offsets of partitions, which must have leaders, by a consumer that reads
    committed. Raises KafkaError."""
    begins = await consumer.beginning_offsets(partitions)
    stable = await consumer.end_offsets(partitions)
    ends = await log_ends(consumer, partitions)
    return {part: Ends(begins[part], stable[part], ends[part]) for part in partitions}


async def open_transactions(
    client: Any, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[OpenTransaction, ...]]:
    """Return the open transactions of partitions, the one that begins first at the front.

    `client` is an AIOKafkaClient that knows the partitions' leaders. A partition is left out if its
    leader does not tell. Raises KafkaError, TimeoutError or OSError if one does not answer.
    """
    by_leader: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for topic, number in partitions:
        leader = client.cluster.leader_for_partition(TopicPartition(topic, number))
        if leader is not None and leader >= 0:
            by_leader[leader][topic].append(number)
    found: dict[TopicPartition, list[OpenTransaction]] = {}
    for leader, topics in by_leader.items():
        try:
            asked = [(*each, NO_TAGS) for each in topics.items()]
            answer = await client.send(leader, _Producers(asked, NO_TAGS))
        except (IncompatibleBrokerVersion, NotImplementedError):
            continue
        for topic, of_topic, _ in answer.topics:
            for number, error, _, producers, _ in of_topic:
                if not error:
                    found[TopicPartition(topic, number)] = [
                        OpenTransaction(producer_id, first_offset, wrote_ms)
                        for producer_id, _, _, wrote_ms, _, first_offset, _ in producers
                        if first_offset >= 0
                    ]
    producer_ids = {each.producer_id for of_part in found.values() for each in of_part}
    named = await _named(client, producer_ids) if producer_ids else {}
    return {
        part: tuple(
            each._replace(**named.get(each.producer_id, {}))
            for each in sorted(of_part, key=lambda each: each.first_offset)
        )
        for part, of_part in found.items()
    }


async def _named(client: Any, producer_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """Return what the coordinators tell about the transactions of these producers."""
    named: dict[int, dict[str, Any]] = {}
    for broker in client.cluster.brokers():
        try:
            of_ids = _Listed([], [*producer_ids], NO_TAGS)
            listed = await client.send(broker.nodeId, of_ids)
            names = [name for name, *_ in listed.transactions or ()]
            of_names = _Transactions(names, NO_TAGS)
            answer = await client.send(broker.nodeId, of_names) if names else None
        except (KafkaError, NotImplementedError, OSError):
            continue  # it may know nothing of them
        for error, name, _, timeout_ms, started_ms, producer_id, *_ in (
            answer.transactions if answer else ()
        ):
            if not error:
                named[producer_id] = {"transactional_id": name}
                if started_ms >= 0:
                    named[producer_id] |= {
                        "started_ms": started_ms,
                        "ends_ms": started_ms + timeout_ms,
                    }
    return named
