"""`engine.matching.suppression`: beside a naive model, and through crashes, wild clocks and
limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.documents.codec import decode_suppression
from engine.documents.model import Entry
from engine.matching import suppression_key
from engine.matching.suppression import SUPPRESSED, Suppression, Unmatched
from engine.matching.suppression_key import LATE_MS, key_of
from engine.matching.suppression_writer import document_of
from engine.matching.written_states import SuppressionRecord
from engine.plates.likeness import MatchType
from tests.fakes.documents import NOW_MS, entry, sighting

S = 1000
#: By suppress_s; of the same id, as if the entry was changed from read to read.
ENTRIES = {suppress_s: entry(suppress_s=suppress_s) for suppress_s in (0, 10, 60)}
PARTIAL = entry(entry_id="E2", plate="ABC?23", suppress_s=60)


class Read(NamedTuple):
    """A read of a listed plate; its offset is its place in its partition's log."""

    captured_ms: int
    arrived_ms: int = 0
    camera: str = "C1"
    suppress_s: int = 60
    match_type: MatchType = "exact"
    confidence: float = 0.99


class Made(NamedTuple):
    """A match as the naive model remembers it."""

    read: Read
    offset: int


def is_better(one: Read, other: Read) -> bool:
    order = ["partial", "distance", "confusable", "exact"]
    if order.index(one.match_type) > order.index(other.match_type):
        return True
    return round(10_000 * one.confidence) >= 10 * round(10_000 * other.confidence)


class Naive:
    """The rule as the README has it, over lists that only grow."""

    def __init__(self) -> None:
        self.made: dict[str, dict[int, list[Made]]] = defaultdict(lambda: defaultdict(list))
        self.suppressed: dict[tuple[str, int], int] = defaultdict(int)

    def admit(self, read: Read, partition: int, offset: int) -> int:
        window_ms = read.suppress_s * S
        for of, made in self.made[read.camera].items():
            for match in made:
                between = sum(match.offset < other.offset < offset for other in made)
                if (
                    abs(read.captured_ms - match.read.captured_ms) < window_ms
                    and abs(read.arrived_ms - match.read.arrived_ms) <= LATE_MS + window_ms
                    and not is_better(read, match.read)
                    and (of != partition or between < limits.SUPPRESSION_MATCHES)
                ):
                    self.suppressed[read.camera, partition] += 1
                    return SUPPRESSED
        if window_ms or self.suppressed[read.camera, partition]:
            self.made[read.camera][partition].append(Made(read, offset))
        return self.suppressed.pop((read.camera, partition), 0)


def admit(state: Suppression, read: Read, partition: int, offset: int) -> int:
    of_read = read._asdict()
    return state.admit(
        ENTRIES[of_read.pop("suppress_s")],
        sighting(partition=partition, offset=offset, **of_read),
    )


def key_at(camera: str, **fields: Any) -> bytes:
    return key_of(ENTRIES[60], sighting(camera=camera, **fields))


def at(*captured_s: float, **fields: Any) -> list[Read]:
    return [Read(int(captured * S), **fields) for captured in captured_s]


def one(captured_s: float, camera: str = "C1") -> Read:
    return Read(int(captured_s * S), camera=camera)


def answers(state: Suppression, reads: list[Read], partition: int = 0, first: int = 0) -> list[int]:
    return [admit(state, read, partition, first + number) for number, read in enumerate(reads)]


def held(state: Suppression) -> int:
    return sum(each.suppressed for each in state.states)


def restored(records: dict[tuple[int, bytes], bytes], ends: dict[int, int]) -> Suppression:
    state = Suppression()
    state.turn_to(NOW_MS)
    for partition, end in ends.items():
        states = [
            (key, decode_suppression(value))
            for (of, key), value in records.items()
            if of == partition
        ]
        state.restore(partition, states, end)
    return state


def noted(records: dict[tuple[int, bytes], bytes], changes: Sequence[SuppressionRecord]) -> None:
    for partition, key, value in changes:
        if value is None:
            records.pop((partition, key), None)
        else:
            records[partition, key] = value


