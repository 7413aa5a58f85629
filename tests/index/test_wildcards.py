"""Partial plates as bitmaps beside a loop over the patterns."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.index.hash_table import NO_SLOT
from engine.index.wildcards import Patterns, find_fitting
from engine.plates.misreads import Misreads
from tests.models.plain_python import plain

_MISREADS = Misreads.load()
_LETTERS = "AB8O0Ü"


class Model:
    """The patterns beside a dict: slot to pattern and whether look-alikes count."""

    def __init__(self) -> None:
        self.patterns = Patterns(_MISREADS)
        self.model: dict[int, tuple[str, bool]] = {}

    def put(self, added: dict[int, tuple[str, bool]]) -> None:
        plates = [plate for plate, _ in added.values()]
        alike = [alike for _, alike in added.values()]
        self.patterns.put(list(added), plates, alike, [0] * len(added))
        self.model |= added

    def drop(self, slots: list[int]) -> None:
        self.patterns.drop(slots, [self.model.pop(slot)[0] for slot in slots])

    def fitting(self, plate: str) -> list[int]:
        return [slot for slot, pattern in self.model.items() if fits(plate, *pattern)]

    def check(self, plates: list[str]) -> None:
        assert len(self.patterns) == len(self.model)
        for plate in plates:
            found = self.patterns.slots_like(plate)
            assert len(set(found)) == len(found)
            wanted = self.fitting(plate)
            if plate.isascii():
                assert sorted(found) == sorted(wanted)
            else:
                assert set(wanted) <= set(found)


def fits(plate: str, pattern: str, alike: bool) -> bool:
    """By definition; a letter beyond ASCII counts as any other one of these."""
    skeleton = _MISREADS.skeleton if alike else str
    return len(plate) == len(pattern) and all(
        known in ("?", char) or skeleton(known) == skeleton(char)
        for char, known in zip(plate, pattern, strict=True)
    )


_PATTERNS = st.text(_LETTERS + "??", min_size=1, max_size=5)
_PLATES = st.text(_LETTERS, min_size=1, max_size=5)


@given(
    st.lists(
        st.one_of(
            st.lists(st.tuples(_PATTERNS, st.booleans()), min_size=1, max_size=40),
            st.integers(1, 30),
        ),
        max_size=12,
    ),
    st.lists(_PLATES, min_size=1, max_size=10),
    st.randoms(use_true_random=False),
)
def test_patterns_put_and_dropped(
    steps: list[list[tuple[str, bool]] | int], plates: list[str], chance: random.Random
) -> None:
    model = Model()
    slot = 0
    for step in steps:
        if isinstance(step, int):
            model.drop(chance.sample(sorted(model.model), min(step, len(model.model))))
        else:
            model.put({slot + number: each for number, each in enumerate(step)})
            slot += len(step)
        model.check(plates)


def _pattern(chance: random.Random, length: int) -> str:
    plate = chance.choices("ABC789", k=length)
    for place in chance.sample(range(length), chance.randint(1, 3)):
        plate[place] = "?"
    return "".join(plate)


def test_thousands_of_patterns_of_all_lengths_come_and_go() -> None:
    chance = random.Random(6)
    model = Model()
    plates = ["".join(chance.choices("ABC789", k=chance.randint(3, 16))) for _ in range(150)]
    plates += ["ABC", "A" * 16, "Z" * 7]
    slot = 0
    for count in (1, 700, 3, 2_000, 90, 1, 1_500):
        model.put(
            {
                slot + number: (_pattern(chance, chance.randint(3, 16)), chance.random() < 0.3)
                for number in range(count)
            }
        )
        slot += count
        model.check(plates)
    assert sum(len(model.fitting(plate)) for plate in plates) > 100, "some fit"
    copied = model.patterns.copy()
    before = {plate: sorted(model.patterns.slots_like(plate)) for plate in plates}
    while model.model:
        model.drop(chance.sample(sorted(model.model), min(900, len(model.model))))
        model.check(plates)
        model.put({slot: ("?BC", False)})
        model.check(plates)
        model.drop([slot])
    for rows in model.patterns.rows:
        assert not rows.any(), "nothing is left of them"
    assert {plate: sorted(copied.slots_like(plate)) for plate in plates} == before


def test_one_after_the_other_is_as_all_at_once() -> None:
    chance = random.Random(7)
    patterns = [(_pattern(chance, 6), False) for _ in range(600)]
    plates = ["".join(chance.choices("ABC789", k=6)) for _ in range(100)]
    singly, together = Model(), Model()
    for number, each in enumerate(patterns):
        singly.put({number: each})
    together.put(dict(enumerate(patterns)))
    for model in (singly, together):
        model.check(plates)


def test_numbers_are_used_again() -> None:
    """However often patterns come and go, room is for those that are there."""
    model = Model()
    model.put(dict.fromkeys(range(100), ("AB?D", False)))
    for slot in range(100, 5_000):
        model.put({slot: ("?BCD", False)})
        model.drop([slot - 100])
    assert model.patterns.rows.level1.shape[1] <= 64
    model.check(["ABCD", "XBCD", "ABXD"])


def test_a_search_stops_where_there_is_no_more_room() -> None:
    model = Model()
    model.put(dict.fromkeys(range(300), ("A?", False)))
    assert sorted(model.patterns.slots_like("AZ")) == list(range(300))
    data = np.frombuffer(b"xxAZxx", dtype=np.uint8)
    for room in (0, 1, 299, 300, 301):
        found = np.full(room, NO_SLOT, dtype=np.int32)
        count = plain(find_fitting)(*model.patterns.rows, data, 2, 2, found)
        assert count == min(room, 300)
        assert len(set(found[:count].tolist())) == count
