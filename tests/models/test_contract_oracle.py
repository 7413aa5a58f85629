"""The contract's oracle: examples by hand from the contract's sentences, and laws."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tests.models.contract_admission import (
    DAY_MS,
    Purpose,
    covers,
    milliseconds,
)
from tests.models.contract_oracle import (
    ContractOracle,
    Rules,
    better,
    exact_or_partial,
    joined_with_separators,
    run,
)
from tests.models.contract_plates import has_normal_form, normal_form
from tests.models.contract_records import (
    EntryRecord,
    Event,
    ExpectedMatch,
    Likeness,
    Outcome,
    PolicyRecord,
    ReadRecord,
)
from tests.models.contract_rules import PLAIN_RULES, with_asked_alternates
from tests.models.near_plates import misread

NOW = milliseconds("2026-01-31T12:00:00.000Z")
PURPOSES = {"stolen_vehicle": Purpose(), "unpaid_toll": Purpose(180, 5), "permit": Purpose(365, 5)}


def at(seconds: float) -> str:
    """Write a time that many seconds after `NOW`."""
    moment = datetime.fromtimestamp((NOW + round(seconds * 1000)) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry(**fields: Any) -> dict[str, Any]:
    return {
        "entry_id": "E",
        "list_id": "L",
        "plate": "ABC123",
        "agency": "PD01",
        "purpose": "stolen_vehicle",
        "authority": {"kind": "case", "reference": "1"},
        "requested_by": "j.doe",
        "created_at": at(-3600),
        "expires_at": at(DAY_MS / 1000),
        **fields,
    }


def listed(offset: int = 0, seconds: float = -3600, **fields: Any) -> EntryRecord:
    document = entry(**fields)
    return EntryRecord(document["entry_id"], document, offset, NOW + round(seconds * 1000))


def allowing(source: str = "north", offset: int = 0, **fields: Any) -> PolicyRecord:
    policy = {
        "source": source,
        "rules": [{"agencies": "*", "purposes": "*"}],
        "updated_by": "chief",
        "updated_at": at(-7200),
        **fields,
    }
    return PolicyRecord(source, policy, offset, NOW)


def read(seconds: float = 0, offset: int = 0, **fields: Any) -> ReadRecord:
    detection = {
        "read_id": f"r-{offset}",
        "plate": "ABC123",
        "captured_at": at(seconds),
        "source": "north",
        "camera": "cam",
        **fields,
    }
    moment = NOW + round(seconds * 1000)
    return ReadRecord(detection, 0, offset, moment, moment)


def by_confidence(detection: Any, document: Any) -> Likeness | None:
    """Compare the plates exactly, with the read's own confidence; O is like 0, of a lower rank."""
    found = exact_or_partial(detection, document)
    if found is None:
        plate = detection["plate"].replace("O", "0")
        found = exact_or_partial({**detection, "plate": plate}, document)
        found = found and Likeness("confusable", 1, 1.0)
    return found and found._replace(confidence=detection.get("confidence", 0.9))


RULES = Rules(PURPOSES, likeness=by_confidence)


def outcomes(*events: Event, rules: Rules = RULES) -> list[Outcome]:
    return run(list(events), rules)


def made(*events: Event, rules: Rules = RULES) -> list[int]:
    """Return the number of matches of each read."""
    return [len(outcome.matches) for outcome in outcomes(*events, rules=rules)]


def test_the_id_of_a_match_is_of_entry_revision_source_and_read() -> None:
    (outcome,) = outcomes(allowing(), listed(offset=42), read(read_id="r-1"))
    (match,) = outcome.matches
    joined = joined_with_separators("E", 42, "north", "r-1")
    assert match.match_id == xxhash.xxh3_128_hexdigest(joined)
    assert (match.entry_revision, match.policy_revision, match.likeness.match_type) == (
        42,
        0,
        "exact",
    )


def test_a_read_id_is_unique_within_its_source_only() -> None:
    policies = (allowing("north"), allowing("south", 1))
    first, second = outcomes(
        *policies, listed(), read(read_id="r"), read(offset=1, read_id="r", source="south")
    )
    assert first.matches[0].match_id != second.matches[0].match_id
    assert first.matches[0].suppressed == second.matches[0].suppressed == 0


def test_reads_within_suppress_s_are_suppressed_and_counted() -> None:
    results = outcomes(allowing(), listed(), *(read(s, s) for s in (0, 1, 59, 60, 119, 120)))
    assert [len(result.matches) for result in results] == [1, 0, 0, 1, 0, 1]
    assert [result.matches[0].suppressed for result in results if result.matches] == [0, 2, 1]
    assert results[1].suppressed[0].by == results[0].matches[0]