READS = st.builds(
    Read,
    captured_ms=st.one_of(
        st.integers(0, 40).map(lambda tens: tens * 5 * S),
        st.integers(0, 200 * S),
        st.sampled_from([-2_208_988_800_000, 32_503_679_999_999]),
    ),
    arrived_ms=st.sampled_from([0, 0, 0, 5, LATE_MS, LATE_MS + 60 * S, LATE_MS + 60 * S + 1]),
    camera=st.sampled_from(["C1", "C1", "C2"]),
    suppress_s=st.sampled_from([60, 60, 10, 0]),
    match_type=st.sampled_from(["exact", "exact", "confusable", "distance"]),
    confidence=st.sampled_from([0.9999, 0.99, 0.99, 0.099, 0.08, 0.008, 0.0001]),
)


@pytest.fixture(autouse=True, scope="module")
def _few_matches_are_compared() -> Any:
    patch = pytest.MonkeyPatch()
    patch.setattr(limits, "SUPPRESSION_MATCHES", 4)
    patch.setattr(limits, "SUPPRESSION_MATCHES_MOST", 64)
    yield
    patch.undo()


# ---- the rule


@given(st.lists(st.tuples(st.integers(0, 2), READS), max_size=60))
def test_it_is_the_naive_rule(reads: list[tuple[int, Read]]) -> None:
    state, naive = Suppression(), Naive()
    for offset, (partition, read) in enumerate(reads):
        assert admit(state, read, partition, offset) == naive.admit(read, partition, offset)
    assert held(state) == sum(naive.suppressed.values())


class Step(NamedTuple):
    """So many reads are processed; then so many changes reach the topic, perhaps all of it is
    committed as far as it may be, and perhaps the worker dies."""

    reads: int
    changes: int
    commits: bool
    dies: bool


STEPS = st.lists(
    st.builds(Step, st.integers(1, 9), st.integers(0, 9), st.booleans(), st.booleans()),
    max_size=20,
)


@given(st.lists(READS, min_size=1, max_size=48), STEPS)
def test_what_becomes_of_a_read_is_said_by_its_partition_alone(
    log: list[Read], steps: list[Step]
) -> None:
    """Whatever the batches and crashes: each answer that is ever given is the log's."""
    naive = Naive()
    expected = [naive.admit(read, 0, offset) for offset, read in enumerate(log)]
    topic: dict[tuple[int, bytes], bytes] = {}
    state = restored(topic, {0: len(log)})
    on_their_way: list[tuple[SuppressionRecord, int]] = []
    position = committed = 0
    for step in [*steps, Step(len(log), 10**6, True, True), Step(len(log), 10**6, True, False)]:
        for _ in range(min(step.reads, len(log) - position)):
            assert admit(state, log[position], 0, position) == expected[position]
            position += 1
        on_their_way += [(change, position) for change in state.take_changes()]
        noted(topic, [change for change, _ in on_their_way[: step.changes]])
        del on_their_way[: step.changes]
        if step.commits:
            first_missing = min((upto for _, upto in on_their_way), default=position + 1)
            done = position if first_missing > position else committed
            committed = max(committed, done)
            state.settle(0, committed)
        if step.dies:
            state = restored(topic, {0: len(log)})
            state.settle(0, committed)
            on_their_way, position = [], committed
    assert position == len(log)
    assert held(state) == sum(naive.suppressed.values())
    suppressed = sum(answer == SUPPRESSED for answer in expected)
    assert sum(answer for answer in expected if answer != SUPPRESSED) + held(state) == suppressed


@given(st.lists(READS, max_size=40), st.integers(0, 40))
def test_the_same_reads_again_change_nothing(log: list[Read], first: int) -> None:
    state = Suppression()
    expected = answers(state, log)
    before = [(each.key, document_of(each)) for each in state.states]
    state.take_changes()
    assert answers(state, log[first:], first=first) == expected[first:]
    assert [(each.key, document_of(each)) for each in state.states] == before
    assert state.take_changes() == []


def test_reads_before_and_after_a_match_are_suppressed() -> None:
    reads = at(100, 159.999, 40.001, 160, 40)
    assert answers(Suppression(), reads) == [0, SUPPRESSED, SUPPRESSED, 2, 0]


def test_a_late_read_counts_where_it_belongs() -> None:
    """The camera was cut off: its reads of minutes ago come after newer ones."""
    reads = at(0, 600, 630) + at(30, 300, 310, 590)
    assert answers(Suppression(), reads) == [
        0,
        0,
        SUPPRESSED,
        SUPPRESSED,
        2,
        SUPPRESSED,
        SUPPRESSED,
    ]


def test_a_vehicle_read_in_two_ways_is_suppressed_across_partitions() -> None:
    state = Suppression()
    assert admit(state, one(0), 0, 5) == 0
    assert admit(state, one(30), 1, 9) == SUPPRESSED
    assert admit(state, one(70), 0, 6) == 0, "each partition carries what it has counted"
    assert admit(state, one(140), 1, 10) == 1


