"""What the judge of a campaign costs: an hour's reads take it four times a quarter's, not sixteen.

Steps are counted, not seconds, and each function's alone: what grows with the square of the reads
would hide behind what a single read costs, until a campaign is long.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

from engine.clock import format_time
from tests.fakes.examples import a_policy, an_entry
from tests.torture.churn import CHURN, CORRECTED, CORRECTED_PLATES, FOLDING, STEADY
from tests.torture.judge import SLACK_S
from tests.torture.test_torture import World, listed

_NOON_MS = 1_769_860_800_000
#: Between two records that must not meet each other's read.
_APART_S = 2 * SLACK_S
_SUPPRESS_S = 60
_CHANGES_A_ROUND = 4
_READS_A_CHANGE = 4
#: Functions that take fewer steps are not looked at: what they cost once would count too much.
_FEW = 200


class _Hour:
    """A made-up campaign: few keys, all with many states, and every kind of read."""

    def __init__(self) -> None:
        self._world = World(is_exactly_once=True)
        self._at_s = 1.0
        self._count = 0
        self._edited, self._plate = next(self._world.of_churn("EDIT"))
        [self._corrected, plates], *_ = CORRECTED_PLATES.items()
        self._corrected_plate = plates[0]
        folds = an_entry(entry_id="FOLDS", plate="FOLDS11", suppress_s=_SUPPRESS_S)
        self._folding = self._world.control("hotlist", "FOLDS", folds, at_s=0.2)
        self.steps: Counter[str] = Counter()

    def run(self, rounds: int) -> Counter[str]:
        """The steps that the judge takes, by function, when nothing is wrong."""
        judge = self._world.judge
        for _ in range(rounds):
            for _ in range(_CHANGES_A_ROUND):
                self._change()
            assert self._counted(judge.judge) == []
        assert self._counted(judge.finish) == []
        assert judge.findings.reads == self._count
        assert judge.findings.folded == rounds * _CHANGES_A_ROUND * _READS_A_CHANGE
        return self.steps

    def _change(self) -> None:
        """All that changes does, and reads come that meet it and what stays."""
        world, at_s = self._world, self._at_s + _APART_S
        edited = listed(self._edited, self._plate, priority=self._count % 5 + 1)
        edit = world.control("hotlist", self._edited, edited, at_s=at_s)
        corrected = listed(
            *(self._corrected, self._corrected_plate),
            agency=f"AG{self._count:06}",
            suppress_s=_SUPPRESS_S,
        )
        correction = world.control("hotlist", self._corrected, corrected, at_s=at_s)
        world.control("policies", STEADY, a_policy(source=STEADY), at_s=at_s)
        self._at_s = at_s + _APART_S
        for number in range(_READS_A_CHANGE):
            self._read("nothing-", "QQQ1111", None)
            self._read("R-", "ABC1234", ("E-1", 0))
            self._read(CHURN, self._plate, (self._edited, edit), STEADY)
            if not number:
                self._read(CORRECTED, self._corrected_plate, (self._corrected, correction), STEADY)
            self._read(FOLDING, "FOLDS11", ("FOLDS", self._folding))
            self._read(FOLDING, "FOLDS11", None, later_s=-_SUPPRESS_S + 1)

    def _read(
        self,
        kind: str,
        plate: str,
        matches: tuple[str, int] | None,
        source: str = "city",
        *,
        later_s: int = 0,
    ) -> None:
        self._count += 1
        self._at_s += 1
        # Two reads of an entry that suppresses are further apart than it does.
        captured_ms = _NOON_MS + 1000 * (_SUPPRESS_S * self._count + later_s)
        name = f"{kind}{self._count}"
        captured_at = format_time(captured_ms)
        self._world.read(name, plate, source, at_s=self._at_s, captured_at=captured_at)
        if matches is not None:
            self._world.match(name, *matches, at_s=self._at_s + 0.5)

    def _counted(self, call: Callable[[], list[str]]) -> list[str]:
        """Count the lines that a call executes."""

        def line(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line":
                self.steps[f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}"] += 1
            return line

        before = sys.gettrace()
        sys.settrace(line)
        try:
            return call()
        finally:
            sys.settrace(before)


def test_four_times_the_reads_take_no_function_much_more_than_four_times_the_steps() -> None:
    short, long = _Hour().run(5), _Hour().run(20)
    grew = {name: round(count / max(short[name], _FEW), 1) for name, count in long.items()}
    assert {name: by for name, by in grew.items() if by > 6} == {}
    assert 3 < sum(long.values()) / sum(short.values()) < 6
