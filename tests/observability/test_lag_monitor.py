"""`engine.observability.lag_monitor`: the reads that wait, which worker shows those of partitions
without an owner, and what open transactions hold back."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, IncompatibleBrokerVersion

from engine import limits
from engine.kafka.open_transactions import Ends, OpenTransaction
from engine.kafka.topics import Topics
from engine.matching.outcome import Outcome
from engine.observability.held_back import HeldBack, TopicPart
from engine.observability.lag_monitor import LagMonitor, Offsets, reads_waiting, to_show
from engine.observability.metrics import Metrics
from engine.observability.stall import Seen

READS, ENTRIES = "lpr.detections.v1", "lpr.hotlist.v1"
UNKNOWN = "the lag of partitions is not known"


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
        (Offsets(None, Ends(0, 7, 7)), 7),
        (Offsets(None, Ends(3, 7, 7)), 4),
        (Offsets(5, Ends(3, 7, 7)), 2),
        (Offsets(7, Ends(3, 7, 7)), 0),
        (Offsets(1, Ends(3, 7, 7)), 4),  # what was deleted does not wait
        (Offsets(9, Ends(0, 7, 7)), 7),  # the topic was recreated
        (Offsets(5, Ends(3, 5, 7)), 2),  # an open transaction holds two back
    ],
)
def test_what_waits(offsets: Offsets, waiting: int) -> None:
    assert reads_waiting({4: offsets}) == {4: waiting}


class Brokers:
    """Answers as brokers would."""

    def __init__(self) -> None:
        self.all: set[int] = {0, 1, 2, 3}
        self.owned: set[int] | None = {0, 1}
        self.commits: dict[int, int | None] = {2: None, 3: 2}
        self.logs: dict[TopicPart, Ends] = {
            (READS, number): Ends(0, 5, 5) for number in range(4)
        } | {(ENTRIES, 0): Ends(0, 9, 9)}
        self.holders: dict[TopicPart, tuple[OpenTransaction, ...]] = {}
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def owners(self) -> Collection[int] | None:
        self.asked.append("owners")
        if self.error is not None:
            raise self.error
        return self.owned

    async def partitions(self, topics: Collection[str]) -> dict[str, Collection[int]]:
        assert {READS, ENTRIES} <= set(topics)
        return {READS: self.all, ENTRIES: {0}}

    async def committed(self, partitions: Collection[int]) -> dict[int, int | None]:
        self.asked.append("committed")
        return {each: self.commits[each] for each in partitions}

    async def ends(self, partitions: Collection[TopicPart]) -> dict[TopicPart, Ends]:
        return {each: self.logs[each] for each in partitions}

    async def open_transactions(
        self, partitions: Collection[TopicPart]
    ) -> dict[TopicPart, tuple[OpenTransaction, ...]]:
        self.asked.append("transactions")
        return {each: self.holders[each] for each in partitions if each in self.holders}

    async def close(self) -> None:
        self.asked.append("close")


class Looking:
    def __init__(self) -> None:
        self.brokers, self.metrics = Brokers(), Metrics()
        self.own: set[int] = {0}
        #: Where the reads of its own partitions go on; at the end if it is not said.
        self.next_offsets: dict[int, int | None] = {}
        self.held: Mapping[TopicPart, HeldBack] = {}
        self.now_s = 100.0
        self.lag = LagMonitor(
            *(Topics("lpr."), self.brokers, self.metrics, self.seen, self.note_held),
            lambda: self.now_s,
        )

    def seen(self) -> dict[int, Seen]:
        return {
            each: Seen(None, None, None, None, next_offset=self.next_offsets.get(each, 5))
            for each in self.own
        }

    def note_held(self, held: Mapping[TopicPart, HeldBack]) -> None:
        self.held = held

    def held_back(self) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["topic"], sample.labels["partition"]): sample.value
            for family in self.metrics.held_back_s.collect()
            for sample in family.samples
        }

    def shown(self) -> dict[str, float]:
        return {
            sample.labels["partition"]: sample.value
            for family in self.metrics.lag.collect()
            for sample in family.samples
        }


async def test_the_lag_of_partitions_without_an_owner_is_shown() -> None:
    here = Looking()
    await here.lag.look()
    assert here.shown() == {"0": 0, "2": 5, "3": 3}
    here.brokers.logs[READS, 2] = Ends(0, 6, 6)
    await here.lag.look()
    assert here.shown() == {"0": 0, "2": 6, "3": 3}


async def test_it_goes_when_another_worker_owns_the_partition() -> None:
    here = Looking()
    await here.lag.look()
    here.brokers.owned = {0, 1, 2}
    await here.lag.look()
    assert here.shown() == {"0": 0, "3": 3}


async def test_it_stays_when_this_worker_owns_the_partition() -> None:
    """Then it is what waits behind this worker's position."""
    here = Looking()
    await here.lag.look()
    here.next_offsets[2] = 1
    here.own, here.brokers.owned = {0, 2}, {0, 1, 2}
    for _ in range(2):
        await here.lag.look()
        assert here.shown() == {"0": 0, "2": 4, "3": 3}