def test_each_camera_and_each_plate_of_a_partial_entry_is_its_own() -> None:
    state = Suppression()
    assert [admit(state, read, 0, 1) for read in at(0) + at(0, camera="C2")] == [0, 0]
    for offset, (plate, answer) in enumerate(
        [("ABC123", 0), ("ABC923", 0), ("ABC123", SUPPRESSED)]
    ):
        seen = sighting(plate=plate, offset=offset, match_type="partial")
        assert state.admit(PARTIAL, seen) == answer


def test_no_two_keys_are_one() -> None:
    """Sources and cameras are called as their owners like."""
    names = ("1", " 1", "1 1", "1A", "1AB", "1 1A")
    keys = {
        key_of(of, sighting(plate=plate, camera=camera, source=source))
        for of in (entry(entry_id="E"), entry(entry_id="E 1"), PARTIAL)
        for plate in ("A", "AB")
        for camera in ("", *names)
        for source in names
    }
    assert len(keys) == (2 + 2) * 7 * 6


def test_cameras_of_two_sources_may_have_one_name() -> None:
    """City A's cam-1 and city B's cam-1 may be far apart."""
    state = Suppression()
    seen = [sighting(source=source, offset=at) for at, source in enumerate(("A", "B", "A", "B"))]
    assert [state.admit(ENTRIES[60], each) for each in seen] == [0, 0, SUPPRESSED, SUPPRESSED]


@pytest.mark.parametrize(
    "changed", [{"plate": "ABC12?"}, {"agency": "AG2"}, {"purpose": "missing_person"}]
)
def test_a_corrected_entry_is_not_suppressed_by_its_old_forms_match(changed: Any) -> None:
    """What an entry lists and for whom is what its match tells."""
    old, new = entry(suppress_s=60), entry(suppress_s=60, **changed)
    state = Suppression()
    assert [state.admit(old, sighting(offset=at)) for at in (0, 1)] == [0, SUPPRESSED]
    assert [state.admit(new, sighting(offset=at)) for at in (2, 3)] == [0, SUPPRESSED]
    # No match will carry the count of the old form, so it is audited; that of the new one waits.
    state.tidy(lambda _: [new])
    (taken,) = state.take_unmatched()
    assert (taken.agency, taken.purpose, taken.suppressed) == (old.agency, old.purpose, 1)
    state.audited([taken])
    assert len(state) == 2, "the old form may be listed again"
    assert state.admit(old, sighting(offset=3, captured_ms=NOW_MS + 59 * S)) == SUPPRESSED
    assert state.admit(new, sighting(offset=4, captured_ms=NOW_MS + 60 * S)) == 1


def test_a_staged_correction_ends_nothing_yet() -> None:
    old, new = entry(suppress_s=60), entry(suppress_s=60, agency="AG2")
    state = Suppression()
    assert [state.admit(old, sighting(offset=at)) for at in (0, 1)] == [0, SUPPRESSED]
    state.tidy(lambda _: [old, new])
    assert (state.take_unmatched(), len(state)) == ([], 1)


def test_what_else_changes_in_an_entry_lets_no_match_repeat() -> None:
    state = Suppression()
    assert state.admit(entry(instructions="Call."), sighting(offset=0)) == 0
    assert state.admit(entry(instructions="Wait.", priority=1), sighting(offset=1)) == SUPPRESSED


def test_the_sought_car_is_not_suppressed_by_a_doubtful_match() -> None:
    """A match at distance one of confidence 0.008, and a second later the very plate."""
    state = Suppression()
    doubtful = Read(0, match_type="distance", confidence=0.008)
    reads = [doubtful, one(1), doubtful._replace(captured_ms=2 * S), one(3)]
    assert answers(state, reads) == [0, 0, SUPPRESSED, SUPPRESSED]
    assert answers(state, [one(70)], first=4) == [2]


