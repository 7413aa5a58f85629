"""The library beside a dict of entries and a loop over it, and beside the worker's matcher."""

from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine import HotListIndex
from engine.clock import EPOCH
from engine.documents.codec import decode_match, encode
from engine.documents.model import Alternate, Detection, Entry, Match, Policy
from engine.errors import DocumentError
from engine.index.eligibility import allowing_rule, policy_covers
from engine.library.hot_list_index import Added, Refused
from engine.library.snapshot import Snapshot
from engine.matching.conditions import narrowed_out
from engine.plates.confidence import confidence
from engine.plates.likeness import Likeness, compare
from engine.plates.normal_form import PlateError, normalize
from tests.fakes.documents import (
    DAY_MS,
    NOW_MS,
    Json,
    at,
    detection,
    detection_json,
    entry,
    entry_json,
    policy,
    policy_json,
)
from tests.models.real_matcher import MISREADS, PURPOSES, RealMatcher, keyed

_IDS = [f"E{number}" for number in range(6)]
_PLATES = ["ABC123", "A8C123", "ABC12", "ABC1233", "AB?123", "?8C12?", "ÜBC123"]
_READ_PLATES = ["abc-123", "A8C123", "ABCI23", "ABC12", "ABC1234", "ABX123", "XBC123", "ÜBC123"]
_SOURCES = ["S1", "S2"]
_STEPS_MS = st.integers(-3, 3).map(lambda steps: steps * 1000)
_ENTRIES: st.SearchStrategy[Json] = st.builds(
    entry_json,
    entry_id=st.sampled_from(_IDS),
    plate=st.sampled_from(_PLATES),
    agency=st.sampled_from(["AG1", "AG2"]),
    purpose=st.sampled_from(["stolen_vehicle", "missing_person"]),
    starts_at=st.none() | _STEPS_MS.map(at),
    expires_at=st.integers(4, 6).map(lambda steps: at(steps * 1000)) | st.just(at(DAY_MS)),
    region=st.sampled_from([None, None, "US", "NL"]),
    confusables=st.none() | st.booleans(),
    distance=st.sampled_from([None, None, None, 0]),
    created_at=st.just(at(-4 * DAY_MS)),
) | st.builds(
    entry_json,
    entry_id=st.sampled_from(_IDS),
    plate=st.sampled_from([plate for plate in _PLATES if "?" not in plate]),
    confusables=st.none() | st.booleans(),
    distance=st.just(1),
)
_BAD_ENTRIES: st.SearchStrategy[Any] = st.sampled_from(
    [
        entry_json(entry_id="BAD", purpose="curiosity"),
        entry_json(entry_id="BAD", plate="abc"),
        entry_json(entry_id="BAD", agency=None),
        entry_json(entry_id="BAD", agency=object()),
        entry_json(entry_id="BAD", expires_at=at(400 * DAY_MS)),
        msgspec.structs.replace(entry(), entry_id="BAD", region="nowhere"),
        msgspec.structs.replace(entry(), entry_id="BAD", list_id="\ud800"),
        {},
        None,
        "ABC123",
    ]
)
_POLICIES = st.builds(
    policy_json,
    source=st.sampled_from(_SOURCES),
    rules=st.sampled_from(
        [
            [],
            [{"agencies": "*", "purposes": "*"}],
            [{"agencies": ["AG1"], "purposes": "*"}],
            [{"agencies": "*", "purposes": ["missing_person"]}],
        ]
    ),
    regions=st.sampled_from([None, None, ["US"]]),
)
_ALTERNATES = st.lists(
    st.builds(
        lambda plate, sure: {"plate": plate} | ({} if sure is None else {"confidence": sure}),
        st.sampled_from([*_READ_PLATES, "--"]),
        st.sampled_from([None, 0.25, 0.5]),
    ),
    max_size=3,
)
_READS = st.builds(
    detection_json,
    plate=st.sampled_from(_READ_PLATES),
    source=st.sampled_from(_SOURCES),
    region=st.sampled_from([None, "US-CA", "NL"]),
    confidence=st.sampled_from([None, 0.9]),
    alternates=st.none() | _ALTERNATES,
)


