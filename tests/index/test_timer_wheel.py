"""The timeline beside a plain look at all times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.index import timer_wheel as timeline_module
from engine.index.timer_wheel import NEVER_MS, Timeline

_MINUTE_MS = 60_000
_SLOTS = 6
_TIMES = st.one_of(
    st.integers(0, 5 * _MINUTE_MS),
    st.builds(
        lambda minute, off: max(0, minute * _MINUTE_MS + off),
        st.integers(0, 5),
        st.integers(-1, 1),
    ),
)


class Times(RuleBasedStateMachine):
    """Slots that get new times, in any order, while the clock goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.timeline = Timeline()
        self.time_ms = np.full(_SLOTS, NEVER_MS, dtype=np.int64)
        self.now_ms = 0

    def waiting(self) -> int:
        return int(np.count_nonzero(self.time_ms != NEVER_MS))

    @rule(slot=st.integers(0, _SLOTS - 1), at_ms=_TIMES)
    def set_time(self, slot: int, at_ms: int) -> None:
        self.time_ms[slot] = at_ms
        self.timeline.add(slot, at_ms)

    @rule(slots=st.sets(st.integers(0, _SLOTS - 1)), at_ms=_TIMES, apart_ms=st.integers(0, 90_000))
    def set_times(self, slots: set[int], at_ms: int, apart_ms: int) -> None:
        several = np.array(sorted(slots), dtype=np.int32)
        times = at_ms + apart_ms * np.arange(len(slots), dtype=np.int64)
        self.time_ms[several] = times
        self.timeline.add_many(several, times)

    @rule(slot=st.integers(0, _SLOTS - 1))
    def clear(self, slot: int) -> None:
        """The slot is in use no more, or by something that never falls due."""
        self.time_ms[slot] = NEVER_MS

    @rule(step_ms=st.integers(0, 90_000))
    def clock(self, step_ms: int) -> None:
        self.now_ms += step_ms
        due = self.timeline.due(self.now_ms, self.time_ms).tolist()
        expected = {slot for slot in range(_SLOTS) if self.time_ms[slot] <= self.now_ms}
        assert set(due) == expected
        for slot in due:
            self.time_ms[slot] = NEVER_MS
        assert len(self.timeline.due(self.now_ms, self.time_ms)) == 0

    @rule(most=st.integers(1, 200))
    def tidy(self, most: int) -> None:
        """It is for `due` to show that nothing of use was thrown out."""
        self.timeline.tidy(self.time_ms, self.waiting(), most)

    @rule(slots=st.integers(0, _SLOTS))
    def copy(self, slots: int) -> None:
        """What becomes of the original is nothing to the copy."""
        original, self.timeline = self.timeline, self.timeline.copy()
        original.due(10**12, np.zeros(_SLOTS, dtype=np.int64))
        for slot in range(slots):
            original.add(slot, 0)

    @rule()
    def fill(self) -> None:
        """One that is made of the times alone does as well."""
        self.timeline = Timeline()
        slots = np.flatnonzero(self.time_ms != NEVER_MS).astype(np.int32)
        self.timeline.fill(slots, self.time_ms)
        assert len(self.timeline) == len(slots)

    @rule(back_ms=st.integers(0, 90_000))
    def clock_set_back(self, back_ms: int) -> None:
        """Nothing falls due that is not, and nothing is lost."""
        now_ms = max(0, self.now_ms - back_ms)
        for slot in set(self.timeline.due(now_ms, self.time_ms).tolist()):
            assert self.time_ms[slot] <= now_ms
            self.time_ms[slot] = NEVER_MS


TestTimes = Times.TestCase


class TidyTimes(Times):
    """The same, tidied whenever there is anything at all to throw out."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(timeline_module, "_SPARE", 0)

    @invariant()
    def nothing_is_filed_for_nothing(self) -> None:
        while len(self.timeline) > 2 * self.waiting():
            self.timeline.tidy(self.time_ms, self.waiting(), 20)

    def teardown(self) -> None:
        self.patches.undo()


TestTidyTimes = TidyTimes.TestCase


def test_tidying_takes_many_small_steps_and_no_more_than_it_must() -> None:
    """A thousand entries replaced ten times over, each with a minute of its own."""
    timeline = Timeline()
    time_ms = np.full(1000, NEVER_MS, dtype=np.int64)
    for generation in range(10):
        for slot in range(1000):
            time_ms[slot] = (generation * 1000 + slot) * _MINUTE_MS
            timeline.add(slot, int(time_ms[slot]))
    assert len(timeline) == 10_000
    steps = 0
    while len(timeline) > 1000:
        timeline.tidy(time_ms, 1000, 17 * 500)
        steps += 1
    assert steps == 10_000 / 500
    for _ in range(3):
        timeline.tidy(time_ms, 1000, 1_000_000)
    assert timeline.due(9_000 * _MINUTE_MS - 1, time_ms).tolist() == []
    assert timeline.due(10_000 * _MINUTE_MS, time_ms).tolist() == list(range(1000))


def test_to_the_millisecond() -> None:
    timeline = Timeline()

    def due(now_ms: int) -> list[int]:
        found: list[int] = timeline.due(now_ms, time_ms).tolist()
        return found

    time_ms = np.array([90_000, 90_001, 119_999, 120_000], dtype=np.int64)
    for slot, at_ms in enumerate(time_ms.tolist()):
        timeline.add(slot, at_ms)
    assert due(89_999) == []
    assert due(90_000) == [0]
    assert due(90_000) == []
    assert due(119_998) == [1]
    assert sorted(due(120_000)) == [2, 3]


def test_a_time_that_was_moved() -> None:
    timeline = Timeline()
    time_ms = np.array([1_000], dtype=np.int64)
    timeline.add(0, 1_000)
    time_ms[0] = 300_000
    timeline.add(0, 300_000)
    assert timeline.due(200_000, time_ms).tolist() == []
    assert timeline.due(300_000, time_ms).tolist() == [0]


def test_a_long_sleep() -> None:
    timeline = Timeline()
    time_ms = np.arange(1000, dtype=np.int64) * 7_000
    for slot in range(1000):
        timeline.add(slot, int(time_ms[slot]))
    assert sorted(timeline.due(500 * 7_000, time_ms)) == list(range(501))
    assert sorted(timeline.due(10**12, time_ms)) == list(range(501, 1000))