@pytest.mark.parametrize(
    "other", [{"camera": "other"}, {"source": "south"}, {"plate": "ABD123"}, {"plate": "ABC124"}]
)
def test_each_plate_at_each_camera_of_each_source_is_suppressed_separately(
    other: dict[str, str],
) -> None:
    partial = listed(plate="AB?12?")
    events = (allowing(), allowing("south", 1), partial, read(), read(1, 1, **other))
    assert made(*events) == [1, 1]


@pytest.mark.parametrize("change", [{"plate": "ABC1?3"}, {"agency": "PD02"}, {"purpose": "permit"}])
def test_an_entry_that_lists_another_plate_agency_or_purpose_matches_again(
    change: dict[str, Any],
) -> None:
    before, after = listed(plate="ABC123"), listed(1, **change)
    assert made(allowing(), before, read(), after, read(1, 1), read(2, 2)) == [1, 1, 0]


@pytest.mark.parametrize("change", [{"priority": 1}, {"requested_by": "k.roe"}, {}])
def test_an_entry_that_changes_otherwise_stays_suppressed(change: dict[str, Any]) -> None:
    assert made(allowing(), listed(), read(), listed(1, **change), read(1, 1)) == [1, 0]


@pytest.mark.parametrize(
    ("first", "second", "matches"),
    [
        ({"plate": "ABC1O3", "confidence": 0.9}, {"plate": "ABC103", "confidence": 0.1}, 1),
        ({"plate": "ABC103", "confidence": 0.9}, {"plate": "ABC1O3", "confidence": 0.9}, 0),
        ({"plate": "ABC103", "confidence": 0.09}, {"plate": "ABC103", "confidence": 0.9}, 1),
        ({"plate": "ABC103", "confidence": 0.09}, {"plate": "ABC103", "confidence": 0.89}, 0),
        ({"plate": "ABC103", "confidence": 0.05}, {"plate": "ABC1O3", "confidence": 0.9}, 1),
        ({"confidence": 0, "plate": "ABC103"}, {"confidence": 0, "plate": "ABC103"}, 0),
    ],
)
def test_a_better_match_is_never_folded_into_a_worse_one(
    first: dict[str, Any], second: dict[str, Any], matches: int
) -> None:
    events = (allowing(), listed(plate="ABC103"), read(**first), read(1, 1, **second))
    assert made(*events) == [1, matches]


def test_suppress_s_of_zero_matches_every_read_and_absent_means_60() -> None:
    assert made(allowing(), listed(suppress_s=0), read(), read(0, 1)) == [1, 1]
    assert made(allowing(), listed(suppress_s=None), read(), read(59, 1), read(60, 2)) == [1, 0, 1]


def test_a_read_processed_again_has_the_same_outcome() -> None:
    late, early = read(10, 0), read(0, 1)
    results = outcomes(allowing(), listed(), late, early, late, early)
    assert results[:2] == results[2:]


@pytest.mark.parametrize(
    ("late_reads_count", "second"), [(True, 0), (False, 1)], ids=["both sides", "later only"]
)
def test_whether_a_late_read_is_in_the_window_is_a_decision(
    late_reads_count: bool, second: int
) -> None:
    rules = replace(RULES, late_reads_count=late_reads_count)
    assert made(allowing(), listed(), read(10), read(0, 1), rules=rules) == [1, second]


def test_the_other_open_decisions() -> None:
    pair = (read(), read(60, 1))
    assert made(allowing(), listed(), *pair, rules=replace(RULES, end_is_inside=True)) == [1, 0]
    late = read(0, 1)._replace(clock_ms=NOW + 60_000)
    assert made(allowing(), listed(), read(), late, rules=RULES) == [1, 0]
    by_clock = replace(RULES, by_captured_at=False)
    assert made(allowing(), listed(), read(), late, rules=by_clock) == [1, 1]
    per_partition = replace(RULES, scope=lambda partition: partition)
    elsewhere = read(0, 1)._replace(partition=1)
    assert made(allowing(), listed(), read(), elsewhere, rules=per_partition) == [1, 1]
    regions = allowing(regions=["US"])
    assert made(regions, listed(), read()) == [0]
    assert made(regions, listed(), read(), rules=replace(RULES, unknown_region=True)) == [1]


