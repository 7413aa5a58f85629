"""`engine.audit.written_events` beside `chain`, which seals a record at a time, and its SHA-256
beside hashlib's."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.arrays import Bytes
from engine.audit.chain import AuditedEvent, Chain, Opener
from engine.audit.compiled_hash import HAS_SHA256, PADDING_BYTES, hash_text
from engine.audit.written_events import WrittenEvents, seal_written
from engine.compiled import compiled
from tests.fakes.chains import MATCH as SHORT_MATCH
from tests.fakes.chains import hash_by_hand, to_json

pytestmark = pytest.mark.skipif(not HAS_SHA256, reason="a processor without these instructions")

MATCH = {**SHORT_MATCH, "suppressed": 0}
_TEXTS = st.text(max_size=80)
_MATCHES = st.builds(
    lambda texts: to_json(
        {
            name: text if isinstance(MATCH[name], str) else 7
            for name, text in zip(MATCH, texts, strict=False)
        }
    ),
    st.lists(_TEXTS, min_size=len(MATCH), max_size=len(MATCH)),
)


@compiled
def _hashed(text: Bytes, length: int, state: Any) -> None:
    hash_text(text, length, state)


@given(st.binary(max_size=200) | st.integers(0, 5_000).map(bytes))
def test_a_hash_is_that_of_hashlib(data: bytes) -> None:
    text = np.full(len(data) + PADDING_BYTES, 0xFF, dtype=np.uint8)
    text[: len(data)] = np.frombuffer(data, dtype=np.uint8)
    state = np.zeros(8, dtype=np.uint32)
    _hashed(text, len(data), state)
    assert "".join(f"{word:08x}" for word in state.tolist()) == hashlib.sha256(data).hexdigest()


def written(fields: list[bytes], at_ms: int) -> WrittenEvents:
    """Events with these fields, one behind the other."""
    ends = np.cumsum([len(each) for each in fields], dtype=np.int64)
    places = np.empty((len(fields), 2), dtype=np.int64)
    places[:, 1] = ends
    places[:1, 0], places[1:, 0] = 0, ends[:-1]
    data = np.frombuffer(bytearray().join(fields), dtype=np.uint8)
    return WrittenEvents("match", at_ms, data, places)


def values(chain: Chain, events: WrittenEvents, room_bytes: int, beside_bytes: int) -> list[bytes]:
    columns = seal_written(chain, events, room_bytes, beside_bytes)
    records = [columns.record(number) for number in range(len(columns.spans))]
    assert {(key, headers) for key, _, headers in records} <= {(chain.id.encode(), b"\0")}
    return [value for _, value, _ in records]


@given(
    fields=st.lists(_MATCHES, max_size=12),
    chain_id=_TEXTS.filter(lambda text: 1 <= len(text.encode()) <= 80),
    at_ms=st.integers(0, 2**40),
    room_bytes=st.integers(1, 4_000),
    beside_bytes=st.integers(0, 300),
    before=st.sampled_from([0, 1, 9, 10, 99]),
)
def test_records_are_those_of_the_chain(
    fields: list[bytes],
    chain_id: str,
    at_ms: int,
    room_bytes: int,
    beside_bytes: int,
    before: int,
) -> None:
    """Sealed in any pieces, each ending with the record that fills it."""
    one, other = Chain(chain_id), Chain(chain_id)
    for chain in (one, other):
        for number in range(before):
            chain.seal("match", MATCH, at_ms + number)
    events = written(fields, at_ms)
    sealed: list[bytes] = []
    while len(sealed) < len(fields):
        some = values(one, events[len(sealed) :], room_bytes, beside_bytes)
        sizes = [len(value) + beside_bytes for value in some]
        assert sum(sizes[:-1]) < room_bytes
        assert sum(sizes) >= room_bytes or len(sealed) + len(some) == len(fields)
        sealed += some
    assert sealed == [*other.seal_each([*events])]
    assert (one.sequence, one.head) == (other.sequence, other.head)
    assert one.seal("match", MATCH, at_ms) == other.seal("match", MATCH, at_ms)


def test_a_record_opens_and_hashes_by_hand() -> None:
    chain = Chain("g/1")
    events = written([to_json(MATCH)] * 3, 1_764_000_000_000)
    for value in values(chain, events, 1 << 40, 0):
        record, found = Opener().open(value)
        assert record.hash == found
    assert hash_by_hand({name: getattr(record, name) for name in record.__struct_fields__}) == found


def test_events_are_a_sequence() -> None:
    events = written([b"{}", b"[]"], 5)
    assert [*events] == [AuditedEvent("match", 5, b"{}"), AuditedEvent("match", 5, b"[]")]
    assert [*events[1:]] == [AuditedEvent("match", 5, b"[]")]
    assert values(Chain("c"), events[2:], 1, 1) == []
