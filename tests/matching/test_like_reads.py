"""Reads like one entry's plate beside the same reads by all the rules: the outcome is the same to
the last byte, and what compiled code finds is what `Index.candidates` has."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.documents.codec import encode
from engine.documents.model import Entry
from engine.index.eligibility import Eligibility
from engine.index.hash_table import NO_SLOT
from engine.index.plate_index import Index
from engine.matching.decide import Decider
from engine.matching.like_reads import ONLY, LikeReads
from engine.matching.lists import ControlKind, ControlRecord
from engine.matching.plain_reads import PlainReads
from engine.matching.scanner import Scanner
from engine.wire.decompress import Decompressor
from engine.wire.record_decoder import KEY_AT, KEY_LENGTH
from tests.fakes.documents import NOW_MS, as_bytes, at, entry_json, policy_json
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch
from tests.matching.test_plain_match import RULES, fetch_of, matchers, matchers_with, read, same
from tests.models.real_matcher import MISREADS

_TIMES: Final = 3
_VEHICLES: Final = [{"make": "Volkswagen", "color": "red"}, {"color": "blue"}, {"type": "van"}, {}]
_LONG: Final = "ABCDEFGHIJKLMNOP"


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROWS_FEWEST", 1)


_LISTED = st.one_of(
    st.text("AB8O0Ü", min_size=1, max_size=6),
    st.text("AB8O0?", min_size=1, max_size=6),
    st.sampled_from(
        ["ABC123", "A8C123", "ABC1234", "ABCI23", "?BC123", "ABC???", "?" * 6, "ÄBC123"]
    ),
    st.sampled_from([_LONG, _LONG[:-1], _LONG[:-1] + "?", "A" * 16, "?" * 16, "A" * 15 + "8"]),
)
_KEYS = st.one_of(
    st.text("AB8O0Q", min_size=1, max_size=6),
    st.sampled_from(["ABC123", "A8C123", "ABC12", "ABCX23", "ABC1233", "ACB123", "XBC123"]),
    st.sampled_from([_LONG, _LONG[:-1], _LONG[1:], "A" * 16, "A" * 15, "B" + "A" * 15]),
)
_ANY_ENTRIES = st.fixed_dictionaries(
    {"plate": _LISTED, "agency": st.sampled_from(["AG1", "AG2"])},
    optional={
        "confusables": st.booleans(),
        "distance": st.sampled_from([0, 1, 1]),
        "region": st.sampled_from(["US", "DE", "SE", "NL"]),
        "vehicle": st.sampled_from(_VEHICLES),
        "suppress_s": st.sampled_from([0, 0, 60]),
        "starts_at": st.sampled_from([at(-5), at(3_600_000)]),
        "area": st.just([{"lat": 52.37, "lon": -4.9, "radius_m": 1000}]),
        "instructions": st.sampled_from(['Call "us".', "Zoë"]),
    },
)


def _is_admissible(entry: dict[str, Any]) -> bool:
    plate, distance = entry["plate"], entry.get("distance", 0)
    return len(plate) - plate.count("?") >= 4 + distance and not (distance and "?" in plate)


_ENTRIES = _ANY_ENTRIES.filter(_is_admissible)
_READS = st.fixed_dictionaries(
    {"plate": _KEYS},
    optional={
        "source": st.sampled_from(["S1", "S2", "S3", "É"]),
        "region": st.sampled_from(["US-CA", "DE-BY", None]),
        "vehicle": st.sampled_from([*_VEHICLES, None]),
        "confidence": st.sampled_from([0, 0.5, 0.99995, 1.0, None]),
        "camera": st.sampled_from(["C1", "C2"]),
        "captured_at": st.sampled_from([at(-500), at(-70_000)]),
        "location": st.sampled_from([{"lat": 1, "lon": 1.0}, None]),
    },
)


def sent(**fields: Any) -> Sent:
    """A read, or one whose value is another read's."""
    key = fields["plate"].encode()
    return read(**fields)._replace(key=key)


