"""The matcher beside brute force, and with every kind of bad input among good reads."""

from __future__ import annotations

import copy
import datetime
import logging
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.documents.admission import Purposes
from engine.documents.codec import decode_match, decode_reject, encode
from engine.documents.model import Alternate, Match
from engine.index.hash_table import HashTable
from engine.kafka.raw_fetcher import parse
from engine.matching.group_scans import GroupScanner
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.scanner import is_sampled
from engine.matching.suppression import Suppression
from engine.plates.plate_hash import hash_of
from engine.wire.headers import headers_at
from engine.wire.record_batch import RawBatch
from engine.wire.trace_context import TraceContext, carried_by
from tests.fakes.documents import (
    NOW_MS,
    Json,
    as_bytes,
    at,
    detection_json,
    entry_json,
    policy_json,
)
from tests.fakes.record_batches import (
    CODECS,
    FIRST_MS,
    GZIP,
    LZ4,
    TOPIC,
    ZSTD,
    Sent,
    batch_bytes,
    compress,
    encoded_records,
    raw_batch,
    raw_fetch,
)
from tests.models.oracle import Expected, expected_matches, plain_plate

_PURPOSES = Purposes.load()
_NOW = datetime.datetime.fromtimestamp(NOW_MS / 1000, datetime.UTC)
#: A header that the scanner leaves to aiokafka's parser, so that the batch goes the slow way.
_ODD_HEADERS = (("ключ", b""),)
_BOTH_WAYS = pytest.mark.parametrize("headers", [(), _ODD_HEADERS], ids=["scanned", "parsed"])

Headers = tuple[tuple[str, bytes | None], ...]


@pytest.fixture(autouse=True, params=["at once", "ahead"])
def _grouping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All batches of a fetch are one group, or each is one: another thread scans some, and they
    have so few reads that Python decodes them."""
    if request.param == "ahead":
        monkeypatch.setattr(limits, "SCAN_BYTES", 1)
        monkeypatch.setattr(limits, "PLAIN_ROWS_FEWEST", 8)


def listed(**fields: Any) -> Json:
    """An entry whose every read is a match: folding is the business of `suppression`."""
    return entry_json(**({"suppress_s": 0} | fields))


def matcher_of(
    entries: Sequence[tuple[str, Json | None]] = (),
    policies: Sequence[tuple[str, Json | None]] = (),
    *,
    sample_every: int = 0,
) -> Matcher:
    """A matcher that has taken in these control records; a record's offset is its place."""
    matcher = Matcher(Lists(_PURPOSES), sample_every, parse, Suppression())
    for kind, records in ((ControlKind.ENTRY, entries), (ControlKind.POLICY, policies)):
        matcher.lists.apply(
            [
                ControlRecord(
                    kind,
                    0,
                    offset,
                    NOW_MS,
                    key.encode(),
                    None if document is None else as_bytes(document),
                )
                for offset, (key, document) in enumerate(records)
            ],
            NOW_MS,
        )
    return matcher


def open_matcher(sample_every: int = 0) -> Matcher:
    """A matcher with one entry, of ABC123, and one policy, of S1, that allows all."""
    return matcher_of([("E1", listed())], [("S1", policy_json())], sample_every=sample_every)


def read(number: int = 1, **fields: Any) -> Json:
    return detection_json(read_id=f"R{number}", **fields)


def sent(document: Json, headers: Headers = ()) -> Sent:
    """A read as an upstream produces it."""
    return Sent(plain_plate(document["plate"]).encode(), as_bytes(document), headers)


def ids(outcome: Outcome) -> list[str]:
    return [found.match.match_id for found in outcome.matches]


def matches_of(outcome: Outcome) -> list[Match]:
    return [found.match for found in outcome.matches]


def as_expected(match: Match) -> Expected:
    return Expected(match.match_id, match.entry.entry_id, match.read.read_id)


# Beside the oracle.

_PLATES = st.sampled_from(["ABAB1", "ABAB2", "BABA1", "AAAA", "ABCDEFGHIJKLMNOP"])
_AGENCIES = ["AG1", "AG2"]
_PURPOSE_CODES = ["stolen_vehicle", "missing_person"]
_REGIONS = st.sampled_from([None, None, "US", "US-CA", "US-NV", "NL"])
_AROUND_NOW_MS = st.sampled_from([-60_000, -1, 0, 1, 60_000])
_ENTRIES = st.lists(
    st.tuples(
        st.sampled_from([f"E{number}" for number in range(8)]),
        st.none()
        | st.builds(
            lambda plate, agency, purpose, region, ends_ms, starts_ms: listed(
                plate=plate,
                agency=agency,
                purpose=purpose,
                region=region,
                expires_at=at(ends_ms),
                starts_at=None if starts_ms is None or starts_ms >= ends_ms else at(starts_ms),
            ),
            _PLATES,
            st.sampled_from(_AGENCIES),
            st.sampled_from(_PURPOSE_CODES),
            _REGIONS,
            st.sampled_from([1, 60_000, 60_000, 60_000, 0, -1]),
            st.none() | _AROUND_NOW_MS,
        ),
    ),
    max_size=14,
)
_SOURCES = ["S1", "S2", "S3"]
_RULES = st.lists(
    st.builds(
        lambda agencies, purposes: {"agencies": agencies, "purposes": purposes},
        st.just("*") | st.lists(st.sampled_from(_AGENCIES), max_size=2),
        st.just("*") | st.lists(st.sampled_from(_PURPOSE_CODES), max_size=2),
    ),
    max_size=2,
)
_POLICIES = st.lists(
    st.tuples(
        st.sampled_from(_SOURCES),
        st.none()
        | st.builds(
            lambda rules, regions: policy_json(rules=rules, regions=regions),
            st.just([{"agencies": "*", "purposes": "*"}]) | _RULES,
            st.sampled_from([None, None, ["US"], ["US-CA", "NL"]]),
        ),
    ),
    max_size=5,
)


