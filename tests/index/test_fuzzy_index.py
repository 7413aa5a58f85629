"""Which entries are filed beyond their exact plate, and that copies go ways of their own."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from engine.index.fuzzy_index import NOTHING_SIMILAR, Similar
from engine.plates.misreads import Misreads


class Entry(NamedTuple):
    """What of an entry counts here."""

    plate: str
    confusables: bool | None = None
    distance: int | None = None
    region: str | None = None


_ENTRIES = [
    Entry("ABC123"),
    Entry("ABC124", False, 0),
    Entry("ABC125", True),
    Entry("ABC126", None, 1),
    Entry("ABC127", True, 1),
    Entry("ABC?28"),
    Entry("ABC?29", True),
    Entry("ABC?30", None, 1),
]


def filed() -> Similar:
    similar = Similar(Misreads.load())
    similar.put(enumerate(_ENTRIES))
    return similar


@pytest.mark.parametrize(
    ("plate", "slots"),
    [
        ("ABC123", {3, 4}),
        ("A8CI25", {2, 3, 4}),
        ("ABC12", {3, 4}),
        ("ABCI27", {3, 4}),
        ("ABC128", {3, 4, 5}),
        ("A8CX29", {6}),
        ("ABCX30", {7}),
        ("NOTHERE", set()),
    ],
)
def test_entries_are_filed_by_what_they_ask_for(plate: str, slots: set[int]) -> None:
    """Candidates of a distance come whether look-alikes count or not."""
    assert filed().slots_like(plate) == slots


@pytest.mark.parametrize("distance", [None, 1])
@pytest.mark.parametrize(
    ("region", "found"),
    [("DE", {0}), ("DE-BY", {0}), (None, {0}), ("SE", set()), ("US-CA", set())],
)
def test_an_entry_is_filed_by_the_look_alikes_of_its_region(
    region: str | None, found: set[int], distance: int | None
) -> None:
    """So a list of another region costs no read anything: nothing is found for it."""
    similar = Similar(Misreads.load())
    entries = [Entry("FÜÜ?123" if distance is None else "FÜÜS123", True, distance, region)]
    similar.put(enumerate(entries))
    assert similar.slots_like("FUUS123") == found
    similar.put([(1, Entry("FÜÜS123", True, None, region))])
    assert similar.slots_like("FUUS123") == found | ({1} if found else set())
    assert similar.slots_like("FUÜS123") >= found
    similar.drop([(0, entries[0].plate), (1, "FÜÜS123")])
    assert len(similar) == 0
    assert similar.slots_like("FUUS123") == set()


def test_what_is_not_filed_is_passed_over_when_dropped() -> None:
    similar = filed()
    assert len(similar) == 6
    assert similar.scan_tables[:3] == (True, True, True)
    similar.drop([(slot, each.plate) for slot, each in enumerate(_ENTRIES) if slot % 2])
    assert len(similar) == 3
    assert similar.slots_like("ABC128") == {4}
    similar.drop([(slot, each.plate) for slot, each in enumerate(_ENTRIES) if slot % 2 == 0])
    assert len(similar) == 0
    assert similar.scan_tables[:3] == NOTHING_SIMILAR[:3] == (False, False, False)


def test_a_copy_goes_its_own_way() -> None:
    similar = filed()
    copied = similar.copy()
    similar.drop([(slot, each.plate) for slot, each in enumerate(_ENTRIES)])
    copied.put([(100, Entry("XYZ", True)), (101, Entry("X?Z")), (102, Entry("XY", None, 1))])
    assert similar.slots_like("XYZ") == set()
    assert copied.slots_like("XYZ") == {100, 101, 102}
    assert copied.slots_like("A8CX29") == {6}
