"""Eligibility beside plain sets and a look at every rule."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pyroaring import BitMap

from engine.documents.model import Policy
from engine.index.eligibility import (
    DENIAL_REASONS,
    NO_POLICY,
    NOT_ALLOWED,
    NOT_STARTED,
    POLICY_REGION,
    Eligibility,
    Pair,
    region_covers,
)
from tests.fakes.documents import policy

_AGENCIES = ("AG1", "AG2", "AG3")
_PURPOSES = ("stolen_vehicle", "unpaid_toll")
_SOURCES = ("S1", "S2", "S3")
_SLOTS = st.integers(0, 12)
_PAIRS = st.tuples(st.sampled_from(_AGENCIES), st.sampled_from(_PURPOSES))
_RULES = st.lists(
    st.fixed_dictionaries(
        {
            "agencies": st.just("*") | st.lists(st.sampled_from(_AGENCIES), max_size=2),
            "purposes": st.just("*") | st.lists(st.sampled_from(_PURPOSES), max_size=2),
        }
    ),
    max_size=3,
)


class Sets(RuleBasedStateMachine):
    """Entries filed and unfiled, policies set, changed and removed, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.eligibility = Eligibility()
        self.pairs: dict[int, Pair] = {}
        self.active: set[int] = set()
        self.policies: dict[str, tuple[Policy, int]] = {}

    @initialize()
    def start(self) -> None:
        self.agree()

    @rule(slots=st.lists(_SLOTS, unique=True, max_size=4), pair=_PAIRS)
    def file(self, slots: list[int], pair: Pair) -> None:
        new = [slot for slot in slots if slot not in self.pairs]
        if new:
            self.eligibility.file(new, pair)
            self.pairs |= dict.fromkeys(new, pair)

    @rule(slots=st.sets(_SLOTS), pair=_PAIRS)
    def unfile(self, slots: set[int], pair: Pair) -> None:
        filed = {slot for slot in slots if self.pairs.get(slot) == pair}
        if filed:
            self.eligibility.unfile(BitMap(filed), pair)
            self.active -= filed
            for slot in filed:
                del self.pairs[slot]

    @rule(slot=_SLOTS)
    def start_entry(self, slot: int) -> None:
        if slot in self.pairs:
            self.eligibility.active.add(slot)
            self.active.add(slot)

    @rule(source=st.sampled_from(_SOURCES), rules=_RULES, revision=st.integers(0, 100))
    def set_policy(self, source: str, rules: object, revision: int) -> None:
        document = policy(source=source, rules=rules)
        self.eligibility.set_policy(document, revision)
        self.policies[source] = (document, revision)

    @rule(source=st.sampled_from(_SOURCES))
    def remove_policy(self, source: str) -> None:
        self.eligibility.remove_policy(source)
        self.policies.pop(source, None)

    @rule()
    def copy(self) -> None:
        """What becomes of the original is nothing to the copy."""
        original, self.eligibility = self.eligibility, self.eligibility.copy()
        for pair, slots in list(original.pairs.items()):
            original.unfile(slots.copy(), pair)
        for source in _SOURCES:
            original.remove_policy(source)

    def allowed(self, slot: int, source: str) -> bool:
        agency, purpose = self.pairs[slot]
        return any(
            (each.agencies == "*" or agency in each.agencies)
            and (each.purposes == "*" or purpose in each.purposes)
            for each in self.policies[source][0].rules
        )

    @invariant()
    def agree(self) -> None:
        assert self.eligibility.policy_count == len(self.policies)
        for source in _SOURCES:
            eligible = set()
            for slot in self.pairs:
                denial = self.eligibility.denial(slot, source, None)
                if slot not in self.active:
                    assert denial == NOT_STARTED
                elif source not in self.policies:
                    assert denial == NO_POLICY
                elif not self.allowed(slot, source):
                    assert denial == NOT_ALLOWED
                else:
                    assert denial is None
                    eligible.add(slot)
            assert set(self.eligibility.eligible(source)) == eligible
            of_source = set(self.eligibility.allowed(source))
            assert of_source & self.active == eligible
            assert of_source == {
                slot
                for slot in self.pairs
                if self.eligibility.policy_denial(slot, source, None) is None
            }
            if source in self.policies:
                assert self.eligibility.revision_of(source) == self.policies[source][1]
            else:
                with pytest.raises(KeyError):
                    self.eligibility.revision_of(source)

    @invariant()
    def nothing_is_left_of_what_is_gone(self) -> None:
        assert set(self.eligibility.active) == self.active
        held = {slot: pair for pair, slots in self.eligibility.pairs.items() for slot in slots}
        assert held == self.pairs
        assert {
            each.source: (each, revision) for each, revision in self.eligibility.policies
        } == self.policies


TestSets = Sets.TestCase


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ("US", "US", True),
        ("US", "US-CA", True),
        ("US-CA", "US-CA", True),
        ("US-CA", "US", False),
        ("US-CA", "US-C", False),
        ("US-C", "US-CA", False),
        ("NL", "US-NL", False),
        ("US", "CA", False),
    ],
)
def test_which_region_covers_which(wide: str, narrow: str, covers: bool) -> None:
    assert region_covers(wide, narrow) is covers


@pytest.mark.parametrize(
    ("regions", "read_region", "denial"),
    [
        (None, None, None),
        (None, "US-CA", None),
        (["US"], "US-CA", None),
        (["NL", "US-CA"], "US-CA", None),
        (["NL", "US-CA"], "US-NV", POLICY_REGION),
        (["US-CA"], "US", POLICY_REGION),
        (["US"], None, POLICY_REGION),
    ],
)
def test_a_policy_for_regions(
    regions: list[str] | None, read_region: str | None, denial: str | None
) -> None:
    eligibility = Eligibility()
    eligibility.file([0], ("AG1", "stolen_vehicle"))
    eligibility.active.add(0)
    eligibility.set_policy(policy(regions=regions), 0)
    assert eligibility.denial(0, "S1", read_region) == denial


def test_no_rules_deny_all() -> None:
    eligibility = Eligibility()
    eligibility.file([0], ("AG1", "stolen_vehicle"))
    eligibility.active.add(0)
    eligibility.set_policy(policy(rules=[]), 0)
    assert eligibility.denial(0, "S1", None) == NOT_ALLOWED
    assert set(DENIAL_REASONS) >= {NOT_ALLOWED, NO_POLICY, NOT_STARTED, POLICY_REGION}