class Drawn(NamedTuple):
    """A read and how it was sent: `key` is normal, missing, or as the camera read it."""

    plate: str
    spelled: str
    source: str
    region: str | None
    key: str


_READS = st.lists(
    st.builds(
        Drawn,
        _PLATES | st.sampled_from(["ZZZZ9", "AB"]),
        st.sampled_from(["{0}", "{0}", " {0}.", "low"]),
        st.sampled_from(_SOURCES),
        _REGIONS,
        st.sampled_from(["normal", "normal", "normal", "missing", "as read", "not text"]),
    ),
    max_size=25,
)


def drawn_reads(drawn: Sequence[Drawn]) -> list[tuple[bytes | None, Json]]:
    reads: list[tuple[bytes | None, Json]] = []
    for number, each in enumerate(drawn):
        plate = each.plate.lower() if each.spelled == "low" else each.spelled.format(each.plate)
        key = {
            "normal": each.plate.encode(),
            "missing": None,
            "as read": plate.encode(),
            "not text": b"\xff" + each.plate.encode(),
        }[each.key]
        reads.append((key, read(number, plate=plate, source=each.source, region=each.region)))
    return reads


def fetches_of(
    reads: Sequence[tuple[bytes | None, Json]],
    cuts: Sequence[int],
    ways: Sequence[tuple[int, bool, bool]],
) -> list[list[RawBatch]]:
    """The reads in batches that end at `cuts`; `ways` says of each batch its codec, whether it
    goes the slow way and whether a new fetch begins with it."""
    fetches: list[list[RawBatch]] = []
    ends = sorted({min(cut, len(reads)) for cut in cuts} | {len(reads)})
    begin = 0
    for number, end in enumerate(ends):
        codec, slow, new_fetch = ways[number % len(ways)]
        records = [
            Sent(key, as_bytes(document), _ODD_HEADERS if slow else ())
            for key, document in reads[begin:end]
        ]
        batch = raw_batch(
            batch_bytes(records, base_offset=begin, codec=codec, last_delta=end - begin - 1),
            from_offset=begin,
        )
        if new_fetch or not fetches:
            fetches.append([])
        fetches[-1].append(batch)
        begin = end
    return fetches


@given(
    _ENTRIES,
    _POLICIES,
    _READS,
    st.lists(st.integers(1, 25), max_size=4),
    st.lists(
        st.tuples(st.sampled_from(CODECS), st.booleans(), st.booleans()), min_size=1, max_size=5
    ),
)
def test_exactly_the_matches_of_the_oracle(
    entries: list[tuple[str, Json | None]],
    policies: list[tuple[str, Json | None]],
    drawn: list[Drawn],
    cuts: list[int],
    ways: list[tuple[int, bool, bool]],
) -> None:
    entries = [(key, value and value | {"entry_id": key}) for key, value in entries]
    policies = [(key, value and value | {"source": key}) for key, value in policies]
    matcher = matcher_of(entries, policies, sample_every=2)
    reads = drawn_reads(drawn)
    documents = [document for _, document in reads]
    expected = expected_matches(
        [(offset, key, value) for offset, (key, value) in enumerate(entries)],
        policies,
        documents,
        _NOW,
    )
    found: list[Match] = []
    denied = 0
    sampled: Counter[str | None] = Counter()
    for batches in fetches_of(reads, cuts, ways):
        outcome = matcher.process(raw_fetch(*batches), NOW_MS)
        assert outcome.rejects == []
        assert outcome.reads == sum(batch.record_count for batch in batches)
        found += matches_of(outcome)
        denied += outcome.denied.total()
        sampled += outcome.sampled_by_source
    assert {as_expected(match) for match in found} == expected
    assert len(found) == len(expected), "each once"
    assert [match.read.read_id for match in found] == sorted(
        (match.read.read_id for match in found), key=lambda read_id: int(read_id[1:])
    )
    last = dict(entries)
    listed = [value["plate"] for value in last.values() if value and value["expires_at"] > at(0)]
    candidates = sum(listed.count(plain_plate(document["plate"])) for document in documents)
    assert denied + len(found) == candidates
    # Matched or not, keyed or not: each read has the same chance. What no policy names, no
    # count names.
    known = {key for key, value in dict(policies).items() if value}
    assert sampled == Counter(
        source if (source := document["source"]) in known else None
        for at, document in enumerate(documents)
        if is_sampled(at, 2)
    )
    for match in found:
        assert decode_match(encode(match)) == match