@pytest.mark.parametrize(
    ("earlier", "later", "is_told"),
    [
        (("distance", 0.9), ("confusable", 0.1), True),
        (("confusable", 0.9), ("exact", 0.1), True),
        (("distance", 0.9), ("exact", 0.1), True),
        (("exact", 0.9), ("confusable", 0.9), False),
        (("exact", 0.09), ("confusable", 0.9), True),
        (("exact", 0.0901), ("confusable", 0.9), False),
        (("exact", 0.0001), ("exact", 0.001), True),
        (("exact", 0.0001), ("exact", 0.0009), False),
        (("exact", 0.5), ("exact", 0.9999), False),
        (("distance", 0.008), ("distance", 0.0799), False),
        (("distance", 0.008), ("distance", 0.08), True),
    ],
)
def test_which_match_is_better(
    earlier: tuple[MatchType, float], later: tuple[MatchType, float], is_told: bool
) -> None:
    state = Suppression()
    reads = [
        Read(number * S, match_type=match_type, confidence=confidence)
        for number, (match_type, confidence) in enumerate((earlier, later))
    ]
    assert answers(state, reads) == [0, 0 if is_told else SUPPRESSED]
    again = answers(state, reads)
    assert again == [0, 0 if is_told else SUPPRESSED], "and again the same"


@given(st.lists(READS, max_size=60))
def test_no_better_match_is_suppressed_by_a_worse_one_and_few_are_told(log: list[Read]) -> None:
    """At one camera at one time: each that is told is better than all before it."""
    log = [read._replace(captured_ms=0, arrived_ms=0, camera="C1", suppress_s=60) for read in log]
    answered = answers(Suppression(), log)
    told = [read for read, answer in zip(log, answered, strict=True) if answer != SUPPRESSED]
    for number, read in enumerate(told):
        assert all(is_better(read, before) for before in told[:number])
    assert len(told) <= 3 * 4
    for place, (read, answer) in enumerate(zip(log, answered, strict=True)):
        if answer == SUPPRESSED:
            assert not all(is_better(read, before) for before in log[:place])
    carried = sum(max(0, answer) for answer in answered)
    assert len(told) + answered.count(SUPPRESSED) == len(log)
    assert carried <= answered.count(SUPPRESSED)


@pytest.mark.parametrize("arrived_ms", [2**53, 2**63 - 1, -(2**53), -(2**63)])
def test_a_timestamp_that_json_cannot_hold_leaves_a_state_that_can_be_read(arrived_ms: int) -> None:
    """A producer may give a record any timestamp of 64 bits."""
    state = Suppression()
    log = at(0, 1, arrived_ms=arrived_ms)
    assert answers(state, log) == [0, SUPPRESSED]
    topic: dict[tuple[int, bytes], bytes] = {}
    noted(topic, state.take_changes())
    again = restored(topic, {0: 2})
    assert answers(again, log) == [0, SUPPRESSED]
    assert answers(again, at(2, arrived_ms=arrived_ms), first=2) == [SUPPRESSED]


def test_nothing_is_held_of_an_entry_that_suppresses_nothing() -> None:
    state = Suppression()
    assert answers(state, at(0, 0, 1, suppress_s=0)) == [0, 0, 0]
    assert (len(state), state.take_changes()) == (0, [])


def test_what_was_suppressed_before_the_entry_changed_is_carried() -> None:
    state = Suppression()
    assert answers(state, at(0, 1, 2) + at(2, 3, suppress_s=0)) == [0, SUPPRESSED, SUPPRESSED, 2, 0]


# ---- state that moves


def test_a_recreated_topic_loses_no_match() -> None:
    state = Suppression()
    answers(state, at(0, 1, 2), first=1000)
    topic: dict[tuple[int, bytes], bytes] = {}
    noted(topic, state.take_changes())
    state = restored(topic, {0: 5})
    # Within the window of a match that was made; then counted and carried as ever.
    assert answers(state, at(10, 20, 70, 71, 140)) == [SUPPRESSED, SUPPRESSED, 4, SUPPRESSED, 1]


def test_what_is_not_known_any_more_is_emitted() -> None:
    """Another match is better than none; and nobody's count is carried twice."""
    state = Suppression()
    answers(state, at(*range(0, 1000, 100)) + at(901, 902))
    state.settle(0, 100)
    answers(state, at(*range(1000, 2000, 100)), first=12)
    assert answers(state, at(0, 1)) == [0, 0]
    assert answers(state, at(1901, 2000), first=22) == [SUPPRESSED, 1]


def test_too_many_matches_that_are_not_settled_lose_none() -> None:
    state = Suppression()
    log = at(*range(0, 60 * 200, 60))
    assert answers(state, log) == [0] * 200
    (only,) = state.states
    assert 32 <= len(document_of(only).matches) <= 64
    assert answers(state, log) == [0] * 200, "each is emitted again"