@given(
    entries=st.lists(_ENTRIES, min_size=1, max_size=6),
    rules=st.lists(RULES, min_size=2, max_size=2),
    regions=st.sampled_from([None, ["US"]]),
    reads=st.lists(_READS, min_size=1, max_size=8),
    headers=st.sampled_from([(), (), (("x", b"y"),), (("lpr-alternates", b"ABC123,A8"),)]),
    sample_every=st.sampled_from([0, 0, 3]),
)
def test_outcomes_are_the_same(
    entries: list[dict[str, Any]],
    rules: list[list[Any]],
    regions: list[str] | None,
    reads: list[dict[str, Any]],
    headers: Any,
    sample_every: int,
) -> None:
    both = matchers_with(entries, rules, regions, sample_every)
    records = [sent(**each)._replace(headers=headers) for each in reads]
    for number in range(_TIMES):
        fetch = fetch_of(*records, *records, first=number * 2 * len(records))
        outcome = same(both, fetch, NOW_MS + number * 700)
        for found in outcome.matches:
            assert encode(found.match) == found.value


@given(
    entries=st.lists(_ANY_ENTRIES, min_size=1, max_size=8),
    keys=st.lists(_KEYS, min_size=1, max_size=8, unique=True),
    staged=st.sets(st.integers(0, 7), max_size=2),
    removed=st.sets(st.integers(0, 7), max_size=2),
)
def test_what_is_found_is_the_only_candidate(
    entries: list[dict[str, Any]], keys: list[str], staged: set[int], removed: set[int]
) -> None:
    """Entries that no worker would admit are among them."""
    index = Index(Eligibility(), MISREADS)
    for number, fields in enumerate(entries):
        entry = msgspec.convert(entry_json(entry_id=f"E{number}", **fields), Entry)
        index.put(entry, number, NOW_MS, staged=number in staged)
    for number in removed:
        index.remove(f"E{number}", staged=number in staged)
    for key, slot in only_of(index, keys).items():
        if slot != NO_SLOT:
            assert [each for each, _, _ in index.candidates(key)] == [slot]
            assert slot in index.eligibility.active


def only_of(index: Index, keys: list[str]) -> dict[str, int]:
    """The only entries of keys, as far as they are found."""
    batch = raw_batch(batch_bytes([sent(plate=key) for key in keys]))
    data = Decompressor().decompress(batch.codec, batch.records)
    rows, _ = Scanner(0).scan([batch], data, index.plates, index.similar.scan_tables)
    [*steps] = PlainReads(MISREADS).steps(data, rows, 0)
    found: dict[str, int] = {}
    for step in steps:
        only = LikeReads(index).only(data, step)
        if only is not None:
            for row, slot in zip(step.rows.tolist(), only[:, ONLY].tolist(), strict=True):
                key = bytes(data[row[KEY_AT] : row[KEY_AT] + row[KEY_LENGTH]])
                found[key.decode()] = slot
    return found


@pytest.mark.parametrize(
    ("asks", "key"),
    [
        ({"plate": "ABC123", "confusables": True}, "A8C123"),
        ({"plate": "ABC123", "distance": 1}, "ABX123"),
        ({"plate": "ABC123", "distance": 1}, "ABC23"),
        ({"plate": "ABC123", "distance": 1}, "ABBC123"),
        ({"plate": "A?C1?3"}, "AXC193"),
        ({"plate": "A?C1X3", "confusables": True, "region": "US"}, "A8CIX3"),
    ],
)
def test_the_usual_ones_are_found(asks: dict[str, Any], key: str) -> None:
    more: list[dict[str, Any]] = [{}, {"confusables": True}, {"distance": 1}]
    others = [
        entry_json(entry_id=f"E{n}", plate=f"XYZ78{n}", **each) for n, each in enumerate(more, 1)
    ]
    matcher, _ = matchers([entry_json(entry_id="E0", **asks), *others], [])
    assert only_of(matcher.lists.index, [key, "NOTHERE"]) == {key: 0}


