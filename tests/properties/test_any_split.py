"""The same reads in any split into batches, fetches, partitions and workers: the same matches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.documents.codec import decode_suppression
from engine.matching.suppression import Suppression
from tests.fakes.documents import NOW_MS, at, detection_json, entry_json, policy_json
from tests.fakes.record_batches import CODECS
from tests.models.naive import (
    Document,
    Emitted,
    Matched,
    Naive,
    is_better,
    plain_plate,
    time_ms,
)
from tests.models.real_confidence import how_sure
from tests.models.real_matcher import FLOORS, Read, RealMatcher, matched

Draw = Callable[[st.SearchStrategy[Any]], Any]

#: Plates that entries list exactly and reads show under their right key: all reads of one of
#: them come by one partition.
_EXACT = ("ZAAA", "ZBBB", "ZCCC")
_PLATES = st.text("0O1I", min_size=3, max_size=5)
_FUZZY = st.fixed_dictionaries(
    {"plate": st.text("0O1I", min_size=3, max_size=4)},
    optional={"confusables": st.just(True), "distance": st.just(1)},
) | st.fixed_dictionaries(
    {"plate": st.sampled_from(["0?1", "?OO?", "1I?I"])}, optional={"confusables": st.just(True)}
)
_EXACT_ENTRIES = st.fixed_dictionaries(
    {"plate": st.sampled_from(_EXACT)}, optional={"suppress_s": st.sampled_from([0, 5, 300])}
)
_SHARED_S = st.sampled_from([5, 60, 300])


def _entries(fuzzy: list[Document], exact: list[Document]) -> dict[str, Document]:
    fields = [{"suppress_s": 0, **each} for each in fuzzy] + exact
    return {
        f"E{number}": entry_json(entry_id=f"E{number}", **each)
        for number, each in enumerate(fields)
    }


@st.composite
def _reads(draw: Draw) -> list[Read]:
    reads = []
    for number in range(draw(st.integers(1, 40))):
        is_exact = draw(st.booleans())
        plate = draw(st.sampled_from(_EXACT) if is_exact else _PLATES)
        others = draw(st.lists(_PLATES, max_size=2))
        document = detection_json(
            read_id=f"R{number}",
            plate=plate,
            camera=draw(st.sampled_from(["C1", "C2"])),
            captured_at=at(1000 * draw(st.integers(-120, 0))),
            alternates=[{"plate": other} for other in others] or None,
        )
        key = plate.encode() if is_exact or draw(st.booleans()) else None
        headers = (",".join(others).encode(),) if draw(st.booleans()) else ()
        reads.append(Read(document, key, headers))
    return reads


@dataclass
class Partition:
    """A partition of the reads and of the changelog, and how far it has been processed."""

    reads: list[Read] = field(default_factory=list)
    done: int = 0
    states: dict[bytes, bytes] = field(default_factory=dict)


class Group:
    """Workers that share the partitions, and what came of the reads at each."""

    def __init__(
        self, entries: dict[str, Document], partitions: Sequence[Partition], workers: int
    ) -> None:
        self.partitions = partitions
        self.workers = [self._worker(entries) for _ in range(workers)]
        self.owner_of = [number % workers for number in range(len(partitions))]
        self.matches: list[list[Matched]] = [[] for _ in range(workers)]
        self.folded = 0

    def _worker(self, entries: dict[str, Document]) -> RealMatcher:
        worker = RealMatcher(Suppression())
        worker.put_policy(0, "S1", policy_json(), NOW_MS)
        for offset, (entry_id, entry) in enumerate(entries.items()):
            worker.put(offset, entry_id, entry, NOW_MS)
        return worker

    def fetch(self, number: int, batches: list[tuple[int, list[Read]]], *, is_odd: bool) -> None:
        """Process some batches, from where the partition stands; it is told by `done` alone that
        they are."""
        owner, partition = self.owner_of[number], self.partitions[number]
        outcome = self.workers[owner].fetch(batches, NOW_MS, number, partition.done, is_odd=is_odd)
        self.matches[owner] += matched(outcome)
        self.folded += outcome.suppressed
        for record in outcome.suppression:
            assert record.partition == number
            partition.states.pop(record.key, None)
            if record.value is not None:
                partition.states[record.key] = record.value

    def hand_over(self, owner_of: list[int]) -> None:
        """The partitions come to other owners, and what their reads did comes with them."""
        self.owner_of = owner_of
        for number, worker in enumerate(self.workers):
            worker.suppression.revoke(range(len(self.partitions)), ())
            for place, partition in enumerate(self.partitions):
                if owner_of[place] == number:
                    states = [
                        (key, decode_suppression(value)) for key, value in partition.states.items()
                    ]
                    worker.suppression.restore(place, states, len(partition.reads))


def _shared_out(reads: list[Read], count: int) -> list[Partition]:
    """The reads by partition, as a producer spreads them: by key, the others in turn."""
    partitions = [Partition() for _ in range(count)]
    for number, read in enumerate(reads):
        by = number if read.key is None else sum(read.key)
        partitions[by % count].reads.append(read)
    return partitions


def _all_of_them(draw: Draw, group: Group, *, hands_over: bool) -> None:
    """Process everything in fetches and batches of any size, in any order of the partitions."""
    while open_ones := [n for n, p in enumerate(group.partitions) if p.done < len(p.reads)]:
        number = draw(st.sampled_from(open_ones))
        partition = group.partitions[number]
        ahead = partition.reads[partition.done :]
        taken = ahead[: draw(st.integers(1, len(ahead)))]
        batches = list(_cut(draw, taken))
        group.fetch(number, batches, is_odd=draw(st.sampled_from([False, False, True])))
        if hands_over and draw(st.sampled_from([False, True])):
            # Before what was processed is committed, at times: then it is processed again.
            partition.done += len(taken) * draw(st.integers(0, 1))
            workers = st.integers(0, len(group.workers) - 1)
            group.hand_over([draw(workers) for _ in group.partitions])
        else:
            partition.done += len(taken)


def _cut(draw: Draw, reads: list[Read]) -> Iterator[tuple[int, list[Read]]]:
    while reads:
        length = draw(st.integers(1, len(reads)))
        yield draw(st.sampled_from(CODECS)), reads[:length]
        reads = reads[length:]


def _naively(entries: dict[str, Document], reads: list[Read], **fields: Any) -> list[Matched]:
    """What the naive model makes of the reads in their order."""
    model = Naive(FLOORS, how_sure)
    model.put_policy("S1", policy_json())
    for offset, (entry_id, entry) in enumerate(entries.items()):
        model.put(offset, entry_id, entry | fields)
    answers = [
        model.read(read.document, NOW_MS, key=read.key, headers=read.headers) for read in reads
    ]
    return [match for answer in answers for match in answer.matches]


@given(
    st.data(),
    st.builds(_entries, st.lists(_FUZZY, max_size=5), st.lists(_EXACT_ENTRIES, max_size=4)),
    _reads(),
    st.integers(1, 8),
    st.integers(1, 3),
)
def test_the_same_matches(
    data: st.DataObject,
    entries: dict[str, Document],
    reads: list[Read],
    partitions: int,
    workers: int,
) -> None:
    """Counts of folded reads and all; also where partitions are handed over, before or after
    what was processed is committed."""
    group = Group(entries, _shared_out(reads, partitions), workers)
    _all_of_them(data.draw, group, hands_over=True)
    found = {match for matches in group.matches for match in matches}
    assert found == set(_naively(entries, reads))


@given(
    st.data(),
    st.builds(_entries, st.lists(_FUZZY, min_size=1, max_size=5), st.just([])),
    _SHARED_S,
    _reads(),
    st.integers(1, 8),
    st.integers(1, 3),
)
def test_folding_what_comes_by_several_partitions(
    data: st.DataObject,
    entries: dict[str, Document],
    suppress_s: int,
    reads: list[Read],
    partitions: int,
    workers: int,
) -> None:
    """Which of the reads of a vehicle makes the match depends on the order of the partitions.

    But at each worker there is one in the time, unless the later one is better, and no read is
    lost: each matches, or is counted.
    """
    folding = {entry_id: entry | {"suppress_s": suppress_s} for entry_id, entry in entries.items()}
    group = Group(folding, _shared_out(reads, partitions), workers)
    _all_of_them(data.draw, group, hands_over=False)
    by_id = {read.document["read_id"]: read.document for read in reads}
    count = 0
    for matches in group.matches:
        emitted: dict[tuple[str, ...], list[Emitted]] = defaultdict(list)
        for match in matches:
            document = by_id[match.read_id]
            plate = document["plate"] if match.alternate is None else match.alternate[0]
            is_pattern = "?" in entries[match.entry_id]["plate"]
            which = match.entry_id, document["camera"], plain_plate(plate) if is_pattern else ""
            stated = match.alternate[1] if match.alternate else document.get("confidence")
            sure = how_sure(entries[match.entry_id], match.likeness, plain_plate(plate), stated)
            at_ms = time_ms(document["captured_at"])
            emitted[which].append(Emitted(at_ms, match.likeness.match_type, sure))
            count += 1
        for own in emitted.values():
            for first, second in combinations(own, 2):
                is_apart = abs(first.at_ms - second.at_ms) >= 1000 * suppress_s
                assert is_apart or is_better(second, first)
    assert count + group.folded == len(_naively(entries, reads, suppress_s=0))
    carried = sum(match.suppressed for matches in group.matches for match in matches)
    waiting = sum(
        decode_suppression(value).suppressed
        for partition in group.partitions
        for value in partition.states.values()
    )
    assert carried + waiting == group.folded
