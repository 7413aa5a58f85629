"""The Faust transport driver: whole fetches instead of one message a record.

For the reads, a Faust agent on this transport receives one event per partition and fetch, whose
value is a `Fetch`: the raw record batches and the means to say that they are done. All other topics
go through Faust's own aiokafka driver unchanged.

What differs from that driver, for the batch topics:

* Records stay unopened (`engine.kafka.raw_fetcher`).
* Offsets are kept by range in an `OffsetBook`; Faust's own lists walk every single offset.
* Faust acknowledges an event when the agent asks for the next one, even when its flow is
  suspended. That says nothing about matches delivered, so it counts for nothing here: a fetch
  is done when the engine calls `Fetch.done()`, and only then may its offset be committed.
* `engine.transport.positions` alone sets where a partition is read from. Faust throws away what it
  has fetched while a rebalance goes on; then all partitions begin again at the committed offsets. A
  fetch that leaves reads out ends the worker (`OffsetBook`).
* The consumer reads committed records only, and a commit that fails while the broker is away is
  tried again instead of crashing the worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types.transports import ConsumerCallback, ConsumerT

from engine.kafka.cluster import Cluster
from engine.transport.batch_topics import BatchTopics, Commit, Expired, OnAssigned, OnRevoked
from engine.transport.consumer import Consumer


class Transport(driver.Transport):
    """Faust's aiokafka transport with whole fetches for the topics in `batch_topics`.

    The others are as in `BatchTopics`.
    """

    def __init__(
        self,
        *args: Any,
        cluster: Cluster,
        batch_topics: Iterable[str],
        commit: Commit,
        on_assigned: OnAssigned,
        on_revoked: OnRevoked,
        expired: Expired = lambda partition, count: None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._batch_topics = BatchTopics(
            *(cluster, frozenset(batch_topics), commit, on_assigned, on_revoked, expired)
        )

    def create_consumer(self, callback: ConsumerCallback, **kwargs: Any) -> ConsumerT:
        """Create a consumer that knows the batch topics."""
        return Consumer(
            self, callback=callback, loop=self.loop, batch_topics=self._batch_topics, **kwargs
        )
