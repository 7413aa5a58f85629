"""`engine.matching.decide`: what a fetch comes to is bounded, and cutting it changes nothing
else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.documents.codec import encode
from engine.documents.purposes import Purposes
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression
from engine.wire.record_batch import RawFetch
from tests.fakes.documents import (
    NOW_MS,
    Json,
    as_bytes,
    at,
    detection_json,
    entry_json,
    policy_json,
)
from tests.fakes.record_batches import CODECS, Sent, batch_bytes, raw_batch, raw_fetch
from tests.models.oracle import plain_plate

_PURPOSES = Purposes.load()
_PLATES = ("ABC123", "ABC128", "XYZ900", "NONE11")
_CAMERAS = ("c1", "c2")
#: A header that the scanner leaves to aiokafka's parser, so that the batch goes the slow way.
_ODD_HEADERS = (("ключ", b""),)


def matcher_of(*entries: Json, sample_every: int = 0) -> Matcher:
    """A matcher with these entries; all sources but "denied" may match."""
    matcher = Matcher(Lists(_PURPOSES), sample_every, parse, Suppression())
    policies = [policy_json(source="S1"), policy_json(source="denied", rules=[])]
    for kind, name, documents in (
        (ControlKind.ENTRY, "entry_id", list(entries)),
        (ControlKind.POLICY, "source", policies),
    ):
        records = [
            ControlRecord(kind, 0, offset, NOW_MS, each[name].encode(), as_bytes(each))
            for offset, each in enumerate(documents)
        ]
        matcher.lists.apply(records, NOW_MS)
    return matcher


def a_matcher() -> Matcher:
    """Three plates are listed, one of them by three entries, of which one folds, and one takes
    look-alikes."""
    return matcher_of(
        entry_json(entry_id="E1", plate="ABC123", suppress_s=0),
        entry_json(entry_id="E2", plate="ABC123", suppress_s=60),
        entry_json(entry_id="E3", plate="ABC123", suppress_s=0, instructions="x" * 500),
        entry_json(entry_id="E4", plate="ABC12B", suppress_s=0, confusables=True),
        entry_json(entry_id="E5", plate="XYZ900", suppress_s=10),
        sample_every=3,
    )


_READS = st.lists(
    st.builds(
        lambda number, plate, camera, source, fault, seconds: (
            (number, plate, camera, source, fault, seconds)
        ),
        st.integers(0, 999),
        st.sampled_from(_PLATES),
        st.sampled_from(_CAMERAS),
        st.sampled_from(["S1", "S1", "S1", "denied", "unknown"]),
        st.sampled_from(["", "", "", "", "json", "key", "null", "odd key"]),
        st.integers(0, 100),
    ),
    max_size=24,
)


def sent(read: tuple[int, str, str, str, str, int], *, is_odd: bool) -> Sent:
    number, plate, camera, source, fault, seconds = read
    value = as_bytes(
        detection_json(
            read_id=f"R{number}",
            plate=plate,
            camera=camera,
            source=source,
            captured_at=at(1_000 * seconds - 100_000),
        )
    )
    key = plain_plate("ABC123" if fault == "key" else plate).encode()
    return Sent(
        None if fault == "odd key" else key,
        {"json": b"{", "null": None}.get(fault, value),
        _ODD_HEADERS if is_odd else (),
    )


def in_parts(matcher: Matcher, fetch: RawFetch, outcome_bytes: int) -> list[Outcome]:
    """What a fetch comes to, taken until nothing of it is left."""
    outcomes = []
    rest: RawFetch | None = fetch
    with mock.patch.object(limits, "OUTCOME_BYTES", outcome_bytes):
        while rest is not None:
            outcome = matcher.process(rest, NOW_MS)
            outcomes.append(outcome)
            if outcome.next_offset is not None:
                assert rest.first_offset < outcome.next_offset <= rest.last_offset
                rest = rest.since(outcome.next_offset)
                assert rest.first_offset >= outcome.next_offset
            else:
                rest = None
    return outcomes


_NO_SUM = ("at_ms", "next_offset", "missing_schema", "suppression", "batches_parsed_slowly")


def put_together(outcomes: list[Outcome]) -> Outcome:
    """Parts as one; of the suppression's states the last of each key counts, and batches are
    parsed as often as there are parts of them."""
    whole = Outcome(at_ms=NOW_MS)
    states: dict[Any, Any] = {}
    for part in outcomes:
        for each in fields(Outcome):
            if each.name not in _NO_SUM:
                value = getattr(whole, each.name)
                value += getattr(part, each.name)
                setattr(whole, each.name, value)
        states |= {(one.partition, one.key): one for one in part.suppression}
    whole.suppression = list(states.values())
    return whole


@given(
    reads=_READS,
    cuts=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(CODECS), st.booleans())),
    gap=st.integers(0, 2),
    outcome_bytes=st.sampled_from([1, 600, 1_500, 4_000]),
)
def test_parts_are_the_whole(
    reads: list[tuple[int, str, str, str, str, int]],
    cuts: list[tuple[int, int, bool]],
    gap: int,
    outcome_bytes: int,
) -> None:
    """Whatever the batches, codecs, ways and gaps are, and wherever it is cut."""
    batches = []
    offset, left = 0, list(reads)
    for size, codec, is_odd in (*cuts, (len(reads), 0, False)):
        some, left = left[:size], left[size:]
        if some:
            records = [sent(read, is_odd=is_odd) for read in some]
            data = batch_bytes(records, base_offset=offset, codec=codec)
            batches.append(raw_batch(data))
            offset = batches[-1].next_offset + gap
    if not batches:
        return
    fetch = raw_fetch(*batches)
    whole = a_matcher().process(fetch, NOW_MS)
    assert whole.next_offset is None
    outcomes = in_parts(a_matcher(), fetch, outcome_bytes)
    whole.batches_parsed_slowly = 0
    whole.suppression = sorted(whole.suppression)
    together = put_together(outcomes)
    together.suppression = sorted(together.suppression)
    assert together == whole
    assert sum(part.reads for part in outcomes) == len(reads)
    if outcome_bytes == 1:  # as often as may be
        for part in outcomes:
            came_of = {found.match.read.read_id for found in part.matches}
            assert len(came_of) <= 1


def test_a_part_is_no_larger_than_it_may_be() -> None:
    """By the limit itself: a thousand reads with as much in them as a read may have."""
    matcher = matcher_of(entry_json(suppress_s=0))
    padding = "x" * (limits.READ_VALUE_BYTES - 500)
    records = [
        Sent(b"ABC123", as_bytes({**detection_json(read_id=f"R{number}"), "vendor": padding}))
        for number in range(200)
    ]
    outcomes = in_parts(matcher, raw_fetch(raw_batch(batch_bytes(records))), limits.OUTCOME_BYTES)
    assert sum(len(outcome.matches) for outcome in outcomes) == 200
    assert len(outcomes) > 5
    for outcome in outcomes:
        assert len(outcome.matches) <= 1 + limits.OUTCOME_BYTES // limits.READ_VALUE_BYTES


@pytest.mark.parametrize("folds", [False, True], ids=["matched", "folded"])
def test_one_read_of_very_many_entries_is_handed_over_piece_by_piece(folds: bool) -> None:
    """Its matches come to no more than twice what one outcome may, whoever takes them."""
    count = 300
    entries = [
        entry_json(entry_id=f"E{number}", plate="NOPLATE", suppress_s=60 if folds else 0)
        for number in range(count)
    ]
    records = [
        Sent(b"NOPLATE", as_bytes(detection_json(read_id=f"R{number}", plate="NOPLATE")))
        for number in range(2)
    ]
    fetch = raw_fetch(raw_batch(batch_bytes(records)))
    whole = matcher_of(*entries).process(fetch, NOW_MS)
    assert len(whole.matches) == (count if folds else 2 * count)
    assert whole.suppressed == (count if folds else 0)

    matcher = matcher_of(*entries)
    pieces: list[Outcome] = []
    with mock.patch.object(limits, "OUTCOME_BYTES", 20_000):
        outcome = matcher.process(fetch, NOW_MS, pieces.append)
        pieces.append(outcome)
        while outcome.next_offset is not None:
            fetch = fetch.since(outcome.next_offset)
            outcome = matcher.process(fetch, NOW_MS, pieces.append)
            pieces.append(outcome)
    together = put_together(pieces)
    assert together.matches == whole.matches
    assert together.suppressed == whole.suppressed
    assert together.reads == whole.reads
    assert {one.key: one.value for one in together.suppression} == {
        one.key: one.value for one in whole.suppression
    }
    assert len(pieces) > 10
    for piece in pieces:
        matches_bytes = sum(len(encode(found.match)) for found in piece.matches)
        states_bytes = sum(len(one.value or b"") for one in piece.suppression)
        assert matches_bytes + states_bytes < 3 * 20_000


def test_what_stops_the_handing_over_stops_the_matcher() -> None:
    entries = [entry_json(entry_id=f"E{number}", suppress_s=0) for number in range(50)]

    def refuse(outcome: Outcome) -> None:
        raise TimeoutError

    records = [Sent(b"ABC123", as_bytes(detection_json()))]
    with mock.patch.object(limits, "OUTCOME_BYTES", 5_000), pytest.raises(TimeoutError):
        matcher_of(*entries).process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS, refuse)


@pytest.mark.parametrize("kind", ["rejects", "sources", "states"])
def test_whatever_fills_it_up(kind: str) -> None:
    """Not only matches: bad records, sources that nobody knows, folded reads at many cameras."""
    make: dict[str, Callable[[int], bytes]] = {
        "rejects": lambda number: b"{",
        "sources": lambda number: as_bytes(detection_json(source=f"north-{number}")),
        "states": lambda number: as_bytes(
            detection_json(read_id=f"R{number}", camera=f"camera-{number // 2}")
        ),
    }
    records = [Sent(b"ABC123", make[kind](number)) for number in range(400)]
    fetch = raw_fetch(raw_batch(batch_bytes(records)))
    matcher = matcher_of(entry_json(suppress_s=60))
    outcomes = in_parts(matcher, fetch, 10_000)
    assert len(outcomes) > 4
    for outcome in outcomes:
        assert len(outcome.rejects) <= 30
        assert len(outcome.denied_by_source) <= 100
        assert len(outcome.suppression) <= 30
    together = put_together(outcomes)
    assert together.reads == 400
    if kind == "rejects":
        assert [one.offset for one in together.rejects] == list(range(400))


def test_a_batch_of_too_many_records_is_rejected_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes can claim to be millions of empty records, each of which takes memory."""
    monkeypatch.setattr(limits, "BATCH_RECORDS", 20)
    good = raw_batch(batch_bytes([Sent(b"ABC123", as_bytes(detection_json()))]))
    many = raw_batch(batch_bytes([Sent(None, None)] * 21, base_offset=1))
    after = raw_batch(batch_bytes([Sent(b"ABC123", as_bytes(detection_json()))], base_offset=22))
    outcome = matcher_of(entry_json(suppress_s=0)).process(raw_fetch(good, many, after), NOW_MS)
    assert [(one.reason, one.offset, one.last_offset) for one in outcome.rejects] == [
        ("batch_too_large", 1, 21)
    ]
    assert len(outcome.matches) == 2
    few = replace(many, from_offset=0)
    monkeypatch.setattr(limits, "BATCH_RECORDS", 21)
    outcome = matcher_of().process(raw_fetch(few), NOW_MS)
    assert [one.reason for one in outcome.rejects] == 21 * ["value_missing"]
