"""What a removal says of an entry, and that it is held in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.documents.codec import encode
from engine.list_files.digests import DigestColumns, Digests, Names, id_hash
from engine.list_files.list_state import ListState
from engine.list_files.removed_terms import (
    TERM_HEADER,
    RemovedTerm,
    RemovedTerms,
    removed_term,
    term_headers,
)
from tests.list_files.test_difference import START_MS, entry


@given(st.integers(0, 253_402_300_799_999), st.integers(0, 2**64 - 1))
def test_what_is_written_is_read(created_ms: int, reference: int) -> None:
    term = RemovedTerm(created_ms, reference)
    assert removed_term([("operator", b"jo"), *term.headers()]) == term


def test_a_command_that_has_the_value_writes_what_one_that_has_the_digest_does() -> None:
    one = entry("E-1")
    digests = Digests(Names())
    digests.add(b"E-1", one, one.created_ms, one.expires_ms)
    columns = digests.columns()
    term = RemovedTerm(int(columns.created_ms[0]), int(columns.references[0]))
    assert term_headers(encode(one)) == term.headers()
    assert b"1" not in term.headers()[0][1].split(b" ")[1:], "the reference is not written"


@pytest.mark.parametrize(
    "value", [b"", b"no JSON", b"[]", b"{}", b'{"created_at":"x","authority":1}']
)
def test_of_a_value_that_is_no_entry_nothing_is_written(value: bytes) -> None:
    assert term_headers(value) == []


@pytest.mark.parametrize(
    "value",
    [None, b"", b"1", b"1 ", b"-1 0123456789abcdef", b"1 0123456789abcdeg", b"1 0123", b"9" * 99],
)
def test_a_header_that_says_nothing_is_passed(value: bytes | None) -> None:
    """As are removals of earlier versions, which have none."""
    assert removed_term([(TERM_HEADER, value)]) is None
    assert removed_term([]) is None


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["listed", "removed", "forgotten"]))),
    st.integers(1, 4),
)
def test_the_last_record_of_an_id_counts(records: list[tuple[int, str]], settle: int) -> None:
    state = ListState(Names())
    model: dict[int, int | None] = {}
    for number, (key, what) in enumerate(records, start=1):
        named = b"E-%d" % key
        model[key] = None
        if what == "listed":
            state.apply([(named, encode(entry(f"E-{key}")))])
        elif what == "removed":
            state.apply([(named, None, RemovedTerm(number, 7))])
            model[key] = number
        else:
            state.apply([(named, None)])
        if number % settle == 0:
            state.settle()
    state.settle()
    ids = np.array([id_hash(b"E-%d" % key) for key in range(6)], dtype=np.uint64)
    places = state.removed.places(ids).tolist()
    held = [int(state.removed.columns.created_ms[at]) if at >= 0 else None for at in places]
    assert held == [model.get(key) for key in range(6)]
    standing = {key for key, what in dict(records).items() if what == "listed"}
    assert {int(state.entry_id(at)[2:]) for at in range(len(state.columns.ids))} == standing


def test_too_many_are_dropped_those_created_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REMOVED_TERMS", 3)
    state = ListState(Names())
    for number, created_ms in enumerate([5, 1, 4, 2, 3]):
        state.apply([(b"E-%d" % number, None, RemovedTerm(START_MS + created_ms, 7))])
        if number == 3:
            state.settle()
    state.settle()
    assert sorted(state.removed.columns.created_ms - START_MS) == [3, 4, 5]
    assert state.removed.dropped == 2
    assert list(state.removed.columns.ids) == sorted(state.removed.columns.ids)


def test_a_million_removed_entries_take_52_bytes_each() -> None:
    count = limits.REMOVED_TERMS
    ids = np.arange(count + 10, dtype=np.uint64)
    whole = np.zeros(count + 10, dtype=np.int64)
    part = np.zeros(count + 10, dtype=np.int32)
    held = RemovedTerms(DigestColumns(ids, ids, ids, whole + 1, whole, part, part, part))
    assert held.dropped == 10
    assert sum(column.nbytes for column in held.columns) == 52 * count
