"""`engine.transport.positions` where a rebalance comes at any moment: what is taken has no gap.

The member of the group is that of `tests.fakes.group_consumer`, with a moment between any two
steps in which a rebalance may begin or end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.record_batch import RawBatch
from tests.fakes.group_consumer import Assignment, GroupConsumer
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch

#: What may happen in a moment: nothing mostly.
MOMENTS = st.lists(
    st.sampled_from(["", "", "", "", "suspend", "assign", "resume", "grow", "commit"]), max_size=60
)


def log_of(start: int, batches: int) -> list[RawBatch]:
    found = []
    for number in range(batches):
        base = start + 2 * number
        sent = [Sent(b"K", b"V"), Sent(b"K", b"V")]
        found.append(raw_batch(batch_bytes(sent, base_offset=base), from_offset=base))
    return found


class Interrupted(GroupConsumer):
    """A member to which something may happen between any two steps."""

    def __init__(self, starts: Sequence[int], moments: Sequence[str]) -> None:
        self.log = {number: log_of(start, 6) for number, start in enumerate(starts)}
        self.commits: dict[int, int] = {}
        self.existing = {0}
        self._moments = list(moments)
        super().__init__(self.log, self.commits.get, lambda some: (some[0], 2))
        self.assign(self.existing, 1)

    def moment(self) -> None:
        """Let happen what happens next."""
        what = self._moments.pop(0) if self._moments else ""
        if what == "suspend":
            self.is_suspended = True
        elif what in ("assign", "grow"):
            self.is_suspended = True  # as before each rebalance
            if what == "grow":
                self.existing.add(min(len(self.existing), len(self.log) - 1))
            self.assign(self.existing, self._generation + 1)
        elif what == "resume" or not self._moments:
            self.is_suspended = False
        elif what == "commit":
            for partition in self.book.partitions():
                offset = self.book.to_commit(partition)
                if offset is not None:
                    self.commits[partition] = offset

    async def wait_for_assignment(self, timeout_s: float) -> Assignment | None:
        self.moment()
        return await super().wait_for_assignment(timeout_s)

    async def committed(self, assignment: Assignment) -> dict[int, int | None]:
        self.moment()
        found = await super().committed(assignment)
        self.moment()
        return found

    async def fetched(self, timeout_s: float) -> dict[int, list[Any]]:
        self.moment()
        found = await super().fetched(timeout_s)
        self.moment()
        return found

    async def log_start(self, partition: int) -> int:
        self.moment()
        return await super().log_start(partition)


async def drain(member: Interrupted) -> dict[int, list[tuple[int, int]]]:
    """Take all there is; the ranges that were taken, by partition."""
    taken: dict[int, list[tuple[int, int]]] = {}
    for _ in range(400):
        async for partition, fetch in member.intake.take(0):
            raw = fetch.raw
            delivery = member.book.deliver(
                partition, raw.first_offset, raw.last_offset + 1, raw.covered_from
            )
            taken.setdefault(partition, []).append((raw.first_offset, raw.last_offset + 1))
            member.book.finish(delivery)
            member.moment()
        if not member.is_suspended and not member.open_partitions() and not member._moments:
            break
    return taken


@given(st.lists(st.integers(0, 9), min_size=1, max_size=3), MOMENTS)
def test_nothing_is_left_out_whenever_a_rebalance_comes(
    starts: list[int], moments: list[str]
) -> None:
    member = Interrupted(starts, moments)
    taken = asyncio.run(drain(member))
    assert not member.skipped
    assert not member.expired
    for partition in member.existing:
        position = starts[partition]
        for first, next_offset in taken[partition]:
            assert first <= position, "reads were left out"
            position = max(position, next_offset)
        assert position == member.log[partition][-1].next_offset


def test_reads_that_retention_has_removed_are_counted_and_passed() -> None:
    member = Interrupted([0], [])
    member.commits[0] = 4
    del member.log[0][:3]  # up to offset 6
    taken = asyncio.run(drain(member))
    assert taken[0][0][0] == 6
    assert member.expired == 2
    assert not member.skipped


@pytest.mark.parametrize("commit", [None, 2])
def test_a_fetch_that_begins_elsewhere_is_not_taken(commit: int | None) -> None:
    member = Interrupted([0], [])
    if commit is not None:
        member.commits[0] = commit
    member.assign([0], 2)

    def seek_past(starts: Mapping[int, int | None]) -> None:
        assert starts == {0: commit}
        member._assignment.positions[0] = 4

    member.seek = seek_past  # type: ignore[method-assign]
    taken = asyncio.run(drain(member))
    assert taken == {}
    assert f"reads from offset {commit or 0} to 3 were not fetched" in str(member.skipped[0])
    assert "report this" in str(member.skipped[0])
