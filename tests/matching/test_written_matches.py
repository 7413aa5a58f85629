"""`engine.matching.written_matches`: the same matches as objects."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.in_parts import InParts, PartsList, parts_of
from engine.matching.outcome import FoundMatch
from engine.matching.written_matches import WrittenMatches, joined_parts
from tests.fakes.written_matches import FOUND, written


@given(st.lists(FOUND, max_size=8))
def test_they_are_the_same(found: list[FoundMatch]) -> None:
    matches = written(found)
    assert [*matches] == found
    assert len(matches) == len(found)
    assert matches.kinds == Counter((each.match_type, each.purpose) for each in found)


@given(st.lists(FOUND, max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_some_of_them(found: list[FoundMatch], first: int, last: int) -> None:
    some = written(found)[first:last]
    assert [*some] == [*some.copy()] == found[first:last]


def test_a_copy_holds_nothing_else() -> None:
    found = [
        FoundMatch(b'{"match_id":"%032d"' % n, f"{n:032}", "", "exact", b"", "access", b"", 0)
        for n in range(3)
    ]
    assert bytes(written(found)[1:2].copy().data) == found[1].value


@given(st.lists(FOUND, min_size=1, max_size=12), st.sets(st.integers(1, 11)), st.data())
def test_parts_of_one_time_that_follow_each_other_are_one(
    found: list[FoundMatch], cuts: set[int], data: st.DataObject
) -> None:
    whole, ends = written(found), sorted({cut for cut in cuts if cut < len(found)} | {len(found)})
    cut = [whole[begin:end].copy() for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    [one] = joined_parts(cut)
    assert isinstance(one, WrittenMatches)
    assert [*one] == found
    as_objects = data.draw(st.sets(st.integers(0, len(cut) - 1)))
    mixed = [[*part] if number in as_objects else part for number, part in enumerate(cut)]
    joined = [*joined_parts(mixed)]
    assert [*InParts(joined)] == found
    kinds = [isinstance(part, WrittenMatches) for part in joined]
    assert kinds.count(False) == len(as_objects)
    assert not any(one and other for one, other in pairwise(kinds))


def test_parts_of_two_times_stay_two() -> None:
    found = [FoundMatch(b'{"match_id":"%032d"' % 1, f"{1:032}", "", "exact", b"", "access", b"", 0)]
    parts = [written(found), written(found)]  # each with names of its own for its numbers
    assert [*joined_parts(parts)] == parts


@given(st.lists(st.lists(st.integers(), max_size=3) | st.integers(), max_size=8))
def test_parts_are_one_sequence(added: list[list[int] | int]) -> None:
    whole: PartsList[int] = PartsList()
    expected: list[int] = []
    for each in added:
        if isinstance(each, list):
            whole.add(each)
            expected += each
        else:
            whole.append(each)
            expected.append(each)
    assert whole == expected
    assert (len(whole), whole[1:]) == (len(expected), expected[1:])
    assert bool(whole) == bool(expected)
    assert all(parts_of(whole))
    assert InParts(parts_of(whole)) == whole
    assert repr(whole) == repr(expected)


def test_what_is_added_is_not_changed() -> None:
    whole: PartsList[int] = PartsList()
    part = [1]
    whole.add(part)
    whole.append(2)
    assert (part, [*whole.parts]) == ([1], [[1], [2]])