class Likely(NamedTuple):
    """A match that must come out."""

    entry_id: str
    entry_revision: int
    likeness: Likeness
    plate: str
    alternate: Alternate | None
    policy_revision: int
    confidence: float


class Model:
    """What an index holds, and what must be found in it by looking at all of it."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[Entry, int]] = {}
        self.policies: dict[str, tuple[Policy, int]] = {}
        self.revision = 0

    def copy(self) -> Model:
        copied = Model()
        copied.entries, copied.policies = self.entries.copy(), self.policies.copy()
        copied.revision = self.revision
        return copied

    def like(self, plate: str, region: str | None = None) -> dict[str, Likeness]:
        found = {
            entry_id: compare(
                plate,
                held.plate,
                confusables=bool(held.confusables),
                distance=held.distance or 0,
                misreads=MISREADS.in_region(held.region or region),
            )
            for entry_id, (held, _) in self.entries.items()
        }
        return {entry_id: likeness for entry_id, likeness in found.items() if likeness is not None}

    def eligible(self, source: str, at_ms: int) -> set[str]:
        if source not in self.policies:
            return set()
        allowing, _ = self.policies[source]
        return {
            entry_id
            for entry_id, (held, _) in self.entries.items()
            if (held.starts_ms is None or held.starts_ms <= at_ms)
            and at_ms < held.expires_ms
            and allowing_rule(allowing, (held.agency, held.purpose)) is not None
        }

    def matches(self, read: Detection, at_ms: int, *, alternates: bool) -> list[Likely]:
        """By the own plate, or else by the most confident of the alternates."""
        tried: list[tuple[str, Alternate | None]] = [(normalize(read.plate), None)]
        others = [*(read.alternates or ())] if alternates else []
        others.sort(key=lambda one: 1.0 if one.confidence is None else -one.confidence)
        tried += [(normalize(one.plate), one) for one in others if one.plate != "--"]
        matches = []
        for entry_id in self.eligible(read.source, at_ms):
            held, revision = self.entries[entry_id]
            allowing, policy_revision = self.policies[read.source]
            if not policy_covers(allowing, read.region) or narrowed_out(held, read):
                continue
            for plate, alternate in tried:
                likeness = self.like(plate, read.region).get(entry_id)
                if likeness is not None:
                    stated = read.confidence if alternate is None else alternate.confidence
                    misreads = MISREADS
                    if not (plate + held.plate).isascii():
                        misreads = MISREADS.in_region(held.region or read.region)
                    sure = confidence(likeness, held.plate, plate, stated, misreads)
                    matches.append(
                        Likely(
                            entry_id, revision, likeness, plate, alternate, policy_revision, sure
                        )
                    )
                    break
        return sorted(matches)


def told(match: Match) -> tuple[Any, ...]:
    """What a match says that a `Likely` does."""
    [check] = [check for check in match.verification.checks if check.check == "plate"]
    misread = check.misread
    return (
        match.entry.entry_id,
        match.entry_revision,
        match.match_type,
        check.look_alikes or (),
        None if misread is None else (misread.kind, misread.position),
        check.positions,
        match.alternate,
        match.policy.revision,
        match.confidence,
    )


def expected(likely: Likely) -> tuple[Any, ...]:
    likeness = likely.likeness
    return (
        likely.entry_id,
        likely.entry_revision,
        likeness.match_type,
        likeness.look_alikes,
        None if likeness.misread is None else tuple(likeness.misread),
        likeness.positions,
        likely.alternate,
        likely.policy_revision,
        likely.confidence,
    )


def check_snapshot(snapshot: Snapshot, model: Model) -> None:
    """A snapshot holds what the model does, whatever has happened since."""
    assert len(snapshot) == len(model.entries)
    assert snapshot.revision == model.revision
    held = {one.entry_id: one for one in snapshot}
    assert held == {entry_id: one for entry_id, (one, _) in model.entries.items()}
    for entry_id in _IDS:
        assert snapshot.get(entry_id) == held.get(entry_id)
    for source in _SOURCES:
        for at_ms in (NOW_MS, NOW_MS + 5_000):
            slots = snapshot.eligible(source, at_ms)
            found = {one.entry_id for one in snapshot.entries(slots)}
            assert found == model.eligible(source, at_ms)


class Library(RuleBasedStateMachine):
    """Entries and policies come and go, snapshots are taken, kept and dropped, and the whole is
    saved and loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.index = HotListIndex(PURPOSES, MISREADS)
        self.model = Model()
        self.snapshots: list[tuple[Snapshot, Model]] = []

    @initialize(given=st.lists(_ENTRIES, min_size=3, max_size=6))
    def begin(self, given: list[Any]) -> None:
        """So that most questions have an answer."""
        self.add_many(given, typed=False)
        for source in _SOURCES:
            self.set_policy(policy_json(source=source), typed=True)

    @rule(given=st.lists(_ENTRIES | _BAD_ENTRIES, max_size=5), typed=st.booleans())
    def add_many(self, given: list[Any], typed: bool) -> None:
        if typed:
            given = [entry(**one) if _is_good(one) else one for one in given]
        added = self.index.add_many(iter(given))
        bad = [number for number, one in enumerate(given) if not _is_good(one)]
        assert [refused.position for refused in added.refused] == bad
        assert all(refused.reason for refused in added.refused)
        good = [one for one in given if _is_good(one)]
        new = len({_id_of(one) for one in good} - self.model.entries.keys())
        assert (added.added, added.replaced) == (new, len(good) - new)
        for one in good:
            self.model.revision += 1
            document = one if isinstance(one, Entry) else entry(**one)
            self.model.entries[document.entry_id] = document, self.model.revision

    @rule(ids=st.lists(st.sampled_from([*_IDS, "nobody"]), max_size=4))
    def remove_many(self, ids: list[str]) -> None:
        there = set(ids) & self.model.entries.keys()
        assert self.index.remove_many(iter(ids)) == len(there)
        for entry_id in there:
            del self.model.entries[entry_id]
        self.model.revision += len(there)

    @rule(at_ms=_STEPS_MS.map(lambda step: NOW_MS + 3_000 + step))
    def remove_expired(self, at_ms: int) -> None:
        expired = {
            entry_id
            for entry_id, (held, _) in self.model.entries.items()
            if held.expires_ms <= at_ms
        }
        assert self.index.remove_expired(at_ms) == len(expired)
        for entry_id in expired:
            del self.model.entries[entry_id]
        self.model.revision += len(expired)

    @rule(given=_POLICIES, typed=st.booleans())
    def set_policy(self, given: Json, typed: bool) -> None:
        self.index.set_policy(policy(**given) if typed else given)
        self.model.revision += 1
        self.model.policies[given["source"]] = policy(**given), self.model.revision

    @rule(source=st.sampled_from(_SOURCES))
    def remove_policy(self, source: str) -> None:
        assert self.index.remove_policy(source) is (source in self.model.policies)
        if self.model.policies.pop(source, None) is not None:
            self.model.revision += 1

    @rule()
    def take_snapshot(self) -> None:
        self.snapshots.append((self.index.snapshot(), self.model.copy()))

    @rule(which=st.integers(0, 5))
    def drop_snapshot(self, which: int) -> None:
        del self.snapshots[which : which + 1]

    @rule()
    def save_and_load(self) -> None:
        before = self.index.snapshot()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "hot.index"
            self.index.save(path)
            self.index = HotListIndex.load(path, PURPOSES, MISREADS)
        after = self.index.snapshot()
        for source in _SOURCES:
            assert before.eligible(source, NOW_MS) == after.eligible(source, NOW_MS)

    @rule(read=_READS, step_ms=_STEPS_MS, typed=st.booleans(), alternates=st.booleans())
    def ask(self, read: Json, step_ms: int, typed: bool, alternates: bool) -> None:
        at_ms = NOW_MS + 3_000 + step_ms
        document = detection(**read)
        for snapshot, model in [*self.snapshots, (self.index.snapshot(), self.model)]:
            found = snapshot.match(document if typed else read, at_ms, alternates=alternates)
            likely = model.matches(document, at_ms, alternates=alternates)
            assert sorted(map(told, found), key=repr) == sorted(map(expected, likely), key=repr)
            for match in found:
                assert match.list_revision == model.revision
                assert match.suppressed == 0
                assert match.read == document
                assert match.entry == model.entries[match.entry.entry_id][0]
                assert decode_match(encode(match)) == match

    @rule(plate=st.sampled_from(_READ_PLATES))
    def find(self, plate: str) -> None:
        for snapshot, model in [*self.snapshots, (self.index.snapshot(), self.model)]:
            found = snapshot.find(plate)
            assert {one.entry.entry_id: one.likeness for one in found} == model.like(
                normalize(plate)
            )
            assert len({one.slot for one in found}) == len(found)
            for one in found:
                assert next(snapshot.entries([one.slot])) == one.entry

    @invariant()
    def the_same(self) -> None:
        assert len(self.index) == len(self.model.entries)
        assert self.index.revision == self.model.revision
        for entry_id in _IDS:
            assert (entry_id in self.index) is (entry_id in self.model.entries)
            held = self.model.entries.get(entry_id)
            assert self.index.get(entry_id) == (None if held is None else held[0])

    @invariant()
    def no_snapshot_changes(self) -> None:
        for snapshot, model in self.snapshots:
            check_snapshot(snapshot, model)


