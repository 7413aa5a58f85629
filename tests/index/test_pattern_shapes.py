"""The filter of partial plates lets all through that fits, and little else."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.index.deletion_hashes import key_terms, values_by_byte
from engine.index.pattern_shapes import NO_FILTER, SUMS, may_fit
from engine.index.wildcards import Patterns
from engine.plates.misreads import Misreads
from tests.index.test_wildcards import fits
from tests.models.plain_python import Checked, plain

_MISREADS = Misreads.load()
_VALUES = values_by_byte(_MISREADS)
_EVERY = limits.PLATE_CHARACTERS

_plain_terms, _plain_may_fit = plain(key_terms), plain(may_fit)


def passes(patterns: Patterns, key: str) -> bool:
    """Whether the filter lets a key pass, every position checked."""
    data = np.frombuffer(b"xx" + key.encode() + b"xx", dtype=np.uint8)
    # Of an earlier key; what is behind the end counts for nothing.
    terms = Checked(np.full(_EVERY, 77, dtype=np.uint64))
    sums = Checked(np.full(SUMS, 77, dtype=np.uint64))
    _plain_terms(_VALUES, Checked(data), 2, len(key), terms)
    rows = map(Checked, patterns.shapes.rows)
    return bool(_plain_may_fit(*rows, terms, len(key), sums))


_PATTERNS = st.text("AB8O0Ü" + "???", min_size=1, max_size=_EVERY)
_KEYS = st.text("AB8O0QZ", min_size=1, max_size=_EVERY)


@st.composite
def _of_a_pattern(draw: st.DrawFn, patterns: list[str]) -> str:
    """A key that fits one of the patterns, or nearly does."""
    known = {"O": "O0Q", "0": "O0Q", "8": "8B", "B": "8B", "Ü": "U", "?": "AZ9"}
    return "".join(
        draw(st.sampled_from(known.get(char, char))) for char in draw(st.sampled_from(patterns))
    )


@given(st.data(), st.lists(st.tuples(_PATTERNS, st.booleans()), min_size=1, max_size=30))
def test_what_fits_passes(data: st.DataObject, asked: list[tuple[str, bool]]) -> None:
    patterns = Patterns(_MISREADS)
    begin = 0
    while begin < len(asked):  # some of them behind those in order
        end = data.draw(st.integers(begin + 1, len(asked)))
        some = asked[begin:end]
        plates, are_alike = [plate for plate, _ in some], [each for _, each in some]
        table = data.draw(st.integers(0, len(_MISREADS.tables) - 1))
        patterns.put(list(range(begin, end)), plates, are_alike, [table] * len(some))
        begin = end
    # The filter itself, whether it pays or not.
    patterns.shapes.choose(np.full(_EVERY, 1000, dtype=np.int64))
    keys = st.one_of(_KEYS, _of_a_pattern([plate for plate, _ in asked]))
    for key in data.draw(st.lists(keys, max_size=8)):
        if patterns.slots_like(key):
            assert passes(patterns, key)
        for plate, alike in asked:
            if plate.isascii() and fits(key, plate, alike):
                assert passes(patterns, key)
    dropped = data.draw(st.lists(st.sampled_from(range(len(asked))), unique=True))
    patterns.drop(dropped, [asked[slot][0] for slot in dropped])
    for key in data.draw(st.lists(keys, max_size=4)):
        if patterns.slots_like(key):
            assert passes(patterns, key)


def _pattern(chance: random.Random, length: int, unknown: int) -> str:
    plate = chance.choices("ABCDEFGHJKLMNPRSTUVWXYZ", k=length)
    for place in chance.sample(range(length), unknown):
        plate[place] = "?"
    return "".join(plate)


@pytest.mark.parametrize(("length", "shapes"), [(6, 21), (7, 21), (11, 55)])
def test_little_else_passes(length: int, shapes: int) -> None:
    """From seven characters on, patterns with one unknown are filed with those that have two."""
    chance = random.Random(length)
    patterns = Patterns(_MISREADS)
    count = 3_000
    made = [_pattern(chance, length, chance.choice((1, 2))) for _ in range(count)]
    patterns.put(range(count), made, [False] * count, [0] * count)
    copied = patterns.copy()
    assert patterns.shapes.rows.counts[length - 1] == shapes
    keys = [_pattern(chance, length, 0) for _ in range(1_000)]
    passed = [key for key in keys if passes(patterns, key)]
    assert {key for key in keys if patterns.slots_like(key)} <= set(passed)
    assert len(passed) < 60
    assert not any(passes(patterns, key + "A") for key in keys[:20]), "no pattern is so long"
    patterns.put([count], ["A" * (length - 1) + "?"], [False], [0])
    assert passes(patterns, "A" * length)
    assert not passes(copied, "A" * length)


def test_a_length_of_many_shapes_has_no_filter() -> None:
    patterns = Patterns(_MISREADS)
    shapes = ["".join("A?"[number >> at & 1] for at in range(9)) for number in range(512)]
    patterns.put(range(512), shapes, [False] * 512, [0] * 512)
    patterns.put([512], ["A?C"], [False], [0])
    assert patterns.shapes.rows.counts[8] == NO_FILTER
    assert passes(patterns, "Z" * 9)
    assert not passes(patterns, "ABB")


def test_nothing_is_left_of_patterns_that_went() -> None:
    patterns = Patterns(_MISREADS)
    patterns.put([1, 2], ["A?C", "AB?D"], [False, True], [0, 0])
    patterns.drop([1, 2], ["A?C", "AB?D"])
    assert not any(rows.any() for rows in patterns.shapes.rows)
