"""Plain reads beside the same reads decoded: the outcome of a fetch is the same to the last byte.

The naive way is the matcher that takes no read for plain. What is plain is tested in
`tests/documents/test_read_scan.py`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.documents.codec import encode
from engine.documents.value_formats import VALUE_FORMATS, Values
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists
from engine.matching.match import audit_fields
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.plain_reads import PlainReads
from engine.matching.suppression import Suppression
from engine.wire.record_batch import RawFetch
from tests.documents.test_read_scan import ODDITIES, WHOLE
from tests.documents.test_read_scan import values as odd_values
from tests.fakes.documents import NOW_MS, as_bytes, at, detection_json, entry_json, policy_json
from tests.fakes.no_plain_reads import NoPlainReads
from tests.fakes.record_batches import LZ4, Sent, batch_bytes, raw_batch, raw_fetch
from tests.models.real_matcher import MISREADS, PURPOSES

_TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_VEHICLE = {"make": "Volkswagen", "model": "Golf", "color": "red"}


def matchers(
    entries: list[dict[str, Any]],
    policies: list[dict[str, Any]],
    sample_every: int = 0,
    values: Values | None = None,
) -> tuple[Matcher, Matcher]:
    """The matcher, and one that takes no read for plain."""
    both = []
    for kind_of_reads in (PlainReads, NoPlainReads):
        lists = Lists(PURPOSES, MISREADS)
        records = [
            ControlRecord(
                ControlKind.ENTRY, 0, n, NOW_MS, each["entry_id"].encode(), as_bytes(each)
            )
            for n, each in enumerate(entries)
        ]
        records += [
            ControlRecord(ControlKind.POLICY, 0, n, NOW_MS, each["source"].encode(), as_bytes(each))
            for n, each in enumerate(policies)
        ]
        assert not lists.apply(records, NOW_MS).refused
        suppression = Suppression()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("engine.matching.matcher.PlainReads", kind_of_reads)
            matcher = Matcher(lists, sample_every, parse, suppression, values=values or Values())
        both.append(matcher)
    plainly, slowly = both
    return plainly, slowly


def matchers_with(
    entries: list[dict[str, Any]],
    rules: list[list[Any]],
    regions: list[str] | None,
    sample_every: int,
    values: Values | None = None,
) -> tuple[Matcher, Matcher]:
    """Both, with entries named E0, E1 and so on, and policies of S1 and S2 with these rules; that
    of S2 is for the regions."""
    listed = [entry_json(entry_id=f"E{n}", **each) for n, each in enumerate(entries)]
    policies = [policy_json(source="S1", rules=rules[0]), policy_json(source="S2", rules=rules[1])]
    if regions is not None:
        policies[1]["regions"] = regions
    return matchers(listed, policies, sample_every, values)


def same(both: tuple[Matcher, Matcher], fetch: RawFetch, now_ms: int = NOW_MS) -> Outcome:
    """What comes of a fetch, the same both ways."""
    plainly, slowly = (matcher.process(fetch, now_ms) for matcher in both)
    assert plainly == slowly
    return plainly


def fetch_of(*sent: Sent, first: int = 0) -> RawFetch:
    return raw_fetch(raw_batch(batch_bytes(list(sent), codec=LZ4, base_offset=first)))


def read(**fields: Any) -> Sent:
    document = {each: value for each, value in (WHOLE | fields).items() if value is not None}
    return Sent(b"ABC123", as_bytes(document), timestamp_ms=NOW_MS - 7)


ENTRIES = st.fixed_dictionaries(
    {
        "plate": st.sampled_from(["ABC123", "ABC123", "XYZ789"]),
        "agency": st.sampled_from(["AG1", "AG2"]),
    },
    optional={
        "region": st.sampled_from(["US", "US-CA", "US-NY", "NL"]),
        "vehicle": st.sampled_from([_VEHICLE, {"color": "blue"}, {}, {"type": "van"}]),
        "instructions": st.sampled_from(['Call "us".', "Zoë"]),
        "suppress_s": st.sampled_from([0, 60]),
        "starts_at": st.sampled_from([at(-5), at(3_600_000)]),
        "area": st.just([{"lat": 52.37, "lon": -4.9, "radius_m": 1000}]),
        "hours": st.just(
            {
                "time_zone": "Europe/Amsterdam",
                "windows": [{"days": ["mon"], "start": "00:00", "end": "24:00"}],
            }
        ),
        "confusables": st.booleans(),
        "list_id": st.sampled_from(["L/2", "Liste é"]),
    },
)
RULES = st.sampled_from(
    [
        [{"agencies": "*", "purposes": "*"}],
        [{"agencies": ["AG1"], "purposes": "*"}],
        [],
    ]
)
READS = st.fixed_dictionaries(
    {},
    optional={
        "read_id": st.sampled_from(["R1", "R2"]),
        "plate": st.sampled_from(["ABC123", "abc 123", "ABC124"]),
        "source": st.sampled_from(["S1", "S2", "S3", "É"]),
        "camera": st.sampled_from(["C1", "C2"]),
        "captured_at": st.sampled_from([at(-500), at(500), at(-70_000), at(-500)[:-5] + "Z"]),
        "region": st.sampled_from(["US", "US-CA", "NL", None]),
        "confidence": st.sampled_from([0, 0.5, 0.9, 0.99995, 1.0, None]),
        "vehicle": st.sampled_from([_VEHICLE, {"make": "Ford"}, {"color": "Red"}, {}, None]),
        "location": st.sampled_from([{"lat": 1, "lon": 1.0}, None]),
    },
)


@given(
    entries=st.lists(ENTRIES, min_size=1, max_size=4),
    rules=st.lists(RULES, min_size=2, max_size=2),
    regions=st.sampled_from([None, ["US"]]),
    reads=st.lists(READS | odd_values(), min_size=1, max_size=6),
    headers=st.sampled_from([(), (("traceparent", _TRACE),), (("x", b"y"),)]),
    sample_every=st.sampled_from([0, 3]),
    value_format=st.sampled_from(VALUE_FORMATS),
)
def test_outcomes_are_the_same(
    entries: list[dict[str, Any]],
    rules: list[list[Any]],
    regions: list[str] | None,
    reads: list[dict[str, Any] | bytes],
    headers: Any,
    sample_every: int,
    value_format: str,
) -> None:
    values = Values(value_format=value_format)
    both = matchers_with(entries, rules, regions, sample_every, values)
    sent = [Sent(b"ABC123", each) if isinstance(each, bytes) else read(**each) for each in reads]
    sent = [each._replace(headers=headers) for each in sent]
    for now_ms, first in ((NOW_MS, 0), (NOW_MS + 1_500, len(sent)), (NOW_MS + 1_500, 0)):
        outcome = same(both, fetch_of(*sent, first=first), now_ms)
        for found in outcome.matches:
            assert encode(found.match) == found.value
            assert json.loads(found.audit) == audit_fields(found.match)


@pytest.mark.parametrize("text", [text for texts in ODDITIES.values() for text in texts])
def test_each_oddity(text: str) -> None:
    both = matchers([entry_json(entry_id="E1", suppress_s=0)], [policy_json(source="S1")])
    name = next(name for name, texts in ODDITIES.items() if text in texts)
    members = {each: json.dumps(value) for each, value in WHOLE.items()} | {name: text}
    value = "{" + ",".join(f'"{each}":{member}' for each, member in members.items()) + "}"
    same(both, fetch_of(Sent(b"ABC123", value.encode()), read()))


def test_a_plain_read_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    plainly, _ = matchers([entry_json(entry_id="E1")], [policy_json(source="S1")])

    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("engine.matching.decide.decode_any", decode)
    outcome = plainly.process(fetch_of(read(), read(source="S2", read_id="R2")), NOW_MS)
    assert (len(outcome.matches), outcome.values_opened) == (1, 2)
    assert outcome.denied_by_source == {(None, "no_policy"): 1}


def test_an_outcome_is_cut_at_the_same_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTCOME_BYTES", 5_000)
    both = matchers([entry_json(entry_id="E1", suppress_s=0)], [policy_json(source="S1")])
    outcome = same(both, fetch_of(*(read(read_id=f"R{n}") for n in range(20))))
    assert outcome.next_offset == len(outcome.matches) == outcome.reads < 20


def test_what_is_kept_ends_with_the_entry() -> None:
    """A changed entry's next match is of the new one, and a removed one's is none."""
    both = matchers([entry_json(entry_id="E1", suppress_s=0)], [policy_json(source="S1")])
    assert same(both, fetch_of(read())).matches
    changed = entry_json(entry_id="E1", suppress_s=0, instructions="New.", agency="AG2")
    for number, value in enumerate((as_bytes(changed), None), 1):
        record = ControlRecord(ControlKind.ENTRY, 0, number, NOW_MS, b"E1", value)
        for matcher in both:
            matcher.lists.apply([record], NOW_MS)
        outcome = same(both, fetch_of(read()))
        assert [found.match.entry.agency for found in outcome.matches] == ["AG2"][: 2 - number]


def test_the_policys_revision_is_that_of_now() -> None:
    both = matchers([entry_json(entry_id="E1", suppress_s=0)], [policy_json(source="S1")])
    same(both, fetch_of(read()))
    record = ControlRecord(
        ControlKind.POLICY, 0, 9, NOW_MS, b"S1", as_bytes(policy_json(source="S1"))
    )
    for matcher in both:
        matcher.lists.apply([record], NOW_MS)
    assert same(both, fetch_of(read())).matches[0].match.policy.revision == 9


def test_the_plate_as_read_is_in_the_match() -> None:
    both = matchers([entry_json(entry_id="E1", suppress_s=0)], [policy_json(source="S1")])
    spelled = Sent(b"ABC123", as_bytes(detection_json(plate="a.b.c-123")))
    [found] = same(both, fetch_of(spelled)).matches
    assert found.match.verification.checks[0].read == "a.b.c-123"
