"""`engine.observability.stall_monitor`: a stuck partition is logged once, shown, and told to
whoever asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from engine import limits
from engine.clock import duration
from engine.kafka.open_transactions import OpenTransaction
from engine.observability.held_back import HeldBack
from engine.observability.metrics import Metrics
from engine.observability.stall import Seen, Work
from engine.observability.stall_monitor import Watching

TOPIC = "lpr.detections.v1"


class Here:
    """A watching and the clock that it looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 500.0
        clock = SimpleNamespace(monotonic=lambda: self.now_s)
        monkeypatch.setattr("engine.observability.stall_monitor.time", clock)
        self.metrics = Metrics()
        self.watching = Watching(TOPIC, self.metrics)

    def look(self, after_s: float, *, is_taking: bool = True, **work: Work | None) -> None:
        """`p2` is what partition 2 works at; none of them gets any further."""
        self.now_s += after_s
        seen = {int(name[1:]): Seen(40, 40, each, self.now_s) for name, each in work.items()}
        self.watching.look(seen, is_taking=is_taking)

    def shown(self) -> Mapping[str, float]:
        return {
            sample.labels["partition"]: sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "hotlist_partition_stuck_seconds"
        }


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(monkeypatch)


def test_logged_once_and_shown_as_long_as_it_lasts(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    here.look(0, p2="delivery", p3=None)
    assert here.shown() == {"2": 0, "3": 0}
    for _ in range(3):
        here.look(limits.STUCK_S, p2="delivery", p3=None)
    assert here.shown() == {"2": 3 * limits.STUCK_S, "3": 0}
    line = (
        "lpr.detections.v1/2 is stuck at offset 40 for {}: the broker does not acknowledge the "
        "results of its reads"
    )
    assert caplog.messages == ["stuck: " + line.format("30 s")]
    assert here.watching.says() == [here.watching.unready()] == [line.format("1 min 30 s")]
    assert here.watching.unhealthy() == ""
    here.now_s += 5
    assert here.watching.unready() == line.format("1 min 35 s"), "it goes on between two looks"
    here.look(0, p2=None, p3=None)
    assert here.shown() == {"2": 0, "3": 0}
    assert caplog.messages[1:] == ["lpr.detections.v1/2 moves again, after 1 min 35 s"]
    assert here.watching.says() == []


def test_a_partition_that_is_somebody_elses_is_shown_no_more(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    here.look(0, p2="waiting")
    here.look(limits.STUCK_S, p2="waiting")
    assert here.shown() == {"2": limits.STUCK_S}
    caplog.clear()
    here.look(1, p5=None)
    assert here.shown() == {"5": 0}
    assert caplog.messages == [], "nobody knows whether it moves"


def test_what_is_with_the_matcher(here: Here) -> None:
    with here.watching.matching(2):
        here.look(0, p2="delivery", p3="delivery")
        here.look(limits.STUCK_S, p2="delivery", p3="delivery")
    assert [(each.partition, each.at) for each in here.watching.stuck] == [
        (2, "matching"),
        (3, "delivery"),
    ]


def test_a_matcher_that_hangs_and_one_that_waits(here: Here) -> None:
    with here.watching.in_matcher():
        here.look(limits.HUNG_S)
        assert here.watching.unhealthy() == (
            f"the matcher has been busy with the same reads for {duration(limits.HUNG_S)}"
        )
        assert here.watching.unready() == "", "no partition is stuck"
        with here.watching.waiting():
            here.look(1)
            assert here.watching.unhealthy() == ""
        here.look(1)
        assert here.watching.unhealthy() == ""
        here.look(limits.HUNG_S)
        assert here.watching.unhealthy()
    here.look(1)
    assert here.watching.unhealthy() == ""


def test_a_change_of_the_lists_while_a_fetch_is_matched_is_not_its_end(here: Here) -> None:
    with here.watching.in_matcher():
        here.look(limits.HUNG_S)
        with here.watching.in_matcher():
            here.look(1)
            assert here.watching.unhealthy() == "", "the change has just begun"
        here.look(1)
        assert here.watching.unhealthy()


async def test_it_looks_again_and_again(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STUCK_LOOK_S", 0)
    looks: list[bool] = []

    def see() -> Mapping[int, Seen]:
        looks.append(True)
        here.now_s += limits.STUCK_S / 2
        return {7: Seen(1, 1, "delivery", here.now_s)}

    running = asyncio.create_task(here.watching.run(see, lambda: len(looks) > 3))
    while len(looks) < 8:
        assert not here.watching.stuck or len(looks) > 4, "not while the gate was shut"
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [each.partition for each in here.watching.stuck] == [7]


def test_what_open_transactions_hold_back(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    """Of the reads it is a stuck partition; of other topics it is shown beside them."""
    caplog.set_level(logging.INFO)
    holder = OpenTransaction(7, 3, 0, "feed", 0)
    held = HeldBack(3, 2, here.now_s, (holder,))
    other = ("lpr.hotlist.v1", 0)
    here.watching.note_held({(TOPIC, 2): held, other: held})
    here.look(0, p2=None, p3=None)
    assert here.watching.held_elsewhere == {}
    here.look(limits.STUCK_S, p2=None, p3=None)
    assert here.watching.held_elsewhere == {other: held}
    [line] = here.watching.says()
    assert "feed" in line
    assert here.watching.unready() == line
    assert here.watching.unhealthy() == ""
    assert here.shown() == {"2": limits.STUCK_S, "3": 0.0}
    here.watching.note_held({})
    here.look(1, p2=None, p3=None)
    assert here.watching.says() == []
    assert here.watching.held_elsewhere == {}
