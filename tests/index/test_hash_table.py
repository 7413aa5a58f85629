"""The hash table, with chains behind it, beside a dict of lists."""

from __future__ import annotations

import itertools
import random
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.index import hash_table as table
from engine.index.hash_table import NO_SLOT, HashTable, is_held, is_marked
from engine.plates.plate_hash import EMPTY, hash_of
from tests.models.plain_python import plain

#: Few, some of which begin their probe at the same place, at the ends too.
_HASHES = st.one_of(
    st.sampled_from([1, 2, 1023, 1024, 1025, 2047, 2**63, 2**64 - 1, 2**64 - 1024]),
    st.integers(1, 2**64 - 1),
    st.integers(1, 40).map(lambda number: number << 10),
)


#: Lets every hash stand where its low bits say, so that tests can have them collide.
BY_LOW_BITS: Final = 1 << 32


class Chains:
    """The table with the chains that its owner keeps, beside a dict of lists."""

    def __init__(self, slots: int = 100_000) -> None:
        self.table = HashTable(placing=BY_LOW_BITS)
        self.following = np.full(slots, -7, dtype=np.int32)
        self.model: dict[int, list[int]] = {}

    def push(self, pushed: list[tuple[int, int]]) -> None:
        hashes = np.array([key_hash for key_hash, _ in pushed], dtype=np.uint64)
        slots = np.array([slot for _, slot in pushed], dtype=np.int32)
        self.table.push_many(hashes, slots, self.following)
        for key_hash, slot in pushed:
            self.model.setdefault(key_hash, []).insert(0, slot)

    def pop(self, *key_hashes: int, place: int = 0) -> None:
        """Take a slot out of each chain, the one at a place or the last."""
        taken = []
        for key_hash in key_hashes:
            slots = self.model[key_hash]
            taken.append(slots.pop(min(place, len(slots) - 1)))
        hashes = np.array(key_hashes, dtype=np.uint64)
        self.table.unlink_many(hashes, np.array(taken, dtype=np.int32), self.following)

    def copy(self) -> None:
        """Go on with a copy. What becomes of the original is nothing to it."""
        original, self.table = self.table, self.table.copy()
        filed = original.hashes[original.slots != NO_SLOT]
        slots = original.slots[original.slots != NO_SLOT]
        following = self.following.copy()
        original.unlink_many(filed, slots, following)
        numbers = np.arange(1, 2000, dtype=np.int32)
        original.push_many(numbers.astype(np.uint64), numbers, following)

    def chain(self, key_hash: int) -> list[int]:
        chain = []
        slot = self.table.get(key_hash)
        while slot != NO_SLOT:
            chain.append(slot)
            slot = int(self.following[slot])
        return chain

    def check(self) -> None:
        for key_hash, slots in self.model.items():
            assert self.chain(key_hash) == slots
        wanted = np.array(list(self.model), dtype=np.uint64)
        heads = [slots[0] if slots else NO_SLOT for slots in self.model.values()]
        assert self.table.get_many(wanted).tolist() == heads
        places = len(self.table.hashes)
        assert places == len(self.table.slots)
        assert places & (places - 1) == 0
        assert np.count_nonzero(self.table.hashes != EMPTY) <= places * 3 // 4
        filed = sum(bool(slots) for slots in self.model.values())
        assert np.count_nonzero(self.table.slots != NO_SLOT) == filed
        assert 64 * len(self.table.marks) == 4 * places
        for key_hash, slots in self.model.items():  # what is filed may never look absent
            assert not slots or plain(is_marked)(self.table.marks, np.uint64(key_hash))
        assert self.table.size_bytes == 12 * places + 8 * len(self.table.marks)


