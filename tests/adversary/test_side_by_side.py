"""Histories of several sources, corrected entries and policies, by the engine and the oracle."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.adversary.sides import Sides
from tests.fakes.documents import DAY_MS, at

_SOURCES = ("S1", "S2", "S3")
_PLATES = ("ABC108", "ABC1O8", "ABC1OB", "A8C108", "XYZ900")
_ENTRIES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "entry_id": st.sampled_from(["E1", "E2", "E3"]),
        "plate": st.sampled_from(["ABC108", "ABC108", "ABC1?8", "ABC1OB"]),
        "agency": st.sampled_from(["AG1", "AG1", "AG2"]),
        "purpose": st.sampled_from(["stolen_vehicle", "stolen_vehicle", "wanted_person"]),
        "confusables": st.booleans(),
        "suppress_s": st.sampled_from([None, 0, 5, 20, 300]),
        "created_at": st.sampled_from([at(-DAY_MS), at(-DAY_MS), at(0), at(400_000)]),
        "starts_at": st.sampled_from([None, None, None, at(30_000)]),
        "expires_at": st.sampled_from([at(DAY_MS), at(DAY_MS), at(60_000), at(-DAY_MS)]),
    }
)
_RULES = st.lists(
    st.fixed_dictionaries(
        {
            "agencies": st.sampled_from(["*", ["AG1"], ["AG2"]]),
            "purposes": st.sampled_from(["*", ["stolen_vehicle"]]),
        }
    ),
    max_size=2,
)
_READS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "seconds": st.integers(-90, 90),
        "source": st.sampled_from(_SOURCES),
        "camera": st.sampled_from(["gate", "gate", "bridge"]),
        "read_id": st.sampled_from(["1", "2", "3", "4"]),
        "plate": st.sampled_from(_PLATES),
        "confidence": st.sampled_from([None, 0.01, 0.05, 0.5, 0.95, 1.0]),
    }
)


@given(st.data())
def test_the_engine_gives_what_the_contract_gives(data: st.DataObject) -> None:
    """The contract: "the set of distinct match ids on the matches topic equals what the contract's
    rules give for the reads and the control records"."""
    sides = Sides()
    for source in _SOURCES[:2]:
        sides.policy(source)
    sides.entry("E1", plate="ABC108", confusables=True)
    sides.entry("E2", plate="ABC1?8")
    for _ in range(data.draw(st.integers(5, 40))):
        sides.seconds += data.draw(st.sampled_from([0, 0, 1, 10]))
        match data.draw(st.integers(0, 9)):
            case 0:
                sides.entry(**data.draw(_ENTRIES))
            case 1:
                source, rules = data.draw(st.sampled_from(_SOURCES)), data.draw(_RULES)
                sides.policy(source, removed=not rules, rules=rules)
            case 2:
                sides.entry("E3", removed=True)
            case _:
                read = dict(data.draw(_READS))
                sides.read(sides.seconds + read.pop("seconds"), **read)
