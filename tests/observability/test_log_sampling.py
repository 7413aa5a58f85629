"""`engine.observability.log_sampling`: how many lines of a kind, against a model; which faults are
kept."""

from __future__ import annotations

import collections

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine import limits
from engine.observability.log_sampling import OTHER, Allowance, Fault, Faults, Kind

_KINDS = [Kind("engine.x", 30, text) for text in "abcdef"]
_LINES, _WINDOW_S, _KINDS_MOST = 3, 60.0, 4


class AllowanceMachine(RuleBasedStateMachine):
    """Lines of some kinds, a clock, and a list of all lines there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.allowance = Allowance(_LINES, _WINDOW_S, _KINDS_MOST, lambda: self.now_s)
        #: By kind: when its window began, and what became of each of its lines.
        self.windows: dict[Kind, tuple[float, list[bool]]] = {}
        self.asked = self.written = self.told = 0

    @rule(which=st.sampled_from(_KINDS))
    def line(self, which: Kind) -> None:
        if which not in self.windows and len(self.windows) >= _KINDS_MOST:
            which = OTHER
        _, lines = self.windows.setdefault(which, (self.now_s, []))
        admitted = self.allowance.admits(which)
        assert admitted == (len(lines) < _LINES)
        lines.append(admitted)
        self.asked += 1
        self.written += admitted

    @rule(by_s=st.floats(0, 90))
    def wait(self, by_s: float) -> None:
        self.now_s += by_s

    @rule(now=st.booleans())
    def end(self, now: bool) -> None:
        over = {
            which: lines.count(False)
            for which, (began_s, lines) in self.windows.items()
            if now or began_s <= self.now_s - _WINDOW_S
        }
        held = self.allowance.ended(now=now)
        assert dict(held) == {which: count for which, count in over.items() if count}
        assert len(held) == len(dict(held))
        for which in over:
            del self.windows[which]
        self.told += sum(count for _, count in held)

    @invariant()
    def nothing_is_forgotten(self) -> None:
        waiting = sum(lines.count(False) for _, lines in self.windows.values())
        assert self.asked == self.written + self.told + waiting

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.allowance._windows) <= _KINDS_MOST + 1


AllowanceMachine.TestCase.settings = settings(max_examples=100, deadline=None)
TestAllowance = AllowanceMachine.TestCase


def test_faults_are_counted_by_kind_the_latest_first() -> None:
    faults = Faults()
    first, second = Kind("engine.x", 30, "a"), Kind("aiokafka.client", 40, "b")
    for which, at_ms in ((first, 5), (second, 6), (first, 7), (second, 8), (first, 9)):
        faults.note(which, at_ms)
    assert faults.latest() == [
        Fault("warning", "engine.x", "a", 5, 9, 3),
        Fault("error", "aiokafka.client", "b", 6, 8, 2),
    ]


def test_what_was_told_does_not_change_afterwards() -> None:
    faults = Faults()
    faults.note(_KINDS[0], 1)
    told = faults.latest()
    faults.note(_KINDS[0], 2)
    assert [fault.count for fault in told] == [1]


def test_of_too_many_faults_those_that_came_last_are_kept() -> None:
    faults = Faults()
    kinds = [Kind("engine.x", 30, str(number)) for number in range(limits.LOG_FAULTS + 10)]
    for at_ms, which in enumerate(kinds):
        faults.note(which, at_ms)
        faults.note(kinds[0], at_ms)  # this one goes on
    kept = collections.Counter(fault.text for fault in faults.latest())
    assert kept == dict.fromkeys(["0", *(kind.text for kind in kinds[11:])], 1)
