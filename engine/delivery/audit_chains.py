"""The chains that a worker begins, their ends, and the last record of each.

A chain's first record names the last record on the topic when the chain began (`follows_*`), so
that a chain or the end of one cannot be removed without a trace. The first worker on an empty topic
has nothing to name: it first writes a chain whose only record is its end, and follows that. Several
may do so at once. So no chain with events follows nothing, and one that does is a forgery or older
than this rule (`engine.audit.roots`).

The search for that record takes longer than a delivery, and matches wait for it. So a worker that
expects to begin a chain soon searches ahead.

A worker that stops in order ends each of its chains with a last record. A chain whose last
transaction has an unknown outcome is left without an end, and so are those of a killed worker.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Any, Final

from aiokafka.errors import KafkaError

from engine import limits
from engine.audit.chain import Chain
from engine.audit.chain_state import Head
from engine.clock import Clock, format_time
from engine.delivery.audit_writer import Delivers, Sealing
from engine.documents.codec import read_audit
from engine.documents.model import AuditRecord
from engine.errors import BrokerError, DocumentError
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import refusal
from engine.kafka.reader import between
from engine.tasks import retrieve

log = logging.getLogger(__name__)

#: How far before the end of a partition its last record is first searched for: the record, and the
#: marker of its transaction.
_LOOKED_BACK: Final = 2
_FURTHER_BACK: Final = 16


class AuditChains:
    """See the module."""

    def __init__(self, cluster: Cluster, sink: Delivers, clock: Clock) -> None:
        self._cluster = cluster
        self._sink = sink
        self._clock = clock
        self._begun: list[Sealing] = []
        #: The search of a chain that is expected, and when it began, by the event loop's clock.
        self._search: asyncio.Task[AuditRecord | None] | None = None
        self._searched_s = 0.0

    def heads(self) -> list[Head]:
        """The last acknowledged record of each chain."""
        return [sealing.head for sealing in self._begun if sealing.head is not None]

    def expect(self) -> None:
        """Search ahead: chains that begin within AUDIT_EXPECTED_S name the record that is found."""
        if self._expected() is None:
            self._searched_s = asyncio.get_running_loop().time()
            self._search = asyncio.create_task(self._last_record())
            self._search.add_done_callback(retrieve)

    async def begin(self) -> Sealing:
        """Begin a chain of this worker.

        Waits for brokers that do not answer as long as a delivery does. Raises BrokerError if the
        audit can be neither read nor written.
        """
        search = self._expected()
        last = await (self._last_record() if search is None else asyncio.shield(search))
        if last is None:
            self._search = None  # there will be a record
            last = await self._begin_topic()
        sealing = Sealing(self._cluster.topics, self._new_chain(), last)
        self._begun.append(sealing)
        log.info("this worker audits in chain %s", sealing.key.decode())
        return sealing

    async def end(self) -> None:
        """End the chains. Call it when nothing is written to them any more."""
        if self._search is not None:
            self._search.cancel()
            await asyncio.wait({self._search}, timeout=limits.CLIENT_STOP_S)
        await asyncio.gather(*(self._end_one(each) for each in self._begun if each.can_end))

    async def _end_one(self, sealing: Sealing) -> None:
        try:
            async with asyncio.timeout(limits.LEAVE_S):
                await self._write_end(sealing)
        except (BrokerError, KafkaError, TimeoutError, OSError) as error:
            log.warning(
                "chain %s has no last record (%s); hotlist audit verify shows it as not ended",
                sealing.key.decode(),
                type(error).__name__,
            )

    def _expected(self) -> asyncio.Task[AuditRecord | None] | None:
        """Return the search ahead, if the record that it finds may still be named."""
        now_s = asyncio.get_running_loop().time()
        return self._search if now_s - self._searched_s < limits.AUDIT_EXPECTED_S else None

    async def _last_record(self) -> AuditRecord | None:
        until_s = time.monotonic() + limits.DELIVERY_TIMEOUT_S
        while True:
            try:
                return await last_record(self._cluster)
            except BrokerError as error:
                if refusal(error) is not None or time.monotonic() > until_s:
                    raise
                log.warning("%s; trying again", error)
            await asyncio.sleep(limits.RETRY_PAUSE_S)

    async def _begin_topic(self) -> AuditRecord:
        sealing = Sealing(self._cluster.topics, self._new_chain())
        return read_audit(await self._write_end(sealing))

    async def _write_end(self, sealing: Sealing) -> bytes:
        record = sealing.end(self._clock.now_ms())
        partition = await self._sink.partition_of(record.topic, record.key)
        await self._sink.deliver_in_order([record], partition)
        sealing.acknowledged()
        return record.value

    def _new_chain(self) -> Chain:
        return Chain(new_chain_id(self._cluster.group, self._clock.now_ms()))


def new_chain_id(group: str, now_ms: int) -> str:
    """The id of a chain that a worker of a group begins now; no two are the same."""
    own = f"/{format_time(now_ms)}-{secrets.token_hex(4)}"
    return group[: limits.AUDIT_CHAIN_CHARACTERS - len(own)] + own


async def last_record(cluster: Cluster) -> AuditRecord | None:
    """The newest of the last committed records of the audit topic's partitions; None if it has
    none.

    Skips what is not an audit record: `hotlist audit verify` reports it. Raises BrokerError if the
    topic cannot be read.
    """
    topic = cluster.topics.audit
    consumer = cluster.reader()
    try:
        async with asyncio.timeout(limits.CONNECT_S):
            await consumer.start()
            return await _last_of(consumer, topic)
    except (KafkaError, TimeoutError, OSError) as error:
        raise BrokerError(
            f"the audit topic cannot be read ({type(error).__name__})",
            where=f"topic {topic}",
        ) from error
    finally:
        await consumer.stop()


async def _last_of(consumer: Any, topic: str) -> AuditRecord | None:
    consumer.subscribe([topic])  # with no group, this assigns all partitions
    while not consumer.assignment():
        await asyncio.sleep(limits.METADATA_PAUSE_S)
    ends = await consumer.end_offsets(consumer.assignment())
    begins = await consumer.beginning_offsets(consumer.assignment())
    newest: tuple[int, AuditRecord] | None = None
    span = _LOOKED_BACK
    while unseen := {tp: end for tp, end in ends.items() if end > begins[tp]}:
        # Markers of transactions and aborted records may lie behind the last record, so the search
        # goes further and further back.
        starts = {tp: max(begins[tp], end - span) for tp, end in unseen.items()}
        found = await _last_between(consumer, starts, unseen)
        for last in found.values():
            record = _opened(last.value)
            if record is not None and (newest is None or newest[0] < last.timestamp):
                newest = last.timestamp, record
        ends = {tp: start for tp, start in starts.items() if tp not in found}
        span *= _FURTHER_BACK
    return None if newest is None else newest[1]


async def _last_between(consumer: Any, starts: dict[Any, int], ends: dict[Any, int]) -> Any:
    """The last record between these offsets, by partition, if there is one."""
    last: dict[Any, Any] = {}
    async for found, _ in between(consumer, starts, ends):
        for tp, records in found.items():
            for record in records:
                if record.offset < ends[tp]:
                    last[tp] = record
    return last


def _opened(value: bytes | None) -> AuditRecord | None:
    try:
        return None if value is None else read_audit(value)
    except DocumentError:
        return None