def test_what_was_written_is_what_is_held() -> None:
    state = Suppression()
    state.turn_to(NOW_MS)
    reads = at(0, 1, 100, camera="C1") + at(7, 8, 9, camera="C2")
    answers(state, [read._replace(arrived_ms=NOW_MS) for read in reads])
    topic: dict[tuple[int, bytes], bytes] = {}
    noted(topic, state.take_changes())
    again = restored(topic, {0: 6})
    assert {each.key: document_of(each) for each in again.states} == {
        each.key: document_of(each) for each in state.states
    }
    assert again.take_changes() == []


def test_a_revoked_partition_reports_nothing() -> None:
    state = Suppression()
    for partition in (0, 1):
        answers(state, at(0, 1), partition)
    answers(state, at(500), 1, first=2)
    state.drop(0)
    assert len(state) == 1
    assert {change.partition for change in state.take_changes()} == {1}
    assert admit(state, one(501), 0, 1) == SUPPRESSED, "partition 1 still suppresses"
    state.revoke((0, 1), ())
    assert (len(state), state.take_changes(), state.take_unmatched()) == (0, [], [])
    assert admit(state, one(1), 0, 1) == 0


# ---- eviction


def none_listed(entry_id: str) -> list[Entry]:
    return []


def all_listed(entry_id: str) -> list[Entry]:
    return [ENTRIES[60]]


def test_a_key_is_evicted_by_the_workers_clock() -> None:
    state = Suppression()
    state.turn_to(NOW_MS)
    answers(state, at(0))
    state.take_changes()
    state.turn_to(NOW_MS + 2 * LATE_MS + 60 * S)
    state.tidy(all_listed)
    assert (len(state), state.take_changes()) == (1, [])
    state.turn_to(NOW_MS + 2 * LATE_MS + 60 * S + 1)
    state.tidy(all_listed)
    assert len(state) == 0
    assert state.take_changes() == [(0, key_at("C1"), None)]


def test_a_count_outlives_the_matches_before_it() -> None:
    state = Suppression()
    answers(state, at(0, 1, 2))
    state.take_changes()
    state.turn_to(3 * LATE_MS)
    state.tidy(all_listed)
    ((_, _, value),) = state.take_changes()
    assert value is not None
    assert (decode_suppression(value).matches, decode_suppression(value).suppressed) == ((), 2)
    assert admit(state, one(3), 0, 3) == 2


@pytest.mark.parametrize("captured_s", [32_503_679_999, -2_208_988_800])
def test_one_wild_clock_ends_nothing_else(captured_s: float) -> None:
    state = Suppression()
    answers(state, at(0, *[captured_s] * 3, 1))
    state.tidy(all_listed)
    assert answers(state, at(30, 61, captured_s), first=5) == [SUPPRESSED, 4, SUPPRESSED]


def test_what_ended_entries_had_is_audited_and_only_then_evicted() -> None:
    state = Suppression()
    state.turn_to(NOW_MS)
    answers(state, at(0, 1, 2), 3, first=40)
    state.take_changes()
    state.tidy(none_listed)
    (taken,) = state.take_unmatched()
    key = key_at("C1")
    authority = ENTRIES[60].authority
    assert taken == Unmatched(
        *(3, key, "E1", "L1", "AG1", "stolen_vehicle", authority),
        source="S1",
        suppressed=2,
        offset=42,
    )
    state.tidy(none_listed)
    assert state.take_unmatched() == [], "under way"
    assert state.take_changes() == []
    state.audited([taken])
    ((_, _, value),) = state.take_changes()
    assert value is not None
    written = decode_suppression(value)
    assert (written.suppressed, written.agency, len(written.matches)) == (0, None, 1)
    state.turn_to(NOW_MS + 2 * LATE_MS + 60 * S + 1)
    state.tidy(none_listed)
    assert state.take_changes() == [(3, key, None)]
    assert len(state) == 0


def test_an_entry_that_is_removed_and_listed_again_repeats_no_match() -> None:
    """Nor does the worker that restores the state, whatever was audited between."""
    for is_restored in (False, True):
        for reads in (at(0), at(0, 1)):
            state = Suppression()
            state.turn_to(NOW_MS)
            answers(state, reads)
            state.tidy(none_listed)
            taken = state.take_unmatched()
            state.audited(taken)
            assert sum(each.suppressed for each in taken) == len(reads) - 1
            state.tidy(none_listed)
            if is_restored:
                written = {change.key: change.value for change in state.take_changes()}
                state = Suppression()
                state.turn_to(NOW_MS)
                states = [(key, decode_suppression(value or b"")) for key, value in written.items()]
                state.restore(0, states, len(reads))
            assert answers(state, at(59, 60), first=2) == [SUPPRESSED, 1]