def test_the_oracle_has_something_to_say() -> None:
    """A city of reads where each rule both lets through and holds back."""
    entries: list[tuple[str, Json | None]] = [
        (
            f"E{number}",
            listed(
                entry_id=f"E{number}",
                plate=f"P{number % 5}AAA",
                agency=_AGENCIES[number % 2],
                region=["US", "US-CA", None][number % 3],
                starts_at=at(1 - number % 2),
            ),
        )
        for number in range(20)
    ]
    policies: list[tuple[str, Json | None]] = [
        ("S1", policy_json(rules=[{"agencies": ["AG1"], "purposes": "*"}])),
        ("S2", policy_json(source="S2", regions=["US"])),
    ]
    documents = [
        read(
            number,
            plate=f"p{number % 7}-aaa",
            source=_SOURCES[number % 3],
            region=["US-CA", "US-NV", None, "NL"][number // 3 % 4],
        )
        for number in range(200)
    ]
    matcher = matcher_of(entries, policies)
    batch = raw_batch(batch_bytes([sent(document) for document in documents], codec=LZ4))
    outcome = matcher.process(raw_fetch(batch), NOW_MS)
    expected = expected_matches(
        [(offset, key, value) for offset, (key, value) in enumerate(entries)],
        policies,
        documents,
        _NOW,
    )
    assert {as_expected(match) for match in matches_of(outcome)} == expected
    assert len(expected) > 30
    assert set(outcome.denied) == {
        "not_started",
        "no_policy",
        "not_allowed",
        "policy_region",
        "entry_region",
    }
    by_reason: dict[str, int] = {}
    for (_, reason), count in outcome.denied_by_source.items():
        by_reason[reason] = by_reason.get(reason, 0) + count
    # Of a policy's doing are these; what the entry itself excludes is nobody's policy.
    assert by_reason == {
        reason: outcome.denied[reason] for reason in ("no_policy", "not_allowed", "policy_region")
    }
    # Only a read names a source without a policy, so nothing may be counted by its name.
    assert {source for source, reason in outcome.denied_by_source if reason == "no_policy"} == {
        None
    }


# What a match brings along.

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_TRACED: Headers = (
    ("x", None),
    ("traceparent", f"00-{_TRACE}-00f067aa0ba902b7-01".encode()),
    ("tracestate", b"a=1"),
)


@_BOTH_WAYS
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("key", ["ABC123", "abc 123", None])
def test_a_match_belongs_to_the_trace_of_its_own_read(
    headers: Headers, codec: int, key: str | None
) -> None:
    """Whatever way the read has come, whatever stands around it in its batch."""
    found = TraceContext(_TRACE, "00f067aa0ba902b7", 1, "a=1")
    other = (("traceparent", f"00-{'e' * 32}-{'f' * 16}-00".encode()),)
    records = [
        sent(read(1), (*_TRACED, *headers))._replace(key=None if key is None else key.encode()),
        sent(read(2, plate="XYZ999"), other),
        sent(read(3)),
        sent(read(4), other),
    ]
    outcome = open_matcher().process(
        raw_fetch(raw_batch(batch_bytes(records, codec=codec)), partition=3), NOW_MS
    )
    traces = {each.match.read.read_id: each.trace for each in outcome.matches}
    assert traces == {"R1": found, "R3": None, "R4": TraceContext("e" * 32, "f" * 16, 0)}
    assert outcome.partition == 3
    assert outcome.batches_parsed_slowly == bool(headers)


@_BOTH_WAYS
def test_all_matches_of_a_read_belong_to_its_trace(headers: Headers) -> None:
    entries = [(f"E{number}", listed(entry_id=f"E{number}")) for number in range(3)]
    matcher = matcher_of(entries, [("S1", policy_json())])
    records = [sent(read(), (*_TRACED, *headers))]
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    first, *others = (found.trace for found in outcome.matches)
    assert first is not None
    assert first.trace_id == _TRACE
    assert len(others) == 2
    assert all(other is first for other in others), "read once"


def test_headers_are_looked_at_for_matches_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of a read that no entry is like, nor of one that is denied, folded or rejected."""
    looked: list[object] = []

    def noting(real: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def look(what: Any) -> Any:
            looked.append(what)
            return real(what)

        return look

    monkeypatch.setattr("engine.matching.decide.headers_at", noting(headers_at))
    monkeypatch.setattr("engine.matching.decide.carried_by", noting(carried_by))
    matcher = matcher_of([("E1", entry_json())], [("S1", policy_json())], sample_every=1)
    hostile: Headers = (("traceparent", b"\x00" * 1000), ("tracestate", b"\xff"), *_TRACED)
    none = [
        sent(read(1, plate="XYZ999"), hostile),
        sent(read(2, source="S2"), hostile),
        sent(read(3), hostile)._replace(value=b"{"),
        sent(read(4), hostile)._replace(value=None),
        sent(read(5), hostile)._replace(key=b"XYZ999"),
        *(sent(read(number, plate="XYZ998"), _TRACED) for number in range(6, 100)),
    ]
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(none))), NOW_MS)
    assert (len(outcome.matches), len(outcome.rejects), looked) == (0, 3, [])
    assert (outcome.reads, outcome.denied.total()) == (99, 1)
    some = batch_bytes([sent(read(100), hostile), sent(read(101), _TRACED)], base_offset=99)
    outcome = matcher.process(raw_fetch(raw_batch(some)), NOW_MS)
    assert (len(outcome.matches), outcome.suppressed) == (1, 1)
    assert outcome.matches[0].trace is None  # `traceparent` stands there twice
    assert len(looked) == 2


def test_a_trace_takes_room_in_what_a_fetch_comes_to() -> None:
    """It goes out twice with each match."""
    state = ",".join(f"k{number}={'v' * 120}" for number in range(4)).encode()
    taken = []
    for headers in ((), (_TRACED[1], ("tracestate", state))):
        records = [sent(read(number), headers) for number in range(4000)]
        outcome = open_matcher().process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
        assert outcome.next_offset is not None
        taken.append(len(outcome.matches))
    assert taken[1] < 0.7 * taken[0]


@_BOTH_WAYS
@pytest.mark.parametrize("append_ms", [None, FIRST_MS + 99])
def test_a_match_comes_with_its_reads_timestamp(headers: Headers, append_ms: int | None) -> None:
    record = sent(read(), headers)._replace(timestamp_ms=FIRST_MS + 5)
    data = batch_bytes([Sent(None, b""), record], append_ms=append_ms)
    [found] = open_matcher().process(raw_fetch(raw_batch(data)), NOW_MS).matches
    match = found.match
    assert found.timestamp_ms == (FIRST_MS + 5 if append_ms is None else append_ms)
    assert match.matched_at == at(0)
    assert (match.entry_revision, match.policy.revision, match.list_revision) == (0, 0, 1)


def test_the_clock_alone_ends_and_starts_an_entry() -> None:
    matcher = matcher_of(
        [("E1", listed(starts_at=at(1_000), expires_at=at(2_000)))], [("S1", policy_json())]
    )
    fetch = raw_fetch(raw_batch(batch_bytes([sent(read())])))
    found = {
        step_ms: (len(outcome.matches), dict(outcome.denied))
        for step_ms in (0, 999, 1_000, 1_999, 2_000, 3_000)
        for outcome in [matcher.process(fetch, NOW_MS + step_ms)]
    }
    assert found == {
        0: (0, {"not_started": 1}),
        999: (0, {"not_started": 1}),
        1_000: (1, {}),
        1_999: (1, {}),
        2_000: (0, {}),
        3_000: (0, {}),
    }


def test_a_change_counts_for_every_read_after_it() -> None:
    matcher = open_matcher()
    fetch = raw_fetch(raw_batch(batch_bytes([sent(read())])))
    assert len(matcher.process(fetch, NOW_MS).matches) == 1
    matcher.lists.apply([ControlRecord(ControlKind.POLICY, 0, 1, NOW_MS, b"S1", None)], NOW_MS)
    outcome = matcher.process(fetch, NOW_MS)
    assert (outcome.matches, outcome.denied) == ([], {"no_policy": 1})


@given(_READS)
def test_the_same_fetch_again_has_the_same_outcome(drawn: list[Drawn]) -> None:
    matcher = matcher_of(
        [("E1", listed(plate="ABAB1")), ("E2", listed(entry_id="E2", plate="AAAA"))],
        [("S1", policy_json())],
        sample_every=2,
    )
    reads = drawn_reads(drawn)
    [batches] = fetches_of(reads, [], [(ZSTD, False, False)])
    once = copy.deepcopy(matcher.process(raw_fetch(*batches), NOW_MS))
    assert matcher.process(raw_fetch(*batches), NOW_MS) == once
    [slowly] = fetches_of(reads, [], [(ZSTD, True, False)])
    parsed = matcher.process(raw_fetch(*slowly), NOW_MS)
    assert parsed.batches_parsed_slowly == (1 if reads else 0)
    parsed.batches_parsed_slowly = 0
    assert parsed == once, "however it was read"


@_BOTH_WAYS
def test_a_read_that_matches_nothing_leaves_only_counts(
    headers: Headers, caplog: pytest.LogCaptureFixture
) -> None:
    records = [sent(read(number, plate=f"SECRET{number}"), headers) for number in range(50)]
    with caplog.at_level(logging.DEBUG):
        outcome = open_matcher().process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert outcome == Outcome(at_ms=NOW_MS, reads=50, batches_parsed_slowly=1 if headers else 0)
    assert caplog.records == []
    assert b"SECRET" not in repr(outcome).encode()


@_BOTH_WAYS
def test_a_read_that_is_denied_leaves_only_counts(headers: Headers) -> None:
    records = [sent(read(source="S9"), headers)]
    outcome = open_matcher().process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert outcome.denied == {"no_policy": 1}
    assert outcome.denied_by_source == {(None, "no_policy"): 1}
    assert "S9" not in repr(outcome)
    assert (outcome.matches, outcome.rejects) == ([], [])
    assert "ABC123" not in repr(outcome)


def test_of_a_recreated_list_only_a_read_that_comes_again_can_have_an_earlier_id() -> None:
    """As the guide for consumers says: the offset of an entry does not name its topic."""
    policies = [("S1", policy_json())]
    before = matcher_of([("E1", listed()), ("E2", listed(entry_id="E2"))], policies)
    after = matcher_of(
        [
            ("E1", listed(priority=1)),
            ("E3", listed(entry_id="E3", plate="AAAA")),
            ("E2", listed(entry_id="E2")),
        ],
        policies,
    )
    first = before.process(raw_fetch(raw_batch(batch_bytes([sent(read(1))]))), NOW_MS)
    again = after.process(raw_fetch(raw_batch(batch_bytes([sent(read(1)), sent(read(2))]))), NOW_MS)
    had = {match.entry.entry_id: match.match_id for match in matches_of(first)}
    has = {(match.entry.entry_id, match.read.read_id): match for match in matches_of(again)}
    assert had.keys() == {"E1", "E2"}
    assert len(has) == 4
    assert {match.match_id for match in has.values()} & {*had.values()} == {had["E1"]}
    same = has["E1", "R1"]
    assert (same.match_id, same.entry.priority) == (had["E1"], 1), "the entry has changed"
    assert has["E2", "R1"].entry_revision == 2


# Keys.


@_BOTH_WAYS
@pytest.mark.parametrize(
    ("key", "counted"),
    [
        (None, "missing"),
        (b"", "not_normal"),
        (b"abc123", "not_normal"),
        (b"ABC-123", "not_normal"),
        (b"\xff\xfe", "not_normal"),
        ("АВС123".encode(), "not_normal"),
        (b"A" * 17, "not_normal"),
        (b"A" * 100_000, "not_normal"),
        (b"OTHER-ONE", "not_normal"),
    ],
)
def test_a_key_that_says_nothing_is_no_error(
    headers: Headers, key: bytes | None, counted: str
) -> None:
    batch = raw_batch(batch_bytes([Sent(key, as_bytes(read()), headers)]))
    outcome = open_matcher().process(raw_fetch(batch), NOW_MS)
    assert len(outcome.matches) == 1
    assert outcome.odd_keys == {counted: 1}
    assert outcome.rejects == []


@_BOTH_WAYS
def test_a_normal_key_beyond_ascii(headers: Headers) -> None:
    matcher = matcher_of([("E1", listed(plate="MÜ1234"))], [("S1", policy_json())])
    records = [Sent("MÜ1234".encode(), as_bytes(read(plate="mü-1234")), headers)]
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert len(outcome.matches) == 1
    assert outcome.odd_keys == {}


@_BOTH_WAYS
@pytest.mark.parametrize("sample_every", [0, 1, 3])
def test_a_key_that_disagrees_is_found_when_it_is_drawn(
    headers: Headers, sample_every: int
) -> None:
    records = [Sent(b"OTHER1", as_bytes(read(number)), headers) for number in range(60)]
    matcher = open_matcher(sample_every)
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    drawn = [offset for offset in range(60) if is_sampled(offset, sample_every)]
    assert [(reject.reason, reject.offset) for reject in outcome.rejects] == [
        ("key_mismatch", offset) for offset in drawn
    ]
    assert outcome.values_opened == len(drawn)
    assert outcome.sampled_by_source == {}, "it may not be of whom it says"
    assert outcome.matches == []


@_BOTH_WAYS
def test_a_drawn_read_that_agrees_is_forgotten(headers: Headers) -> None:
    records = [sent(read(number, plate=f"SECRET{number}"), headers) for number in range(20)]
    outcome = open_matcher(1).process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert outcome == Outcome(
        at_ms=NOW_MS,
        reads=20,
        sampled_by_source=Counter({"S1": 20}),
        values_opened=20,
        batches_parsed_slowly=1 if headers else 0,
    )


@_BOTH_WAYS
def test_what_is_staged_counts_from_the_commit_on(headers: Headers) -> None:
    """Until then the old state does, whole: a hidden entry is neither matched nor denied."""
    matcher = open_matcher()
    sync = [
        ("E1", listed(plate="NEW1")),
        ("E2", listed(entry_id="E2", plate="ABC123", priority=1)),
        ("E3", listed(entry_id="E3", plate="LATER1", starts_at=at(1))),
    ]
    records = [
        ControlRecord(ControlKind.ENTRY, 0, 10 + number, NOW_MS, key.encode(), as_bytes(value))
        for number, (key, value) in enumerate(sync)
    ]
    plates = ("ABC123", "NEW1", "LATER1")
    sightings = [sent(read(number, plate=plate), headers) for number, plate in enumerate(plates)]

    def seen() -> tuple[list[tuple[str, str, int, int]], dict[str, int], int]:
        outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(sightings))), NOW_MS)
        found = [
            (each.read.plate, each.entry.entry_id, each.entry_revision, each.list_revision)
            for each in matches_of(outcome)
        ]
        return found, dict(outcome.denied), outcome.values_opened

    before = seen()
    assert before == ([("ABC123", "E1", 0, 1)], {}, 1)
    matcher.lists.apply(records[:1], NOW_MS, Phase.STAGED)
    assert seen() == before
    matcher.lists.apply(records[1:], NOW_MS, Phase.STAGED)
    assert seen() == before
    matcher.lists.commit()
    after = [("ABC123", "E2", 11, 13), ("NEW1", "E1", 10, 13)], {"not_started": 1}, 3
    assert seen() == after
    while matcher.lists.has_ended:
        matcher.lists.advance(NOW_MS)
    assert seen() == after


@_BOTH_WAYS
def test_hashes_that_collide_are_told_apart_and_their_reads_drawn_as_others(
    headers: Headers,
) -> None:
    """A hit in the table of a plate that is not listed: its read is like any other."""
    matcher = open_matcher(1)
    index = matcher.lists.index
    slot = index.plates.get(hash_of(b"ABC123"))
    _file_also_under(index.plates, hash_of(b"OTHER1"), slot)
    records = [Sent(b"OTHER1", as_bytes(read(plate="OTHER1")), headers)]
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert (outcome.matches, outcome.rejects) == ([], [])
    assert outcome.values_opened == 1
    records = [Sent(b"OTHER1", as_bytes(read(plate="ABC123")), headers)]
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert [reject.reason for reject in outcome.rejects] == ["key_mismatch"]


def _file_also_under(table: HashTable, key_hash: int, slot: int) -> None:
    position = table.place_of(key_hash)
    assert table.hashes[position] == 0
    table.hashes[position] = key_hash
    table.slots[position] = slot


# Bad records.


class Bad(NamedTuple):
    """A record that must be rejected, with a value that must not be seen again."""

    key: bytes | None
    value: bytes | None
    reason: str
    field: str | None = None


def _bad_json() -> list[Bad]:
    whole = as_bytes(read(camera="SECRET"))
    return [
        Bad(b"ABC123", b"SECRET", "invalid_json", "$"),
        Bad(b"ABC123", b"", "invalid_json", "$"),
        Bad(b"ABC123", whole[:-1], "invalid_json", "$"),
        Bad(b"ABC123", whole + b"}", "invalid_json", "$"),
        Bad(b"ABC123", b"\xff\xfeSECRET", "invalid_json", "$"),
        Bad(b"ABC123", b'{"plate":"\xed\xa0\x80SECRET"}', "invalid_json", "$"),
        Bad(b"ABC123", b"[" * limits.READ_VALUE_BYTES, "invalid_json", "$"),
        Bad(b"ABC123", b'{"SECRET":' * 6_000 + b"1" + b"}" * 4_000, "invalid_json", "$"),
        Bad(b"ABC123", b"1" * 5_000, "schema", "$"),
        Bad(b"ABC123", b'["SECRET"]', "schema", "$"),
        Bad(b"ABC123", b"null", "schema", "$"),
    ]


def _bad_fields() -> list[Bad]:
    def bad(field: str, **fields: Any) -> Bad:
        return Bad(b"ABC123", as_bytes(read(**fields) | fields), "schema", field)

    missing = [
        Bad(b"ABC123", as_bytes(detection_json(**{name: None})), "schema", f"$.{name}")
        for name in ("plate", "captured_at", "source", "camera")
    ]
    return [
        *missing,
        bad("$.plate", plate=5),
        bad("$.plate", plate=["SECRET"]),
        bad("$.plate", plate="SECRET" * 1_000),
        bad("$.plate", plate=""),
        bad("$.captured_at", captured_at="SECRET"),
        bad("$.captured_at", captured_at="2026-02-30T00:00:00.000Z"),
        bad("$.source", source={"SECRET": 1}),
    ]


_BAD_RECORDS = [
    *_bad_json(),
    *_bad_fields(),
    Bad(b"ABC123", None, "value_missing"),
    Bad(None, None, "value_missing"),
    Bad(b"OTHER1", None, "value_missing"),
    Bad(b"ABC123", b"SECRET" * 180_000, "value_too_large"),
    Bad(b"OTHER1", bytes(limits.READ_VALUE_BYTES + 1), "value_too_large"),
    Bad(None, as_bytes(read(camera="SECRET"))[:-1], "invalid_json", "$"),
    Bad(b"abc123", as_bytes(read(plate="SECRET-SECRET-SECRET")), "plate_length", "$.plate"),
    Bad(None, as_bytes(read(plate="- -")), "plate_length", "$.plate"),
    Bad(b"ABC123", as_bytes(read(plate="SECRET-SECRET-SECRET")), "plate_length", "$.plate"),
    Bad(b"ABC123", as_bytes(read(plate="SECRET")), "key_mismatch"),
]


@_BOTH_WAYS
@pytest.mark.parametrize("codec", [0, GZIP, ZSTD])
@pytest.mark.parametrize("bad", _BAD_RECORDS, ids=lambda bad: f"{bad.reason}-{bad.field}")
def test_a_bad_record_is_pointed_to_and_passed(bad: Bad, codec: int, headers: Headers) -> None:
    records = [
        sent(read(1), headers),
        Sent(bad.key, bad.value, headers),
        sent(read(2), headers),
    ]
    batch = raw_batch(batch_bytes(records, base_offset=500, codec=codec))
    outcome = open_matcher().process(raw_fetch(batch, partition=3), NOW_MS)
    assert [match.read.read_id for match in matches_of(outcome)] == ["R1", "R2"]
    assert outcome.reads == 3
    [reject] = outcome.rejects
    assert (reject.topic, reject.partition, reject.offset) == (TOPIC, 3, 501)
    assert (reject.reason, reject.field) == (bad.reason, bad.field)
    assert reject.last_offset is None
    assert reject.rejected_at == at(0)
    encoded = encode(reject)
    assert decode_reject(encoded) == reject
    for part in (b"SECRET", b"ABC123", b"OTHER1", b"2026-02-30"):
        assert part not in encoded


def test_bad_records_that_nobody_looks_at_are_no_rejects() -> None:
    """Values are opened for candidates, for odd keys and for those drawn; for no others."""
    records = [Sent(b"OTHER1", bad.value) for bad in _bad_json()]
    outcome = open_matcher().process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert outcome == Outcome(at_ms=NOW_MS, reads=len(records))
    outcome = open_matcher(1).process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert len(outcome.rejects) == len(records)


@given(st.lists(st.tuples(st.none() | st.binary(max_size=20), st.binary(max_size=40)), max_size=8))
def test_arbitrary_records_stop_nothing(records: list[tuple[bytes | None, bytes]]) -> None:
    batch = raw_batch(batch_bytes([*(Sent(*each) for each in records), sent(read())]))
    outcome = open_matcher(1).process(raw_fetch(batch), NOW_MS)
    assert len(outcome.matches) == 1
    assert outcome.reads == len(records) + 1
    assert len(outcome.rejects) == len(records)


# Bad batches.


def _batch(records: int, base_offset: int, **options: Any) -> bytes:
    return batch_bytes(
        [sent(read(base_offset + number)) for number in range(records)],
        base_offset=base_offset,
        **options,
    )


def check_bad_batch(
    bad: RawBatch, offset: int, last_offset: int, reason: str, matcher: Matcher | None = None
) -> Outcome:
    """One good batch, the bad one from 2 to 5, another good one, in one fetch."""
    good = [raw_batch(_batch(2, 0)), raw_batch(_batch(2, 6))]
    fetch = raw_fetch(good[0], bad, good[1])
    outcome = (matcher or open_matcher()).process(fetch, NOW_MS)
    around = [match.read.read_id for match in matches_of(outcome)]
    assert around[:2] == ["R0", "R1"]
    assert around[-2:] == ["R6", "R7"]
    [reject] = outcome.rejects
    assert (reject.reason, reject.offset, reject.last_offset) == (reason, offset, last_offset)
    assert (reject.topic, reject.partition, reject.field) == (TOPIC, 0, None)
    assert decode_reject(encode(reject)) == reject
    return outcome


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_a_batch_of_an_unknown_codec(codec: int) -> None:
    outcome = check_bad_batch(raw_batch(_batch(4, 2, codec=codec)), 2, 5, "unknown_codec")
    assert outcome.reads == 4


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_batch_that_does_not_decompress(codec: int) -> None:
    data = batch_bytes(body=b"SECRET" * 9, base_offset=2, codec=codec, record_count=4, last_delta=3)
    check_bad_batch(raw_batch(data), 2, 5, "corrupt_batch")


def test_a_batch_with_a_wrong_checksum() -> None:
    outcome = check_bad_batch(raw_batch(_batch(4, 2), intact=False), 2, 5, "corrupt_batch")
    assert outcome.reads == 4, "what cannot be believed is not counted as read"


def test_a_bad_batch_from_its_middle() -> None:
    bad = raw_batch(_batch(4, 2, codec=6), from_offset=4)
    check_bad_batch(bad, 4, 5, "unknown_codec")


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_breaks_off(codec: int) -> None:
    """What could be read of it is processed; the pointer begins where that ends."""
    whole = encoded_records([sent(read(number)) for number in range(2, 6)])
    body = whole[: len(whole) * 5 // 8]
    data = raw_body(body, codec, record_count=4, base_offset=2, last_delta=3)
    outcome = check_bad_batch(raw_batch(data), 4, 5, "corrupt_batch")
    assert [match.read.read_id for match in matches_of(outcome)] == [
        "R0",
        "R1",
        "R2",
        "R3",
        "R6",
        "R7",
    ]
    assert outcome.batches_parsed_slowly == 1


def test_a_batch_with_more_bytes_than_records() -> None:
    whole = encoded_records([sent(read(number)) for number in range(2, 6)])
    data = raw_body(whole + b"SECRET", 0, record_count=4, base_offset=2, last_delta=3)
    outcome = check_bad_batch(raw_batch(data), 5, 5, "corrupt_batch")
    assert len(outcome.matches) == 8


def raw_body(body: bytes, codec: int, **options: Any) -> bytes:
    return batch_bytes(body=compress(codec, body), codec=codec, **options)


def test_a_batch_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AHEAD_BYTES", 5_000)
    matcher = open_matcher()
    matcher._alone = GroupScanner(limit_bytes=5_000)
    bad = raw_batch(raw_body(bytes(100_000), ZSTD, record_count=4, base_offset=2, last_delta=3))
    check_bad_batch(bad, 2, 5, "batch_too_large", matcher)


@pytest.mark.parametrize("count", [-1, 0, 2**31 - 1])
def test_a_lie_about_the_number_of_records(count: int) -> None:
    """Records are read as far as they go; a count that claims none leaves the rest unread."""
    data = struct.pack(">i", count)
    batch = _batch(4, 2)
    bad = raw_batch(batch[:57] + data + batch[61:])
    outcome = open_matcher().process(raw_fetch(bad), NOW_MS)
    assert len(outcome.matches) == (4 if count > 0 else 0)
    [reject] = outcome.rejects
    assert reject.reason == "corrupt_batch"
    assert (reject.offset, reject.last_offset) == ((5, 5) if count > 0 else (2, 5))


@given(
    st.binary(max_size=100),
    st.integers(-2, 9),
    st.sampled_from([*CODECS, 5]),
    st.booleans(),
    st.integers(0, 8),
)
def test_arbitrary_batches_stop_nothing(
    body: bytes, count: int, codec: int, compressed: bool, from_offset: int
) -> None:
    pack = raw_body if compressed else _uncompressed
    data = pack(body, codec, record_count=count, base_offset=2, last_delta=3)
    good = raw_batch(_batch(2, 6))
    bad = raw_batch(data, from_offset=min(from_offset, 5))
    outcome = open_matcher(1).process(raw_fetch(bad, good), NOW_MS)
    assert [match.read.read_id for match in matches_of(outcome)][-2:] == ["R6", "R7"]
    for reject in outcome.rejects:
        assert reject.reason in (
            "corrupt_batch",
            "unknown_codec",
            "batch_too_large",
            "value_missing",
            "invalid_json",
            "schema",
        )
        if reject.last_offset is not None:
            assert 2 <= reject.offset <= reject.last_offset == 5


def _uncompressed(body: bytes, codec: int, **options: Any) -> bytes:
    return batch_bytes(body=body, codec=codec, **options)


# Plates that are like a listed one, and alternates.


@_BOTH_WAYS
@pytest.mark.parametrize(
    ("fields", "plate", "match_type"),
    [
        ({"confusables": True}, "A8C123", "confusable"),
        ({"distance": 1}, "ABC1234", "distance"),
        ({"distance": 1, "confusables": True}, "A8CI2", "distance"),
        ({"plate": "ABC??3"}, "ABC993", "partial"),
        ({"plate": "MÜ??34", "confusables": True}, "MÜBÄ34", "partial"),
        ({"confusables": True}, "ABC123", "exact"),
    ],
)
def test_a_plate_that_is_like_a_listed_one(
    headers: Headers, fields: Json, plate: str, match_type: str
) -> None:
    matcher = matcher_of([("E1", listed(**fields))], [("S1", policy_json())])
    records = [
        Sent(plate.encode(), as_bytes(read(plate=plate, confidence=0.9)), headers),
        sent(read(2, plate="NOTHERE"), headers),
    ]
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    [match] = matches_of(outcome)
    assert (match.match_type, match.read.read_id, match.alternate) == (match_type, "R1", None)
    assert 0 < match.confidence < 1
    assert outcome.values_opened == 1
    assert decode_match(encode(match)) == match


@_BOTH_WAYS
def test_only_what_is_like_a_listed_plate_is_opened(headers: Headers) -> None:
    """The scanner lets plates pass of which a closer look finds that no entry is like them, and
    those of entries that do not count yet."""
    matcher = matcher_of([("E1", listed(plate="ÄBC123", distance=1))], [("S1", policy_json())])
    matcher.lists.apply(
        [ControlRecord(ControlKind.ENTRY, 0, 1, NOW_MS, b"E2", as_bytes(_of("E2", "OTHER?")))],
        NOW_MS,
        Phase.STAGED,
    )
    records = [Sent(b"OTHER1", b"no detection", headers), Sent(b"ABD123", b"nor this", headers)]
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert (outcome.rejects, outcome.values_opened, outcome.reads) == ([], 0, 2)
    matcher.lists.commit()
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert [reject.offset for reject in outcome.rejects] == [0]


def _of(entry_id: str, plate: str, **fields: Any) -> Json:
    return listed(entry_id=entry_id, plate=plate, **fields)


@_BOTH_WAYS
def test_a_key_that_is_like_a_listed_plate_must_agree_with_its_value(headers: Headers) -> None:
    matcher = matcher_of([("E1", listed(confusables=True))], [("S1", policy_json())])
    records = [Sent(b"A8C123", as_bytes(read(plate="ABC123")), headers)]
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert [reject.reason for reject in outcome.rejects] == ["key_mismatch"]
    assert outcome.matches == []


_ALTERNATES = [
    {"plate": "abc 128", "confidence": 0.2},
    {"plate": "ABC-123", "confidence": 0.7},
    {"plate": "ABC124"},
]


@_BOTH_WAYS
@pytest.mark.parametrize(
    ("asked", "found", "odd"),
    [
        (None, [], {}),
        (b"", [], {}),
        (b"ABC123", [("E1", "ABC-123")], {}),
        (b"ABC128,ABC123,ABC124", [("E1", "ABC-123"), ("E8", "abc 128"), ("E4", "ABC124")], {}),
        (b"ABC128", [("E8", "abc 128")], {}),
        (b"ABC129", [], {}),
        (b"OTHER2", [], {}),
        ("MÜ1".encode(), [], {}),
        (b"nonsense", [("E1", "ABC-123"), ("E8", "abc 128"), ("E4", "ABC124")], {"alternates": 1}),
        (b"\xff", [("E1", "ABC-123"), ("E8", "abc 128"), ("E4", "ABC124")], {"alternates": 1}),
    ],
)
@pytest.mark.parametrize("key", [b"OTHER1", b"other-1", None])
def test_alternates_are_tried_where_the_header_asks(
    headers: Headers,
    asked: bytes | None,
    found: list[tuple[str, str]],
    odd: dict[str, int],
    key: bytes | None,
) -> None:
    entries = [
        ("E1", _of("E1", "ABC123")),
        ("E8", _of("E8", "ABCI28", confusables=True)),
        ("E4", _of("E4", "A?C124")),
        ("E9", _of("E9", "ABC129")),
    ]
    matcher = matcher_of(entries, [("S1", policy_json())])
    if asked is not None:
        headers = (("alternates", asked), *headers)
    document = read(plate="OTHER1", alternates=_ALTERNATES, confidence=0.95)
    batch = raw_batch(batch_bytes([Sent(key, as_bytes(document), headers)]))
    outcome = matcher.process(raw_fetch(batch), NOW_MS)
    assert [
        (match.entry.entry_id, match.alternate and match.alternate.plate)
        for match in matches_of(outcome)
    ] == found
    odd_key = {} if key == b"OTHER1" else {"missing" if key is None else "not_normal": 1}
    assert outcome.odd_keys == odd | odd_key
    assert outcome.rejects == []
    is_opened = found or odd_key or asked == b"ABC129"
    assert outcome.values_opened == (1 if is_opened else 0)
    for match in matches_of(outcome):
        assert decode_match(encode(match)) == match


@_BOTH_WAYS
def test_the_reads_own_plate_comes_first_and_an_entry_matches_once(headers: Headers) -> None:
    entries = [("E1", _of("E1", "ABC123", confusables=True)), ("E2", _of("E2", "ABC128"))]
    matcher = matcher_of(entries, [("S1", policy_json())])
    document = read(
        plate="A8C123", alternates=[{"plate": "ABC123", "confidence": 0.9}, {"plate": "ABC128"}]
    )
    asked = (("alternates", b"ABC123,ABC128"), *headers)
    batch = raw_batch(batch_bytes([Sent(b"A8C123", as_bytes(document), asked)]))
    outcome = matcher.process(raw_fetch(batch), NOW_MS)
    assert [
        (match.entry.entry_id, match.match_type, match.alternate is None)
        for match in matches_of(outcome)
    ] == [("E1", "confusable", True), ("E2", "exact", False)]
    assert outcome.matches[1].match.alternate == Alternate(plate="ABC128")


@_BOTH_WAYS
def test_a_header_sent_twice_counts_for_nothing_but_a_look(headers: Headers) -> None:
    matcher = open_matcher()
    twice = (("alternates", b"OTHER2"), ("alternates", b"OTHER3"), *headers)
    document = read(plate="OTHER1", alternates=[{"plate": "ABC123"}])
    batch = raw_batch(batch_bytes([Sent(b"OTHER1", as_bytes(document), twice)]))
    outcome = matcher.process(raw_fetch(batch), NOW_MS)
    assert [match.alternate for match in matches_of(outcome)] == [Alternate(plate="ABC123")]
    assert outcome.odd_keys == {"alternates": 1}


@_BOTH_WAYS
def test_a_read_with_alternates_that_nobody_looks_for_leaves_only_counts(headers: Headers) -> None:
    asked = (("alternates", b"SECRET8,SECRET9"), *headers)
    records = [Sent(b"SECRET1", b"not looked at", asked)]
    outcome = open_matcher().process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert outcome == Outcome(at_ms=NOW_MS, reads=1, batches_parsed_slowly=1 if headers else 0)


@_BOTH_WAYS
def test_what_an_entry_asks_of_a_read_is_counted_by_reason(headers: Headers) -> None:
    entries = [
        ("E1", _of("E1", "ABC123", region="NL")),
        ("E2", _of("E2", "A8C123", confusables=True, vehicle={"color": "red"})),
        ("E3", _of("E3", "ABC1?3", area=[{"lat": 50, "lon": 5, "radius_m": 1000}])),
        ("E4", _of("E4", "ABC12", distance=1, hours=_HOURS)),
        ("E5", _of("E5", "ABC123", agency="AG2")),
    ]
    rules = [{"agencies": ["AG1"], "purposes": "*"}]
    matcher = matcher_of(entries, [("S1", policy_json(rules=rules))])
    document = read(region="US", vehicle={"color": "blue"}, location={"lat": 37, "lon": -122})
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes([sent(document, headers)]))), NOW_MS)
    assert outcome.matches == []
    assert outcome.denied == {
        "entry_region": 1,
        "entry_vehicle": 1,
        "entry_area": 1,
        "entry_hours": 1,
        "not_allowed": 1,
    }
    assert outcome.denied_by_source == {("S1", "not_allowed"): 1}


#: One minute of the week; these reads are made at another.
_HOURS = {"time_zone": "UTC", "windows": [{"days": ["mon"], "start": "00:00", "end": "00:01"}]}


# Folding.


@_BOTH_WAYS
def test_folded_reads_are_counted_and_carried_by_the_next_match(headers: Headers) -> None:
    matcher = matcher_of([("E1", listed(suppress_s=60))], [("S1", policy_json())])
    ages_ms = (600_000, 590_000, 580_000, 400_000)
    reads = [read(number, captured_at=at(-age)) for number, age in enumerate(ages_ms)]
    batch = raw_batch(batch_bytes([sent(document, headers) for document in reads]))
    outcome = matcher.process(raw_fetch(batch), NOW_MS)
    assert [(match.read.read_id, match.suppressed) for match in matches_of(outcome)] == [
        ("R0", 0),
        ("R3", 2),
    ]
    assert outcome.suppressed == 2
    assert len(outcome.suppression) == 1
    again = matcher.process(raw_fetch(batch), NOW_MS)
    assert again.matches == outcome.matches, "the same reads, the same answer"
    assert again.suppressed == 2


@_BOTH_WAYS
def test_what_is_denied_is_not_folded(headers: Headers) -> None:
    matcher = matcher_of([("E1", listed(suppress_s=60))], [("S1", policy_json(regions=["NL"]))])
    records = [sent(read(number), headers) for number in range(3)]
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(records))), NOW_MS)
    assert (outcome.suppressed, outcome.suppression) == (0, [])
    assert outcome.denied == {"policy_region": 3}
