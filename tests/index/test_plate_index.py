"""The index beside a dict of entries, with hashes that tell plates apart and with ones that
do not; what a plate is like, beside a loop over all entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.documents.codec import encode
from engine.documents.model import Entry
from engine.index import hash_table as table_module
from engine.index import plate_index as index_module
from engine.index.eligibility import Eligibility
from engine.index.hash_table import NO_SLOT
from engine.index.open_entry import OpenEntry
from engine.index.plate_index import Index
from engine.index.timer_wheel import NEVER_MS
from engine.matching.scanner import Scanner
from engine.plates.likeness import Likeness, compare
from engine.plates.misreads import Misreads
from engine.plates.plate_hash import hash_of
from engine.wire.record_decoder import OFFSET
from tests.fakes.documents import DAY_MS, NOW_MS, at, entry
from tests.fakes.record_batches import Sent, as_array, batch_bytes, raw_batch

_IDS = st.sampled_from([f"E{number}" for number in range(6)] + ["\ufffd"])
_PLATES = st.sampled_from(
    [
        *("ABC123", "ABC124", "A8C123", "ABC12", "XYZ", "7", "AB?123", "?BC12?", "МÜ1", "M?1"),
        *("ABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMN0P", "ABCDEFGHIJKLMNO"),
    ]
)
#: What cameras read.
_READ = ["ABC123", "A8C124", "ABC12", "ABC1234", "XYZ", "XY2", "7", "T", "МÜ1", "MU1", "NOTHERE"]
_READ += ["ABCDEFGHIJKLMNOP", "ABCDEFGH1JKLMN0P", "ABCDEFGHIJKLMNO", "BCDEFGHIJKLMNOP"]
_MISREADS = Misreads.load()
_TIMES_MS = st.one_of(
    st.integers(-10_000, 400_000), st.sampled_from([0, 1, 59_999, 60_000, 60_001, 120_000])
)
_ENTRIES = st.builds(
    lambda entry_id, plate, agency, confusables, distance, expires_ms, starts_ms: entry(
        entry_id=entry_id,
        plate=plate,
        agency=agency,
        confusables=confusables,
        distance=distance,
        expires_at=at(expires_ms),
        starts_at=None if starts_ms is None else at(starts_ms),
    ),
    _IDS,
    _PLATES,
    st.sampled_from(["AG1", "AG2"]),
    st.none() | st.booleans(),
    st.none() | st.integers(0, 1),
    _TIMES_MS,
    st.none() | _TIMES_MS,
)


class Entries(RuleBasedStateMachine):
    """Entries put, replaced and removed, at once or staged and committed, started and ended by
    the clock, and forgotten in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.index = Index(Eligibility())
        #: What reads see, and what they would see after a commit.
        self.model: dict[str, tuple[Entry, int]] = {}
        self.after_commit: dict[str, tuple[Entry, int]] = {}
        #: The revisions that expired with no successor, and that nobody was told of.
        self.expired: dict[int, Entry] = {}
        self.now_ms = NOW_MS
        self.revision = 0

    def hash_of(self, plate: str) -> int:
        return hash_of(plate.encode())

    def change(self, entry_id: str, found: tuple[Entry, int] | None, *, staged: bool) -> None:
        for state in [self.after_commit] if staged else [self.after_commit, self.model]:
            state.pop(entry_id, None)
            if found is not None and found[0].expires_ms > self.now_ms:
                state[entry_id] = found

    def put_into_model(self, entries: list[Entry], *, staged: bool) -> list[tuple[Entry, int]]:
        records = []
        for each in entries:
            self.revision += 1
            records.append((each, self.revision))
            self.change(each.entry_id, records[-1], staged=staged)
        return records

    @rule(added=_ENTRIES, staged=st.booleans())
    def put(self, added: Entry, staged: bool) -> None:
        [(_, revision)] = self.put_into_model([added], staged=staged)
        held = self.index.put(added, revision, self.now_ms, staged=staged)
        assert held is (added.expires_ms > self.now_ms)

    @rule(
        added=st.lists(_ENTRIES, unique_by=lambda each: each.entry_id, max_size=5),
        staged=st.booleans(),
    )
    def put_many(self, added: list[Entry], staged: bool) -> None:
        records = self.put_into_model(added, staged=staged)
        held = self.index.put_many(records, self.now_ms, staged=staged)
        assert held == sum(each.expires_ms > self.now_ms for each in added)

    @rule(entry_id=_IDS, staged=st.booleans())
    def remove(self, entry_id: str, staged: bool) -> None:
        held = self.index.remove(entry_id, staged=staged)
        assert held is (entry_id in self.after_commit)
        self.change(entry_id, None, staged=staged)

    @rule(entry_id=_IDS)
    def match(self, entry_id: str) -> None:
        """What a match does with the entries of its plate."""
        if entry_id in self.model:
            for slot, each in self.index.slots_of(self.model[entry_id][0].plate):
                self.index.keep_open(slot, OpenEntry(each))

    @rule()
    def commit(self) -> None:
        self.index.commit()
        self.model = dict(self.after_commit)
        assert not self.index.is_staging

    @rule(step_ms=st.integers(0, 70_000))
    def clock(self, step_ms: int) -> None:
        self.now_ms += step_ms
        for state in (self.model, self.after_commit):
            for entry_id, (each, revision) in list(state.items()):
                if each.expires_ms <= self.now_ms:
                    del state[entry_id]
                    if state is self.after_commit:
                        self.expired[revision] = each
        self.index.turn_to(self.now_ms)

    @rule(most=st.integers(1, 3))
    def drop(self, most: int) -> None:
        told = self.index.drop(most)
        assert len(told) <= most
        for each, revision in told:
            assert self.expired.pop(revision) == each

    @rule()
    def drop_all(self) -> None:
        while self.index.has_ended:
            self.drop(2)
        assert self.expired == {}

    @rule(entry_id=_IDS)
    def drop_expired(self, entry_id: str) -> None:
        wanted = [each for each in self.expired.items() if each[1].entry_id == entry_id]
        last = max(wanted, key=lambda each: each[0], default=None)
        assert self.index.drop_expired(entry_id) == (last and last[::-1])
        for revision, _ in wanted:
            del self.expired[revision]

    @invariant()
    def the_same_entries(self) -> None:
        assert len(self.index) == len(self.model)
        plates = {"NOTHERE"} | {each.plate for each, _ in self.model.values()}
        plates |= {each.plate for each, _ in self.after_commit.values()}
        found: dict[str, tuple[Entry, int]] = {}
        slots: dict[str, int] = {}
        for plate in plates:
            for slot, each in self.index.slots_of(plate):
                assert each.plate == plate
                assert each.entry_id not in found, "twice in a chain"
                found[each.entry_id] = (each, self.index.revision(slot))
                slots[each.entry_id] = slot
                assert self.index.entry(slot) == each
        assert found == self.model
        started = {
            slots[entry_id]
            for entry_id, (each, _) in self.model.items()
            if each.starts_ms is None or each.starts_ms <= self.now_ms
        }
        assert set(self.index.eligibility.active) == started
        assert self.index.active_count == len(started)

    @invariant()
    def what_a_plate_is_like(self) -> None:
        passed = self.passed_by_the_scanner()
        for offset, plate in enumerate(_READ):
            found: dict[str, tuple[int, Likeness]] = {}
            for slot, each, likeness in self.index.candidates(plate):
                assert each.entry_id not in found, "each once"
                assert self.index.entry(slot) == each
                found[each.entry_id] = self.index.revision(slot), likeness
            wanted = {
                entry_id: (revision, likeness_of(plate, each))
                for entry_id, (each, revision) in self.model.items()
            }
            assert found == {key: value for key, value in wanted.items() if value[1] is not None}
            assert not found or offset in passed

    def passed_by_the_scanner(self) -> set[int]:
        """Which of the reads the scanner gives a row."""
        data = as_array(bytes(_BATCH.records))
        rows, _ = _SCANNER.scan([_BATCH], data, self.index.plates, self.index.similar.scan_tables)
        return set(rows[:, OFFSET].tolist())

    @invariant()
    def what_will_be_is_known(self) -> None:
        for entry_id in ("E0", "E1", "E2", "E3", "E4", "E5", "\ufffd"):
            assert self.index.find(entry_id) == self.after_commit.get(entry_id)
            listed = [
                model[entry_id][0] for model in (self.model, self.after_commit) if entry_id in model
            ]
            assert {*map(encode, self.index.listed(entry_id))} == {*map(encode, listed)}
        assert self.index.is_staging is (self.model != self.after_commit)
        assert self.index.has_expired is bool(self.expired)

    @invariant()
    def the_scanner_finds_what_is_listed(self) -> None:
        filed = {self.hash_of(each.plate) for each, _ in self.model.values()}
        for plate in ("ABC123", "ABC124", "XYZ", "7", "NOTHERE"):
            if self.hash_of(plate) in filed:
                assert self.index.plates.get(self.hash_of(plate)) != NO_SLOT

    @invariant()
    def what_is_gone_is_forgotten(self) -> None:
        if self.index.has_ended or self.index.is_staging:
            return
        filed = {self.hash_of(each.plate) for each, _ in self.model.values()}
        for plate in ("ABC123", "ABC124", "XYZ", "7", "NOTHERE"):
            head = self.index.plates.get(self.hash_of(plate))
            assert (head != NO_SLOT) is (self.hash_of(plate) in filed)
        assert held_anywhere(self.index) == len(self.model)