def test_no_entry_is_hashed_to_check_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored state is hashed once; it has no plate to compare."""
    hashed: list[Entry] = []
    real = suppression_key.listing_of
    state = Suppression()
    answers(state, at(0, 1))
    answers(state, at(0, camera="C2"), first=2)
    written = {change.key: change.value for change in state.take_changes()}

    def counted(entry: Entry) -> str:
        hashed.append(entry)
        return real(entry)

    monkeypatch.setattr(suppression_key, "listing_of", counted)
    for _ in range(3):
        state.tidy(all_listed)
    assert hashed == []
    state.drop(0)
    state.restore(0, [(key, decode_suppression(v or b"")) for key, v in written.items()], 3)
    for _ in range(3):
        state.tidy(all_listed)
    assert len(hashed) == 1
    assert state.take_unmatched() == []


def test_what_is_being_audited_is_carried_by_no_match() -> None:
    """The entry came back while its count was on the way to the audit."""
    state = Suppression()
    answers(state, at(0, 1, 2))
    state.tidy(none_listed)
    taken = state.take_unmatched()
    assert answers(state, at(3, 60), first=3) == [SUPPRESSED, 1]
    state.audited(taken)
    assert answers(state, at(61, 120), first=5) == [SUPPRESSED, 1]
    assert held(state) == 0


def test_what_was_read_anew_meanwhile_is_not_taken_for_audited() -> None:
    state = Suppression()
    answers(state, at(0, 1, 2))
    topic: dict[tuple[int, bytes], bytes] = {}
    noted(topic, state.take_changes())
    state.tidy(none_listed)
    taken = state.take_unmatched()
    state.drop(0)
    state.restore(0, [(key, decode_suppression(v)) for (_, key), v in topic.items()], 3)
    state.audited(taken)
    assert held(state) == 2, "audited once more rather than lost"


def test_the_oldest_without_a_count_goes_when_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SUPPRESSION_KEYS", 4)
    monkeypatch.setattr(limits, "SUPPRESSION_KEYS_COMPARED", 4)
    state = Suppression()
    for number in range(4):
        state.turn_to(number)
        answers(state, at(0, camera=f"C{number}"), first=number)
    admit(state, one(1, camera="C0"), 0, 10)  # now it has something to carry
    state.take_changes()
    admit(state, one(1, camera="new"), 0, 11)
    assert len(state) == 4
    evicted, _ = state.take_changes()
    assert evicted == (0, key_at("C1"), None)
    assert admit(state, one(60, camera="C0"), 0, 12) == 1


def test_where_all_have_counts_these_are_audited_to_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SUPPRESSION_KEYS", 2)
    state = Suppression()
    for number in range(2):
        answers(state, at(0, 1, camera=f"C{number}"), first=10 * number)
    new = at(0, 1, camera="new")
    assert answers(state, new, first=30) == [0, 0], "without room nothing is suppressed"
    taken = state.take_unmatched()
    assert [unmatched.suppressed for unmatched in taken] == [1, 1]
    state.audited(taken)
    assert len(state) == 0
    assert answers(state, new, first=40) == [0, SUPPRESSED]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), READS), max_size=60),
    st.lists(st.booleans(), max_size=60),
)
def test_counts_add_up_and_memory_is_bounded(
    reads: list[tuple[int, int, Read]], listed: list[bool]
) -> None:
    """Entries that come and go, too many keys, all in two partitions: no count is lost."""
    patch = pytest.MonkeyPatch()
    patch.setattr(limits, "SUPPRESSION_KEYS", 5)
    patch.setattr(limits, "SUPPRESSION_KEYS_COMPARED", 2)
    state = Suppression()
    suppressed = carried = audited = 0
    for offset, (partition, camera, read) in enumerate(reads):
        answer = admit(state, read._replace(camera=f"C{camera}"), partition, offset)
        suppressed += answer == SUPPRESSED
        carried += max(0, answer)
        assert len(state) <= 5
        if offset < len(listed):
            state.tidy(all_listed if listed[offset] else none_listed)
            taken = state.take_unmatched()
            state.audited(taken)
            audited += sum(unmatched.suppressed for unmatched in taken)
        assert suppressed == carried + audited + held(state)
    patch.undo()