def _id_of(one: Any) -> object:
    return one.entry_id if isinstance(one, Entry) else one.get("entry_id")


def _is_good(one: Any) -> bool:
    return isinstance(one, dict | Entry) and _id_of(one) in _IDS


TestLibrary = Library.TestCase
TestLibrary.settings = settings(stateful_step_count=30)


def held(*entries: Json, allowed: bool = True) -> HotListIndex:
    """An index with these entries and, where they are allowed, a policy that allows all."""
    index = HotListIndex(PURPOSES, MISREADS)
    assert index.add_many(entries) == Added(len(entries), 0, [])
    if allowed:
        index.set_policy(policy_json())
    return index


def ids_of(matches: list[Match]) -> list[str]:
    return sorted(match.entry.entry_id for match in matches)


def test_what_the_worker_would_make() -> None:
    """The same documents as the matcher's, for entries and reads of every kind."""
    entries = [
        entry_json(entry_id="EXACT"),
        entry_json(entry_id="ALIKE", plate="A8C123", confusables=True),
        entry_json(entry_id="ONE", plate="ABC124", distance=1),
        entry_json(entry_id="PART", plate="AB?1?3"),
        entry_json(entry_id="LATER", starts_at=at(1)),
        entry_json(entry_id="NL", region="NL"),
        entry_json(entry_id="RED", vehicle={"color": "red"}),
    ]
    reads = [
        detection_json(read_id="R1", confidence=0.9, region="US-CA"),
        detection_json(read_id="R7", vehicle={"color": "blue"}, camera="C2"),
        detection_json(read_id="R2", plate="A8C123", region="US-CA"),
        detection_json(read_id="R3", plate="ABC12", vehicle={"color": "RED"}),
        detection_json(read_id="R4", plate="XYZ", alternates=[{"plate": "abc 123"}]),
        detection_json(
            read_id="R5",
            camera="C3",
            plate="ABC1Z4",
            alternates=[{"plate": "ABC124", "confidence": 0.3}, {"plate": "ABC123"}],
        ),
        detection_json(read_id="R6", source="S2"),
        # Both alternates are like PART, which matches once.
        detection_json(
            read_id="R8",
            camera="C4",
            plate="XYZ",
            alternates=[{"plate": "ABC113"}, {"plate": "ABC123", "confidence": 0.5}],
        ),
    ]
    matcher = RealMatcher()
    for number, one in enumerate(entries, 1):
        matcher.put(number, one["entry_id"], one, NOW_MS)
    matcher.put_policy(len(entries) + 1, "S1", policy_json(), NOW_MS)
    snapshot = held(*entries).snapshot()
    kinds = set()
    for read in reads:
        others = [normalize(one["plate"]) for one in read.get("alternates", ())]
        headers = (",".join(others).encode(),) if others else ()
        outcome = matcher.read([keyed(read, headers)], NOW_MS)
        theirs = {
            found.match.match_id: msgspec.structs.replace(found.match, list_revision=0)
            for found in outcome.matches
            if not found.match.suppressed
        }
        ours = {
            match.match_id: msgspec.structs.replace(match, list_revision=0)
            for match in snapshot.match(read, NOW_MS)
        }
        # Of the matcher's, some are folded into earlier ones.
        assert theirs.items() <= ours.items()
        assert len(ours) == len(theirs) + outcome.suppressed
        kinds |= {match.match_type for match in theirs.values()}
    assert kinds == {"exact", "confusable", "distance", "partial"}
    by_read = {read["read_id"]: ids_of(snapshot.match(read, NOW_MS)) for read in reads}
    assert by_read == {
        "R1": ["ALIKE", "EXACT", "ONE", "PART", "RED"],
        "R7": ["ALIKE", "EXACT", "NL", "ONE", "PART"],
        "R2": ["ALIKE"],
        "R3": ["ONE"],
        "R4": ["ALIKE", "EXACT", "NL", "ONE", "PART", "RED"],
        "R5": ["ALIKE", "EXACT", "NL", "ONE", "PART", "RED"],
        "R6": [],
        "R8": ["ALIKE", "EXACT", "NL", "ONE", "PART", "RED"],
    }


