"""Packed entries come back as they were, and nothing that no store has packed gets in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents.model import Entry
from engine.errors import IndexFileError
from engine.index import intern_table
from engine.index.entry_rows import Asking
from engine.index.entry_store import EntryStore
from engine.index.hash_table import hashes_of
from engine.index.timer_wheel import NEVER_MS
from engine.library.archive import PartsWriter, read_parts, write_parts
from engine.library.saved_entries import Filing, load_entries, save_entries
from tests.fakes.documents import at, entry

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
_TIMES = st.one_of(
    st.integers(-(10**6), 10**6).map(at),
    st.sampled_from(["1970-01-01T00:00:00.001Z", "1955-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z"]),
)
_VEHICLES = st.fixed_dictionaries(
    {}, optional={"make": _TEXT, "model": _TEXT, "color": _TEXT, "type": _TEXT}
)
_HOURS = st.just(
    {
        "time_zone": "Europe/Berlin",
        "windows": [{"days": ["mon", "fri"], "start": "08:00", "end": "24:00"}],
    }
)
_AREAS = st.just([{"lat": 1.5, "lon": -2, "radius_m": 100}])
_ENTRIES: st.SearchStrategy[Entry] = st.builds(
    entry,
    plate=st.sampled_from(["ABC123", "AB?12", "ÄÜ1234", "7"]),
    list_id=_TEXT,
    agency=_TEXT,
    purpose=st.sampled_from(["permit", "access", "unpaid_toll"]),
    authority=st.builds(
        lambda kind, reference: {"kind": kind, "reference": reference},
        st.sampled_from(["case", "warrant", "contract"]),
        _TEXT,
    ),
    requested_by=_TEXT,
    created_at=_TIMES,
    expires_at=_TIMES,
    starts_at=st.none() | _TIMES,
    region=st.sampled_from([None, "US", "US-CA"]),
    confusables=st.none() | st.booleans(),
    distance=st.sampled_from([None, 0, 1]),
    vehicle=st.none() | _VEHICLES,
    priority=st.none() | st.integers(1, 5),
    instructions=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    area=st.none() | _AREAS,
    hours=st.none() | _HOURS,
    suppress_s=st.none() | st.integers(0, 86_400),
)


def loaded(path: Path, slots: int) -> tuple[EntryStore, Filing]:
    with read_parts(path) as parts:
        return load_entries(parts, slots)


@given(
    held=st.dictionaries(st.integers(0, 9), _ENTRIES, max_size=8),
    shared=st.sampled_from((0, 2, 1 << 13)),
    further=_ENTRIES,
)
def test_what_was_saved_is_what_is_loaded(
    tmp_path_factory: pytest.TempPathFactory,
    held: dict[int, Entry],
    shared: int,
    further: Entry,
) -> None:
    """Whether the tables of shared values have room, fill up on the way, or have none; and the
    store can go on from there."""
    path = tmp_path_factory.mktemp("entries") / "hot.index"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intern_table, "SHARED_VALUES", shared)
        kept = EntryStore()
        for slot in range(10):
            kept.add_slots(1)[0]
            # What is dropped again leaves free numbers in the tables.
            kept.put(slot, further)
        for slot, one in held.items():
            kept.take(slot)
            held[slot] = msgspec.structs.replace(one, entry_id=f"E{slot}")
            kept.put(slot, held[slot])
        for slot in range(10):
            if slot not in held:
                kept.take(slot)
        with write_parts(path) as parts:
            save_entries(kept, parts)
        back, filing = loaded(path, 10)
        assert len(back) == 10
        assert [slot for slot in range(10) if back.in_use(slot)] == sorted(held)
        assert {slot: back.get(slot) for slot in held} == held
        check_filing(filing, held)
        for store in (kept, back):
            for slot in held:
                assert store.take(slot)[0] == f"E{slot}"
            store.put(0, further)
            assert store.get(0) == further
        assert back.shared.keys() == kept.shared.keys()
        assert all(
            {value for value in back.shared[name] if value is not None}
            == {value for value in kept.shared[name] if value is not None}
            for name in kept.shared
        )


def check_filing(filing: Filing, held: dict[int, Entry]) -> None:
    """What the index is told of the entries, beside the entries themselves."""
    slots = sorted(held)
    entries = [held[slot] for slot in slots]
    assert filing.slots.tolist() == slots
    assert filing.ids.tolist() == hashes_of(one.entry_id for one in entries).tolist()
    assert filing.plates.tolist() == hashes_of(one.plate for one in entries).tolist()
    pairs = [filing.pairs[number] for number in filing.pair_numbers.tolist()]
    assert pairs == [(one.agency, one.purpose) for one in entries]
    assert len(set(filing.pairs)) == len(filing.pairs)
    starts_ms = [NEVER_MS if one.starts_ms is None else one.starts_ms for one in entries]
    assert filing.starts_ms.tolist() == starts_ms
    assert filing.expires_ms.tolist() == [one.expires_ms for one in entries]
    assert filing.asking == [
        (slot, Asking(one.plate, one.confusables, one.distance, one.region))
        for slot, one in zip(slots, entries, strict=True)
        if "?" in one.plate or one.confusables or one.distance
    ]


def rows() -> list[list[Any]]:
    """Two entries, as they are packed, the second with all rare fields."""
    return [
        ["E1", "ABC123", "2026-1", 0, 1, 2, 3, 0, 0, 1, None],
        [
            *("E2", "ABC124", "2026-2", 0, 1, 2, 3, 0, 0, 1, 0),
            *(0, 4, True, 3, 0, [{"lat": 1, "lon": 2, "radius_m": 3}], 60, 1, None),
        ],
    ]


def tables() -> dict[str, list[Any]]:
    return {
        "times": ["2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"],
        "requesters": ["somebody"],
        "names": ["L1", "AG1", "permit", "case", "US-CA"],
        "vehicles": [{"make": "Audi"}],
        "instructions": ["Call."],
    }


def load_these(
    path: Path,
    packed: list[bytes],
    shared: object,
    spoil: Callable[[PartsWriter], None] | None = None,
) -> tuple[EntryStore, Filing]:
    """Load what somebody has put together."""
    with write_parts(path) as parts:
        parts.array("entries/lengths.npy", np.array([len(one) for one in packed], np.int32))
        parts.blob("entries/packed.bin", b"".join(packed))
        parts.value("entries/shared.json", shared)
        if spoil is not None:
            spoil(parts)
    return loaded(path, len(packed))


def encoded(*changed: list[Any]) -> list[bytes]:
    return [msgspec.msgpack.encode(row) for row in changed]


def test_these_are_taken(tmp_path: Path) -> None:
    store, filing = load_these(tmp_path / "hot.index", encoded(*rows()), tables())
    assert store.get(1).instructions == "Call."
    assert filing.pairs == [("AG1", "permit")]


def changed(row: int, place: int, value: object) -> list[bytes]:
    given = rows()
    given[row][place] = value
    return encoded(*given)


_NO_ENTRY = "entries/packed.bin holds an entry that is none"
_NO_NORMAL = "entries/packed.bin holds a plate that is not in normal form"
_FORMER_NORMAL = (
    "entries/packed.bin has plates in the normal form of version 0.1; "
    "add its entries to a new index"
)
_NO_TABLE = "entries/shared.json does not go with the entries"
_NO_VALUE = "entries/shared.json holds a value that is none"


@pytest.mark.parametrize(
    ("packed", "what"),
    [
        (changed(0, 0, ""), _NO_ENTRY),
        (changed(0, 0, "E1\x1f"), "entries/packed.bin holds an id that is none"),
        (changed(0, 0, 1), _NO_ENTRY),
        (changed(0, 1, "A" * 17), _NO_ENTRY),
        (changed(0, 1, "abc"), _NO_NORMAL),
        (changed(0, 1, "AB\0"), _NO_NORMAL),
        (changed(0, 1, "AB١?"), _FORMER_NORMAL),
        (changed(1, 1, "ab?"), _NO_NORMAL),
        (changed(0, 3, -1), _NO_ENTRY),
        (changed(0, 3, 5), _NO_TABLE),
        (changed(0, 3, 1 << 40), _NO_TABLE),
        (changed(0, 3, None), _NO_ENTRY),
        (changed(0, 5, "No Code"), _NO_ENTRY),
        (changed(0, 6, "rumour"), _NO_ENTRY),
        (changed(0, 8, "yesterday"), _NO_ENTRY),
        (changed(0, 8, 2), _NO_TABLE),
        (changed(0, 9, 1 << 60), _NO_ENTRY),
        (changed(0, 10, {"make": 3}), _NO_ENTRY),
        (changed(1, 12, "usa"), _NO_ENTRY),
        (changed(1, 13, 7), _NO_ENTRY),
        (changed(1, 14, 6), _NO_ENTRY),
        (changed(1, 15, 1), _NO_TABLE),
        (changed(1, 16, []), _NO_ENTRY),
        (changed(1, 17, -1), _NO_ENTRY),
        (changed(1, 18, 2), _NO_ENTRY),
        (
            changed(
                1,
                19,
                {
                    "time_zone": "Mars/Olympus",
                    "windows": [{"days": ["mon"], "start": "08:00", "end": "09:00"}],
                },
            ),
            "entries/packed.bin holds an entry with an unknown time zone",
        ),
        # Numbers of values that are others than the field's.
        (changed(0, 5, 1), _NO_VALUE),
        (changed(0, 6, 2), _NO_VALUE),
        (encoded(rows()[0][:-1], rows()[1]), _NO_ENTRY),
        (encoded([*rows()[0], 1], rows()[1]), _NO_ENTRY),
        ([b"\xc1", *encoded(rows()[1])], _NO_ENTRY),
        ([encoded(rows()[0])[0] + b"\0", *encoded(rows()[1])], _NO_ENTRY),
        (encoded(rows()[1], rows()[1]), "entries/packed.bin holds two entries with one id"),
    ],
)
def test_entries_that_are_none(tmp_path: Path, packed: list[bytes], what: str) -> None:
    path = tmp_path / "hot.index"
    with pytest.raises(IndexFileError) as caught:
        load_these(path, packed, tables())
    assert str(caught.value) == f"{path}: {what}"


@pytest.mark.parametrize(
    ("shared", "what"),
    [
        ({}, "entries/shared.json is not valid JSON for this part"),
        (tables() | {"more": []}, "entries/shared.json is not valid JSON for this part"),
        (tables() | {"times": ["soon"]}, "entries/shared.json is not valid JSON for this part"),
        (tables() | {"times": []}, _NO_TABLE),
        (tables() | {"requesters": [None]}, _NO_TABLE),
        (tables() | {"requesters": ["somebody", "somebody"]}, _NO_TABLE),
        (tables() | {"requesters": ["somebody", "whom nobody names"]}, _NO_TABLE),
        (tables() | {"names": ["L1", "AG1", "permit", "case", "usa"]}, _NO_VALUE),
        (tables() | {"names": ["L1", "AG1", "permit", "rumour", "US-CA"]}, _NO_VALUE),
    ],
)
def test_shared_values_that_are_others(tmp_path: Path, shared: object, what: str) -> None:
    path = tmp_path / "hot.index"
    with pytest.raises(IndexFileError) as caught:
        load_these(path, encoded(*rows()), shared)
    assert str(caught.value) == f"{path}: {what}"


@pytest.mark.parametrize("more", [b"", b"x"])
def test_lengths_that_are_others(tmp_path: Path, more: bytes) -> None:
    path = tmp_path / "hot.index"
    packed = encoded(*rows())
    with write_parts(path) as parts:
        parts.array("entries/lengths.npy", np.array([*map(len, packed)], np.int32) + len(more) - 2)
        parts.blob("entries/packed.bin", b"".join(packed) + more)
        parts.value("entries/shared.json", tables())
    with pytest.raises(IndexFileError, match="has not the length that entries/lengths"):
        loaded(path, 2)


def test_no_error_has_a_part_of_an_entry(tmp_path: Path) -> None:
    for packed in (changed(0, 1, "secret"), changed(0, 8, "SECRET"), changed(0, 5, "SECRET")):
        with pytest.raises(IndexFileError) as caught:
            load_these(tmp_path / "hot.index", packed, tables())
        error: BaseException | None = caught.value
        while error is not None:
            assert "secret" not in str(error).lower()
            error = None if error.__suppress_context__ else error.__context__
