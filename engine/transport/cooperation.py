"""Rebalances in which a worker keeps what stays with it (KIP-429), on aiokafka's coordinator.

aiokafka revokes all partitions before it joins a group again. Once the group has chosen the
protocol `sticky_assignor.COOPERATIVE`, this module does otherwise: the worker joins with all that
it owns, and its reads are fetched, matched, delivered and committed while the group rebalances.
The answer is a target. What is no longer in it is drained, committed and revoked, and then the
worker joins again, so that it can be given to another one. What is new in it is started. If the
group rebalances again meanwhile, the worker joins when it has revoked what it is draining, or after
REVOKED_FIRST_S: what it still owned would move only in one more rebalance.

Why no two workers have a partition at a time:

* A worker claims, when it asks to join, all that it owns and all that is in its last target. Until
  the answer comes it begins nothing else.
* The leader gives a partition to a member only if no other member claims it (`sticky_assignor`).
* A worker that the broker does not know any more loses everything at once, before it joins again:
  its partitions may have been given away. The same holds for every eager client.
* An eager member revokes before it joins, and then may take over partitions that others own. So a
  worker that owns something offers the cooperative protocol alone: in its group an older worker is
  refused. If one has got in before (the broker knows the protocols of each member's last join), the
  broker refuses this worker instead. Then it revokes all that it has, and offers all protocols.

`PartitionChanges` is the rest of the worker. Everything here runs in the consumer thread. It knows
the internals of aiokafka, and not Faust; tests/transport/test_cooperation.py tests that they are as
expected.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Set
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import InconsistentGroupProtocolError, KafkaError, KafkaTimeoutError

from engine import limits
from engine.transport.group_source import GroupSource
from engine.transport.sticky_assignor import COOPERATIVE

log = logging.getLogger(__name__)

Partitions = frozenset[TopicPartition]


class PartitionChanges(Protocol):
    """What is done for single partitions in the rest of the worker."""

    async def add(self, partitions: Set[TopicPartition], generation: int) -> None:
        """Partitions are assigned: begin to restore their states."""

    async def remove(self, partitions: Set[TopicPartition], generation: int) -> None:
        """Return when partitions are drained, committed and revoked."""

    async def lose(self) -> None:
        """All partitions are lost: do nothing more for any of them."""


class _Membership:
    """What a member has between two revocations of all of it.

    `owned` is what is not revoked yet, `target` what the group has assigned last, `claimed` what it
    claimed when it joined last, and `released` what of that the group can give to others when the
    member has joined again. `returned` is revoked even if it is assigned again meanwhile.
    """

    def __init__(self, target: Partitions, generation: int, assignment: Any) -> None:
        self.owned = self.target = target
        self.claimed: Partitions = frozenset()
        self.released: Partitions = frozenset()
        self.returned: Partitions = frozenset()
        self.generation = generation
        self.assignment = assignment
        self.changing: asyncio.Task[None] | None = None
        #: Set while nothing is being revoked.
        self.has_revoked = asyncio.Event()
        self.has_revoked.set()


class Cooperation:
    """The rebalances of one consumer; `watch` it before it subscribes.

    `failed` receives an error that ends the worker. An eager member takes part in the cooperative
    protocol too, but revokes everything before it joins, and always offers all protocols.
    """

    def __init__(
        self,
        source: GroupSource,
        changes: PartitionChanges,
        failed: Callable[[BaseException], None],
        *,
        is_eager: bool = False,
    ) -> None:
        self._is_eager = is_eager
        self._source = source
        self._changes = changes
        self._failed = failed
        self._group: Any = None
        self._protocols: Any = ()
        self._membership: _Membership | None = None

    def watch(self, consumer: AIOKafkaConsumer) -> None:
        """Take part in the rebalances of a started consumer."""
        coordinator = self._group = consumer._coordinator
        self._protocols = coordinator._assignors
        self._revoke_all = coordinator._on_join_prepare
        self._rejoin = coordinator._do_rejoin_group
        self._complete = coordinator._on_join_complete
        coordinator._on_join_prepare = self._on_join_prepare
        coordinator._do_rejoin_group = self._do_rejoin_group
        coordinator._on_join_complete = self._on_join_complete

    def claims(self) -> Partitions:
        """What this member owns or may begin to process, as it tells the group when it joins."""
        mine = self._membership
        if mine is None:
            return frozenset()
        mine.claimed = mine.owned | mine.target
        return mine.claimed

    def owned(self) -> Set[TopicPartition]:
        """The partitions whose offsets may be committed."""
        if self._membership is not None:
            return self._membership.owned
        subscription = self._group._subscription
        return frozenset(subscription.assigned_partitions())

    def give_back(self, partitions: Set[TopicPartition]) -> None:
        """Revoke partitions here, and have the group assign them again, perhaps to this member."""
        mine = self._membership
        if mine is None:
            self._group.request_rejoin()  # before that, an eager member revokes everything
            return
        mine.returned |= mine.owned & partitions
        mine.released |= mine.target & partitions
        mine.target -= partitions
        self._begin_to_change(mine)

    def stop(self) -> None:
        """Change nothing any more."""
        mine, self._membership = self._membership, None
        if mine is not None and mine.changing is not None:
            mine.changing.cancel()

    async def _on_join_prepare(self, previous: Any) -> None:
        if self._membership is None:
            await self._revoke_all(previous)
        else:
            self._group._group_subscription = None

    async def _do_rejoin_group(self, subscription: Any) -> bool:
        mine, coordinator = self._membership, self._group
        if mine is not None and coordinator.generation >= 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.REVOKED_FIRST_S):
                    await mine.has_revoked.wait()
        if mine is not None:
            is_lost = coordinator.generation < 0
            if is_lost or subscription.assignment is not mine.assignment:
                await self._end(mine, is_lost=is_lost)
        try:
            return bool(await self._rejoin(subscription))
        except InconsistentGroupProtocolError:
            mine = self._membership
            if mine is None:
                raise
            log.warning("a worker of an older version is in the group: all partitions are revoked")
            await self._end(mine, is_lost=False)
            return False

    async def _end(self, mine: _Membership, *, is_lost: bool) -> None:
        """Revoke everything, as an eager member does before it joins."""
        # First, so that a change under way adds nothing that may be another worker's.
        self._membership = None
        if is_lost:
            log.warning(
                "the group has dropped this worker, which joins again; others may have its "
                "partitions"
            )
            await self._changes.lose()
        self._group._assignors = self._protocols
        try:
            await self._revoke_all(mine.assignment)
        finally:
            self._source.began_in = None

    async def _on_join_complete(
        self, generation: int, member_id: str, protocol: str, data: bytes
    ) -> None:
        if self._is_eager or protocol != COOPERATIVE:
            await self._complete(generation, member_id, protocol, data)
            return
        coordinator, mine = self._group, self._membership
        assigned = ConsumerProtocol.ASSIGNMENT.decode(data)
        target: Partitions = frozenset(assigned.partitions())
        assignor = coordinator._lookup_assignor(protocol)
        if mine is None:
            self._source.began_in = generation
            coordinator._assignors = [assignor]
            mine = self._membership = _Membership(target, generation, None)
            try:
                await self._complete(generation, member_id, protocol, data)
            finally:
                mine.assignment = coordinator._subscription.subscription.assignment
            return
        assignor.on_assignment(assigned)
        mine.released = mine.claimed - target
        mine.target, mine.generation = target, generation
        self._begin_to_change(mine)

    def _begin_to_change(self, mine: _Membership) -> None:
        if mine.changing is None or mine.changing.done():
            mine.changing = asyncio.create_task(self._change(mine))
            mine.changing.add_done_callback(self._on_changed)

    async def _change(self, mine: _Membership) -> None:
        """Revoke and start partitions, one step after the other, until what is owned is what the
        group has assigned last."""
        while mine is self._membership:
            if gone := mine.owned & mine.returned | mine.owned - mine.target:
                mine.has_revoked.clear()
                self._source.remove(gone)
                await self._changes.remove(gone, mine.generation)
                mine.owned -= gone
                mine.returned -= gone
                mine.has_revoked.set()
            elif mine.released:
                mine.released = frozenset()
                self._group.request_rejoin()
            elif added := mine.target - mine.owned:
                mine.owned |= added
                await self._start(mine, added)
            else:
                break

    async def _start(self, mine: _Membership, added: Partitions) -> None:
        await self._changes.add(added, mine.generation)
        while mine is self._membership:
            try:
                starts = await self._source.committed_of(added)
                firsts = await self._source.first_offsets(
                    tp for tp, start in starts.items() if start is None
                )
            except KafkaError as error:
                # A partition whose leader is away has no first offset for a while.
                if not (error.retriable or isinstance(error, KafkaTimeoutError)):
                    raise
                log.warning("where reads begin is not known yet: %s", type(error).__name__)
                await asyncio.sleep(limits.RETRY_PAUSE_S)
                continue
            if mine is self._membership:
                positions: Mapping[TopicPartition, int] = {
                    tp: firsts[tp] if start is None else start for tp, start in starts.items()
                }
                self._source.add(starts, positions)
            return

    def _on_changed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
