"""Reports: sums over a period, each event once, against plain counting in a dict."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.audit import report as audit_report
from engine.audit.chain import Chain
from engine.audit.report import FIELDS, AuditReport, ReportError
from engine.wire.record_batch import Record
from tests.fakes.chains import MATCH, NOON_MS, changed

NAMES = st.sampled_from(["a", "b", "c"])
EVENTS = st.one_of(
    st.fixed_dictionaries(
        {"match_id": st.integers(0, 40).map("{:032x}".format)},
        optional={"agency": NAMES, "purpose": NAMES, "list_id": NAMES, "source": NAMES},
    ).map(lambda fields: ("match", fields)),
    st.tuples(
        st.sampled_from(["entry_added", "entry_changed", "entry_expired"]),
        st.fixed_dictionaries(
            {"entry_id": NAMES, "revision": st.integers(0, 9)},
            optional={"agency": NAMES, "operator": NAMES},
        ),
    ),
    st.tuples(
        st.just("suppressed"),
        st.fixed_dictionaries(
            {"entry_id": NAMES, "partition": st.integers(0, 2), "offset": st.integers(0, 2)},
            optional={"agency": NAMES, "suppressed": st.integers(1, 3)},
        ),
    ),
    st.tuples(
        st.just("policy_changed"),
        st.fixed_dictionaries({"source": NAMES, "revision": st.integers(0, 9)}),
    ),
)
Event = tuple[str, dict[str, Any]]


def sealed(events: list[tuple[Event, int]]) -> list[Record]:
    chain = Chain("c")
    return [
        Record(offset, 0, b"c", chain.seal(event, fields, at_ms), ())
        for offset, ((event, fields), at_ms) in enumerate(events)
    ]


def identity(event: Event) -> tuple[object, ...]:
    """What makes two records tell of one event."""
    name, fields = event
    if name == "match":
        return name, fields["match_id"]
    if name == "suppressed":
        return (
            *(name, fields["entry_id"], fields["partition"], fields["offset"]),
            fields.get("agency"),
        )
    return name, fields["revision"], fields.get("entry_id", fields.get("source"))


@given(
    st.lists(st.tuples(EVENTS, st.integers(0, 9)), max_size=60),
    st.lists(st.sampled_from(sorted(FIELDS)), unique=True, min_size=1),
    st.integers(0, 9),
    st.integers(1, 10),
    st.integers(1, 64),
)
def test_a_report_counts_as_a_dict_does(
    events: list[tuple[Event, int]], by: list[str], from_ms: int, length_ms: int, chunk: int
) -> None:
    wanted: dict[tuple[str | None, ...], Counter[str]] = {}
    seen = set()
    repeats = 0
    order = [*range(0, len(events), 2), *range(1, len(events), 2)]
    for (name, fields), at_ms in (events[at] for at in order):
        if not from_ms <= at_ms < from_ms + length_ms:
            continue
        if identity((name, fields)) in seen:
            repeats += 1
            continue
        seen.add(identity((name, fields)))
        values = {**fields, "event": name}
        key = tuple(values.get(FIELDS[one]) for one in by)
        wanted.setdefault(key, Counter())[name] += 1
    records = sealed(events)
    report = AuditReport(by, from_ms, from_ms + length_ms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_report, "_CHUNK", chunk)
        report.take(0, records[::2])
        report.take(1, records[1::2])
        rows = report.rows()
    assert {row.values: row.counts for row in rows} == wanted
    assert (report.repeats, report.unsound) == (repeats, 0)
    keys = [[(value is not None, value or "") for value in row.values] for row in rows]
    assert keys == sorted(keys)


def test_a_match_that_stands_in_two_chains_counts_once() -> None:
    report = AuditReport(["agency"], 0, NOON_MS * 2)
    for name in ("c", "d"):
        chain = Chain(name)
        values = [
            chain.seal("match", {**MATCH, "match_id": f"{number:032x}"}, NOON_MS)
            for number in range(3)
        ]
        report.take(0, [Record(0, 0, name.encode(), value, ()) for value in values])
    assert report.rows() == [(("city-police",), Counter(match=3))]
    assert report.repeats == 3
    assert report.rows() == report.rows()


def test_a_change_of_a_topic_that_was_recreated_is_another_one() -> None:
    """Its offsets begin anew, so that one entry may have one revision twice: in its own two records
    of two topics, which the broker stamped at two times."""
    events: list[tuple[Event, int]] = []
    for stamped in ("2026-01-31T12:00:00.000Z", "2026-02-01T12:00:00.000Z"):
        of_entry = {"entry_id": "E1", "agency": "AG1", "revision": 0, "stamped_at": stamped}
        of_source = {"source": "S1", "revision": 0, "stamped_at": stamped}
        events += [
            (("entry_added", of_entry), NOON_MS),
            (("entry_added", {**of_entry, "entry_id": "E2"}), NOON_MS),
            (("policy_changed", of_source), NOON_MS),
        ]
    report = AuditReport(["event"], 0, NOON_MS * 2)
    report.take(0, sealed(events))
    report.take(0, sealed(events))  # once more, by a worker that took over
    counts = {"entry_added": 4, "policy_changed": 2}
    assert report.rows() == [((name,), Counter({name: n})) for name, n in counts.items()]
    assert report.repeats == 6


def test_an_entry_expires_once_more_if_it_was_listed_once_more() -> None:
    ends = [
        {"entry_id": "E1", "revision": 0, "expires_at": f"2026-02-0{day}T12:00:00.000Z"}
        for day in (1, 2, 2)
    ]
    report = AuditReport(["event"], 0, NOON_MS * 2)
    report.take(0, sealed([(("entry_expired", fields), NOON_MS) for fields in ends]))
    assert report.rows() == [(("entry_expired",), Counter(entry_expired=2))]


def test_what_is_not_sound_is_told_and_not_counted() -> None:
    good = Chain("c").seal("match", MATCH, NOON_MS)
    report = AuditReport(["agency"], 0, NOON_MS * 2)
    values = [good, None, b"{}", changed(good, sequence=7), b"\xff"]
    report.take(0, [Record(0, 0, b"c", value, ()) for value in values])
    report.unreadable(0, 5, "corrupt_batch")
    assert report.rows() == [(("city-police",), Counter(match=1))]
    assert report.unsound == 5


def test_the_period_has_its_beginning_and_not_its_end() -> None:
    event: Event = ("match", {})
    records = sealed([((event[0], {"match_id": f"{at}"}), NOON_MS + at) for at in range(5)])
    report = AuditReport(["event"], NOON_MS + 1, NOON_MS + 3)
    report.take(0, records)
    assert report.rows() == [(("match",), Counter(match=2))]


def test_a_report_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPORT_GROUPS", 2)
    records = sealed([(("match", {"match_id": str(n), "agency": str(n)}), 0) for n in range(3)])
    with pytest.raises(ReportError) as caught:
        AuditReport(["agency"], 0, 1).take(0, records)
    assert str(caught.value) == "more than 2 lines; sum up by less: --by"
    monkeypatch.setattr(limits, "REPORT_EVENTS", 2)
    report = AuditReport(["source"], 0, 1)
    report.take(0, records)
    with pytest.raises(ReportError) as caught:
        report.rows()
    assert str(caught.value) == "more than 2 events; choose a shorter period"
