"""The topic's state as digests, beside a plain dict."""

from __future__ import annotations

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents.codec import decode_entry, encode
from engine.documents.model import Entry
from engine.list_files import list_state
from engine.list_files.digests import Names, id_hash
from engine.list_files.list_state import UNREADABLE, ListState
from tests.list_files.test_digests import CHANGES, ENTRY, digests

KEYS = [f"e-{number}" for number in range(6)] + ["é" * 40]


def value_of(key: str, what: str) -> bytes | None:
    if what == "removed":
        return None
    if what == "bad":
        return b"{"
    if what == "of another key":
        return encode(msgspec.structs.replace(ENTRY, entry_id="other"))
    if what == "bad time":
        return encode(msgspec.structs.replace(ENTRY, entry_id=key)).replace(b"2026-02", b"2026-13")
    if what == "whole number with a fraction":
        document = orjson.loads(encode(msgspec.structs.replace(ENTRY, entry_id=key, list_id="f")))
        return orjson.dumps({**document, "priority": 2.0})
    return encode(msgspec.structs.replace(ENTRY, entry_id=key, list_id=what))


WHAT = ["removed", "bad", "of another key", "bad time", "whole number with a fraction", "a", "b"]
NOTHING = {"bad", "of another key", "bad time"}


@given(
    records=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(WHAT)), max_size=60),
    batch=st.integers(1, 9),
    settle=st.integers(1, 5),
)
def test_as_a_dict_would_have_it(records: list[tuple[str, str]], batch: int, settle: int) -> None:
    names = Names()
    state = ListState(names)
    model: dict[str, str] = {}
    for number, at in enumerate(range(0, len(records), batch)):
        part = records[at : at + batch]
        state.apply((key.encode(), value_of(key, what)) for key, what in part)
        for key, what in part:
            model[key] = what
            if what == "removed":
                del model[key]
        if number % settle == 0:
            state.settle()
    state.settle()
    found = {}
    for place, number in enumerate(state.columns.lists.tolist()):
        key = state.entry_id(place).decode()
        found[key] = "" if number == UNREADABLE else names.text(number)
    lists = {"whole number with a fraction": "f", **dict.fromkeys(NOTHING, "")}
    assert found == {key: lists.get(what, what) for key, what in model.items()}
    hashes = np.array([id_hash(key.encode()) for key in KEYS], dtype=np.uint64)
    places = state.places(hashes).tolist()
    for key, place in zip(KEYS, places, strict=True):
        assert (place >= 0) == (key in model)
        assert place < 0 or state.entry_id(place).decode() == key
    assert state.unreadable == sum(what in NOTHING for what in model.values())


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_every_field_of_what_stands_is_looked_at(field: str) -> None:
    """As it is in a file's entry: or each sync would find a change that is none."""
    entry = decode_entry(encode(msgspec.structs.replace(ENTRY, **{field: CHANGES[field]})))
    state = ListState(Names())
    state.apply([(entry.entry_id.encode(), encode(entry))])
    state.settle()
    found, expected = state.columns._asdict(), digests(entry).columns()._asdict()
    for name, column in found.items():
        assert column.tolist() == expected[name].tolist(), name


def test_many_revisions_of_few_keys_take_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_state, "_SETTLE_RECORDS", 100)
    state = ListState(Names())
    for number in range(200):
        state.apply((f"e-{key}".encode(), value_of(f"e-{key}", "a")) for key in range(10))
        assert len(state._digests) <= 120, number
    state.settle()
    assert len(state.columns.ids) == 10


def test_the_quick_way_reads_the_same_fields() -> None:
    assert list_state._Standing.__struct_fields__ == Entry.__struct_fields__


def test_a_record_without_a_key_is_passed() -> None:
    state = ListState(Names())
    state.apply([(None, b"{}"), (None, None)])
    state.settle()
    assert len(state.columns.ids) == 0
