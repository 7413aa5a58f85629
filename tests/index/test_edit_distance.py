"""Look-alikes and plates one character apart, beside a loop that compares folded plates."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.index import deletion_hashes as folded_module
from engine.index.deletion_hashes import WAYS, codes_of, postings_of, values_by_byte
from engine.index.edit_distance import NearPlates
from engine.plates.likeness import compare
from engine.plates.misreads import Misreads

_MISREADS = Misreads.load()
_PLATES = st.text("AB8O0Ü", min_size=1, max_size=6) | st.sampled_from(
    ["A" * 16, "A" * 15, "B" + "A" * 15, "ABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNO"]
)


def folded_alike(plate: str, listed: str) -> bool:
    return _MISREADS.skeleton(plate) == _MISREADS.skeleton(listed)


def one_apart(plate: str, listed: str) -> bool:
    return compare(plate, listed, confusables=True, distance=1, misreads=_MISREADS) is not None


@pytest.mark.parametrize("is_apart", [False, True])
@given(
    st.lists(st.one_of(st.lists(_PLATES, min_size=1, max_size=8), st.integers(1, 8)), max_size=8),
    st.lists(_PLATES, min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_plates_put_and_dropped(
    is_apart: bool, steps: list[list[str] | int], asked: list[str], chance: random.Random
) -> None:
    near = NearPlates(_MISREADS, one_apart=is_apart)
    model: dict[int, str] = {}
    slot = 1_000
    for step in steps:
        if isinstance(step, int):
            slots = chance.sample(sorted(model), min(step, len(model)))
            near.drop(slots, [model.pop(each) for each in slots])
        else:
            slots = list(range(slot, slot + len(step)))
            near.put(slots, step, [False] * len(step), [0] * len(step))
            model |= dict(zip(slots, step, strict=True))
            slot += len(step)
        assert len(near) == len(model)
        assert all((each in near) is (each in model) for each in range(1_000, slot + 1))
        for plate in [*asked, *model.values()]:
            found = set(near.slots_like(plate))
            is_near = one_apart if is_apart else folded_alike
            wanted = {each for each, listed in model.items() if is_near(plate, listed)}
            assert wanted <= found <= set(model)
            if not is_apart:
                assert wanted == found


def test_the_same_plate_many_times_and_away_again() -> None:
    near = NearPlates(_MISREADS, one_apart=True)
    slots = list(range(500))
    near.put(slots, ["ABC123"] * 500, [False] * 500, [0] * 500)
    copied = near.copy()
    assert set(near.slots_like("A8C12")) == set(slots)
    near.drop(slots[::2], ["ABC123"] * 250)
    assert set(near.slots_like("A8C1234")) == set(slots[1::2])
    near.drop(slots[1::2], ["ABC123"] * 250)
    assert list(near.slots_like("ABC123")) == []
    assert set(copied.slots_like("ABC123")) == set(slots)
    near.put([9], ["ABC123"], [False], [0])
    assert set(near.slots_like("ABC123")) == {9}
    assert len(near.rows.lengths) < 1_000, "numbers are used again"


@given(st.lists(st.text("AB8O0Ü", max_size=16), min_size=1, max_size=5))
def test_the_hash_of_a_rest_is_that_of_the_text_itself(plates: list[str]) -> None:
    def hashes(texts: list[str], ways: int) -> list[list[int]]:
        found = np.zeros(len(texts) * ways, dtype=np.uint64)
        postings = np.zeros(len(texts) * ways, dtype=np.int32)
        numbers = np.arange(len(texts), dtype=np.int32)
        count = postings_of(codes_of(texts), numbers, ways, found, postings)
        by_number: list[list[int]] = [[] for _ in texts]
        for posting, each in zip(postings[:count].tolist(), found[:count].tolist(), strict=True):
            assert posting % ways == len(by_number[posting // ways])
            by_number[posting // ways].append(each)
        return by_number

    for plate, found in zip(plates, hashes(plates, WAYS), strict=True):
        rests = [plate[:at] + plate[at + 1 :] for at in range(len(plate))]
        assert found == [one for [one] in hashes([plate, *rests], 1)]
        assert 0 not in found


def test_values_of_bytes_are_those_of_folded_characters() -> None:
    values = values_by_byte(_MISREADS)
    assert values[ord("O")] == values[ord("0")] != values[ord("A")]
    assert len(set(values.tolist())) == len(set(_MISREADS.skeleton_bytes))
    assert int(folded_module.BASE) * int(folded_module.BASE_INVERSE) % (1 << 64) == 1