async def test_it_goes_when_another_worker_shows_it() -> None:
    here = Looking()
    await here.lag.look()
    here.own = {1}
    here.brokers.owned = {0, 1, 2, 3}
    await here.lag.look()
    assert not {"2", "3"} & here.shown().keys()


async def test_a_worker_without_partitions_asks_only_where_the_logs_end() -> None:
    here = Looking()
    await here.lag.look()
    here.metrics.drop_partitions(range(6))
    here.own = set()
    here.brokers.asked.clear()
    await here.lag.look()
    assert here.shown() == {}
    assert here.brokers.asked == []


async def test_commits_are_asked_of_partitions_without_an_owner_only() -> None:
    here = Looking()
    here.brokers.owned = {0, 1, 2, 3}
    await here.lag.look()
    assert here.brokers.asked == ["owners"]


async def test_lag_is_current_while_nothing_is_fetched() -> None:
    here = Looking()
    here.brokers.owned = {0, 1, 2, 3}
    here.metrics.count_fetch(Outcome(reads=1), 0, 0)
    here.brokers.logs[READS, 0] = Ends(0, 12, 12)
    await here.lag.look()
    assert here.shown() == {"0": 7}
    here.next_offsets[0] = None  # nothing is done yet: all that the log keeps waits
    await here.lag.look()
    assert here.shown() == {"0": 12}


async def test_what_an_open_transaction_holds_back_waits_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    here = Looking()
    here.brokers.owned = {0, 1, 2, 3}
    here.brokers.logs |= {(READS, 0): Ends(0, 5, 8), (ENTRIES, 0): Ends(0, 6, 9)}
    here.brokers.holders = {
        (READS, 0): (OpenTransaction(4711, 5, 0, "city-feed", 1_700_000_000_000),),
        (ENTRIES, 0): (OpenTransaction(12, 6, 1_700_000_000_000),),
    }
    await here.lag.look()
    assert here.shown() == {"0": 3}
    assert here.brokers.asked == ["owners"], "a transaction at one look is ordinary"
    here.now_s += limits.LAG_LOOK_S
    await here.lag.look()
    assert here.held_back() == {("reads", "0"): 5, ("entries", "0"): 5}
    assert caplog.records == []
    here.brokers.logs[READS, 0] = Ends(0, 5, 20)  # others write behind it
    here.now_s += limits.LAG_LOOK_S
    for _ in range(2):
        await here.lag.look()
        assert here.shown() == {"0": 15}
        assert here.held_back() == {("reads", "0"): 10, ("entries", "0"): 10}
        assert [(each.offset, each.since_s) for each in here.held.values()] == [
            (5, 100.0),
            (6, 100.0),
        ]
    named = "producer 4711 (city-feed) since 2023-11-14T22:13:20.000Z"
    assert named in here.held[READS, 0].why
    assert [record.getMessage() for record in caplog.records] == [
        (
            f"held back: {READS}/0: 15 records wait from offset 5 on, for 10 s: "
            f"an open transaction of {named} holds its records back"
        ),
        (
            f"held back: {ENTRIES}/0: 3 records wait from offset 6 on, for 10 s: "
            "an open transaction of producer 12, last write 2023-11-14T22:13:20.000Z "
            "holds its records back"
        ),
    ]
    caplog.clear()
    here.brokers.logs |= {(READS, 0): Ends(0, 21, 21), (ENTRIES, 0): Ends(0, 7, 9)}
    here.next_offsets[0] = 21
    here.now_s += limits.LAG_LOOK_S
    await here.lag.look()
    assert here.shown() == {"0": 0}
    assert here.held_back() == {("entries", "0"): 0}, "another transaction has begun there"
    assert here.held.keys() == {(ENTRIES, 0)}
    assert [record.getMessage() for record in caplog.records] == [
        f"{READS}/0 is not held back any more, after 15 s",
        f"{ENTRIES}/0 is not held back any more, after 15 s",
    ]


