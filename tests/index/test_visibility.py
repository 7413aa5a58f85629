"""The sets of slots beside a dict from each slot to what has become of it."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pyroaring import BitMap

from engine.index.visibility import Stages

_SLOTS = st.integers(0, 9)
_SETS = st.sets(_SLOTS)


class Lives(RuleBasedStateMachine):
    """Slots put in use, staged, committed, expired and dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = Stages()
        self.model: dict[int, str] = {}
        self.untold: set[int] = set()

    def those(self, *stages: str) -> set[int]:
        return {slot for slot, stage in self.model.items() if stage in stages}

    @rule(slots=_SETS, staged=st.booleans())
    def put(self, slots: set[int], staged: bool) -> None:
        new = slots - self.model.keys()
        self.model |= dict.fromkeys(new, "staged" if staged else "visible")
        if staged:
            self.stages.stage(new)

    @rule(slot=_SLOTS)
    def leave(self, slot: int) -> None:
        if self.model.get(slot) in ("visible", "leaving"):
            self.model[slot] = "leaving"
            self.stages.leave(slot)

    @rule(slots=_SETS)
    def expire(self, slots: set[int]) -> None:
        due = slots & self.those("visible", "staged", "leaving")
        self.untold |= due - self.those("leaving")
        self.model |= dict.fromkeys(due, "ended")
        self.stages.expire(BitMap(due))

    @rule()
    def commit(self) -> None:
        staged, leaving = self.those("staged"), self.those("leaving")
        came, went = self.stages.commit()
        assert (set(came), set(went)) == (staged, leaving)
        self.model |= dict.fromkeys(staged, "visible") | dict.fromkeys(leaving, "ended")

    @rule()
    def copy(self) -> None:
        """What becomes of the original is nothing to the copy."""
        original, self.stages = self.stages, self.stages.copy()
        original.expire(BitMap(range(10)))
        original.stage(range(20))
        original.commit()
        original.drop(BitMap(range(5)))

    @rule(slots=_SETS)
    def drop(self, slots: set[int]) -> None:
        self.stages.drop(BitMap(slots))
        self.untold -= slots
        for slot in slots & self.model.keys():
            del self.model[slot]

    @invariant()
    def the_same(self) -> None:
        stages = self.stages
        assert set(stages.staged) == self.those("staged")
        assert set(stages.leaving) == self.those("leaving")
        assert set(stages.ended) == self.those("ended")
        assert set(stages.hidden) == self.those("staged", "ended")
        assert set(stages.expired) == self.untold


TestLives = Lives.TestCase


def test_the_sets_that_a_commit_gives_are_the_callers_own() -> None:
    stages = Stages()
    stages.stage([1])
    came, _ = stages.commit()
    stages.stage([2])
    stages.expire(BitMap([1]))
    assert set(came) == {1}