@pytest.mark.parametrize(
    "bad",
    [
        {"purpose": "curiosity"},
        {"expires_at": at(-3600)},
        {"expires_at": at(-3600 + 366 * 86400)},
        {"plate": "AB?"},
        {"plate": "abc123"},
        {"plate": "ABC-123"},
        {"purpose": "unpaid_toll", "plate": "ABC1??"},
        {"created_at": at(-3600 + 301)},
        {"entry_id": ""},
        {"authority": {"kind": "whim", "reference": "1"}},
        {"requested_by": None},
        {"distance": 1, "plate": "ABC1"},
        {"distance": 1, "plate": "ABC12?"},
    ],
)
def test_a_bad_entry_is_refused_and_removes_its_predecessor(bad: dict[str, Any]) -> None:
    refused = EntryRecord("E", entry(**bad), 1, NOW - 3_600_000)
    assert made(allowing(), refused, read()) == [0]
    assert made(allowing(), listed(), refused, read()) == [0]
    missing = {name: value for name, value in entry().items() if name != "requested_by"}
    assert made(allowing(), EntryRecord("E", missing, 0, NOW), read()) == [0]


@pytest.mark.parametrize(
    "good",
    [
        {"created_at": at(-3600 + 300), "expires_at": at(3600)},
        {"expires_at": at(-3600 + 365 * 86400)},
        {"plate": "ABC1??"},
        {"unknown_field": {"any": 1}},
        {"starts_at": None},
    ],
)
def test_an_entry_on_the_bounds_is_admitted(good: dict[str, Any]) -> None:
    plate = "ABC123"
    assert made(allowing(), listed(**good), read(plate=plate)) == [1]


def test_an_entry_matches_from_its_start_until_its_end_by_the_clock() -> None:
    dates = listed(starts_at=at(10), expires_at=at(20), suppress_s=0)
    assert made(allowing(), dates, *(read(s, s) for s in (9, 10, 19, 20))) == [0, 1, 1, 0]
    seen_earlier = read(15, 0)._replace(clock_ms=NOW + 20_000)
    assert made(allowing(), dates, seen_earlier) == [0]


def test_a_tombstone_removes_an_entry_and_a_policy() -> None:
    assert made(allowing(), listed(), EntryRecord("E", None, 1, NOW), read()) == [0]
    assert made(allowing(), listed(), PolicyRecord("north", None, 1, NOW), read()) == [0]


@pytest.mark.parametrize(
    ("policy", "matches"),
    [
        ({"rules": []}, 0),
        ({"rules": [{"agencies": ["PD01"], "purposes": ["stolen_vehicle"]}]}, 1),
        ({"rules": [{"agencies": ["PD01"], "purposes": ["permit"]}]}, 0),
        ({"rules": [{"agencies": [], "purposes": "*"}]}, 0),
        (
            {
                "rules": [
                    {"agencies": ["PD01"], "purposes": ["permit"]},
                    {"agencies": ["PD02"], "purposes": "*"},
                ]
            },
            0,
        ),
        ({"regions": ["US-CA"]}, 1),
        ({"regions": ["US"]}, 1),
        ({"regions": ["US-NV", "NL"]}, 0),
    ],
)
def test_a_policy_allows_agency_and_purpose_together(policy: dict[str, Any], matches: int) -> None:
    assert made(allowing(**policy), listed(), read(region="US-CA")) == [matches]


def test_a_source_without_a_policy_matches_nothing_and_a_bad_policy_is_none() -> None:
    (outcome,) = outcomes(listed(), read())
    assert (outcome.matches, outcome.denied) == ((), ("E",))
    bad = PolicyRecord("north", {"source": "north", "rules": "*"}, 1, NOW)
    assert made(allowing(), bad, listed(), read()) == [0]
    assert made(allowing()._replace(source="south"), listed(), read(source="south")) == [0]


def test_a_country_covers_its_subdivisions_only() -> None:
    assert covers("US", "US-CA")
    assert covers("US", "US")
    assert not covers("US-CA", "US")
    assert not covers("US-C", "US-CA")


def test_normal_form_and_times() -> None:
    assert normal_form(" a-b\u00a0c1.2３") == "ABC123"
    assert normal_form("İ-١٢ ۳") == "I123"
    assert normal_form("هـ 12") == normal_form("ھ۱۲") == "ه12"
    assert normal_form("१ बा") == "1बा"
    assert normal_form("MÜ\u0301") == "MǗ" != normal_form("MU")
    assert not has_normal_form("--")
    assert not has_normal_form("A" * 17)
    assert milliseconds("1970-01-01T00:00:01Z") == 1000
    assert milliseconds("1970-01-01T00:00:01.5+00:00") == 1500


