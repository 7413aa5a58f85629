"""`engine.observability.stall`: which partitions are stuck, beside a naive model that keeps every
look."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.clock import duration
from engine.observability.stall import Seen, Stuck, StuckWatch, Work

TOPIC = "lpr.detections.v1"
STUCK_S, HUNG_S = limits.STUCK_S, limits.HUNG_S


def seen(
    done_to: int | None = 10,
    work: Work | None = None,
    *,
    committed_to: int | None = 10,
    heard_s: float | None = None,
) -> Seen:
    return Seen(done_to, committed_to, work, heard_s)


class Looks:
    """A watch and its clock, which starts anywhere. What is not said is all right."""

    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s
        self.watch = StuckWatch()

    def look(
        self,
        after_s: float,
        is_taking: bool = True,
        matcher_since_s: float | None = None,
        **partitions: Seen,
    ) -> list[Stuck]:
        """`p3` is partition 3; one that does not say when it was heard of has been just now."""
        self.now_s += after_s
        all_seen = {
            int(name[1:]): each if each.heard_s is not None else each._replace(heard_s=self.now_s)
            for name, each in partitions.items()
        }
        self.watch.look(self.now_s, all_seen, is_taking=is_taking, matcher_since_s=matcher_since_s)
        return list(self.watch.stuck)


@pytest.mark.parametrize("work", ["matching", "delivery", "waiting"])
def test_work_that_does_not_become_done(work: Work) -> None:
    here = Looks()
    assert here.look(0, p0=seen(work=work), p1=seen()) == []
    assert here.look(STUCK_S - 1, p0=seen(work=work), p1=seen()) == []
    [stuck] = here.look(1, p0=seen(work=work), p1=seen())
    assert stuck == Stuck(0, 1_000.0, work, 10)
    here.look(12, p0=seen(work=work), p1=seen())
    line = stuck.describe(TOPIC, here.now_s)
    assert line.startswith("lpr.detections.v1/0 is stuck at offset 10 for 42 s: ")
    assert here.look(1, p0=seen(11, work, committed_to=11), p1=seen()) == []


def test_a_partition_without_work_is_never_stuck() -> None:
    here = Looks()
    for _ in range(10):
        assert here.look(STUCK_S, p0=seen(None, committed_to=None), p1=seen()) == []
    assert here.watch.hangs() == ""


def test_steps_however_slow_are_no_standstill() -> None:
    here = Looks()
    for offset in range(10):
        assert here.look(STUCK_S - 1, p0=seen(offset, "delivery", committed_to=offset)) == []


def test_waiting_for_the_lists_is_not_being_stuck() -> None:
    here = Looks()
    working = seen(work="delivery")
    here.look(0, p0=working)
    for _ in range(10):
        assert here.look(STUCK_S, is_taking=False, p0=working) == []
        assert here.watch.hangs() == ""
    assert here.look(STUCK_S - 1, p0=working) == [], "its time begins when the gate opens"
    assert here.look(1, p0=working)[0].at == "delivery"


def test_a_partition_that_waits_its_turn_behind_others_that_move() -> None:
    here = Looks()
    for offset in range(5):
        moving = seen(offset, "delivery", committed_to=offset)
        assert here.look(STUCK_S / 2, p0=moving, p1=seen(3, "waiting", committed_to=3)) == []
    stuck = here.look(STUCK_S, p0=moving, p1=seen(3, "waiting", committed_to=3))
    assert [(each.partition, each.at) for each in stuck] == [(0, "delivery"), (1, "waiting")]


def test_an_offset_that_the_broker_does_not_take() -> None:
    here = Looks()
    here.look(0, p0=seen(10))
    for step in range(1, 5):
        stuck = here.look(STUCK_S / 3, p0=seen(10 + step, "delivery", committed_to=10))
    assert [(each.at, each.offset, each.since_s) for each in stuck] == [("commit", 10, 1_000.0)]
    assert here.look(1, p0=seen(14, committed_to=12)) == [], "it takes some"
    for _ in range(20):
        here.look(STUCK_S, p0=seen(14, committed_to=12))
    assert here.watch.hangs() == "", "a new process would be refused the same"


def test_a_partition_that_nothing_is_heard_of() -> None:
    here = Looks()
    silent = seen(heard_s=990.0)
    here.look(0, p0=silent, p1=seen())
    assert here.look(STUCK_S - 1, p0=silent, p1=seen()) == [], "since it was ours"
    [stuck] = here.look(1, p0=silent, p1=seen())
    assert (stuck.at, stuck.since_s) == ("fetch", 1_000.0)
    here.look(HUNG_S, p0=silent, p1=seen())
    assert here.watch.hangs() == "", (
        "others are heard of: it has no leader, and will have none here"
    )
    assert here.look(1, p0=seen(heard_s=here.now_s), p1=seen()) == []


def test_a_partition_that_goes_is_forgotten() -> None:
    here = Looks()
    here.look(0, p0=seen(work="delivery"))
    assert here.look(STUCK_S, p0=seen(work="delivery"))
    assert here.look(1) == []
    assert here.look(1, p0=seen(work="delivery")) == [], "it comes back, and has its time"


def test_a_matcher_that_hangs_is_for_a_new_process() -> None:
    here = Looks()
    matching = seen(work="matching")
    here.look(0, matcher_since_s=1_000.0, p0=matching)
    here.look(HUNG_S - 1, matcher_since_s=1_000.0, p0=matching)
    assert here.watch.stuck
    assert here.watch.hangs() == "", "it may be a long step"
    here.look(1, matcher_since_s=1_000.0, p0=matching)
    assert here.watch.hangs() == (
        f"the matcher has been busy with the same reads for {duration(HUNG_S)}"
    )
    here.look(1, matcher_since_s=here.now_s, p0=matching)
    assert here.watch.hangs() == ""
    here.look(HUNG_S, is_taking=False, matcher_since_s=here.now_s - HUNG_S)
    assert here.watch.hangs(), "with the lists, before any reads"


def test_a_delivery_without_an_end_is_for_a_new_process() -> None:
    here = Looks()
    here.look(0, p0=seen(work="delivery"))
    here.look(HUNG_S - 1, p0=seen(work="delivery"))
    assert here.watch.hangs() == "", "what is not acknowledged in time ends the worker by itself"
    here.look(1, p0=seen(work="delivery"))
    assert here.watch.hangs() == "deliveries neither succeed nor fail"


def test_deliveries_that_are_slow_are_not_for_a_new_process() -> None:
    """It would have to begin them anew."""
    here = Looks()
    for offset in range(10):
        moving = seen(offset, "delivery", committed_to=offset)
        here.look(HUNG_S / 2, p0=seen(work="delivery"), p1=moving)
        assert here.watch.hangs() == ""
    assert [each.partition for each in here.watch.stuck] == [0]


def test_fetches_that_nobody_takes_are_for_a_new_process() -> None:
    here = Looks()
    here.look(0, p0=seen(work="waiting"), p1=seen())
    here.look(HUNG_S, p0=seen(work="waiting"), p1=seen())
    assert here.watch.hangs() == "reads are fetched, and not processed"


def test_silence_all_round_is_for_a_new_process() -> None:
    here = Looks()
    silent = seen(heard_s=1_000.0)
    here.look(0, p0=silent, p1=silent)
    here.look(HUNG_S - 1, p0=silent, p1=silent)
    assert [each.at for each in here.watch.stuck] == ["fetch", "fetch"]
    assert here.watch.hangs() == ""
    here.look(1, p0=silent, p1=silent)
    assert here.watch.hangs() == f"nothing was received from any partition for {duration(HUNG_S)}"


class _Look(NamedTuple):
    """What a model is shown: the seconds since the last look and what is seen of one partition."""

    after_s: int
    done_to: int
    has_work: bool
    lag: int
    is_heard: bool
    is_taking: bool


_LOOKS = st.lists(
    st.builds(
        _Look,
        after_s=st.integers(1, int(STUCK_S * 0.7)),
        done_to=st.integers(0, 1),
        has_work=st.booleans(),
        lag=st.integers(0, 1),
        is_heard=st.booleans(),
        is_taking=st.sampled_from([True, True, True, False]),
    ),
    max_size=30,
)


@given(_LOOKS)
def test_what_the_model_says(looks: list[_Look]) -> None:
    """One partition, in whose past the model looks for the last time that all was well."""
    here = Looks(0.0)
    kept: list[tuple[float, _Look]] = []
    for each in looks:
        work: Work | None = "delivery" if each.has_work else None
        heard_s = here.now_s + each.after_s if each.is_heard else 0.0
        committed_to = each.done_to - each.lag
        found = here.look(
            each.after_s,
            is_taking=each.is_taking,
            p0=Seen(each.done_to, committed_to, work, heard_s),
        )
        if not each.is_taking:
            kept.clear()
        kept.append((here.now_s, each))
        moved_s = _last(kept, lambda now, before: not now.has_work or now.done_to != before.done_to)
        taken_s = _last(
            kept,
            lambda now, before: (
                now.lag == 0 or now.done_to - now.lag != before.done_to - before.lag
            ),
        )
        heard_at_s = _last(kept, lambda now, _: now.is_heard)
        stuck = {
            at
            for at, since_s in (("delivery", moved_s), ("commit", taken_s), ("fetch", heard_at_s))
            if here.now_s - since_s >= STUCK_S
        }
        assert {one.at for one in found} <= stuck
        assert bool(found) == bool(stuck)


def _last(kept: list[tuple[float, _Look]], is_well: Callable[[_Look, _Look], bool]) -> float:
    """When it was last well, or the first look."""
    since_s = kept[0][0]
    for (_, before), (now_s, now) in pairwise(kept):
        if is_well(now, before):
            since_s = now_s
    return since_s


def test_reads_that_a_transaction_holds_back() -> None:
    """They count from when the worker takes reads, and a new process would not do better."""
    here = Looks()
    begun_s = here.now_s - 5
    held = seen()._replace(held_s=begun_s, held_why="whose it is", next_offset=17)
    assert here.look(0, p0=held) == []
    assert here.look(STUCK_S - 1, p0=held) == []
    assert here.look(1, p0=held) == [Stuck(0, begun_s + 5, "transaction", 17, "whose it is")]
    assert here.watch.stuck[0].why == "whose it is"
    here.look(HUNG_S, p0=held)
    assert here.watch.hangs() == ""
    assert here.look(1, p0=seen()) == []
    here.look(1, False, p0=held)
    assert here.look(STUCK_S + 1, False, p0=held) == []