_SCANNER = Scanner(0)
_BATCH = raw_batch(batch_bytes([Sent(plate.encode(), b"{}") for plate in _READ]))


def likeness_of(plate: str, each: Entry) -> Likeness | None:
    return compare(
        plate,
        each.plate,
        confusables=bool(each.confusables),
        distance=each.distance or 0,
        misreads=_MISREADS.in_region(each.region),
    )


def held_anywhere(index: Index) -> int:
    """Entries kept, after a look at everything that knows slots."""
    packed = index._entries.packed
    in_use = {slot for slot in range(len(packed)) if packed[slot] is not None}
    assert sorted(index._free) == [slot for slot in range(len(packed)) if slot not in in_use]
    assert set(index.eligibility.active) | set(index._terms.scheduled) == in_use
    by_pair = index.eligibility.pairs.values()
    assert sorted(slot for members in by_pair for slot in members) == sorted(in_use)
    asking = {slot for slot in in_use if asks_for_more(index.entry(slot))}
    assert len(index.similar) == len(asking)
    for slot in asking:
        assert slot in index.similar.slots_like(index.entry(slot).plate.replace("?", "A"))
    for times in (index._terms.starts_ms, index._terms.expires_ms):
        assert set(np.flatnonzero(times != NEVER_MS).tolist()) <= in_use
    return len(in_use)


