"""Hundreds of deployments with faults from a seed: nothing lost, nothing invented, all counted.

`HOTLIST_SEEDS=FIRST:COUNT` runs others; a seed that fails fails again.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.fakes.group_consumer import GroupConsumer
from tests.models.simulation import Deployment
from tests.models.transactional_simulation import TransactionalDeployment

_FIRST, _COUNT = map(int, os.environ.get("HOTLIST_SEEDS", "0:120").split(":"))


def test_nothing_is_lost_and_nothing_invented_whatever_fails() -> None:
    faults: Counter[str] = Counter()
    folded = repeated = parts = 0
    for seed in range(_FIRST, _FIRST + _COUNT):
        deployment = Deployment(seed)
        asyncio.run(deployment.run())
        assert not deployment.problems(), f"seed {seed}: {deployment.problems()}"
        faults += deployment.faults
        parts += deployment.parts
        folded += deployment.expected_folded
        repeated += len(deployment.matches) - len(deployment.expected)
    if _COUNT >= 100:  # the runs are about something
        kinds = ("join", "leave", "crash", "silence", "wake", "throw away")
        assert all(faults[kind] > _COUNT // 4 for kind in kinds), faults
        assert faults["grow"] > _COUNT // 8
        assert faults["expire"] > _COUNT // 20
        assert folded > _COUNT
        assert repeated > _COUNT
        assert parts > _COUNT


def test_and_nothing_comes_twice_with_delivery_exactly_once() -> None:
    faults: Counter[str] = Counter()
    fenced = cut = 0
    count = max(1, _COUNT // 4)  # there is much more to each of them
    for seed in range(_FIRST, _FIRST + count):
        deployment = TransactionalDeployment(seed)
        asyncio.run(deployment.run())
        assert not deployment.problems(), f"seed {seed}: {deployment.problems()}"
        faults += deployment.faults
        fenced += deployment.fenced
        cut += deployment.cut
    if _COUNT >= 100:
        kinds = ("join", "leave", "crash", "silence", "wake", "throw away")
        assert all(faults[kind] > count for kind in kinds), faults
        assert faults["grow"] > count // 4
        assert faults["expire"] > count // 10
        assert fenced > count
        assert cut > count // 5


def test_a_seek_that_leaves_out_partitions_without_a_commit_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """aiokafka's `seek_to_committed`, by which reads were lost, must not go unnoticed again."""
    seek = GroupConsumer.seek

    def seek_to_committed(consumer: GroupConsumer, starts: Mapping[int, int | None]) -> None:
        seek(consumer, {partition: offset for partition, offset in starts.items() if offset})

    monkeypatch.setattr(GroupConsumer, "seek", seek_to_committed)
    noticed = 0
    for seed in range(20):
        deployment = Deployment(seed)
        asyncio.run(deployment.run())
        noticed += any("were not fetched" in problem for problem in deployment.problems())
    assert noticed
