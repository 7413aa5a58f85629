"""Identity: what is one match, and what is another."""

from __future__ import annotations

import pytest

from tests.adversary.sides import Sides, count


def test_two_sources_that_use_one_read_id_have_two_match_ids(sides: Sides) -> None:
    """The contract: "a read id is unique within its source only"."""
    sides.entry()
    ids = [
        sides.read(read_id="1", source=source, camera="gate").matches[0].match_id
        for source in ("S1", "S2")
    ]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("S\x1f1", "2"), ("S", "1\x1f2")),
        (("S", "2\x1f"), ("S\x1f2", "")),
        (("S1", "2"), ("S", "12")),
        (("S ", "1"), ("S", " 1")),
        (("\u00e9", "1"), ("e\u0301", "1")),
    ],
)
def test_no_choice_of_names_makes_two_reads_one_match(
    sides: Sides, one: tuple[str, str], other: tuple[str, str]
) -> None:
    """The contract: "xxh3-128 in hex of entry id, entry revision, source and read id": a sender
    cannot choose a source and a read id that make the match of another source's read look like a
    duplicate."""
    sides.entry(suppress_s=0)
    ids = set()
    for source, read_id in (one, other):
        sides.policy(source)
        ids.add(sides.read(source=source, read_id=read_id or "x").matches[0].match_id)
    assert len(ids) == 2


def test_the_same_read_sent_again_has_the_same_match_id(sides: Sides) -> None:
    """The contract: "deterministic [...] so that a consumer can drop a duplicate"."""
    sides.entry(suppress_s=0)
    first, second = (sides.read(read_id="same") for _ in range(2))
    assert first.matches[0].match_id == second.matches[0].match_id


def test_another_revision_of_the_entry_is_another_match(sides: Sides) -> None:
    """The contract: "entry id, entry revision, source and read id"."""
    ids = set()
    for priority in (1, 2):
        sides.entry(suppress_s=0, priority=priority)
        ids.add(sides.read(read_id="same").matches[0].match_id)
    assert len(ids) == 2


def test_two_entries_of_one_plate_match_each(sides: Sides) -> None:
    """The contract: "a read that an entry matches": each entry has its own match, agency and
    instructions."""
    sides.entry("E1", agency="AG1")
    sides.entry("E2", agency="AG2")
    outcome = sides.read()
    assert [match.entry["agency"] for match in outcome.matches] == ["AG1", "AG2"]


def test_a_match_holds_the_entry_as_it_stood(sides: Sides) -> None:
    """The contract: "**entry** (the entry as it stood)", "**policy** {source, revision}"."""
    sides.entry(suppress_s=0, instructions="first")
    before = sides.read()
    revision = sides.policy("S1", rules=[{"agencies": ["AG1"], "purposes": "*"}])
    sides.entry(suppress_s=0, instructions="second")
    after = sides.read()
    assert before.matches[0].entry["instructions"] == "first"
    assert after.matches[0].entry["instructions"] == "second"
    assert after.matches[0].policy_revision == revision


def test_suppression_of_cameras_whose_names_run_into_each_other(sides: Sides) -> None:
    """The contract: "at one camera of one source": no two sources or cameras are one because their
    names, put behind each other, are one text."""
    sides.entry()
    for source, camera in (("S1", "2 gate"), ("S12", " gate"), ("S1 2", "gate"), ("S1", "2 gat")):
        sides.policy(source)
        assert count(sides.read(source=source, camera=camera)) == 1