def test_entries_start_and_end_by_the_time_that_is_asked_for() -> None:
    index = held(entry_json(starts_at=at(1_000), expires_at=at(2_000)))
    snapshot = index.snapshot()
    for offset_ms, matches in ((999, 0), (1_000, 1), (1_999, 1), (2_000, 0)):
        asked_ms = NOW_MS + offset_ms
        as_datetime = EPOCH + datetime.timedelta(milliseconds=asked_ms)
        elsewhere = as_datetime.astimezone(datetime.timezone(datetime.timedelta(hours=-7)))
        for at_time in (asked_ms, as_datetime, elsewhere):
            found = snapshot.match(detection(), at_time)
            assert len(found) == matches
            assert len(snapshot.eligible("S1", at_time)) == matches
            assert all(match.matched_at == at(offset_ms) for match in found)
    assert index.remove_expired(NOW_MS + 1_999) == 0
    assert index.remove_expired(NOW_MS + 2_000) == 1
    assert len(snapshot.match(detection(), NOW_MS + 1_500)) == 1
    assert index.snapshot().match(detection(), NOW_MS + 1_500) == []


def test_nothing_matches_without_a_policy() -> None:
    snapshot = held(entry_json(), allowed=False).snapshot()
    assert snapshot.match(detection(), NOW_MS) == []
    assert len(snapshot.eligible("S1", NOW_MS)) == 0
    assert [one.entry.entry_id for one in snapshot.find("ABC123")] == ["E1"]