async def test_transactions_that_end_are_ordinary() -> None:
    """Each look finds one open, and each time another one."""
    here = Looking()
    for number in range(9):
        here.now_s += limits.LAG_LOOK_S
        here.brokers.logs[READS, 0] = Ends(0, 5 + number, 9 + number)
        await here.lag.look()
        assert here.held_back() == {("reads", "0"): 0}
    assert "transactions" not in here.brokers.asked


async def test_control_topics_are_looked_at_while_the_group_rebalances() -> None:
    here = Looking()
    here.brokers.owned = None
    here.brokers.logs[ENTRIES, 0] = Ends(0, 6, 9)
    await here.lag.look()
    assert here.held_back() == {("entries", "0"): 0}
    assert here.shown() == {}


async def test_nothing_changes_while_the_group_rebalances() -> None:
    here = Looking()
    await here.lag.look()
    here.brokers.owned = None
    await here.lag.look()
    assert here.shown() == {"0": 0, "2": 5, "3": 3}


async def test_an_answer_that_comes_after_a_rebalance_is_dropped() -> None:
    here = Looking()

    async def committed(partitions: Collection[int]) -> dict[int, int | None]:
        here.own = {0, 2, 3}
        here.metrics.drop_partitions(range(6))
        return {each: here.brokers.commits[each] for each in partitions}

    here.brokers.committed = committed  # type: ignore[method-assign]
    await here.lag.look()
    assert here.shown() == {}


async def test_partitions_that_are_given_up_take_it_along() -> None:
    here = Looking()
    await here.lag.look()
    here.metrics.drop_partitions(range(6))
    assert here.shown() == {}
    here.metrics.count_fetch(Outcome(reads=1), 2, 4)
    here.own, here.brokers.owned = {1}, {0, 1}
    await here.lag.look()
    assert here.shown() == {"1": 0, "2": 4}, "it is not the monitor's label any more"


async def run_looks(here: Looking, looks: list[Exception | None], monkeypatch: Any) -> None:
    """Run until the brokers have given these answers, or the task has ended by itself."""
    monkeypatch.setattr(limits, "LAG_LOOK_S", 0.0)
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
    assert here.shown() == {"0": 0, "2": 5, "3": 3}
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert lines == [
        ("WARNING", "no worker owns lpr.detections.v1/2, 3; their reads wait"),
        (
            "WARNING",
            f"{UNKNOWN} (GroupAuthorizationFailedError)",
        ),
        ("INFO", "the lag of partitions is known again"),
    ]
    assert here.brokers.asked[-1] == "close"


async def test_partitions_that_get_an_owner_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = Looking()
    caplog.set_level(logging.INFO)
    await here.lag.look()

    def unowned() -> float | None:
        return here.metrics.registry.get_sample_value("hotlist_partitions_unowned")

    assert unowned() == 2
    here.brokers.owned = {0, 1, 2, 3}
    await here.lag.look()
    assert unowned() == 0
    await here.lag.look()
    assert [record.getMessage() for record in caplog.records] == [
        "no worker owns lpr.detections.v1/2, 3; their reads wait",
        "each partition of lpr.detections.v1 has an owner again",
    ]


async def test_brokers_that_cannot_name_owners_are_asked_for_them_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The embedded one does not know the request. The worker's own lag is shown."""
    here = Looking()
    here.brokers.error = IncompatibleBrokerVersion("DescribeGroups")
    here.next_offsets[0] = 3
    for _ in range(3):
        await here.lag.look()
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == []
    assert here.brokers.asked == ["owners"]
    assert here.shown() == {"0": 2}