def asks_for_more(each: Entry) -> bool:
    return bool(each.confusables or each.distance) or "?" in each.plate


class CollidingEntries(Entries):
    """The same with few hashes for all plates and ids, 0 among them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        for module in (index_module, table_module):
            self.patches.setattr(module, "hash_of", lambda key: hash_of(key) % 2)

    def hash_of(self, plate: str) -> int:
        return hash_of(plate.encode()) % 2 or 1

    def passed_by_the_scanner(self) -> set[int]:
        return set(range(len(_READ)))  # its hashes are not those of this index

    def teardown(self) -> None:
        self.patches.undo()


TestEntries = Entries.TestCase
TestCollidingEntries = CollidingEntries.TestCase


def test_growth_past_every_array_and_back() -> None:
    index = Index(Eligibility())
    count = 5_000
    listed = [
        (entry(entry_id=f"E{number}", plate=f"P{number % 4_000}"), number)
        for number in range(count)
    ]
    for begin in range(0, count, 900):
        assert index.put_many(listed[begin : begin + 900], NOW_MS) == len(
            listed[begin : begin + 900]
        )
    assert len(index) == index.active_count == count
    for each, revision in listed[::97]:
        assert (each, revision) in [
            (found, index.revision(slot)) for slot, found in index.slots_of(each.plate)
        ]
    assert len(list(index.slots_of("P17"))) == 2
    for each, _ in listed[::2]:
        assert index.remove(each.entry_id)
    assert len(index) == count // 2
    assert [found.entry_id for _, found in index.slots_of("P4")] == []
    assert {found.entry_id for _, found in index.slots_of("P5")} == {"E5", "E4005"}
    index.turn_to(NOW_MS + DAY_MS)
    assert len(index) == index.active_count == 0
    assert sum(len(index.drop(999)) for _ in range(3)) == count // 2
    assert held_anywhere(index) == 0


def test_slots_are_used_again() -> None:
    index = Index(Eligibility())
    for number in range(3_000):
        index.put(entry(entry_id=f"E{number % 3}", plate=f"P{number}"), number, NOW_MS)
    assert len(index) == 3
    assert len(index._entries) <= 4


def test_an_end_to_the_millisecond() -> None:
    index = Index(Eligibility())
    index.put(entry(expires_at=at(90_001), starts_at=at(30_000)), 0, NOW_MS)
    for step_ms, active in [(0, 0), (29_999, 0), (30_000, 1), (90_000, 1), (90_001, 0)]:
        index.turn_to(NOW_MS + step_ms)
        assert index.active_count == active, step_ms
    assert len(index) == 0


def test_an_entry_moves_to_another_plate() -> None:
    index = Index(Eligibility())
    index.put(entry(plate="OLD1"), 0, NOW_MS)
    index.put(entry(plate="NEW1"), 1, NOW_MS)
    assert list(index.slots_of("OLD1")) == []
    [(slot, found)] = index.slots_of("NEW1")
    assert (found.plate, index.revision(slot)) == ("NEW1", 1)
    assert index.plates.get(hash_of(b"OLD1")) == NO_SLOT


def test_a_slot_of_another_start_does_not_start_early() -> None:
    """A slot is used again while the time of its former entry still stands in the book."""
    index = Index(Eligibility())
    index.put(entry(entry_id="E1", starts_at=at(60_500)), 0, NOW_MS)
    index.remove("E1")
    index.put(entry(entry_id="E2", starts_at=at(60_900)), 1, NOW_MS)
    index.turn_to(NOW_MS + 60_700)
    assert index.active_count == 0
    index.turn_to(NOW_MS + 60_900)
    assert index.active_count == 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"vehicle": {"make": "Ford", "color": "red"}, "region": "US-CA", "priority": 1},
        {"vehicle": {}, "instructions": "", "suppress_s": 0, "confusables": True},
        {"area": [{"lat": 1, "lon": -2.5, "radius_m": 100}], "instructions": "Call. ☎"},
        {"plate": "A" * 16, "entry_id": "é" * 128, "list_id": "\x1f"},
    ],
)
def test_an_entry_comes_out_as_it_went_in(fields: dict[str, Any]) -> None:
    index = Index(Eligibility())
    put = entry(**fields)
    index.put(put, 5, NOW_MS)
    [(_, found)] = index.slots_of(put.plate)
    assert found == put


@pytest.mark.parametrize("step_ms", [0, -1])
def test_an_entry_that_has_expired_takes_its_predecessor_away(step_ms: int) -> None:
    index = Index(Eligibility())
    index.put(entry(), 0, NOW_MS)
    assert not index.put(entry(expires_at=at(step_ms)), 1, NOW_MS)
    assert len(index) == 0


def test_an_entry_that_asks_for_more_comes_and_goes() -> None:
    """Changed from one kind to another, staged, and expired: found as it is, and never before."""
    index = Index(Eligibility())

    def found(plate: str) -> list[str]:
        return [likeness.match_type for _, _, likeness in index.candidates(plate)]

    index.put(entry(plate="ABC123", confusables=True), 0, NOW_MS)
    assert (found("ABC123"), found("A8C123"), found("ABC12")) == (["exact"], ["confusable"], [])
    index.put(entry(plate="ABC123", distance=1), 1, NOW_MS)
    assert (found("ABC123"), found("A8C12"), found("ABC12")) == (["exact"], [], ["distance"])
    index.put(entry(plate="AB?123", expires_at=at(1_000)), 2, NOW_MS, staged=True)
    assert (found("ABX123"), found("ABC12")) == (["distance"], ["distance"])
    index.commit()
    assert (found("ABX123"), found("ABC12")) == (["partial"], [])
    index.turn_to(NOW_MS + 1_000)
    assert found("ABX123") == []
    assert len(index.drop()) == 1
    assert len(index.similar) == 0