def test_what_is_refused_is_said_and_changes_nothing() -> None:
    index = held(entry_json())
    given: list[Any] = [
        entry_json(plate="abc-123"),
        entry_json(entry_id="E2"),
        entry_json(expires_at="never"),
        7,
    ]
    assert index.add_many(given) == Added(
        1,
        0,
        [
            Refused(0, "plate 'abc-123': must be in normal form, which is ABC123"),
            Refused(2, "$.expires_at: must be a time in UTC such as 2026-01-31T12:00:00.000Z"),
            Refused(3, "$: must be of type Entry, or a mapping of JSON values"),
        ],
    )
    assert index.get("E1") == entry()
    assert index.revision == 3
    assert index.add_many([]) == Added(0, 0, [])
    assert index.revision == 3


def test_reads_and_policies_that_are_none() -> None:
    index = held(entry_json())
    snapshot = index.snapshot()
    with pytest.raises(DocumentError, match=r"\$\.captured_at: must be a time"):
        snapshot.match(detection_json(captured_at="now"), NOW_MS)
    with pytest.raises(DocumentError, match=r"\$\.captured_at: must be a time"):
        snapshot.match(msgspec.structs.replace(detection(), captured_at="now"), NOW_MS)
    with pytest.raises(PlateError):
        snapshot.match(detection(plate="---"), NOW_MS)
    with pytest.raises(PlateError):
        snapshot.find("---")
    with pytest.raises(DocumentError, match="rules: must be"):
        index.set_policy(policy_json(rules=5))
    assert index.revision == snapshot.revision == 2


