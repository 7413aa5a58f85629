"""`engine.observability.unowned_lag`: which worker shows the lag of partitions without an owner."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, IncompatibleBrokerVersion

from engine import limits
from engine.matching.outcome import Outcome
from engine.observability.metrics import Metrics
from engine.observability.unowned_lag import Offsets, UnownedLag, reads_waiting, to_show

UNKNOWN = "the lag of partitions that no worker owns is not known"


@pytest.mark.parametrize(
    ("partitions", "owners", "own", "shown"),
    [
        ({0, 1}, {0, 1}, {0}, set()),  # each has an owner
        ({0, 1, 2, 3}, {0, 1}, {0}, {2, 3}),  # this worker has the lowest
        ({0, 1, 2, 3}, {0, 1}, {1}, set()),  # another one has it
        ({0, 1, 2, 3}, {2, 3}, {2, 3}, {0, 1}),
        ({0, 1}, {0, 1, 2}, {0}, set()),  # one is gone that somebody still owns
        ({0, 1}, set(), set(), set()),  # nobody is there to show anything
        ({0, 1}, {0}, set(), set()),
        ({0, 1}, set(), {0}, None),  # the group and this worker do not agree: look again
        ({0, 1, 2}, {0}, {0, 1}, None),
    ],
)
def test_one_worker_shows_them(
    partitions: set[int], owners: set[int], own: set[int], shown: set[int] | None
) -> None:
    assert to_show(partitions, owners, own) == shown


@pytest.mark.parametrize(
    ("offsets", "waiting"),
    [
        (Offsets(committed=None, begin=0, end=7), 7),
        (Offsets(committed=None, begin=3, end=7), 4),
        (Offsets(committed=5, begin=3, end=7), 2),
        (Offsets(committed=7, begin=3, end=7), 0),
        (Offsets(committed=1, begin=3, end=7), 4),  # what was deleted does not wait
        (Offsets(committed=9, begin=0, end=7), 7),  # the topic was made anew
    ],
)
def test_what_waits(offsets: Offsets, waiting: int) -> None:
    assert reads_waiting({4: offsets}) == {4: waiting}


class Brokers:
    """Answers as brokers would."""

    def __init__(self) -> None:
        self.all: set[int] = {0, 1, 2, 3}
        self.owned: set[int] | None = {0, 1}
        self.of: dict[int, Offsets] = {
            2: Offsets(None, 0, 5),
            3: Offsets(2, 0, 5),
        }
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def owners(self) -> Collection[int] | None:
        self.asked.append("owners")
        if self.error is not None:
            raise self.error
        return self.owned

    async def partitions(self) -> Collection[int]:
        return self.all

    async def offsets(self, partitions: Collection[int]) -> dict[int, Offsets]:
        self.asked.append("offsets")
        return {each: self.of[each] for each in partitions}

    async def close(self) -> None:
        self.asked.append("close")


class Looking:
    def __init__(self) -> None:
        self.brokers, self.metrics = Brokers(), Metrics()
        self.own: set[int] = {0}
        self.lag = UnownedLag("lpr.detections.v1", self.brokers, self.metrics, lambda: self.own)

    def shown(self) -> dict[str, float]:
        return {
            sample.labels["partition"]: sample.value
            for family in self.metrics.lag.collect()
            for sample in family.samples
        }


async def test_the_lag_of_partitions_without_an_owner_is_shown() -> None:
    here = Looking()
    here.metrics.count_fetch(Outcome(reads=1), 0, 9, 0.1)
    await here.lag.look()
    assert here.shown() == {"0": 9, "2": 5, "3": 3}
    here.brokers.of[2] = Offsets(None, 0, 6)
    await here.lag.look()
    assert here.shown() == {"0": 9, "2": 6, "3": 3}


async def test_it_goes_when_another_worker_owns_the_partition() -> None:
    here = Looking()
    await here.lag.look()
    here.brokers.owned = {0, 1, 2}
    await here.lag.look()
    assert here.shown() == {"3": 3}


async def test_it_stays_when_this_worker_owns_the_partition() -> None:
    """Then the label is of this worker's own fetches."""
    here = Looking()
    await here.lag.look()
    here.metrics.count_fetch(Outcome(reads=1), 2, 4, 0.1)
    here.own, here.brokers.owned = {0, 2}, {0, 1, 2}
    await here.lag.look()
    assert here.shown() == {"2": 4, "3": 3}
    await here.lag.look()
    assert here.shown() == {"2": 4, "3": 3}


