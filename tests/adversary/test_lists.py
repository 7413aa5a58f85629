"""Lists: the library's index gives what the worker gives, and refuses what the worker refuses."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine import HotListIndex
from tests.adversary.sides import PURPOSES, Sides
from tests.fakes.documents import DAY_MS, at, detection_json, entry_json, policy_json

_ENTRIES = st.fixed_dictionaries(
    {
        "entry_id": st.sampled_from(["E1", "E2", "E3"]),
        "plate": st.sampled_from(["ABC108", "ABC1?8", "ABC1OB", "AB?", "abc108"]),
        "agency": st.sampled_from(["AG1", "AG2"]),
        "purpose": st.sampled_from(["stolen_vehicle", "unpaid_toll", "curiosity"]),
        "confusables": st.booleans(),
        "starts_at": st.sampled_from([None, at(30_000)]),
        "expires_at": st.sampled_from([at(DAY_MS), at(60_000), at(366 * DAY_MS)]),
        "suppress_s": st.just(0),
    }
)


@given(
    st.lists(_ENTRIES, min_size=1, max_size=6),
    st.sampled_from(["*", ["AG1"], []]),
    st.lists(st.sampled_from(["ABC108", "ABC1O8", "ABC1OB"]), min_size=1, max_size=4),
)
def test_the_library_matches_as_the_contract_says(
    entries: list[dict[str, Any]], agencies: Any, plates: list[str]
) -> None:
    """The contract: "The same checks run in the commands and again in the worker". A refused entry
    changes nothing in the library, whose caller learns of it; so each id is added once."""
    sides, library = Sides(), HotListIndex(PURPOSES)
    rules = [{"agencies": agencies, "purposes": "*"}]
    sides.policy("S1", rules=rules)
    library.set_policy(policy_json(source="S1", rules=rules))
    by_id = {entry["entry_id"]: entry_json(**entry) for entry in entries}
    for entry_id, entry in by_id.items():
        sides.record(entry_id, entry)
    report = library.add_many(list(by_id.values()))
    assert report.added == len(sides.oracle.entries)
    assert len(report.refused) == len(by_id) - report.added
    for seconds in (0, 30, 60):
        sides.seconds = seconds
        for plate in plates:
            outcome = sides.read(plate=plate)
            matches = library.snapshot().match(detection_json(plate=plate), at=sides.now_ms)
            assert sorted((match.entry.entry_id, match.match_type) for match in matches) == [
                (match.entry["entry_id"], match.likeness.match_type) for match in outcome.matches
            ]
