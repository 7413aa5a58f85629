"""Entries come out of the store as they went in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine import limits
from engine.documents.codec import encode
from engine.documents.fields import DAYS
from engine.documents.model import Area, Authority, Entry, Hours, Vehicle, Window
from engine.index import intern_table
from engine.index.entry_store import EntryStore
from engine.index.open_entry import OpenEntry

_TEXT = st.text(min_size=1, max_size=12)
_TIMES = st.sampled_from(
    (
        "1970-01-01T00:00:00.001Z",
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000Z",
        "2027-05-05T01:02:03Z",
    )
)
_TRAITS = st.none() | _TEXT
_VEHICLES = st.builds(Vehicle, make=_TRAITS, model=_TRAITS, color=_TRAITS, type=_TRAITS)
_AREAS = st.builds(
    Area,
    lat=st.floats(-90, 90),
    lon=st.floats(-180, 180),
    radius_m=st.floats(1, 1_000_000),
)
_CLOCK = st.sampled_from(("00:00", "07:30", "23:59"))
_WINDOWS = st.builds(
    Window,
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=3).map(tuple),
    start=_CLOCK,
    end=_CLOCK | st.just("24:00"),
)
_HOURS = st.builds(
    Hours,
    time_zone=st.sampled_from(("UTC", "America/Los_Angeles")),
    windows=st.lists(_WINDOWS, min_size=1, max_size=3).map(tuple),
)
_ENTRIES: st.SearchStrategy[Entry] = st.builds(
    Entry,
    entry_id=_TEXT,
    list_id=_TEXT,
    plate=_TEXT,
    agency=_TEXT,
    purpose=_TEXT,
    authority=st.builds(
        Authority, kind=st.sampled_from(("case", "warrant", "statute")), reference=_TEXT
    ),
    requested_by=_TEXT,
    created_at=_TIMES,
    expires_at=_TIMES,
    starts_at=st.none() | _TIMES,
    region=st.none() | st.sampled_from(("US", "US-CA", "NL")),
    confusables=st.none() | st.booleans(),
    distance=st.none() | st.integers(0, 1),
    vehicle=st.none() | _VEHICLES,
    priority=st.none() | st.integers(1, 5),
    instructions=st.none() | st.text(max_size=20),
    area=st.none() | st.lists(_AREAS, min_size=1, max_size=3).map(tuple),
    hours=st.none() | _HOURS,
    suppress_s=st.none() | st.integers(0, 86_400),
)


@given(entries=st.lists(_ENTRIES, max_size=8), shared=st.sampled_from((0, 2, 1 << 13)))
def test_what_was_put_is_what_is_got(entries: list[Entry], shared: int) -> None:
    """Whether the tables of shared values have room, fill up on the way, or have none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intern_table, "SHARED_VALUES", shared)
        kept = EntryStore()
        for entry in entries:
            kept.put(kept.add_slots(1)[0], entry)
        for slot, entry in enumerate(entries):
            assert kept.get(slot) == entry
            assert encode(kept.get(slot)) == encode(entry)


class Slots(RuleBasedStateMachine):
    """Entries come and go; the tables have room for a few values."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(intern_table, "SHARED_VALUES", 4)
        self.kept = EntryStore()
        self.entries: dict[int, Entry] = {}

    @rule(entry=_ENTRIES, again=st.booleans())
    def put(self, entry: Entry, again: bool) -> None:
        free = [slot for slot in range(len(self.kept)) if slot not in self.entries]
        slot = free[0] if free and again else self.kept.add_slots(1)[0]
        assert not self.kept.in_use(slot)
        self.kept.put(slot, entry)
        self.entries[slot] = entry

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        if self.entries:
            slot = data.draw(st.sampled_from(sorted(self.entries)))
            entry = self.entries.pop(slot)
            filed_by = (entry.entry_id, entry.plate, entry.agency, entry.purpose)
            assert self.kept.take(slot) == filed_by
            assert not self.kept.in_use(slot)

    @invariant()
    def the_same_entries(self) -> None:
        for slot, entry in self.entries.items():
            assert self.kept.in_use(slot)
            assert self.kept.get(slot) == entry
            assert self.kept.entry_id(slot) == entry.entry_id

    @invariant()
    def nothing_outlives_its_entries(self) -> None:
        kept, entries = self.kept, self.entries.values()
        names = {name for e in entries for name in (e.list_id, e.agency, e.purpose, e.region)}
        names |= {entry.authority.kind for entry in entries}
        times = {at for e in entries for at in (e.created_at, e.expires_at, e.starts_at)}
        for table, values in (
            ("names", names),
            ("times", times),
            ("requesters", {entry.requested_by for entry in entries}),
            ("vehicles", {entry.vehicle for entry in entries}),
            ("instructions", {entry.instructions for entry in entries}),
        ):
            shared = kept.shared[table]
            assert {value for value in shared if value is not None} <= values
            assert len(shared) <= 4
        free = set(range(len(kept))) - self.entries.keys()
        assert [kept.packed[slot] for slot in free] == [None] * len(free)

    def teardown(self) -> None:
        self.patches.undo()


TestSlots = Slots.TestCase


def neighbours(count: int) -> list[Entry]:
    """Entries of one import."""
    common: dict[str, Any] = {
        "list_id": "stolen-vehicles-of-the-county",
        "agency": "COUNTY-SHERIFF-0001",
        "purpose": "stolen_vehicle",
        "authority": Authority(kind="case", reference="1"),
        "requested_by": "somebody.with.a.long.name@county.example",
        "created_at": "2026-01-01T00:00:00.000Z",
        "expires_at": "2026-06-01T00:00:00.000Z",
        "vehicle": Vehicle(make="Toyota", model="Corolla", color="white", type="car"),
    }
    return [
        Entry(entry_id=f"E{number}", plate=f"ABC{number:03}", **common) for number in range(count)
    ]


def test_neighbours_share_what_they_have_in_common() -> None:
    kept = EntryStore()
    for each in neighbours(10):
        kept.put(kept.add_slots(1)[0], each)
    sizes = {len(packed) for packed in kept.packed if packed is not None}
    assert max(sizes) < 40


def test_an_entry_is_kept_open_until_it_goes_or_others_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ENTRIES_KEPT_OPEN", 2)
    store = EntryStore()
    entries = neighbours(4)
    slots = [store.add_slots(1)[0] for _ in entries]
    for slot, each in zip(slots, entries, strict=True):
        store.put(slot, each)

    def opened() -> list[str]:
        found = [store.opened(slot) for slot in slots]
        return [each.entry.entry_id for each in found if each is not None]

    assert opened() == []
    for number in (0, 1):
        store.keep_open(slots[number], OpenEntry(entries[number]))
    assert opened() == ["E0", "E1"]
    store.keep_open(slots[2], OpenEntry(entries[2]))
    assert opened() == ["E1", "E2"]
    store.take(slots[1])
    assert opened() == ["E2"]
    store.put(slots[1], entries[3])
    assert opened() == ["E2"], "another entry in the slot of one that is gone"
    assert store.copy().opened(slots[2]) is None
