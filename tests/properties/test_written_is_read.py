"""Whatever the engine writes, it can read again: every document, from hostile but admissible input.

Times at both ends of what a document may say, Kafka timestamps of 64 bits, texts of any character,
numbers at their bounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from engine.audit.chain import Chain, Opener
from engine.audit.chain_state import Head
from engine.audit.changes import entry_put, entry_refused, entry_removed, policy_removed, policy_set
from engine.audit.checkpoints import new_key_pair, open_checkpoint, private_key, public_key, sign
from engine.documents.codec import (
    decode_audit,
    decode_match,
    decode_reject,
    decode_suppression,
    encode,
)
from engine.documents.fields import INTEGER_MAX
from engine.documents.model import Entry, Policy
from engine.errors import DocumentError
from engine.index.entry_store import EntryStore
from engine.library.hot_list_index import HotListIndex
from engine.matching.lists import ControlKind, ControlRecord
from engine.matching.match import audit_fields
from engine.matching.suppression import Suppression
from engine.matching.suppression_writer import document_of
from tests.fakes.documents import NOW_MS, detection, detection_json, entry, policy, policy_json
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch, raw_fetch
from tests.models.real_matcher import PURPOSES, RealMatcher, keyed

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
PRINTABLE = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\u0085\u2028"),
    min_size=1,
    max_size=64,
)
ENDS = st.sampled_from(["1900-01-01T00:00:00Z", "2999-12-31T23:59:59.999999999Z"])
TIMES = ENDS | st.just("2026-09-21T14:13:20.000Z")
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-1, 0, NOW_MS, 2**53, -(2**53)])
CONFIDENCES = st.sampled_from([0, 0.0, 5e-324, 1e-9, 0.5, 0.99999, 1, 1.0])
PLACES = st.fixed_dictionaries(
    {
        "lat": st.sampled_from([-90, 90, 5e-324, 1 / 3]),
        "lon": st.sampled_from([-180, 180, -0.0, 1e-17]),
    }
)
ENTRIES: st.SearchStrategy[Entry] = st.builds(
    entry,
    entry_id=PRINTABLE,
    list_id=TEXTS,
    agency=TEXTS,
    requested_by=TEXTS,
    authority=st.fixed_dictionaries({"kind": st.just("ncic"), "reference": TEXTS}),
    expires_at=st.just("2999-12-31T23:59:59.999Z"),
    created_at=TIMES,
    priority=st.sampled_from([1, 1.0, 5]),
    suppress_s=st.sampled_from([0, 60, 86_400, 86_400.0]),
    instructions=st.text(st.characters(exclude_categories=["Cs"]), max_size=2000),
    area=st.none() | st.lists(PLACES.map(lambda at: at | {"radius_m": 1e6}), min_size=1),
    confusables=st.booleans(),
)


@st.composite
def reads(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Sent:
    """A record of a read of ABC123, with any Kafka timestamp."""
    document = detection_json(
        read_id=draw(TEXTS),
        source=draw(st.sampled_from(["S1", "S\x1f1"])),
        camera=draw(TEXTS),
        plate=draw(st.sampled_from(["ABC123", "A8C123"])),
        captured_at=draw(TIMES),
        confidence=draw(CONFIDENCES),
        location=draw(PLACES),
        heading=draw(st.sampled_from([0, 360, 5e-324])),
    )
    return keyed(document).sent(arrived_ms=draw(INT64))


@given(ENTRIES, st.lists(reads(), min_size=1, max_size=6), st.integers(0, INTEGER_MAX - 10))
def test_matches_and_what_goes_with_them(listed: Entry, sent: list[Sent], offset: int) -> None:
    real = RealMatcher()
    for source in ("S1", "S\x1f1"):
        real.put_policy(0, source, policy_json(source=source), NOW_MS)
    real.lists.index.put(listed, INTEGER_MAX, NOW_MS)
    batch = raw_batch(batch_bytes(sent, base_offset=offset))
    outcome = real.matcher.process(raw_fetch(batch), NOW_MS)
    chain, opener = Chain("worker"), Opener()
    if listed.area is None and sent[0].key == b"ABC123":
        assert outcome.matches
    for found in outcome.matches:
        assert encode(decode_match(found.value)) == found.value
        assert orjson.loads(found.audit) == audit_fields(found.match)
        value = chain.seal("match", audit_fields(found.match), NOW_MS)
        assert decode_audit(value).fields == audit_fields(found.match)
        record, true_hash = opener.open(value)
        assert record.hash == true_hash
    states = []
    for change in outcome.suppression:
        assert change.value is not None
        states.append((change.key, decode_suppression(change.value)))
        assert encode(states[-1][1]) == change.value
    again = Suppression()
    again.restore(0, states, offset + len(sent))
    assert {each.key: document_of(each) for each in again.states} == dict(states)


@given(st.binary(max_size=40), st.integers(0, INTEGER_MAX - 1), INT64)
def test_rejects(value: bytes, offset: int, arrived_ms: int) -> None:
    sent = [Sent(b"\xff", value, (), arrived_ms)]
    outcome = RealMatcher().matcher.process(
        raw_fetch(raw_batch(batch_bytes(sent, base_offset=offset))), NOW_MS
    )
    assert len(outcome.rejects) == 1
    for reject in outcome.rejects:
        assert decode_reject(encode(reject)) == reject


@given(
    ENTRIES,
    ENTRIES,
    st.lists(st.lists(TEXTS, min_size=1, max_size=8), max_size=8),
    st.binary(max_size=300),
    st.none() | TEXTS,
    INT64,
)
def test_the_audit_of_changes(
    one: Entry, other: Entry, agencies: list[list[str]], key: bytes, operator: str | None, ms: int
) -> None:
    record = ControlRecord(ControlKind.ENTRY, 0, INTEGER_MAX, ms, key, b"", operator)
    rules = [{"agencies": each, "purposes": "*"} for each in agencies]
    allowed: Policy = policy(rules=rules)
    error = DocumentError("schema", field="$.plate", rule="must be a string")
    chain = Chain("changes")
    for change in (
        entry_put(record, one, NOW_MS, replaced=other, is_extended=True),
        entry_removed(record, one, NOW_MS),
        entry_removed(record, None, NOW_MS),
        entry_refused(record, error, one, INTEGER_MAX, NOW_MS),
        policy_set(record, allowed, NOW_MS),
        policy_removed(record, error, NOW_MS),
    ):
        value = chain.seal(change.event, change.fields, change.at_ms)
        assert decode_audit(value).fields == change.fields
        sealed, true_hash = Opener().open(value)
        assert sealed.hash == true_hash


_KEYS = new_key_pair()


@given(st.lists(st.tuples(TEXTS, st.integers(0, INTEGER_MAX)), max_size=5), TEXTS)
def test_checkpoints(ends: list[tuple[str, int]], topic: str) -> None:
    heads = [Head(chain, sequence, "0f" * 32) for chain, sequence in ends]
    content = sign(private_key(_KEYS.private, "key"), topic, heads, NOW_MS)
    again = open_checkpoint(content, "checkpoint", public_key(_KEYS.public, "key"))
    assert (again.heads, again.topic) == (sorted(heads), topic)


@given(st.lists(ENTRIES, max_size=4))
def test_packed_and_saved_entries(entries: list[Entry]) -> None:
    store = EntryStore()
    for each in entries:
        slot = store.add_slots(1)[0]
        store.put(slot, each)
        assert store.get(slot) == each
    index = HotListIndex(PURPOSES)
    index.add_many(entries)
    index.set_policy(policy())
    with tempfile.TemporaryDirectory() as directory:
        index.save(Path(directory) / "saved")
        again = HotListIndex.load(Path(directory) / "saved", PURPOSES)
    read = detection()
    found, loaded = (each.snapshot().match(read, NOW_MS) for each in (index, again))
    assert [encode(match) for match in loaded] == [encode(match) for match in found]