SOURCES, CAMERAS = ("north", "south"), ("cam", "gate")
_change: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "entry_id": st.sampled_from("EF"),
        "plate": st.sampled_from(["ABC103", "ABC1?3", "ABC103"]),
        "agency": st.sampled_from(["PD01", "PD02"]),
        "purpose": st.sampled_from(["stolen_vehicle", "curiosity", "stolen_vehicle"]),
        "suppress_s": st.sampled_from([0, 5, 60]),
    }
)
_read: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "seconds": st.integers(0, 130),
        "source": st.sampled_from(SOURCES),
        "camera": st.sampled_from(CAMERAS),
        "read_id": st.sampled_from(["r-1", "r-2", "r-3"]),
        "plate": st.sampled_from(["ABC103", "ABC1O3", "ABC123"]),
        "confidence": st.sampled_from([0.01, 0.1, 0.5, 0.95]),
    }
)
_step = st.one_of(
    st.tuples(st.just("entry"), _change),
    st.tuples(st.just("policy"), st.tuples(st.sampled_from(SOURCES), st.booleans())),
    st.tuples(st.just("read"), _read),
    st.tuples(st.just("read"), _read),
    st.tuples(st.just("read"), _read),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Draw records of both control topics and reads; every source begins with a policy."""
    events: list[Event] = [allowing(source, number) for number, source in enumerate(SOURCES)]
    events += [listed(0, entry_id="E", plate="ABC103"), listed(1, entry_id="F", plate="ABC1?3")]
    for number, (kind, value) in enumerate(draw(st.lists(_step, max_size=25)), start=2):
        match kind, value:
            case "entry", dict():
                events.append(listed(number, **value))
            case "policy", (str() as source, allowed):
                policy = allowing(source, number)
                events.append(policy if allowed else policy._replace(policy=None))
            case "read", dict():
                events.append(read(value.pop("seconds"), number, **value))
    return events


def _by_identity(events: list[Event]) -> list[list[ExpectedMatch]]:
    oracle = ContractOracle(RULES)
    for event in events:
        oracle.process(event)
    return list(oracle.matches.values())


@given(histories())
def test_two_matches_of_an_identity_in_its_window_are_each_better_than_before(
    events: list[Event],
) -> None:
    for matches in _by_identity(events):
        for number, later in enumerate(matches):
            for earlier in matches[:number]:
                times = [milliseconds(m.read.detection["captured_at"]) for m in (earlier, later)]
                if abs(times[1] - times[0]) < later.entry.get("suppress_s", 60) * 1000:
                    assert better(later.likeness, earlier.likeness)


@given(histories())
def test_a_suppressed_read_has_a_match_before_it_that_is_as_good(events: list[Event]) -> None:
    before: list[ExpectedMatch] = []
    for outcome in run(events, RULES):
        for suppressed in outcome.suppressed:
            assert suppressed.by in before
        before += outcome.matches


@given(histories())
def test_suppressed_reads_are_counted_once(events: list[Event]) -> None:
    oracle = ContractOracle(RULES)
    results = [outcome for event in events if (outcome := oracle.process(event))]
    suppressed = sum(len(outcome.suppressed) for outcome in results)
    counted = sum(match.suppressed for outcome in results for match in outcome.matches)
    assert suppressed == counted + sum(oracle.waiting.values())


def _of(events: list[Event], source: str) -> list[Event]:
    """Leave out the other sources' reads and policies."""
    return [
        event
        for event in events
        if isinstance(event, EntryRecord)
        or (event.detection["source"] if isinstance(event, ReadRecord) else event.source) == source
    ]


def _seen(events: list[Event], source: str) -> list[Outcome]:
    reads = [event for event in events if isinstance(event, ReadRecord)]
    return [
        outcome
        for event, outcome in zip(reads, run(events, RULES), strict=True)
        if event.detection["source"] == source
    ]


@given(histories())
def test_another_source_never_changes_the_matches_of_one(events: list[Event]) -> None:
    for source in SOURCES:
        assert _seen(events, source) == run(_of(events, source), RULES)


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_among_sources_changes_nothing(events: list[Event], random: Any) -> None:
    """Reads of different sources between two control records change places."""
    shuffled = list(events)
    for _ in range(len(events)):
        index = random.randrange(len(events) - 1)
        pair = shuffled[index : index + 2]
        if all(isinstance(event, ReadRecord) for event in pair):
            (one, other) = pair
            assert isinstance(one, ReadRecord)
            assert isinstance(other, ReadRecord)
            if one.detection["source"] != other.detection["source"]:
                shuffled[index : index + 2] = [other, one]
    for source in SOURCES:
        assert _seen(events, source) == _seen(shuffled, source)


@given(histories())
def test_ids_are_distinct_but_for_the_same_read_id_of_a_source(events: list[Event]) -> None:
    names: dict[str, tuple[object, ...]] = {}
    for outcome in run(events, RULES):
        for match in outcome.matches:
            read_of = match.read.detection
            name = (
                match.entry["entry_id"],
                match.entry_revision,
                read_of["source"],
                read_of["read_id"],
            )
            assert names.setdefault(match.match_id, name) == name


@given(histories())
def test_matches_of_one_revision_of_a_policy_name_it(events: list[Event]) -> None:
    revisions: dict[str, int] = {}
    oracle = ContractOracle(RULES)
    for event in events:
        outcome = oracle.process(event)
        if isinstance(event, PolicyRecord):
            revisions[event.source] = event.offset if event.policy is not None else -1
        for match in outcome.matches if outcome is not None else ():
            assert match.policy_revision == revisions[match.read.detection["source"]] >= 0


def test_late_windows_do_not_chain() -> None:
    """A match suppresses for its own window only: reads 40 s apart match every second time."""
    reads = (read(40 * number, number) for number in range(6))
    assert made(allowing(), listed(), *reads) == [1, 0, 1, 0, 1, 0]


class _Plain(ContractOracle):
    """Searches all matches of an identity, one by one, in the order in which they were made."""

    __slots__ = ()

    def _earlier(self, key: Any, read: ReadRecord, entry: Any) -> list[ExpectedMatch]:
        window_ms = 1000 * (60 if entry.get("suppress_s") is None else entry["suppress_s"])
        at_ms = milliseconds(read.detection["captured_at"])
        return [
            earlier
            for earlier in self.matches.get(key, [])
            if abs(at_ms - milliseconds(earlier.read.detection["captured_at"])) < window_ms
        ]


@given(histories())
def test_the_search_by_time_finds_what_a_search_of_all_matches_finds(events: list[Event]) -> None:
    quick, plain = ContractOracle(RULES), _Plain(RULES)
    for event in events:
        assert quick.process(event) == plain.process(event)
    assert quick.waiting == plain.waiting


_PLAIN_PURPOSES = replace(PLAIN_RULES, purposes=PURPOSES)


@given(st.data())
def test_entries_found_by_texts_are_those_that_a_search_of_all_finds(data: st.DataObject) -> None:
    """Entries are listed, corrected and removed between reads."""
    quick = ContractOracle(_PLAIN_PURPOSES)
    plain = ContractOracle(replace(_PLAIN_PURPOSES, near=None))
    fields: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {"plate": st.text("8BXY?", min_size=4, max_size=6)},
        optional={"confusables": st.just(True), "distance": st.just(1), "suppress_s": st.just(0)},
    )
    plates = ["8BXY"]
    for number in range(data.draw(st.integers(1, 8))):
        event: Event
        match data.draw(st.sampled_from(["entry", "entry", "removal", "read", "read"])):
            case "entry":
                event = listed(number, entry_id=data.draw(_ids), **data.draw(fields))
                plates.append((event.entry or {})["plate"])
            case "removal":
                event = EntryRecord(data.draw(_ids), None, number, NOW)
            case _:
                plate, other = (
                    misread(data.draw, data.draw(st.sampled_from(plates))).replace("Ü", "B")
                    for _ in range(2)
                )
                event = read(number, number, plate=plate, alternates=[{"plate": other}])
        if number == 0:
            for oracle in (quick, plain):
                oracle.process(allowing())
        assert quick.process(event) == plain.process(event)


_ids = st.sampled_from(["E", "F", "G"])


@pytest.mark.parametrize(
    ("header", "plates"),
    [((), []), ((b"",), []), ((b"XYZ987",), ["xyz 987"]), ((b"A", b"B"), ["xyz 987", "QQQ1"])],
)
def test_only_the_alternates_that_a_record_asks_for_are_compared(
    header: tuple[bytes, ...], plates: list[str]
) -> None:
    """Several headers ask for all."""
    alternates = [{"plate": "QQQ1", "confidence": 0.1}, {"plate": "xyz 987", "confidence": 0.5}]
    detection = read(alternates=alternates).detection
    asked = with_asked_alternates(detection, header)
    assert [each["plate"] for each in asked["alternates"]] == plates
    entry_of = listed(plate="XYZ987")
    (outcome,) = run([allowing(), entry_of, read()._replace(detection=asked)], _PLAIN_PURPOSES)
    assert len(outcome.matches) == ("xyz 987" in plates)
