"""What a broker does with transactions, as far as it counts: ids, epochs, records and offsets.

`ask` stands between it and whoever asks: it does something when its time has come, and says so or
does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.audit.chain import GENESIS_HASH, Chain
from engine.delivery.audit_writer import Sealing
from engine.delivery.transactional_producer import Fenced
from engine.documents.codec import decode_audit
from engine.documents.model import AuditRecord
from engine.kafka.topics import Topics

TOPICS = Topics("lpr.")

#: Has something done by the broker; returns when the answer has come.
Ask = Callable[[Callable[[], None]], Awaitable[None]]


@dataclass
class _Open:
    records: list[Any] = field(default_factory=list)
    offset: int | None = None


class TransactionalBroker:
    """What counts lies in `records`, in the order in which it came to count, and in `offsets`, by
    partition."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.offsets: dict[int, int] = {}
        self.committed_count = 0
        self._epochs: Counter[int] = Counter()
        self._open: dict[int, _Open] = {}
        self._chains = 0
        self.expected_chains = 0

    def on(self, topic: str) -> list[Any]:
        """The records of a topic that count."""
        return [record for record in self.records if record.topic == topic]

    def audit(self) -> list[AuditRecord]:
        return [decode_audit(record.value) for record in self.on(TOPICS.audit)]

    def expect(self) -> None:
        """A chain may begin soon."""
        self.expected_chains += 1

    async def begin(self) -> Sealing:
        """A chain that names the last record that counts."""
        self._chains += 1
        audit = self.audit()
        return Sealing(TOPICS, Chain(f"group/{self._chains}"), audit[-1] if audit else None)

    def epoch_of(self, partition: int) -> int:
        """How often the id of a partition was claimed."""
        return self._epochs[partition]

    def fence(self, partition: int) -> int:
        self._epochs[partition] += 1
        self._open.pop(partition, None)
        return self._epochs[partition]

    def send(self, partition: int, epoch: int, records: Iterable[Any]) -> None:
        self._transaction(partition, epoch).records.extend(records)

    def send_offset(self, partition: int, epoch: int, offset: int) -> None:
        self._transaction(partition, epoch).offset = offset

    def commit(self, partition: int, epoch: int) -> None:
        transaction = self._transaction(partition, epoch)
        del self._open[partition]
        self.committed_count += 1
        self.records += transaction.records
        if transaction.offset is not None:
            self.offsets[partition] = transaction.offset

    def _transaction(self, partition: int, epoch: int) -> _Open:
        if epoch != self._epochs[partition]:
            raise Fenced(f"group/{partition}")
        return self._open.setdefault(partition, _Open())


class SinkOn:
    """A partition's producer on such a broker, in the place of a TransactionalSink."""

    def __init__(self, broker: TransactionalBroker, partition: int, ask: Ask) -> None:
        self._broker = broker
        self._partition = partition
        self._ask = ask
        self._epoch = 0
        self.is_stopped = False

    async def start(self) -> None:
        self._epoch = self._broker.fence(self._partition)

    async def transact(
        self, records: Sequence[Any], states: Sequence[Any], next_offset: int | None
    ) -> None:
        broker, of = self._broker, (self._partition, self._epoch)
        assert records or states or next_offset is not None, "an empty transaction"
        for record in (*records, *states):
            await self._ask(lambda record=record: broker.send(*of, [record]))  # type: ignore[misc]
        if next_offset is not None:
            await self._ask(lambda: broker.send_offset(*of, next_offset))
        await self._ask(lambda: broker.commit(*of))

    async def stop(self) -> None:
        self.is_stopped = True


class OffsetsOn:
    """The group's offsets on such a broker; `ends` are those of the reads' partitions."""

    def __init__(self, broker: TransactionalBroker, ends: Callable[[int], int]) -> None:
        self._broker = broker
        self._ends = ends

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def committed(self, partition: int) -> int | None:
        return self._broker.offsets.get(partition)

    async def end(self, partition: int) -> int:
        return self._ends(partition)


def chain_problems(records: Sequence[AuditRecord]) -> list[str]:
    """What is wrong with the chains of records in their order: gaps, forks, wrong names."""
    found = []
    heads: dict[str, tuple[int, str]] = {}
    known = {(record.chain, record.sequence, record.hash) for record in records}
    for record in records:
        sequence, head = heads.get(record.chain, (0, GENESIS_HASH))
        if (record.sequence, record.previous_hash) != (sequence, head):
            found.append(f"{record.chain}: {record.sequence} where {sequence} must come")
        follows = [record.fields.get(f"follows_{name}") for name in ("chain", "sequence", "hash")]
        if any(follows) and tuple(follows) not in known:
            found.append(f"{record.chain} follows a record that does not count")
        heads[record.chain] = record.sequence + 1, record.hash
    return found