def test_a_generator_that_asks_while_it_is_read() -> None:
    """Between two steps everything is as it ought to be, snapshots included."""
    index = HotListIndex(PURPOSES, MISREADS)
    seen: list[tuple[Snapshot, int]] = []

    def entries() -> Iterator[Json]:
        for number in range(5_000):
            if number % 1_000 == 0:
                seen.append((index.snapshot(), len(index)))
            yield entry_json(entry_id=f"E{number}", plate=f"P{number:04}")

    assert index.add_many(entries()) == Added(5_000, 0, [])
    assert [len(snapshot) for snapshot, _ in seen] == [length for _, length in seen]
    assert all(snapshot.revision == length for snapshot, length in seen)
    seen.clear()

    def ids() -> Iterator[str]:
        for number in range(5_000):
            if number % 1_000 == 0:
                seen.append((index.snapshot(), len(index)))
            yield f"E{number}"

    assert index.remove_many(ids()) == 5_000
    assert [len(snapshot) for snapshot, _ in seen] == [length for _, length in seen]
    assert seen[0][1] == 5_000
    assert seen[-1][1] < 5_000


def test_an_iterable_that_fails_leaves_what_came_before() -> None:
    index = HotListIndex(PURPOSES, MISREADS)

    def entries() -> Iterator[Json]:
        yield from (entry_json(entry_id=f"E{number}") for number in range(3_000))
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        index.add_many(entries())
    assert 0 < len(index) <= 3_000
    assert index.revision == len(index) == len(list(index.snapshot()))


def test_nothing_is_copied_where_no_snapshot_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.library.library_index import LibraryIndex

    copies: list[int] = []
    copy = LibraryIndex.copy

    def counted(index: LibraryIndex) -> LibraryIndex:
        copies.append(len(index))
        return copy(index)

    monkeypatch.setattr(LibraryIndex, "copy", counted)
    index = held(entry_json())
    index.snapshot()
    index.add_many([entry_json(entry_id="E2")])
    assert copies == []
    snapshot = index.snapshot()
    assert index.snapshot() is snapshot
    assert index.remove_many(["nobody"]) == 0
    assert index.remove_expired(NOW_MS) == 0
    index.add_many([entry_json(plate="abc")])
    index.remove_policy("nobody")
    assert copies == []
    for number in range(3):
        index.add_many([entry_json(entry_id=f"F{number}")])
        index.set_policy(policy_json())
        index.remove_many(["E2"])
    assert copies == [2]
    index.remove_many(["E1", "F0", "F1", "F2"])
    index.add_many(entry_json(entry_id=f"G{number}") for number in range(5))
    matches = snapshot.match(detection(), NOW_MS)
    assert [(match.entry.entry_id, match.entry_revision) for match in matches] == [
        ("E2", 3),
        ("E1", 1),
    ]


def test_what_is_being_read_of_a_snapshot_keeps_it_in_use() -> None:
    index = held(entry_json(), entry_json(entry_id="E2"))
    every = iter(index.snapshot())
    some = index.snapshot().entries(index.snapshot().eligible("S1", NOW_MS))
    assert index.remove_many(["E1", "E2"]) == 2
    index.add_many([entry_json(entry_id="E3"), entry_json(entry_id="E4")])
    assert {one.entry_id for one in every} == {one.entry_id for one in some} == {"E1", "E2"}


