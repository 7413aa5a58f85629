"""The deployment of `tests.models.simulation` with delivery exactly once.

Beside the matcher and the pipeline the transactions are the real ones; the broker knows of ids,
epochs and what is committed (`tests.fakes.transactional_broker`). Nothing of a silent worker is
left out: it goes on until it is fenced, and it may take a partition once more that is long
another's, who then asks the group to share out anew. And nothing may come twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

import orjson

from engine.delivery.held import Held
from engine.delivery.port import Delivery
from engine.delivery.transactions import Transactions
from engine.transport.fetch import Fetch
from tests.fakes.assignments import by_no_group
from tests.fakes.event_loop import settle
from tests.fakes.runtime import runtime_of
from tests.fakes.transactional_broker import (
    TOPICS,
    OffsetsOn,
    SinkOn,
    TransactionalBroker,
    chain_problems,
)
from tests.models.simulation import BrokerOf, Deployment, Worker


class _Broker(TransactionalBroker):
    """What comes to count is told to the deployment."""

    def __init__(self, counts: Callable[[], None]) -> None:
        super().__init__()
        self._counts = counts

    def commit(self, partition: int, epoch: int) -> None:
        super().commit(partition, epoch)
        self._counts()


class TransactionalDeployment(Deployment):
    """See the module."""

    def __init__(self, seed: int, reads: int = 80) -> None:
        super().__init__(seed, reads)
        self.fenced = self.cut = 0
        self._broker = _Broker(self._count)
        self._counted = 0
        self._commits: dict[int, asyncio.Task[None]] = {}
        self._is_to_share_out = False

    def problems(self) -> list[str]:
        found = super().problems() + chain_problems(self._broker.audit())
        if self.faults["expire"]:
            return found  # what was read once more came once more
        ids = [match["match_id"] for match in self.matches]
        if len(set(ids)) != len(ids):
            found.append(f"{len(ids) - len(set(ids))} matches came twice")
        if self.audited.total() != len(ids):
            found.append(f"{self.audited.total()} matches audited instead of {len(ids)}")
        return found

    def _count(self) -> None:
        """Take over what counts since the last time."""
        records = self._broker.records[self._counted :]
        self._counted = len(self._broker.records)
        for partition, offset in self._broker.offsets.items():
            self.committed[partition] = offset
        for record in records:
            if record.topic == TOPICS.matches:
                self.matches.append(orjson.loads(record.value))
            elif record.topic == TOPICS.audit:
                self.audited[orjson.loads(record.value)["fields"]["match_id"]] += 1
            elif record.value is None:
                self.changelog.pop(record.key, None)
            else:
                self.changelog[record.key] = record.value

    def _delivery(self, broker: BrokerOf) -> Delivery:
        return Transactions(
            runtime_of(self.failures),
            lambda partition: SinkOn(self._broker, partition, broker._ask),
            OffsetsOn(self._broker, lambda partition: self._ends[partition]),
            self._broker,
            _uncounted,
            quiet_s=0,
        )

    async def _rejoin(self, partition: int) -> None:
        self.fenced += 1
        self._is_to_share_out = True

    async def _expire(self) -> None:
        await super()._expire()
        self._broker.offsets.clear()

    async def _prepare(self, worker: Worker, fetch: Fetch) -> bool:
        partition, first_offset = fetch.raw.partition, fetch.raw.first_offset
        transactions = _of(worker)
        if not fetch.assignment.held(partition, Held).is_restored:
            await transactions.claim(fetch.assignment, [partition])
        if not await transactions.cut(fetch):
            fetch.abandon()
            return False
        if not fetch.raw.batches:
            self.cut += 1
            transactions.pass_over(fetch)
            fetch.done()
            return False
        self.cut += fetch.raw.first_offset != first_offset
        return await super()._prepare(worker, fetch)

    async def _commit(self) -> bool:
        self._begin_commit(self._chance.choice(self._workers + self._silent))
        return True

    def _begin_commit(self, worker: Worker) -> None:
        before = self._commits.get(id(worker))
        if before is None or before.done():
            self._commits[id(worker)] = asyncio.create_task(_commit(worker))

    def _share_out(self) -> None:
        """A silent worker may commit after its partitions are assigned to another one."""
        super()._share_out()
        for worker in self._silent:
            self._begin_commit(worker)

    async def _answer(self) -> bool:
        """Answer silent workers more often, so that they commit before the new owner claims."""
        silent = [worker for worker in self._silent if worker.requests]
        if not silent or self._chance.random() < 0.5:
            return await super()._answer()
        self._chance.choice(silent).requests.pop(0).do()
        return True

    async def _fault(self) -> None:
        if self._is_to_share_out:
            await self._finish_all()
            self._share_out()
        await super()._fault()

    def _assign(self, worker: Worker, partitions: Sequence[int]) -> None:
        super()._assign(worker, partitions)
        for partition in partitions[:1]:
            assignment = worker.assignments.of(partition)
            assert assignment is not None
            _of(worker).on_assigned(assignment, partitions)

    async def _finish_all(self) -> None:
        await super()._finish_all()
        for worker in self._workers:
            await _revoke(worker, worker.assignments.partitions())

    async def _finish(self, workers: Sequence[Worker]) -> None:
        self._is_to_share_out = False
        for _ in range(2):  # what becomes done at first is committed then
            for worker in workers:
                self._begin_commit(worker)
            await settle()
            while any(worker.requests for worker in workers):
                for worker in workers:
                    while worker.requests:
                        worker.requests.pop(0).do()
                await settle()

    async def _give_up(self, worker: Worker, partitions: Sequence[int]) -> None:
        worker.assignments.drain(partitions)
        await self._finish([worker])
        await _revoke(worker, partitions)
        await super()._give_up(worker, partitions)

    async def _end(self, worker: Worker, *, lands: float) -> None:
        tasks = [
            held.claim.task
            for partition in worker.assignments.partitions()
            if (assignment := worker.assignments.of(partition)) is not None
            and (held := assignment.held(partition, Held)).claim is not None
        ]
        if id(worker) in self._commits:
            tasks.append(self._commits.pop(id(worker)))
        await super()._end(worker, lands=lands)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _of(worker: Worker) -> Transactions:
    delivery = worker.pipeline._delivery
    assert isinstance(delivery, Transactions)
    return delivery


async def _revoke(worker: Worker, partitions: Collection[int]) -> None:
    for assignment, of_it in worker.assignments.end(partitions).items():
        await _of(worker).on_revoked(assignment, of_it)


async def _commit(worker: Worker) -> None:
    book = worker.book
    offsets = {
        partition: offset
        for partition in book.partitions()
        if (offset := book.to_commit(partition)) is not None
    }
    committed = await _of(worker).commit(offsets, by_no_group)
    for partition, offset in committed.items():
        book.committed(partition, offset)


def _uncounted(events: Mapping[str, int], oldest_ms: int) -> None:
    """Metrics are no matter here."""
