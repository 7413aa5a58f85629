"""`compare` beside a naive definition: every edit is made, and regular expressions say the rest."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.limits import PLATE_CHARACTERS
from engine.plates.likeness import Likeness, Misread, compare
from engine.plates.misreads import Misreads

MISREADS = Misreads.load()
#: Groups of an operator's own, with characters of other scripts.
FOREIGN = Misreads(msgspec.structs.replace(MISREADS.table, groups=["ÖO0", "千干", "٠۰"], counts={}))


def same(char: str, misreads: Misreads, confusables: bool) -> str:
    """A regular expression for a character of the listed plate."""
    if confusables:
        for group in misreads.groups:
            if char in group:
                return f"[{group}]"
    return char


def naive(
    plate: str, listed: str, confusables: bool, distance: int, misreads: Misreads
) -> Likeness | None:
    """What `compare` says, from its docstring and by trying everything."""

    def fits(read: str, known: str) -> bool:
        parts = ("." if char == "?" else same(char, misreads, confusables) for char in known)
        return re.fullmatch("".join(parts), read) is not None

    def unlike(pairs: list[tuple[int, str]], read: str) -> tuple[int, ...]:
        return tuple(
            at for (at, char), other in zip(pairs, read, strict=True) if char not in (other, "?")
        )

    places = list(enumerate(listed))
    if plate == listed:
        return Likeness("exact")
    if "?" in listed:
        if fits(plate, listed):
            return Likeness("partial", unlike(places, plate))
        return None
    if fits(plate, listed):
        return Likeness("confusable", unlike(places, plate))
    if not distance:
        return None
    ways: list[tuple[int, int, Likeness]] = []

    def way(kind: str, at: int, read: str, kept: list[tuple[int, str]]) -> None:
        if fits(read, "".join(char for _, char in kept)):
            look_alikes = unlike(kept, read)
            found = Likeness("distance", look_alikes, Misread(kind, at))  # type: ignore[arg-type]
            ways.append((len(look_alikes), at, found))

    for at in range(len(listed) + 1):
        rest = places[:at] + places[at + 1 :]
        if at < len(listed):
            way("missing", at, plate, rest)
            if at < len(plate):
                way("substituted", at, plate[:at] + plate[at + 1 :], rest)
        if at < len(plate):
            way("added", at, plate[:at] + plate[at + 1 :], places)
    return min(ways, default=(0, 0, None), key=lambda each: each[:2])[2]


#: Few characters, so that plates are often like each other, and runs are common.
CHARACTERS = st.sampled_from("O0QI1LAÖ千干٠۰")
PLATES = st.text(CHARACTERS, min_size=1, max_size=PLATE_CHARACTERS)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """A listed plate, and a read that is a few edits off."""
    listed = draw(PLATES)
    read = list(listed)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(read)))
        read[at : at + draw(st.integers(0, 1))] = draw(st.lists(CHARACTERS, max_size=1))
    plate = "".join(read)[:PLATE_CHARACTERS] or draw(CHARACTERS)
    for at in draw(st.sets(st.integers(0, len(listed) - 1), max_size=2)):
        if draw(st.booleans()):
            listed = f"{listed[:at]}?{listed[at + 1 :]}"
    return plate, listed


@given(pairs(), st.booleans(), st.integers(0, 1), st.sampled_from([MISREADS, FOREIGN]))
def test_as_the_naive_definition_says(
    pair: tuple[str, str], confusables: bool, distance: int, misreads: Misreads
) -> None:
    plate, listed = pair
    if "?" in listed:
        distance = 0  # no entry asks for both
    found = compare(plate, listed, confusables=confusables, distance=distance, misreads=misreads)
    assert found == naive(plate, listed, confusables, distance, misreads)
    if found is not None:
        assert found.positions == tuple(sorted(set(found.positions)))
        assert all(0 <= at < PLATE_CHARACTERS for at in found.positions)
        assert all(listed[at] != "?" for at in found.positions if at < len(listed))


TURNED = {"substituted": "substituted", "missing": "added", "added": "missing"}


@given(pairs(), st.booleans(), st.integers(0, 1))
def test_the_other_way_round(pair: tuple[str, str], confusables: bool, distance: int) -> None:
    one, other = pair[0], pair[1].replace("?", "A")
    there = compare(one, other, confusables=confusables, distance=distance, misreads=MISREADS)
    back = compare(other, one, confusables=confusables, distance=distance, misreads=MISREADS)
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        assert there.match_type == back.match_type
        assert len(there.look_alikes) == len(back.look_alikes)
        if there.misread is not None and back.misread is not None:
            assert TURNED[there.misread.kind] == back.misread.kind


@pytest.mark.parametrize(
    ("plate", "listed", "found"),
    [
        ("ABC123", "ABC123", Likeness("exact")),
        ("A8CI23", "ABC123", Likeness("confusable", (1, 3))),
        ("QO0D", "0000", Likeness("confusable", (0, 1, 3))),
        ("ABX123", "ABC123", Likeness("distance", (), Misread("substituted", 2))),
        ("8BX1Z3", "BBC123", Likeness("distance", (0, 4), Misread("substituted", 2))),
        ("AC123", "ABC123", Likeness("distance", (), Misread("missing", 1))),
        ("ABC12", "ABC123", Likeness("distance", (), Misread("missing", 5))),
        ("ABBC123", "ABC123", Likeness("distance", (), Misread("added", 1))),
        ("ABC1234", "ABC123", Likeness("distance", (), Misread("added", 6))),
        # Of a run, the first; but where fewer look-alikes remain, that one.
        ("AABC", "AAABC", Likeness("distance", (), Misread("missing", 0))),
        ("A0BC", "AO0BC", Likeness("distance", (), Misread("missing", 1))),
        ("AOBC", "AO0BC", Likeness("distance", (), Misread("missing", 2))),
        ("AO0BC", "AOBC", Likeness("distance", (), Misread("added", 2))),
        ("A0OBC", "AOBC", Likeness("distance", (), Misread("added", 1))),
        ("Z3", "123", Likeness("distance", (1,), Misread("missing", 0))),
        # As long as a plate can be: only a shorter one can have lost something.
        ("A" * 16, "A" * 15, Likeness("distance", (), Misread("added", 0))),
        ("A" * 15 + "B", "A" * 15, Likeness("distance", (), Misread("added", 15))),
        ("A" * 15, "A" * 15 + "B", Likeness("distance", (), Misread("missing", 15))),
        ("ABC1X3", "A?C1?3", Likeness("partial")),
        ("48C1X3", "4?C1?E", None),
        ("4BCIX3", "4?C1?3", Likeness("partial", (3,))),
        ("ABC12", "ABC12?", None),
        ("AXC12Y", "ABC123", None),
        ("ABC1", "ABC123", None),
        ("BA", "AB", None),
        ("X", "A", Likeness("distance", (), Misread("substituted", 0))),
    ],
)
def test_with_everything_asked_for(plate: str, listed: str, found: Likeness | None) -> None:
    assert compare(plate, listed, confusables=True, distance=1, misreads=MISREADS) == found


@pytest.mark.parametrize(
    ("plate", "listed", "confusables", "distance"),
    [
        ("A8C123", "ABC123", False, 0),
        ("A8CI23", "ABC123", False, 1),
        ("ABX123", "ABC123", True, 0),
        ("ABC12", "ABC123", True, 0),
        ("A8CX", "ABC?", False, 0),
    ],
)
def test_only_what_is_asked_for(plate: str, listed: str, confusables: bool, distance: int) -> None:
    asked = compare(plate, listed, confusables=confusables, distance=distance, misreads=MISREADS)
    assert asked is None


def test_positions_of_both_kinds() -> None:
    found = compare("8BX1Z3", "BBC123", confusables=True, distance=1, misreads=MISREADS)
    assert found is not None
    assert found.positions == (0, 2, 4)
    # One more in front of a look-alike: both stand at one position.
    found = compare("AXO1", "A01", confusables=True, distance=1, misreads=MISREADS)
    assert found == Likeness("distance", (1,), Misread("added", 1))
    assert found.positions == (1,)