@given(
    st.lists(
        st.lists(_HASHES, max_size=8) | st.tuples(st.sets(_HASHES), st.integers(0, 3)) | st.none(),
        max_size=25,
    ),
    st.lists(_HASHES, max_size=5),
)
def test_pushes_and_removals(
    steps: list[list[int] | tuple[set[int], int] | None], others: list[int]
) -> None:
    """A list of hashes is pushed; a set of them loses a slot each, at some place; with None the
    table is copied."""
    chains = Chains()
    slots = itertools.count()
    for step in steps:
        if step is None:
            chains.copy()
        elif isinstance(step, list):
            chains.push([(key_hash, next(slots)) for key_hash in step])
        else:
            wanted, place = step
            chains.pop(*[each for each in wanted if chains.model.get(each)], place=place)
        chains.check()
    for key_hash in others:
        if key_hash not in chains.model:
            assert chains.table.get(key_hash) == NO_SLOT


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("step", [1, 7, 1200])
def test_growth_and_decline(crowded: bool, step: int) -> None:
    """Some thousand hashes in and out, several times, with and without long probes."""
    chance = random.Random(3)
    chains = Chains()
    slots = itertools.count()
    hashes = [
        (number << 32 | 5) if crowded else chance.getrandbits(64) | 1 for number in range(1, 1501)
    ]
    for _ in range(3):
        wanted = chance.sample(hashes, 1200)
        for at in range(0, len(wanted), step):
            chains.push([(key_hash, next(slots)) for key_hash in wanted[at : at + step]])
        chains.check()
        for key_hash in chance.sample(hashes, 1400):
            if chains.model.get(key_hash):
                chains.pop(key_hash)
        chains.check()
    assert all(chains.table.get(chance.getrandbits(64)) == NO_SLOT for _ in range(200))


def test_hashes_that_come_and_go_do_not_make_it_grow() -> None:
    chains = Chains()
    for key_hash in range(1, 20_000):
        chains.push([(key_hash, 7)])
        chains.pop(key_hash)
    assert len(chains.table.hashes) == 1024
    assert all(chains.table.get(key_hash) == NO_SLOT for key_hash in range(1, 20_000, 97))


def test_a_new_table_is_empty() -> None:
    chains = Chains()
    assert chains.table.get(0) == chains.table.get(5) == chains.table.get(2**64 - 1) == NO_SLOT
    chains.push([])
    chains.check()


def test_a_slot_that_is_not_there_is_passed_over() -> None:
    chains = Chains()
    chains.push([(5, 1), (5, 2)])
    absent = np.array([5, 6], dtype=np.uint64)
    chains.table.unlink_many(absent, np.array([7, 1], dtype=np.int32), chains.following)
    chains.check()


def test_a_hash_of_nothing_is_kept_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "hash_of", {b"A": 0, b"B": 9}.__getitem__)
    hashes = table.hashes_of(["A", "B"])
    assert hashes.tolist() == [1, 9]
    filed = HashTable()
    following = np.zeros(9, dtype=np.int32)
    filed.push_many(hashes, np.array([3, 4], dtype=np.int32), following)
    assert filed.get(0) == 3
    filed.unlink_many(hashes[:1], np.array([3], dtype=np.int32), following)
    assert filed.get(0) == NO_SLOT


def test_hashes_are_those_of_the_library() -> None:
    keys = ["", "ABC123", "MÜ1"]
    assert table.hashes_of(keys).tolist() == [hash_of(key.encode()) for key in keys]


@pytest.mark.parametrize(("single", "passing"), [(False, 50), (True, 10)])
def test_a_selective_table_tells_all_but_one_in_so_many_apart(single: bool, passing: int) -> None:
    """As full as it becomes, and after it has grown and lost half of what it had."""
    chance = random.Random(3)
    table = HashTable(selective=True, single=single)
    hashes = np.array([chance.getrandbits(64) for _ in range(49_000)], dtype=np.uint64)
    slots = np.arange(len(hashes), dtype=np.int32)
    following = np.full(len(hashes), NO_SLOT, dtype=np.int32)
    held = plain(is_held)
    for begin in range(0, len(hashes), 1_000):
        table.push_many(hashes[begin : begin + 1_000], slots[begin : begin + 1_000], following)
    assert all(held(table.marks, each) for each in hashes)
    others = np.array([chance.getrandbits(64) for _ in range(20_000)], dtype=np.uint64)
    assert sum(held(table.marks, each) for each in others) < len(others) / passing
    table.unlink_many(hashes[::2], slots[::2], following)
    assert all(held(table.marks, each) for each in hashes[1::2])
    copied = table.copy()
    copied.push_many(others[:5], slots[:5], following)
    assert table.get(int(others[0])) == NO_SLOT
    assert copied.get(int(others[0])) == 0
