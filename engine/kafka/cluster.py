"""The Kafka cluster: where it is, how it is reached, which topics and group of it are ours.

Every aiokafka client of the engine is made here. So all of them connect as the settings say, and
none leaves a connection open when it is closed. A client is made in the event loop that it belongs
to, and is not started yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient

from engine import limits
from engine.config import Settings
from engine.kafka.any_broker import ask_any
from engine.kafka.connections import close_whole
from engine.kafka.fast_compression import use_fast_compression
from engine.kafka.large_responses import receive_in_place
from engine.kafka.security import PLAINTEXT, Security, arguments, security
from engine.kafka.topics import Topics


@dataclass(frozen=True, slots=True)
class Member:
    """A worker as a member of its group: its static id, how long the group waits for it when it is
    silent, the rack from whose replicas it fetches the reads, and whether it revokes all partitions
    in each rebalance."""

    instance_id: str | None = None
    session_s: float = limits.SESSION_S
    rack: str | None = None
    is_eager: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Member:
        """The member that the settings describe."""
        instance_id = settings.group_instance_id
        default_s = limits.SESSION_S if instance_id is None else limits.STATIC_SESSION_S
        return cls(
            instance_id,
            settings.session_timeout or default_s,
            settings.client_rack,
            settings.rebalance == "eager",
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """See the module. `group` is the workers' consumer group; commands need none.

    `member` says how a worker joins it. `reads_wait_ms` is how long the broker may delay the answer
    to an idle fetch of reads.
    """

    bootstrap: str
    topics: Topics
    group: str = ""
    security: Security = field(default_factory=lambda: PLAINTEXT, repr=False)
    reads_wait_ms: int = limits.FETCH_WAIT_MS
    member: Member = Member()

    @classmethod
    def of(cls, settings: Settings) -> Cluster:
        """The cluster that the settings name. Raises ConfigError if they do not go together."""
        return cls(
            *(settings.bootstrap, Topics(settings.prefix), settings.group, security(settings)),
            member=Member.of(settings),
        )

    def producer(self, **options: Any) -> Any:
        """A producer whose records are acknowledged by all replicas, none of them twice."""
        use_fast_compression()
        producer = AIOKafkaProducer(
            **arguments(self.bootstrap, self.security),
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            **options,
        )
        close_whole(producer, "client")
        return producer

    def consumer(self, **options: Any) -> Any:
        """A consumer that commits nothing by itself."""
        consumer = AIOKafkaConsumer(
            **arguments(self.bootstrap, self.security), enable_auto_commit=False, **options
        )
        close_whole(consumer, "_client", prepare=partial(receive_in_place, consumer))
        return consumer

    def reader(self, *, reset: str = "earliest", **options: Any) -> Any:
        """A consumer of no group that reads committed records. `reset` says what it does about an
        offset that is gone, in aiokafka's words."""
        return self.consumer(
            group_id=None,
            auto_offset_reset=reset,
            isolation_level="read_committed",
            **{"fetch_max_wait_ms": limits.FETCH_WAIT_MS, **options},
        )

    def admin(self, **options: Any) -> Any:
        """A client for topics, groups and rights."""
        admin = AIOKafkaAdminClient(**arguments(self.bootstrap, self.security), **options)
        close_whole(admin, "_client", stop="close")
        ask_any(admin)
        return admin

    def client(self, **options: Any) -> Any:
        """A client that asks for metadata alone."""
        client = AIOKafkaClient(**arguments(self.bootstrap, self.security), **options)
        close_whole(client, start="bootstrap", stop="close")
        return client
