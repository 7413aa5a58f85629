"""Confidence beside Bayes' rule with every other plate tried, and what must hold of it."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.plates.confidence import LEAST, MOST, confidence
from engine.plates.likeness import Likeness, Misread, compare
from engine.plates.misreads import Misreads
from engine.plates.normal_form import WILDCARD
from tests.models.confidence_oracle import KNOWN, ConfidenceOracle

SHIPPED = Misreads.load()


def table(**changes: Any) -> Misreads:
    """The shipped table with something else in it."""
    return Misreads(msgspec.structs.replace(SHIPPED.table, **changes))


def stated(plate: str, listed: str, read: float | None = None, table: Misreads = SHIPPED) -> float:
    """The confidence of a read that is like the listed plate in any way."""
    distance = 0 if WILDCARD in listed else 1
    found = compare(plate, listed, confusables=True, distance=distance, misreads=table)
    assert found is not None
    return confidence(found, listed, plate, read, table)


class Trying(ConfidenceOracle):
    """The oracle, with every plate of a length tried instead of a product over its positions."""

    def all_of(self, pattern: str, plate: str) -> float:
        return self.by_trying(pattern, plate)


@pytest.mark.parametrize(
    ("plate", "listed"),
    [
        ("K7", "K7"),
        ("A2", "AZ"),
        ("ID0", "1OO"),
        ("MX", "MY"),
        ("O2", "OZZ"),
        ("KK", "KKK"),
        ("AB1", "AB"),
        ("771", "71"),
    ],
)
@pytest.mark.parametrize("misreads", [SHIPPED, table(plate_density=0.5, other_pattern_share=0.01)])
def test_as_the_rule_says_when_every_plate_is_tried(
    plate: str, listed: str, misreads: Misreads
) -> None:
    expected = Trying(misreads, 1.0).confidence(plate, listed)
    assert stated(plate, listed, None, misreads) == pytest.approx(expected, abs=5.1e-5)


def test_as_the_rule_says_of_unknown_characters() -> None:
    # That the sought plate may be of the rarer kind too is left out here.
    misreads = table(other_pattern_share=1e-9)
    for plate, listed in [("A7", "A?"), ("2BC", "Z?C"), ("AX", "??")]:
        expected = Trying(misreads, 1.0).confidence(plate, listed)
        assert stated(plate, listed, None, misreads) == pytest.approx(expected, abs=5.1e-5)


def test_a_stated_confidence_scales_all_errors() -> None:
    trying = Trying(SHIPPED, 1.0)
    at_scale_1 = trying.right["A"] * trying.right["2"] * 0.995 ** (2 + 3)
    for scale in (0.1, 0.5, 2.0):
        expected = Trying(SHIPPED, scale).confidence("A2", "AZ")
        # Scales lie on a ladder: half a step of 3% to the side at the most.
        assert stated("A2", "AZ", at_scale_1**scale) == pytest.approx(expected, rel=0.02)


# --- what must hold

CHARACTERS = st.sampled_from(KNOWN + "ÖЖ千٣")
PLATES = st.text(CHARACTERS, min_size=1, max_size=16)
STATED = st.none() | st.floats(0, 1)
#: Where a read is more likely wrong than right, a text with errors may be the better witness.
GOOD = st.none() | st.floats(0.5, 1)


@st.composite
def like_pairs(draw: st.DrawFn) -> tuple[str, str, Likeness]:
    """A read, a listed plate that it is like in some way, and how."""
    listed = draw(PLATES)
    kind = draw(st.sampled_from(["exact", "confusable", "partial", *KINDS]))
    at = draw(st.integers(0, len(listed) - 1))
    plate, misread = listed, None
    if kind == "substituted":
        plate = listed[:at] + draw(CHARACTERS.filter(lambda char: char != listed[at]))
        plate += listed[at + 1 :]
    elif kind == "missing":
        assume(len(listed) > 1)
        plate = listed[:at] + listed[at + 1 :]
    elif kind == "added":
        assume(len(listed) < 16)
        plate = listed[:at] + draw(CHARACTERS) + listed[at:]
    elif kind == "confusable":
        plate = "".join(draw(st.sampled_from(group_of(char))) for char in listed)
    elif kind == "partial":
        unknown = draw(st.sets(st.integers(0, len(listed) - 1), min_size=1))
        listed = "".join(WILDCARD if n in unknown else char for n, char in enumerate(listed))
    if kind in KINDS:
        misread = Misread(KINDS[kind], at)
        return plate, listed, Likeness("distance", (), misread)
    found = compare(plate, listed, confusables=True, distance=0, misreads=SHIPPED)
    assert found is not None
    return plate, listed, found


KINDS: dict[str, Any] = {kind: kind for kind in ("substituted", "missing", "added")}


def group_of(char: str) -> str:
    return next((group for group in SHIPPED.groups if char in group), char)


@given(like_pairs(), STATED)
def test_never_certain_and_never_excluded(
    pair: tuple[str, str, Likeness], read: float | None
) -> None:
    plate, listed, likeness = pair
    found = confidence(likeness, listed, plate, read, SHIPPED)
    assert LEAST <= found <= MOST
    assert found == round(found, 4)


@given(PLATES, st.floats(0, 1), st.floats(0, 1))
def test_an_exact_match_gains_by_the_reads_confidence(plate: str, one: float, two: float) -> None:
    less, more = sorted((one, two))
    assert stated(plate, plate, less) <= stated(plate, plate, more)


@given(like_pairs(), GOOD)
def test_whatever_differs_costs(pair: tuple[str, str, Likeness], read: float | None) -> None:
    plate, listed, likeness = pair
    assume(WILDCARD not in listed and plate != listed)
    assert confidence(likeness, listed, plate, read, SHIPPED) <= stated(listed, listed, read)


@given(like_pairs(), st.integers(0, 15), CHARACTERS)
def test_each_further_difference_costs(pair: tuple[str, str, Likeness], at: int, char: str) -> None:
    plate, listed, _ = pair
    assume(len(plate) == len(listed) and at < len(plate) and listed[at] == plate[at] != char)
    further = plate[:at] + char + plate[at + 1 :]
    anyhow = Likeness("confusable")  # which positions it names is nothing to the confidence
    assert confidence(anyhow, listed, further, None, SHIPPED) <= confidence(
        anyhow, listed, plate, None, SHIPPED
    )


@given(PLATES, st.integers(0, 15), GOOD)
def test_each_unknown_character_costs(plate: str, at: int, read: float | None) -> None:
    assume(at < len(plate))
    one = plate[:at] + WILDCARD + plate[at + 1 :]
    found = stated(plate, one, read)
    assert found <= stated(plate, plate, read)
    for other in range(len(plate)):
        two = one[:other] + WILDCARD + one[other + 1 :]
        assert stated(plate, two, read) <= found


def test_a_letter_that_readers_cannot_output_is_read_as_the_plain_one() -> None:
    """So such a match is about as sure as an exact one, and plates of ASCII are not less sure."""
    german = SHIPPED.in_region("DE")
    found = compare("FUS123", "FÜS123", confusables=True, distance=0, misreads=german)
    assert found is not None
    assert found.look_alikes == (1,)
    assert confidence(found, "FÜS123", "FUS123", 0.95, german) > 0.8
    assert confidence(found, "FÜS123", "FUS123", 0.95, SHIPPED) < 0.1
    back = compare("FÜS123", "FUS123", confusables=True, distance=0, misreads=german)
    assert back is not None
    assert confidence(back, "FUS123", "FÜS123", 0.95, german) < 0.1


@given(like_pairs(), STATED, st.floats(1e-9, 1), st.floats(1e-9, 1))
def test_the_more_plates_exist_the_less_sure(
    pair: tuple[str, str, Likeness], read: float | None, one: float, two: float
) -> None:
    plate, listed, likeness = pair
    rarer, denser = (
        confidence(likeness, listed, plate, read, table(plate_density=density))
        for density in sorted((one, two))
    )
    assert denser <= rarer


def test_without_a_stated_confidence_the_counts_speak() -> None:
    trying = Trying(SHIPPED, 1.0)
    of_counts = math.prod(trying.right[char] for char in "ABZ1234") * 0.995 ** (7 + 8)
    for listed in ("ABZ1234", "AB21234", "ABX1234"):
        assert stated("ABZ1234", listed) == stated("ABZ1234", listed, of_counts)


def test_the_look_alikes_of_a_table_without_counts() -> None:
    bare = table(groups=["ÖO0", "千干"], counts={})
    assert stated("ABO123", "ABÖ123", table=bare) > 5 * stated("ABX123", "ABÖ123", table=bare)
    assert stated("千123", "干123", table=bare) > 5 * stated("千123", "田123", table=bare)


def test_what_is_kept_is_bounded() -> None:
    misreads = Misreads.load()
    for thousandth in range(1001):
        for plate in ("A", "ABC1234", "千" * 16):
            stated(plate, plate, thousandth / 1000, misreads)
    assert misreads.rates.scale_count < 600
