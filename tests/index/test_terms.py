"""Terms beside a plain dictionary of starts and ends."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pyroaring import BitMap

from engine.index.terms import Terms
from engine.index.timer_wheel import NEVER_MS

_TIMES = st.integers(0, 400_000)


class TermsMachine(RuleBasedStateMachine):
    """Slots come, start, end and go, while the clock goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.terms = Terms(1)
        self.room = 1
        self.now_ms = 0
        #: By slot in use.
        self.starts_ms: dict[int, int] = {}
        self.expires_ms: dict[int, int] = {}
        self.waiting: set[int] = set()
        self.ended: set[int] = set()

    @rule(added=st.lists(st.tuples(st.none() | _TIMES, st.integers(1, 400_000)), max_size=4))
    def put(self, added: list[tuple[int | None, int]]) -> None:
        slots = [slot for slot in range(20) if slot not in self.expires_ms][: len(added)]
        of_slots = [(start, self.now_ms + lasts_ms) for start, lasts_ms in added[: len(slots)]]
        if slots and slots[-1] >= self.room:
            self.room = slots[-1] + 1
            self.terms.make_room(self.room)
        self.terms.put(slots, of_slots, self.now_ms)
        for slot, (start, end) in zip(slots, of_slots, strict=True):
            self.expires_ms[slot] = end
            if start is not None and start > self.now_ms:
                self.starts_ms[slot] = start
                self.waiting.add(slot)

    @rule(step_ms=st.integers(0, 90_000))
    def clock(self, step_ms: int) -> None:
        self.now_ms += step_ms
        due = {slot for slot in self.waiting if self.starts_ms[slot] <= self.now_ms}
        assert set(self.terms.start(self.now_ms)) == due
        self.waiting -= due
        over = {slot for slot, end in self.expires_ms.items() if end <= self.now_ms} - self.ended
        assert set(self.terms.end(self.now_ms)) - self.ended == over
        self.ended |= over

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        if not self.expires_ms:
            return
        gone = data.draw(st.sets(st.sampled_from(sorted(self.expires_ms)), min_size=1))
        self.terms.drop(BitMap(gone))
        for slot in gone:
            self.expires_ms.pop(slot)
            self.starts_ms.pop(slot, None)
        self.waiting -= gone
        self.ended -= gone

    @rule()
    def tidy(self) -> None:
        self.terms.tidy(len(self.expires_ms))

    @rule()
    def copy(self) -> None:
        self.terms = self.terms.copy()

    @rule()
    def fill(self) -> None:
        """As a file is loaded: all at once; the clock then finds what has started and ended."""
        slots = np.array(sorted(self.expires_ms), dtype=np.int32)
        starts = np.array([self.starts_ms.get(slot, NEVER_MS) for slot in slots.tolist()], np.int64)
        ends = np.array([self.expires_ms[slot] for slot in slots.tolist()], np.int64)
        self.terms = Terms(self.room)
        self.terms.fill(slots, starts, ends)
        self.waiting, self.ended = set(self.starts_ms), set()

    @invariant()
    def the_same_terms(self) -> None:
        assert set(self.terms.scheduled) == self.waiting
        for times, expected in (
            (self.terms.starts_ms, self.starts_ms),
            (self.terms.expires_ms, self.expires_ms),
        ):
            assert len(times) == self.room
            found = {slot: at_ms for slot, at_ms in enumerate(times.tolist()) if at_ms != NEVER_MS}
            assert found == expected


TestTerms = TermsMachine.TestCase
