"""Life cycle: which entries are admitted, from when, until when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adversary.sides import Sides, count
from tests.fakes.documents import DAY_MS, at, entry_json


@pytest.fixture
def sides() -> Sides:
    made = Sides()
    made.policy("S1")
    return made


_YEAR_MS = 365 * DAY_MS


@pytest.mark.parametrize(
    ("fields", "is_admitted"),
    [
        ({"created_at": at(300_000)}, True),
        ({"created_at": at(300_001)}, False),
        ({"created_at": at(0), "expires_at": at(_YEAR_MS)}, True),
        ({"created_at": at(0), "expires_at": at(_YEAR_MS + 1)}, False),
        ({"created_at": at(1), "expires_at": at(1)}, False),
        ({"created_at": at(100_000), "expires_at": at(_YEAR_MS + 100_000)}, True),
        ({"purpose": "endangered_person", "expires_at": at(89 * DAY_MS)}, True),
        ({"purpose": "endangered_person", "expires_at": at(89 * DAY_MS + 1)}, False),
        ({"plate": "ABC1??"}, True),
        ({"plate": "ABC???"}, False),
        ({"plate": "ABC1??", "purpose": "unpaid_toll"}, False),
        ({"plate": "ABC12", "purpose": "unpaid_toll"}, True),
        ({"plate": "abc123"}, False),
        ({"plate": "ABC 123"}, False),
        ({"plate": "\u0410BC123"}, False),
        ({"plate": "ABCD" + 12 * "?"}, True),
        ({"plate": "ABCD" + 13 * "?"}, False),
        ({"purpose": "curiosity"}, False),
        ({"purpose": "STOLEN_VEHICLE"}, False),
        ({"authority": {"kind": "hunch", "reference": "1"}}, False),
        ({"authority": {"kind": "case"}}, False),
        ({"requested_by": None}, False),
        ({"requested_by": ""}, False),
        ({"expires_at": "2027-01-01"}, False),
        ({"expires_at": "2026-12-31T23:59:59+01:00"}, False),
        ({"suppress_s": 86_401}, False),
        ({"suppress_s": -1}, False),
        ({"priority": 6}, False),
        ({"note": "from upstream"}, True),
    ],
)
def test_an_entry_is_admitted_or_refused(
    sides: Sides, fields: dict[str, Any], is_admitted: bool
) -> None:
    """The contract: "An entry is refused [...] where: a required field is missing; the purpose is
    not in the purposes file; `expires_at` is not after `created_at` or is further off than the
    purpose's longest term; the plate has fewer known characters than the purpose's floor, or is not
    in normal form"; "`created_at` may not lie in the future (five minutes of clock skew aside)"."""
    sides.record("E1", entry_json(**fields))
    assert ("E1" in sides.oracle.entries) == is_admitted
    assert ("E1" in sides.listed()) == is_admitted


def test_a_record_whose_key_is_not_its_entrys_id_changes_no_other_entry(sides: Sides) -> None:
    """The key of the hot list topic is the "entry id"."""
    sides.entry("E1", suppress_s=0)
    sides.record("E2", entry_json(entry_id="E1", plate="XYZ999"))
    assert count(sides.read()) == 1
    assert count(sides.read(plate="XYZ999")) == 0


def test_a_refused_record_ends_what_it_replaces(sides: Sides) -> None:
    """The contract: "the result depends only on the read, the control state and the clock": a
    worker that starts after compaction finds the refused record alone, and no worker may differ
    from it."""
    sides.entry("E1", suppress_s=0)
    sides.record("E1", entry_json(entry_id="E1", purpose="curiosity"))
    assert count(sides.read()) == 0


def test_an_entry_ends_by_itself(sides: Sides) -> None:
    """The contract: "An entry stops matching at `expires_at` by itself, without a message from
    anyone"."""
    sides.entry(expires_at=at(10_000), suppress_s=0)
    results = []
    for sides.seconds in (0, 9.999, 10, 11):
        results.append(count(sides.read()))
    assert results == [1, 1, 0, 0]


def test_a_read_captured_before_the_end_and_processed_after_it_does_not_match(
    sides: Sides,
) -> None:
    """The contract: "depends only on the read, the control state and the clock"."""
    sides.entry(expires_at=at(10_000), suppress_s=0)
    sides.seconds = 10
    assert count(sides.read(5)) == 0


def test_an_entry_starts_by_itself(sides: Sides) -> None:
    """starts_at: "When the entry starts to match" (entry.v1.json)."""
    sides.entry(starts_at=at(10_000), expires_at=at(20_000), suppress_s=0)
    results = []
    for sides.seconds in (0, 9.999, 10, 19.999, 20):
        results.append(count(sides.read()))
    assert results == [0, 0, 1, 1, 0]


def test_an_extended_entry_outlives_its_former_end(sides: Sides) -> None:
    """The contract: "A change on a control topic counts for every read processed after"."""
    sides.entry(expires_at=at(10_000), suppress_s=0)
    sides.entry(expires_at=at(20_000), suppress_s=0)
    sides.seconds = 15
    assert count(sides.read()) == 1
    sides.entry(expires_at=at(15_000), suppress_s=0)
    assert count(sides.read()) == 0


def test_a_removed_entry_comes_back_with_a_new_revision(sides: Sides) -> None:
    """Entry, "or null (tombstone)"."""
    sides.entry(suppress_s=0)
    sides.entry(removed=True)
    assert count(sides.read()) == 0
    revision = sides.entry(suppress_s=0)
    assert sides.read().matches[0].entry_revision == revision


def test_an_entry_that_is_removed_and_added_again_has_a_new_term(sides: Sides) -> None:
    """A limit that ARCHITECTURE.md and the privacy guide state: the term ends with the removal."""
    sides.entry(created_at=at(0), expires_at=at(_YEAR_MS))
    sides.entry(removed=True)
    sides.seconds = 200 * DAY_MS / 1000
    sides.entry(created_at=at(200 * DAY_MS), expires_at=at(200 * DAY_MS + _YEAR_MS))
    sides.seconds = 400 * DAY_MS / 1000
    assert count(sides.read()) == 1
