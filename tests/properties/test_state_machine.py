"""The matcher and the library beside the naive model: changes, time and reads of every kind.

The plates are short and of few characters, so that they are like each other in all ways at
once; and reads are drawn from the listed plates, misread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.fakes.documents import NOW_MS, at, detection_json, entry_json, policy_json
from tests.fakes.record_batches import CODECS, GZIP, NONE
from tests.models.naive import Document, Matched, Naive, plain_plate
from tests.models.near_plates import LISTED_PLATES, Draw, misread
from tests.models.real_confidence import how_sure
from tests.models.real_library import LibraryBesideNaive
from tests.models.real_matcher import FLOORS, Read, RealMatcher, matched, ordered, plain

_IDS = st.sampled_from([f"E{number}" for number in range(8)])
_SOURCES = st.sampled_from(["S1"] * 5 + ["S2"])
_REGIONS = st.sampled_from([None] * 5 + ["US", "US-CA", "NL"])
_ENDS_S = st.sampled_from([1, 30, 60, 120, 300, 9_999, 9_999, 9_999, 9_999])
_STEPS_S = st.integers(1, 60)
_STARTS_S = st.sampled_from([None] * 7 + [0, 30, 60, 200])
_VEHICLES = st.sampled_from(
    [None] * 4
    + [{"make": "VOLK"}, {"make": "vw", "color": "Gray"}, {"make": "Ford"}, {"color": "GRY"}, {}]
)
_AREAS = st.sampled_from([None] * 5 + [[{"lat": 0.0, "lon": 179.9, "radius_m": 50_000}]])
_PLACES = st.sampled_from([None, {"lat": 0.0, "lon": -179.9}, {"lat": 1.0, "lon": 179.9}])
#: A quarter of an hour around the beginning of the run, in a place where it is eight in the
#: morning then.
_WINDOWS = {"days": ["mon"], "start": "08:05", "end": "08:20"}
_HOURS = st.sampled_from([None] * 5 + [{"time_zone": "Etc/GMT+6", "windows": [_WINDOWS]}])


@st.composite
def _entries(draw: Draw) -> Document:
    entry_id = draw(_IDS)
    ends_s, starts_s = draw(_ENDS_S), draw(_STARTS_S)
    # Some entries fold nothing, whatever becomes of them.
    folds = entry_id > "E3"
    return entry_json(
        entry_id=entry_id,
        plate=draw(LISTED_PLATES),
        agency=draw(st.sampled_from(["AG1", "AG2"])),
        purpose=draw(st.sampled_from(["stolen_vehicle"] * 4 + ["missing_person"])),
        confusables=draw(st.sampled_from([None, False, True, True])),
        distance=draw(st.sampled_from([None, 0, 1, 1])),
        region=draw(_REGIONS),
        vehicle=draw(_VEHICLES),
        area=draw(_AREAS),
        hours=draw(_HOURS),
        suppress_s=draw(st.sampled_from([None, 5, 60])) if folds else 0,
        expires_at=at(1000 * ends_s),
        starts_at=None if starts_s is None or starts_s >= ends_s else at(1000 * starts_s),
    )


_POLICIES = st.builds(
    lambda agencies, purposes, regions: policy_json(
        rules=[{"agencies": agencies, "purposes": purposes}], regions=regions
    ),
    st.sampled_from(["*", "*", "*", ["AG1"]]),
    st.sampled_from(["*", "*", "*", ["stolen_vehicle"]]),
    st.sampled_from([None, None, None, ["US-CA", "NL"]]),
)
#: A batch of reads: how many, where and how it comes.
_BATCHES: dict[str, Any] = {
    "data": st.data(),
    "count": st.integers(2, 12),
    "partition": st.sampled_from([0, 0, 0, 1, 2]),
    "codec": st.sampled_from(CODECS),
    "is_odd": st.sampled_from([False, False, True]),
}


class Matching(RuleBasedStateMachine):
    """Entries added, changed, removed, staged and committed, started and ended by the clock,
    policies set and removed, and reads in batches of every codec, scanned and parsed."""

    def __init__(self) -> None:
        super().__init__()
        self.real = RealMatcher()
        self.model = Naive(FLOORS, how_sure)
        self.library = LibraryBesideNaive()
        self.now_ms = NOW_MS
        self.offset = 0
        self.read_count = 0
        #: Plates that are or were listed, to be misread.
        self.plates = ["A1"]

    @initialize(entries=st.lists(_entries(), min_size=4, max_size=8))
    def begin(self, entries: list[Document]) -> None:
        for source in "S1", "S2":
            self.put_policy(source, policy_json(source=source))
        self.add_or_change(entries)

    def put(self, key: str, entry: Document | None, *, staged: bool) -> None:
        self.offset += 1
        self.real.put(self.offset, key, entry, self.now_ms, staged=staged)
        self.model.put(self.offset, key, entry, staged=staged)
        self.library.put(self.offset, key, entry, staged=staged)
        if entry is not None:
            self.plates.append(entry["plate"])

    @rule(entries=st.lists(_entries(), min_size=1, max_size=4))
    def add_or_change(self, entries: list[Document]) -> None:
        for entry in entries:
            self.put(entry["entry_id"], entry, staged=False)

    @rule(entries=st.lists(_entries(), max_size=4), removed=st.none() | _IDS, commits=st.booleans())
    def bring_in(self, entries: list[Document], removed: str | None, commits: bool) -> None:
        """As an import does: staged, and committed now or later."""
        for entry in entries:
            self.put(entry["entry_id"], entry, staged=True)
        if removed is not None:
            self.put(removed, None, staged=True)
        if commits:
            self.commit()

    @rule()
    def commit(self) -> None:
        self.real.lists.commit()
        self.model.commit()
        self.library.commit()

    @rule(entry_id=_IDS)
    def remove(self, entry_id: str) -> None:
        self.put(entry_id, None, staged=False)

    @rule(step_s=_STEPS_S, forgets=st.booleans())
    def clock(self, step_s: int, forgets: bool) -> None:
        """Time goes on; what has ended by then may be forgotten, or lie there when reads come."""
        self.now_ms += 1000 * step_s
        if forgets:
            self.real.lists.advance(self.now_ms)

    @rule()
    def forget_what_has_ended(self) -> None:
        """As a worker does every second, when what was folded of such entries is audited."""
        suppression, index = self.real.suppression, self.real.lists.index
        self.real.lists.turn_to(self.now_ms)
        suppression.turn_to(self.now_ms)
        suppression.tidy(index.listed)
        unmatched = suppression.take_unmatched()
        suppression.audited(unmatched)
        ended: Counter[str] = Counter()
        for each in unmatched:
            ended[each.entry_id] += each.suppressed
        assert ended == self.model.forget(self.now_ms)

    def put_policy(self, source: str, policy: Document | None) -> None:
        self.offset += 1
        self.real.put_policy(self.offset, source, policy, self.now_ms)
        self.model.put_policy(source, policy)
        self.library.put_policy(source, policy)

    @rule(source=st.sampled_from(["S1", "S2"]), policy=st.one_of(_POLICIES, _POLICIES, st.none()))
    def set_or_remove_policy(self, source: str, policy: Document | None) -> None:
        self.put_policy(source, policy and {**policy, "source": source})

    @rule(**_BATCHES)
    def read(self, **how: Any) -> None:
        self.read_batch(**how)

    @rule(**_BATCHES)
    def read_more(self, **how: Any) -> None:
        """The same again, so that reads come as often as changes."""
        self.read_batch(**how)

    def read_batch(
        self, data: st.DataObject, count: int, partition: int, codec: int, is_odd: bool
    ) -> None:
        reads = [self.drawn(data.draw) for _ in range(count)]
        note(f"at {self.now_ms - NOW_MS} ms: {reads}")
        answers = [
            self.model.read(
                read.document, self.now_ms, key=read.key, headers=read.headers, partition=partition
            )
            for read in reads
        ]
        for read in reads[:2]:
            self.library.agree(read.document, self.now_ms)
        began = self.real.next_offset
        for _ in "once", "again":  # what is fetched twice comes to the same
            self.real.next_offset = began
            outcome = self.real.read(
                reads, self.now_ms, partition=partition, codec=codec, is_odd=is_odd
            )
            assert outcome.reads == count
            assert ordered(matched(outcome)) == ordered(
                [match for answer in answers for match in answer.matches]
            )
            assert outcome.denied == sum((answer.denied for answer in answers), Counter())
            assert outcome.suppressed == sum(answer.suppressed for answer in answers)
            assert [(each.offset - began, each.reason) for each in outcome.rejects] == [
                (place, answer.rejected)
                for place, answer in enumerate(answers)
                if answer.rejected is not None
            ]

    @rule(data=st.data(), entries=st.lists(_entries(), min_size=1, max_size=3), step_s=_STEPS_S)
    def read_while_lists_change(
        self, data: st.DataObject, entries: list[Document], step_s: int
    ) -> None:
        """Two groups of batches in one fetch, and between them a change of the lists and of the
        time: it counts for the second one."""
        groups = [[self.drawn(data.draw) for _ in range(4)] for _ in range(2)]
        removed, commits = data.draw(st.none() | _IDS), data.draw(st.booleans())
        expected: list[Matched] = []
        denied: Counter[str] = Counter()

        def read(reads: list[Read]) -> None:
            for read in reads:
                answer = self.model.read(
                    read.document, self.now_ms, key=read.key, headers=read.headers, partition=0
                )
                expected.extend(answer.matches)
                denied.update(answer.denied)

        def change(before: Callable[[], None]) -> int | None:
            turns.append(None)
            if len(turns) != 2:
                return None
            before()
            read(groups[0])
            self.now_ms += 1000 * step_s
            self.bring_in(entries, removed, commits)
            if data.draw(st.booleans()):
                self.add_or_change(entries[:1])
            read(groups[1])
            return self.now_ms

        turns: list[None] = []
        first, self.real.next_offset = self.real.next_offset, self.real.next_offset + 8
        outcome = self.real.fetch(
            zip((NONE, GZIP), groups, strict=True), self.now_ms, 0, first, apply_changes=change
        )
        assert outcome.reads == 8
        assert ordered(matched(outcome)) == ordered(expected)
        assert outcome.denied == denied

    def drawn(self, draw: Draw) -> Read:
        """A read of what is or was on the lists, more or less misread, sent in every way."""
        self.read_count += 1
        plate = self.misread(draw)
        others = [self.misread(draw) for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3])))]
        alternates = [
            {"plate": other} | draw(st.sampled_from([{}, {"confidence": 0.2}, {"confidence": 0.9}]))
            for other in others
        ]
        captured_ms = self.now_ms + 1000 * draw(st.integers(-40, 5)) - NOW_MS
        document = detection_json(
            read_id=f"R{self.read_count}",
            plate=draw(st.sampled_from([plate, plate, f" {plate.lower()}."])),
            source=draw(_SOURCES),
            camera=draw(st.sampled_from(["C1", "C1", "C1", "C2"])),
            captured_at=at(captured_ms),
            region=draw(_REGIONS),
            vehicle=draw(_VEHICLES),
            location=draw(_PLACES),
            alternates=alternates or None,
        )
        kind = draw(st.sampled_from(["normal"] * 7 + ["missing", "as read", "no text", "another"]))
        if kind == "another":
            return Read(document, self.misread(draw).encode())
        key = {
            "normal": plate.encode(),
            "missing": None,
            "as read": document["plate"].encode(),
            "no text": b"\xff" + plate.encode(),
        }[kind]
        return Read(document, key, self.headers(draw, others))

    def headers(self, draw: Draw, others: list[str]) -> tuple[bytes, ...]:
        named = draw(st.sampled_from([others, others[:1], [*others, self.misread(draw)]]))
        asked = ",".join(named).encode()
        ways = st.sampled_from([(asked,)] * 9 + [(), (asked, asked), (b"a,b",), (b"\xff",)])
        return draw(ways)  # type: ignore[no-any-return]

    def misread(self, draw: Draw) -> str:
        """A plate that is mostly like one of the last that were listed."""
        return misread(draw, draw(st.sampled_from(self.plates[-12:])))

    @invariant()
    def the_candidates_are_the_same(self) -> None:
        plate = plain_plate(self.plates[-1].replace("?", "O"))
        self.real.lists.turn_to(self.now_ms)
        found = self.real.lists.index.candidates(plate)
        likes = [(entry.entry_id, plain(like)) for _, entry, like in found]
        assert sorted(likes) == sorted(self.model.like(plate, self.now_ms))


TestMatching = Matching.TestCase
