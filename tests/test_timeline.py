"""The timeline beside a plain look at all times."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from engine.timeline import Timeline

_MINUTE_MS = 60_000
_SLOTS = 6
_FAR = 1 << 60
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
        self.time_ms = np.full(_SLOTS, _FAR, dtype=np.int64)
        self.now_ms = 0

    @rule(slot=st.integers(0, _SLOTS - 1), at_ms=_TIMES)
    def set_time(self, slot: int, at_ms: int) -> None:
        self.time_ms[slot] = at_ms
        self.timeline.add(slot, at_ms)

    @rule(slot=st.integers(0, _SLOTS - 1))
    def clear(self, slot: int) -> None:
        """The slot is in use no more, or by something that never falls due."""
        self.time_ms[slot] = _FAR

    @rule(step_ms=st.integers(0, 90_000))
    def clock(self, step_ms: int) -> None:
        self.now_ms += step_ms
        due = self.timeline.due(self.now_ms, self.time_ms)
        expected = {slot for slot in range(_SLOTS) if self.time_ms[slot] <= self.now_ms}
        assert set(due) == expected
        for slot in due:
            self.time_ms[slot] = _FAR
        assert self.timeline.due(self.now_ms, self.time_ms) == []

    @rule(back_ms=st.integers(0, 90_000))
    def clock_set_back(self, back_ms: int) -> None:
        """Nothing falls due that is not, and nothing is lost."""
        now_ms = max(0, self.now_ms - back_ms)
        for slot in set(self.timeline.due(now_ms, self.time_ms)):
            assert self.time_ms[slot] <= now_ms
            self.time_ms[slot] = _FAR


TestTimes = Times.TestCase


def test_to_the_millisecond() -> None:
    timeline = Timeline()
    time_ms = np.array([90_000, 90_001, 119_999, 120_000], dtype=np.int64)
    for slot, at_ms in enumerate(time_ms.tolist()):
        timeline.add(slot, at_ms)
    assert timeline.due(89_999, time_ms) == []
    assert timeline.due(90_000, time_ms) == [0]
    assert timeline.due(90_000, time_ms) == []
    assert timeline.due(119_998, time_ms) == [1]
    assert sorted(timeline.due(120_000, time_ms)) == [2, 3]


def test_a_time_that_was_moved() -> None:
    timeline = Timeline()
    time_ms = np.array([1_000], dtype=np.int64)
    timeline.add(0, 1_000)
    time_ms[0] = 300_000
    timeline.add(0, 300_000)
    assert timeline.due(200_000, time_ms) == []
    assert timeline.due(300_000, time_ms) == [0]


def test_a_long_sleep() -> None:
    timeline = Timeline()
    time_ms = np.arange(1000, dtype=np.int64) * 7_000
    for slot in range(1000):
        timeline.add(slot, int(time_ms[slot]))
    assert sorted(timeline.due(500 * 7_000, time_ms)) == list(range(501))
    assert sorted(timeline.due(10**12, time_ms)) == list(range(501, 1000))
