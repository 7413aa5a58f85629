"""What a file changes: any two states of several lists, beside a plain model of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import format_time
from engine.documents.codec import decode_entry, encode
from engine.documents.model import Authority, Entry
from engine.documents.purposes import Purpose, Purposes
from engine.list_files.difference import Difference, compare_to_state
from engine.list_files.digests import Names
from engine.list_files.identity import derived_id
from engine.list_files.list_state import ListState
from engine.list_files.ownership import Synced
from engine.list_files.parsed_file import FileEntries
from engine.list_files.profile import load
from engine.list_files.removed_terms import RemovedTerm, removed_term, term_headers
from engine.list_files.rows import BadRow, Filling, Row, Supplied

DAY_MS = 86_400_000
START_MS = 1_767_225_600_000  # 2026-01-01
PURPOSES = Purposes([Purpose("theft", "Theft", longest_term_days=100)])
HOTLIST = load()


def day(number: int) -> str:
    return format_time(START_MS + number * DAY_MS)


def document(entry_id: str, **fields: Any) -> dict[str, Any]:
    made = {
        "entry_id": entry_id,
        "list_id": "l",
        "plate": "ABC123",
        "agency": "agency",
        "purpose": "theft",
        "authority": {"kind": "case", "reference": "1"},
        **fields,
    }
    return {name: value for name, value in made.items() if value is not None}


def entry(entry_id: str, **fields: Any) -> Entry:
    times = {"created_at": day(0), "expires_at": day(30), "requested_by": "jo"}
    return msgspec.convert(document(entry_id, **{**times, **fields}), Entry)


def without_id(**fields: Any) -> dict[str, Any]:
    made = document("x", **fields)
    del made["entry_id"]
    return made


class Topic:
    """A hot list topic as a dict, and commands that change it as theirs would."""

    def __init__(self, *entries: Entry) -> None:
        self.values = {one.entry_id: encode(one) for one in entries}
        self.terms: dict[str, RemovedTerm] = {}

    def state(self, names: Names) -> ListState:
        state = ListState(names)
        state.apply((key.encode(), None, term) for key, term in self.terms.items())
        state.apply((key.encode(), value) for key, value in self.values.items())
        state.settle()
        return state

    def send(
        self,
        rows: list[dict[str, Any]],
        *,
        today: int = 0,
        term: int = 30,
        bad: tuple[BadRow, ...] = (),
        by: str = "jo",
        list_id: str | None = None,
        agency: str | None = None,
        renew: bool = False,
        take_over: bool = False,
    ) -> tuple[Difference, FileEntries]:
        fresh = {
            "created_at": day(today),
            "expires_at": day(today + term),
            "requested_by": by,
        }
        filling = Filling(HOTLIST, Supplied({}, fresh), PURPOSES)
        file = FileEntries(Names())
        for line, row in enumerate(rows, start=2):
            found_row = filling.row(line, dict(row))
            assert isinstance(found_row, Row)
            file.add(found_row)
        for bad_row in bad:
            file.add_bad(bad_row)
        state = self.state(file.names)
        synced = None if list_id is None else Synced(list_id, agency, renew)
        now_ms = START_MS + today * DAY_MS
        found = compare_to_state(file, state, PURPOSES, now_ms, synced=synced, take_over=take_over)
        for what, key, value in found.records(file):
            assert (what == "changed") == (key.decode() in self.values)
            self.values[key.decode()] = value
        for place in found.removed.tolist():
            self.remove(state.entry_id(place).decode())
        return found, file

    def remove(self, entry_id: str) -> None:
        """Remove an entry as the commands do."""
        term = removed_term(term_headers(self.values.pop(entry_id)))
        assert term is not None
        self.terms[entry_id] = term

    @property
    def entries(self) -> dict[str, Entry]:
        return {key: decode_entry(value) for key, value in self.values.items()}


IDS = [f"{list_id}-{number}" for list_id in "lm" for number in range(5)]
PLATES = st.sampled_from(["ABC123", "XYZ789"])
STATES = st.dictionaries(st.sampled_from(IDS), PLATES)


def listed(state: dict[str, str]) -> list[dict[str, Any]]:
    return [document(key, list_id=key[0], plate=plate) for key, plate in state.items()]


@given(before=STATES, after=STATES)
def test_after_a_sync_the_list_is_the_file_and_others_are_as_they_were(
    before: dict[str, str], after: dict[str, str]
) -> None:
    topic = Topic(*(entry(key, list_id=key[0], plate=plate) for key, plate in before.items()))
    untouched = {key: value for key, value in topic.values.items() if key[0] == "m"}
    wanted = {key: plate for key, plate in after.items() if key[0] == "l"}
    found, _ = topic.send(listed(wanted), list_id="l", agency="agency")
    was = {key: plate for key, plate in before.items() if key[0] == "l"}
    assert {key: one.plate for key, one in topic.entries.items() if key[0] == "l"} == wanted
    assert {key: value for key, value in topic.values.items() if key[0] == "m"} == untouched
    assert found.added_count == len(wanted.keys() - was.keys())
    assert len(found.removed) == len(was.keys() - wanted.keys())
    assert found.unchanged == len(wanted.items() & was.items())
    assert found.changed_count == len(wanted.keys() & was.keys()) - found.unchanged
    assert found.standing == len(was)
    # Again, on another day and by somebody else: there is nothing left to do.
    again, _ = topic.send(listed(wanted), list_id="l", agency="agency", today=3, by="somebody else")
    assert not again.count
    assert again.unchanged == len(wanted)


@given(before=STATES, after=STATES)
def test_an_import_leaves_alone_what_it_does_not_name(
    before: dict[str, str], after: dict[str, str]
) -> None:
    topic = Topic(*(entry(key, list_id=key[0], plate=plate) for key, plate in before.items()))
    found, _ = topic.send(listed(after))
    assert {key: one.plate for key, one in topic.entries.items()} == {**before, **after}
    assert len(found.removed) == 0


BEYOND = (
    "authority.reference '1': must be a new one to extend the entry beyond 100 days "
    "after 2026-01-01T00:00:00.000Z"
)


def test_what_stands_keeps_its_dates() -> None:
    topic = Topic(entry("a"), entry("b", requested_by="kim"))
    found, _ = topic.send([document("a", priority=1), document("b")], today=20, list_id="l")
    assert (found.changed_count, found.unchanged) == (1, 1)
    assert topic.entries["a"] == entry("a", priority=1)
    assert topic.entries["b"] == entry("b", requested_by="kim")


def test_an_import_gives_new_dates_and_keeps_the_day_of_its_making() -> None:
    topic = Topic(entry("a"))
    topic.send([document("a")], today=20, by="kim")
    assert topic.entries["a"] == entry("a", expires_at=day(50), requested_by="kim")
    found, _ = topic.send([document("a")], today=71)
    assert found.problems == {0: BEYOND}


def test_the_rows_own_dates_count() -> None:
    topic = Topic(entry("a"))
    found, _ = topic.send([document("a", expires_at=day(40))], today=20)
    assert found.changed_count == 1
    assert topic.entries["a"] == entry("a", expires_at=day(40))
    # The same time written in another way is the same.
    found, _ = topic.send([document("a", expires_at=day(40).replace(".000Z", "Z"))], today=21)
    assert not found.count


def test_a_new_reference_begins_anew() -> None:
    topic = Topic(entry("a"))
    renewed = {"authority": {"kind": "case", "reference": "2"}}
    topic.send([document("a", **renewed)], today=99, by="kim")
    assert topic.entries["a"] == entry(
        "a",
        authority=Authority(kind="case", reference="2"),
        created_at=day(99),
        expires_at=day(129),
        requested_by="kim",
    )


def test_renew_goes_as_far_as_the_term_and_no_further() -> None:
    topic = Topic(entry("a"))
    topic.send([document("a")], today=70, list_id="l", renew=True, by="kim")
    assert topic.entries["a"] == entry("a", expires_at=day(100), requested_by="kim")
    before = dict(topic.values)
    found, _ = topic.send([document("a")], today=71, list_id="l", renew=True)
    assert found.problems == {0: BEYOND}
    assert topic.values == before


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            document("a", created_at=day(50), expires_at=day(101)),
            BEYOND,
        ),
        (
            document("a", created_at=day(1), expires_at=day(2)),
            (
                "created_at '2026-01-02T00:00:00.000Z': must stay 2026-01-01T00:00:00.000Z while "
                "authority.reference stays the same"
            ),
        ),
    ],
)
def test_a_change_without_the_authority_for_it(row: dict[str, Any], problem: str) -> None:
    topic = Topic(entry("a"))
    found, _ = topic.send([row], today=50)
    assert found.problems == {0: problem}
    assert not found.count


def test_an_entry_that_is_over_and_still_in_the_file() -> None:
    """Its expiry lies before today: for the entry that stands that is no contradiction."""
    topic = Topic(entry("a"))
    row = document("a", expires_at=day(30))
    found, _ = topic.send([row], today=60, list_id="l")
    assert (found.unchanged, found.expired, found.problems) == (1, 1, {})
    found, _ = topic.send([document("a", expires_at=day(20), priority=1)], today=60)
    assert (found.changed_count, found.expired) == (1, 1)
    # One that was never listed cannot be made today to end yesterday.
    found, _ = topic.send([document("new", expires_at=day(30))], today=60)
    assert found.problems == {
        0: "expires_at '2026-01-31T00:00:00.000Z': must be after created_at, "
        "2026-03-02T00:00:00.000Z"
    }
    assert "new" not in topic.values


def test_no_row_may_take_another_lists_entry() -> None:
    topic = Topic(entry("a", list_id="other"), entry("b"))
    rows = [document("a"), document("c", list_id="third"), document("b", priority=2)]
    found, _ = topic.send(rows, list_id="l")
    assert found.problems == {
        0: "entry_id is on list 'other', which is not the list that is synced",
        1: "list_id 'third': must be l, the list that is synced",
    }
    assert topic.entries["a"] == entry("a", list_id="other")
    assert topic.entries["b"].priority == 2
    assert "c" not in topic.values


@pytest.mark.parametrize(
    ("owner", "named"),
    [
        ({"list_id": "m"}, "list 'm' of agency 'agency'"),
        ({"agency": "other"}, "list 'l' of agency 'other'"),
        ({"list_id": "m", "agency": "other"}, "list 'm' of agency 'other'"),
    ],
)
def test_an_import_takes_over_anothers_entry_only_if_asked_to(
    owner: dict[str, Any], named: str
) -> None:
    standing = entry("a", **owner)
    topic = Topic(standing, entry("b"))
    found, _ = topic.send([document("a"), document("b", priority=1)])
    assert found.problems == {0: f"entry_id belongs to {named}; --take-over replaces it"}
    assert topic.entries["a"] == standing
    assert topic.entries["b"].priority == 1
    found, _ = topic.send([document("a")], take_over=True)
    assert (found.changed_count, found.problems) == (1, {})
    assert (topic.entries["a"].list_id, topic.entries["a"].agency) == ("l", "agency")


def test_an_entry_of_the_future_is_a_bad_row_and_nothing_is_kept_of_a_standing_one() -> None:
    topic = Topic(entry("future", created_at=day(5), expires_at=day(9)))
    later = document("l-1", created_at=day(1), expires_at=day(2))
    found, _ = topic.send([later, document("future")], today=0)
    assert found.problems == {
        0: f"created_at '{day(1)}': must be at most 5 minutes after the time at which the entry is "
        f"sent, {day(0)}"
    }
    assert set(topic.entries) == {"future"}
    assert topic.entries["future"].created_at == day(0)


def test_bad_rows_remove_no_entry() -> None:
    topic = Topic(entry("a"), entry("b"), entry("c"))
    found, _ = topic.send([document("a")], bad=(BadRow(3, "what", "b"),), list_id="l")
    assert (set(topic.values), found.not_removed) == ({"a", "b"}, 0)
    # A bad row whose entry is not known may be for any entry. Changes are still sent.
    bad = (BadRow(3, "what"),)
    found, _ = topic.send([document("a", priority=1), document("n")], bad=bad, list_id="l")
    assert (set(topic.values), found.not_removed) == ({"a", "b", "n"}, 1)
    assert (found.added_count, found.changed_count, len(found.removed)) == (1, 1, 0)


def test_a_derived_id_is_no_id_beside_rows_that_give_theirs() -> None:
    derived = BadRow(3, "what", "d", "l")
    topic = Topic(entry("a"), entry("b"))
    found, _ = topic.send([document("a")], bad=(derived,), list_id="l")
    assert (set(topic.values), found.not_removed) == ({"a", "b"}, 1)
    # In a file that gives no ids it is one, for the list that it was derived for.
    topic = Topic(entry("d"), entry("b"))
    found, _ = topic.send([], bad=(derived,), list_id="l", agency="agency")
    assert set(topic.values) == {"d"}
    topic = Topic(entry("d"), entry("b"))
    bad = (BadRow(3, "what", "d", "other"),)
    found, _ = topic.send([], bad=bad, list_id="l", agency="agency")
    assert (set(topic.values), found.not_removed) == ({"d", "b"}, 1)


def test_entries_keep_the_ids_that_earlier_versions_derived() -> None:
    plates = [f"ABC12{number}" for number in range(9)]
    old = {plate: derived_id("l", plate) for plate in plates}
    topic = Topic(*(entry(old[plate], plate=plate) for plate in plates))
    before = dict(topic.values)
    rows = [without_id(plate=plate) for plate in plates]
    found, _ = topic.send(rows, list_id="l")
    assert (found.count, found.unchanged, topic.values) == (0, 9, before)
    # A change goes to the same entry, a new plate gets an id of its own, and what is gone goes.
    rows[0]["priority"] = 1
    rows[1]["plate"] = "NEW123"
    found, _ = topic.send(rows, list_id="l")
    assert (found.added_count, found.changed_count, len(found.removed)) == (1, 1, 1)
    assert topic.entries[old[plates[0]]].priority == 1
    assert topic.entries[derived_id("l", "NEW123", "agency")].plate == "NEW123"
    assert old[plates[1]] not in topic.entries
    # Again there is nothing to do, and an import finds the same entries.
    again, _ = topic.send(rows, list_id="l")
    assert not again.count
    again, _ = topic.send(rows)
    assert (again.added_count, again.changed_count, again.unchanged) == (0, 0, 9)
    # A bad row keeps the entry of its former id.
    bad = BadRow(9, "what", "new", "l", old[plates[2]])
    found, _ = topic.send([*rows[:2], *rows[3:]], bad=(bad,), list_id="l")
    assert (len(found.removed), found.not_removed) == (0, 0)


def test_an_agency_does_not_get_the_entry_of_another_one() -> None:
    topic = Topic(entry(derived_id("l", "ABC123")))
    row = without_id(agency="other")
    found, _ = topic.send([row])
    assert (found.added_count, found.changed_count, found.problems) == (1, 0, {})
    assert {one.agency for one in topic.entries.values()} == {"agency", "other"}


def test_repeats_name_the_first_row() -> None:
    topic = Topic()
    rows = [document("a"), document("a", priority=1), document("b"), document("a", priority=2)]
    found, file = topic.send(rows)
    assert file.repeats() == {1: 2, 3: 2}
    assert found.problems == {
        1: "the same entry_id as in line 2",
        3: "the same entry_id as in line 2",
    }
    assert (topic.entries["a"].priority, set(topic.values)) == (None, {"a", "b"})


@given(ids=st.lists(st.sampled_from(["a", "b", "c", "d", "é"]), max_size=12))
def test_repeats_of_any_rows(ids: list[str]) -> None:
    filling = Filling(
        HOTLIST,
        Supplied({}, {"created_at": day(0), "expires_at": day(1), "requested_by": "x"}),
        PURPOSES,
    )
    file = FileEntries(Names())
    first: dict[str, int] = {}
    expected = {}
    for place, entry_id in enumerate(ids):
        file.add(Row(place + 2, *filling.entry(document(entry_id))))
        if entry_id in first:
            expected[place] = first[entry_id]
        first.setdefault(entry_id, place + 2)
    assert file.repeats() == expected
    assert list(file.repeats()) == sorted(expected)


def test_what_cannot_be_read_on_the_topic_is_replaced_and_never_removed() -> None:
    topic = Topic()
    topic.values = {"a": b"{", "b": b"{"}
    found, _ = topic.send([document("a")], list_id="l")
    assert (found.changed_count, len(found.removed)) == (1, 0)
    assert topic.values == {"a": encode(entry("a")), "b": b"{"}


def test_lists_of_a_file() -> None:
    file = FileEntries(Names())
    filling = Filling(
        HOTLIST,
        Supplied({}, {"created_at": day(0), "expires_at": day(1), "requested_by": "x"}),
        PURPOSES,
    )
    assert file.list_ids() == []
    for number, list_id in enumerate(["b", "a", "b"]):
        file.add(Row(number, *filling.entry(document(str(number), list_id=list_id))))
    assert sorted(file.list_ids()) == ["a", "b"]


@given(before=st.dictionaries(st.sampled_from(IDS), st.sampled_from(["agency", "other", "third"])))
def test_a_sync_leaves_the_entries_of_agencies_that_it_does_not_name(
    before: dict[str, str],
) -> None:
    """A hot list is "a named list of entries owned by one agency": the name alone is no owner."""
    topic = Topic(*(entry(key, list_id=key[0], agency=agency) for key, agency in before.items()))
    ours = {key for key, agency in before.items() if key[0] == "l" and agency == "agency"}
    theirs = {key: agency for key, agency in before.items() if key[0] == "l" and key not in ours}
    others = {key for key in before if key[0] == "m"}
    found, _ = topic.send([document("new")], list_id="l")
    assert set(topic.values) == {"new", *theirs, *others}
    assert found.left_alone == Counter(theirs.values())
    assert found.standing == len(ours)
    # The flags name an agency too, and --take-over all of them.
    found, _ = topic.send([document("new")], list_id="l", agency="third")
    assert "third" not in {one.agency for one in topic.entries.values() if one.list_id == "l"}
    found, _ = topic.send([document("new")], list_id="l", take_over=True)
    assert (set(topic.values), found.left_alone) == ({"new", *others}, {})


def test_a_sync_takes_over_anothers_entry_only_if_asked_to() -> None:
    standing = entry("a", agency="other")
    topic = Topic(standing)
    found, _ = topic.send([document("a")], list_id="l")
    assert found.problems == {
        0: "entry_id belongs to list 'l' of agency 'other'; --take-over replaces it"
    }
    assert topic.entries == {"a": standing}
    found, _ = topic.send([document("a")], list_id="l", take_over=True)
    assert (found.changed_count, topic.entries["a"].agency) == (1, "agency")


# ---- the term of an authority outlives the entry's removal


def test_what_is_listed_again_keeps_its_first_day_and_ends_no_later() -> None:
    topic = Topic(entry("l-1"))
    topic.remove("l-1")
    found, _ = topic.send([document("l-1")], today=50, term=60)
    (problem,) = found.problems.values()
    assert problem == (
        "authority.reference '1': must be a new one to extend the entry beyond 100 days after "
        f"{day(0)}"
    )
    assert topic.entries == {}
    topic.send([document("l-1")], today=50, term=50)
    (listed_again,) = topic.entries.values()
    assert (listed_again.created_at, listed_again.expires_at) == (day(0), day(100))


def test_a_later_first_day_is_refused_and_a_new_authority_begins_anew() -> None:
    topic = Topic(entry("l-1"))
    topic.remove("l-1")
    found, _ = topic.send([document("l-1", created_at=day(9), expires_at=day(20))], today=50)
    (problem,) = found.problems.values()
    assert problem.startswith(f"created_at {day(9)!r}: must stay {day(0)}")
    again = document("l-1", authority={"kind": "case", "reference": "2"})
    topic.send([again], today=50, term=60)
    assert topic.entries["l-1"].created_at == day(50)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(1, 100)), max_size=12))
def test_no_run_of_removals_outlives_the_term_under_one_authority(
    steps: list[tuple[bool, int, int]],
) -> None:
    """Whatever is removed and listed again, by an import or a sync, or renewed between."""
    topic = Topic(entry("l-1"))
    today = 0
    for is_sync, later, term in steps:
        today += later
        if is_sync:
            topic.send([], list_id="l", today=today, agency="agency")
        elif "l-1" in topic.values:
            topic.remove("l-1")
        found, _ = topic.send([document("l-1")], today=today, term=term)
        assert bool(found.problems) == (today + term > 100)
        for listed_now in topic.entries.values():
            assert listed_now.created_at == day(0)
            assert listed_now.expires_ms <= START_MS + 100 * DAY_MS


def test_a_sync_that_brings_an_entry_back_keeps_nothing_else_of_it() -> None:
    topic = Topic(entry("l-1", requested_by="ann"))
    topic.send([], list_id="l", today=10, agency="agency")
    assert topic.entries == {}
    topic.send([document("l-1")], list_id="l", today=20, term=30, by="jo")
    (found,) = topic.entries.values()
    assert (found.created_at, found.expires_at, found.requested_by) == (day(0), day(50), "jo")


def test_after_a_removal_by_an_older_version_the_term_begins_anew() -> None:
    """Its record does not say what the term was; the audit does."""
    topic = Topic(entry("l-1"))
    topic.remove("l-1")
    topic.terms.clear()
    topic.send([document("l-1")], today=50, term=100)
    assert topic.entries["l-1"].created_at == day(50)