@pytest.mark.parametrize(
    "entries",
    [
        [{"plate": "ABC123", "distance": 1}, {"plate": "A8C123"}],
        [{"plate": "ABC123", "distance": 1}, {"plate": "A?C123"}],
        [{"plate": "ABC123", "confusables": True, "distance": 1}],
        [{"plate": "ABC?23"}, {"plate": "AB?123"}],
        [{"plate": "ABC123", "distance": 1, "starts_at": at(3_600_000)}],
        [{"plate": "ÄBC123", "confusables": True, "region": "DE"}],
    ],
)
def test_the_others_are_left_to_python(entries: list[dict[str, Any]]) -> None:
    matcher, _ = matchers([entry_json(entry_id=f"E{n}", **e) for n, e in enumerate(entries)], [])
    key = "A8C123" if entries[0]["plate"] != "ABC?23" else "ABC123"
    assert only_of(matcher.lists.index, [key]).get(key, NO_SLOT) == NO_SLOT


def test_what_is_denied_ends_in_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Counter[str] = Counter()
    decide = Decider.deny_only

    def counted(self: Decider, *args: Any) -> bool:
        counts["decided in Python"] += 1
        return decide(self, *args)

    monkeypatch.setattr(Decider, "deny_only", counted)
    entries = [
        entry_json(entry_id=f"E{n}", plate=f"ABC{n}23", distance=1, agency="AG2") for n in range(4)
    ]
    both = matchers(
        entries, [policy_json(source="S1", rules=[{"agencies": ["AG1"], "purposes": "*"}])]
    )
    reads = [sent(plate=f"ABX{n}23", source=f"S{n % 2 + 1}") for n in range(4)]
    for number in range(3):
        outcome = same(both, fetch_of(*reads, *reads, first=8 * number))
        assert outcome.denied == {"not_allowed": 4, "no_policy": 4}
        assert outcome.values_opened == 8
    assert counts["decided in Python"] == 8, "only those of the first fetch"


def test_a_changed_policy_counts_at_once() -> None:
    both = matchers(
        [entry_json(entry_id="E0", plate="ABC123", distance=1, suppress_s=0)],
        [policy_json(source="S1", rules=[])],
    )
    fetch = fetch_of(*[sent(plate="ABX123")] * 4)
    for _ in range(3):
        assert same(both, fetch).denied == {"not_allowed": 4}
    record = ControlRecord(
        ControlKind.POLICY, 0, 9, NOW_MS, b"S1", as_bytes(policy_json(source="S1"))
    )
    for matcher in both:
        matcher.lists.apply([record], NOW_MS)
    assert len(same(both, fetch).matches) == 4


def test_an_outcome_is_cut_at_the_same_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTCOME_BYTES", 3_000)
    both = matchers(
        [entry_json(entry_id="E0", plate="ABC123", distance=1)], [policy_json(source="S2")]
    )
    for first in (0, 100, 200):
        reads = [sent(plate="ABX123", read_id=f"R{n}") for n in range(60)]
        outcome = same(both, fetch_of(*reads, first=first))
        assert outcome.next_offset is not None
        assert outcome.next_offset < first + 60


def test_what_is_left_of_reads_is_wiped() -> None:
    matcher, _ = matchers([entry_json(entry_id="E0", plate="ABC123", distance=1)], [])
    like = LikeReads(matcher.lists.index)
    batch = raw_batch(batch_bytes([sent(plate="ABX123")]))
    data = Decompressor().decompress(batch.codec, batch.records)
    index = matcher.lists.index
    rows, _ = Scanner(0).scan([batch], data, index.plates, index.similar.scan_tables)
    [step] = PlainReads(matcher.lists.misreads).steps(data, rows, 0)
    assert like.only(data, step) is not None
    assert like._terms.any()
    like.scrub()
    assert not like._terms.any()
    assert not like._only.any()