async def test_it_goes_when_another_worker_shows_it() -> None:
    here = Looking()
    await here.lag.look()
    here.own = {1}
    await here.lag.look()
    assert here.shown() == {}


async def test_a_worker_without_partitions_asks_nothing() -> None:
    here = Looking()
    await here.lag.look()
    here.own = set()
    here.brokers.asked.clear()
    await here.lag.look()
    assert here.shown() == {}
    assert here.brokers.asked == []


async def test_offsets_are_asked_of_partitions_without_an_owner_only() -> None:
    here = Looking()
    here.brokers.owned = {0, 1, 2, 3}
    await here.lag.look()
    assert here.brokers.asked == ["owners"]


async def test_nothing_changes_while_the_group_rebalances() -> None:
    here = Looking()
    await here.lag.look()
    here.brokers.owned = None
    await here.lag.look()
    assert here.shown() == {"2": 5, "3": 3}


async def test_an_answer_that_comes_after_a_rebalance_is_dropped() -> None:
    here = Looking()

    async def offsets(partitions: Collection[int]) -> dict[int, Offsets]:
        here.own = {0, 2, 3}
        here.metrics.forget_partitions()
        return {each: here.brokers.of[each] for each in partitions}

    here.brokers.offsets = offsets  # type: ignore[method-assign]
    await here.lag.look()
    assert here.shown() == {}


async def test_partitions_that_are_given_up_take_it_along() -> None:
    here = Looking()
    await here.lag.look()
    here.metrics.forget_partitions()
    assert here.shown() == {}
    here.metrics.count_fetch(Outcome(reads=1), 2, 4, 0.1)
    here.own, here.brokers.owned = {1}, {0, 1}
    await here.lag.look()
    assert here.shown() == {"2": 4}, "it is not this task's label any more"


async def run_looks(here: Looking, looks: list[Exception | None], monkeypatch: Any) -> None:
    """Run until the brokers have given these answers, or the task has ended by itself."""
    monkeypatch.setattr(limits, "METADATA_MAX_AGE_S", 0.0)
    left = iter(looks)

    async def owners() -> Collection[int] | None:
        try:
            error = next(left)
        except StopIteration:
            raise _EndError from None
        if error is not None:
            raise error
        return here.brokers.owned

    here.brokers.owners = owners  # type: ignore[method-assign]
    await here.lag.run()


class _EndError(BaseException):
    """Ends the task from within."""


async def test_a_broker_that_does_not_answer_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged when that begins and when it is over."""
    here = Looking()
    caplog.set_level(logging.INFO)
    refused, late = GroupAuthorizationFailedError("g"), TimeoutError()
    looks = [None, refused, late, ValueError("odd"), None, None]
    with pytest.raises(_EndError):
        await run_looks(here, looks, monkeypatch)
    assert here.shown() == {"2": 5, "3": 3}
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert lines == [
        ("WARNING", "no worker owns lpr.detections.v1/2, 3; their reads wait"),
        (
            "WARNING",
            f"{UNKNOWN} (GroupAuthorizationFailedError)",
        ),
        ("INFO", "the lag of partitions that no worker owns is known again"),
    ]
    assert here.brokers.asked[-1] == "close"


async def test_partitions_that_get_an_owner_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = Looking()
    caplog.set_level(logging.INFO)
    await here.lag.look()
    here.brokers.owned = {0, 1, 2, 3}
    await here.lag.look()
    await here.lag.look()
    assert [record.getMessage() for record in caplog.records] == [
        "no worker owns lpr.detections.v1/2, 3; their reads wait",
        "each partition of lpr.detections.v1 has an owner again",
    ]


async def test_brokers_that_cannot_be_asked_are_asked_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The embedded one does not know the request."""
    here = Looking()
    await run_looks(here, [IncompatibleBrokerVersion("DescribeGroups")], monkeypatch)
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == []
    assert here.brokers.asked == ["close"]
