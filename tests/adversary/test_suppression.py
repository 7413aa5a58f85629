"""Suppression: what is reported once, and what must not be hidden by that."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adversary.sides import Sides, count


def test_another_sources_camera_of_the_same_name_suppresses_nothing(sides: Sides) -> None:
    """The contract: "at one camera of one source": cameras are "named by its source"."""
    sides.entry()
    assert [count(sides.read(source=source, camera="gate")) for source in ("S1", "S2")] == [1, 1]
    assert [count(sides.read(source=source, camera="gate")) for source in ("S1", "S2")] == [0, 0]


def test_the_count_of_one_source_is_not_in_the_match_of_another(sides: Sides) -> None:
    """The contract: "**suppressed** (how many reads of this entry at this camera [...])"."""
    sides.entry(suppress_s=5)
    sides.read(0, source="S1")
    for second in (1, 2, 3):
        sides.read(second, source="S1")
    assert sides.read(10, source="S2").matches[0].suppressed == 0
    assert sides.read(10, source="S1").matches[0].suppressed == 3


@pytest.mark.parametrize(
    "correction",
    [
        {"plate": "ABC1?3"},
        {"agency": "AG2"},
        {"purpose": "wanted_person"},
    ],
)
def test_a_corrected_entry_is_reported_at_once(sides: Sides, correction: dict[str, Any]) -> None:
    """The contract: "of one entry, as it lists its plate, agency and purpose now": another agency
    has not been notified of what the former one was."""
    sides.entry()
    assert count(sides.read(0)) == 1
    sides.entry(**correction)
    assert [count(sides.read(second)) for second in (1, 2)] == [1, 0]


def test_an_entry_that_keeps_its_plate_agency_and_purpose_stays_suppressed(sides: Sides) -> None:
    """The contract: "of one entry, as it lists its plate, agency and purpose now": nothing else
    counts."""
    sides.entry()
    sides.read(0)
    for change in ({"priority": 1}, {"instructions": "Stop"}, {"list_id": "L2"}, {}):
        sides.entry(**change)
        assert count(sides.read(1)) == 0


def test_an_exact_read_is_reported_after_a_look_alike(sides: Sides) -> None:
    """The contract: "a read that is a better match (a closer likeness [...]) than what was told is
    told too"."""
    sides.entry(plate="ABC108", confusables=True)
    outcomes = [
        sides.read(second, plate=plate) for second, plate in enumerate(("ABC1O8", "ABC108"))
    ]
    assert [match.likeness.match_type for o in outcomes for match in o.matches] == [
        "confusable",
        "exact",
    ]
    assert count(sides.read(3, plate="ABC108")) == 0
    assert count(sides.read(4, plate="ABC1O8", confidence=0.5)) == 0


def test_ten_times_the_confidence_is_reported(sides: Sides) -> None:
    """The contract: "or ten times the confidence"."""
    sides.entry(plate="ABC108", confusables=True, distance=1)
    first = sides.read(0, plate="XBC1O8", confidence=0.05)
    assert count(first) == 1
    low = first.matches[0].likeness.confidence
    outcome = sides.read(1, plate="ABC128", confidence=0.9)
    if outcome.matches:
        assert outcome.matches[0].likeness.confidence >= 10 * low - 0.0001
    assert count(sides.read(2, plate="ABC108", confidence=0.9)) == 1


def test_a_worse_read_is_suppressed_by_the_better_one(sides: Sides) -> None:
    """The contract: "never folded into a worse one": into a better one it is."""
    sides.entry(plate="ABC108", confusables=True)
    assert count(sides.read(0, plate="ABC108", confidence=0.9)) == 1
    outcome = sides.read(1, plate="ABC1O8", confidence=0.9)
    assert count(outcome) == 0
    assert outcome.suppressed[0].by.likeness.match_type == "exact"