def test_any_number_of_threads_ask_one_snapshot() -> None:
    """Each gets the same answers all the while that the index changes."""
    index = HotListIndex(PURPOSES, MISREADS)
    index.add_many(
        entry_json(entry_id=f"E{number}", plate=plate, **asking)
        for number, (plate, asking) in enumerate(
            (f"A{number % 50:02}{end}", asking)
            for number in range(300)
            for end, asking in (
                ("B12", {"confusables": True}),
                ("B1234", {"distance": 1}),
                ("?12", {}),
            )
        )
    )
    index.set_policy(policy_json())
    snapshot = index.snapshot()
    plates = [f"A{number:02}{end}" for number in range(50) for end in ("812", "B123", "X12")]
    answers = [{one.entry.entry_id for one in snapshot.find(plate)} for plate in plates]
    assert sum(map(len, answers)) > 1_000
    wrong: list[str] = []
    going_on = threading.Event()

    def ask(begin: int) -> None:
        for number in range(begin, begin + 2 * len(plates)):
            plate = plates[number % len(plates)]
            found = {one.entry.entry_id for one in snapshot.find(plate)}
            matched = set(ids_of(snapshot.match(detection_json(plate=plate), NOW_MS)))
            if not found == matched == answers[number % len(plates)]:
                wrong.append(plate)
        going_on.set()

    threads = [threading.Thread(target=ask, args=(begin,)) for begin in range(0, 100, 25)]
    for thread in threads:
        thread.start()
    changes = 0
    while not going_on.is_set():
        index.remove_many(f"E{number}" for number in range(changes % 7, 900, 7))
        index.add_many([entry_json(entry_id=f"E{changes % 900}", plate="A01B12")])
        index.snapshot()
        changes += 1
    for thread in threads:
        thread.join()
    assert wrong == []
    assert changes > 0


def test_many_come_and_go() -> None:
    """200,000 entries, half of them replaced, most of them removed, saved and loaded."""
    index = HotListIndex(PURPOSES, MISREADS)
    count = 200_000
    one = entry()

    def numbered(number: int, mark: str) -> Entry:
        return msgspec.structs.replace(
            one, entry_id=f"E{number}", plate=f"{mark}{number:06}", agency=f"AG{number % 3}"
        )

    assert index.add_many(numbered(number, "P") for number in range(count)) == Added(count, 0, [])
    before = index.snapshot()
    replaced = index.add_many(numbered(number, "Q") for number in range(0, count, 2))
    assert replaced == Added(0, count // 2, [])
    assert index.remove_many(f"E{number}" for number in range(1_000, 2 * count)) == count - 1_000
    assert len(index) == 1_000
    for number in range(0, 1_000, 7):
        mark = "P" if number % 2 else "Q"
        after = index.snapshot()
        assert [hit.entry.entry_id for hit in after.find(f"{mark}{number:06}")] == [f"E{number}"]
        assert after.find(f"{'Q' if number % 2 else 'P'}{number:06}") == []
    assert len(before) == count
    assert all(len(before.find(f"P{number:06}")) == 1 for number in range(0, count, 997))
    index.set_policy(policy_json(rules=[{"agencies": ["AG0"], "purposes": "*"}]))
    assert len(index.snapshot().eligible("S1", NOW_MS)) == 334
    with tempfile.TemporaryDirectory() as folder:
        before.save(Path(folder) / "hot.index")
        loaded = HotListIndex.load(Path(folder) / "hot.index", PURPOSES, MISREADS)
    assert len(loaded) == count
    for number in range(0, count, 499):
        assert loaded.get(f"E{number}") == before.get(f"E{number}")
        assert len(loaded.snapshot().find(f"P{number:06}")) == 1
    assert loaded.remove_many(f"E{number}" for number in range(count)) == count
    assert len(loaded) == 0


def test_without_kafka() -> None:
    """Nobody who uses the library needs what talks to Kafka, or waits for it to be imported."""
    script = """if True:
        import sys
        import engine
        assert "numba" not in sys.modules, "normalize alone costs no compiler"
        from engine import HotListIndex
        assert not len(HotListIndex())
        roots = {name.partition(".")[0] for name in sys.modules}
        found = roots & {"aiokafka", "kafka", "faust", "mode", "confluent_kafka", "aiohttp"}
        assert not found, found
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_other_name() -> None:
    import engine

    with pytest.raises(AttributeError, match="module 'engine' has no attribute 'HotList'"):
        _ = engine.HotList
    assert "HotListIndex" in dir(engine)