def test_a_window_lasts_for_suppress_s_from_a_match_and_no_longer(sides: Sides) -> None:
    """The contract: "at most one match in `suppress_s`": a vehicle that stays is reported
    again."""
    sides.entry(suppress_s=60)
    assert [count(sides.read(40 * number)) for number in range(6)] == [1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("apart_ms", [59_999, 60_000, -59_999, -60_000])
def test_the_edge_of_the_window_on_both_sides(sides: Sides, apart_ms: int) -> None:
    """The contract: "at most one match in `suppress_s`", by the reads' own times, late ones among
    them."""
    sides.entry()
    sides.read(0)
    assert count(sides.read(apart_ms / 1000)) == (abs(apart_ms) == 60_000)


def test_a_camera_with_a_wrong_clock_hides_nothing(sides: Sides) -> None:
    """The contract: "A match is never lost": a read of the year 2999 suppresses none of today's."""
    sides.entry()
    sides.read(captured_at="2999-01-01T00:00:00Z")
    sides.read(captured_at="1900-01-01T00:00:00Z")
    assert count(sides.read()) == 1


def test_each_plate_of_a_partial_entry_is_reported(sides: Sides) -> None:
    """The contract: "by one plate at one camera": two plates that fit one partial plate are two
    vehicles."""
    sides.entry(plate="ABC1?3")
    assert [count(sides.read(plate=plate)) for plate in ("ABC103", "ABC113", "ABC103")] == [1, 1, 0]


def test_a_denied_read_suppresses_nothing_and_is_not_counted(sides: Sides) -> None:
    """The contract: "A match is never lost": what was not reported cannot stand for what may be."""
    sides.entry()
    sides.policy("S1", rules=[])
    assert count(sides.read(0)) == 0
    sides.policy("S1")
    assert sides.read(1).matches[0].suppressed == 0


def test_a_read_processed_again_has_the_same_outcome(sides: Sides) -> None:
    """The contract: "No read is processed twice into two different outcomes"."""
    sides.entry()
    outcomes = [sides.read(second) for second in (10, 0, 75, 5)]
    made = [match.read for outcome in outcomes for match in outcome.matches]
    for read in made:
        sides.again(read)


def test_a_shorter_suppress_s_takes_effect_at_once(sides: Sides) -> None:
    """The contract: "A change on a control topic counts for every read processed after"."""
    sides.entry(suppress_s=3600)
    sides.read(0)
    sides.entry(suppress_s=5)
    assert [count(sides.read(second)) for second in (4, 5)] == [0, 1]
    sides.entry(suppress_s=0)
    assert [count(sides.read(second)) for second in (5, 5)] == [1, 1]


@pytest.mark.parametrize("between", ["removed", "corrected", "refused"])
def test_an_entry_that_is_listed_again_in_the_same_words_repeats_nothing(
    sides: Sides, between: str
) -> None:
    """The contract: "at most one match in `suppress_s` of one entry, as it lists its plate, agency
    and purpose now": it has had that match, whatever stood there for a moment."""
    sides.entry(suppress_s=60)
    assert count(sides.read(0)) == 1
    match between:
        case "removed":
            sides.entry(removed=True)
        case "corrected":
            sides.entry(suppress_s=60, agency="AG2")
        case _:
            sides.entry(suppress_s=60, purpose="curiosity")
    assert sides.tidy() == []
    sides.entry(suppress_s=60)
    assert [count(sides.read(second)) for second in (59, 60)] == [0, 1]


def test_what_was_suppressed_before_a_removal_is_audited_and_the_match_stands(
    sides: Sides,
) -> None:
    """The contract: "at most one match in `suppress_s`": auditing a count frees no second one."""
    sides.entry(suppress_s=60)
    assert [count(sides.read(second)) for second in (0, 1, 2)] == [1, 0, 0]
    sides.entry(removed=True)
    assert [each.suppressed for each in sides.tidy()] == [2]
    sides.entry(suppress_s=60)
    assert [count(sides.read(second)) for second in (30, 59)] == [0, 0]
    assert sides.tidy() == []
