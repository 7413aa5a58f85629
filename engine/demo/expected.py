"""The expected matches of the demo's reads, by the contract's words alone, and what deviates.

This is the demo's judge, so it uses none of the engine's code: the texts that an entry covers are
listed one by one; policies, vehicles and suppression are plain loops over the documents that were
sent. It supports only what the demo's lists use: plates of the letters A to Z and digits,
look-alikes as shipped, one misread, unknown characters, one region, vehicles of `city_data`.

For an entry's reads at a camera of a source, each within `suppress_s` of the one before, the order
in which their partitions are processed decides which ones match and which are suppressed. Every
order gives a set of matches from which none is missing: a read without a match has a match within
`suppress_s` that is not of a worse type, of an earlier read if the plate was read the same, because
then both are in one partition. Two matches within `suppress_s` of each other can both come only if
one that was processed later is better: its type is closer, or its confidence ten times as high.
Anything else is a match lost or invented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from engine.demo.city import SentRead
from engine.documents.model import Entry, Policy

_GROUPS: Final = ("OQD0", "IL1", "B8", "S5", "Z2", "G6", "T7")
_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#: The closest type first.
_CLOSER: Final = ("exact", "confusable", "distance", "partial")
#: A worker that delivers no match for this long has failed.
_MATCHED_BY_MS: Final = 120_000

#: Entry, source, camera and, for a partial plate, the plate as read.
_Place = tuple[str, str, str, str]
#: Entry and read.
_Pair = tuple[str, str]


def meant(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield every text that an entry covers, with the type of its match; the first one counts."""
    alike = [_choices(char, entry) for char in entry.plate]
    if "?" in entry.plate:
        yield from (("".join(text), "partial") for text in product(*alike))
        return
    yield entry.plate, "exact"
    same = ["".join(text) for text in product(*alike)]
    yield from ((text, "confusable") for text in same)
    if entry.distance:
        yield from ((other, "distance") for text in same for other in _one_off(text))


def _choices(char: str, entry: Entry) -> str:
    if char == "?":
        return _CHARACTERS
    if not entry.confusables:
        return char
    return next((group for group in _GROUPS if char in group), char)


def _one_off(text: str) -> Iterator[str]:
    """Yield all texts with one character changed, missing or added."""
    for place in range(len(text) + 1):
        before, after = text[:place], text[place:]
        for char in _CHARACTERS:
            yield before + char + after
            if after:
                yield before + char + after[1:]
        if after:
            yield before + after[1:]


@dataclass(slots=True)
class _Passage:
    """Connected reads of an entry at a camera, as time, read and plate in the order in which they
    were sent; and the types of the matches that came."""

    apart_ms: int
    reads: list[tuple[int, str, str]] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    #: The type and the confidence of each match that came.
    came: dict[str, tuple[str, float]] = field(default_factory=dict)

    def judged(self) -> tuple[int, int]:
        """Return how many matches are lost and invented. A lost match counts once, with all reads
        that it would have suppressed."""
        lost = invented = 0
        stand = {number for number, read in enumerate(self.reads) if read[1] in self.came}
        missing: set[int] = set()
        for number, (at_ms, read_id, plate) in enumerate(self.reads):
            near = {
                other
                for other in stand | missing
                if other != number and abs(self.reads[other][0] - at_ms) < self.apart_ms
            }
            if number in stand:
                invented += any(
                    not self._may_both_stand(other, number)
                    for other in near - missing
                    if other < number
                )
                if self.came[read_id][0] != self.types[read_id]:
                    lost, invented = lost + 1, invented + 1
            elif not any(
                (other < number or self.reads[other][2] != plate)
                and not self._is_closer(number, other)
                for other in near
            ):
                lost += 1
                missing.add(number)
        return lost, invented

    def _is_closer(self, one: int, other: int) -> bool:
        """Whether a read is closer to the listed plate than another one."""
        types = [_CLOSER.index(self.types[self.reads[each][1]]) for each in (one, other)]
        return types[0] < types[1]

    def _is_better(self, one: int, other: int) -> bool:
        """Whether the match of a read is better than that of another one."""
        (_, sure), (_, other_sure) = (self.came[self.reads[each][1]] for each in (one, other))
        times_as_sure = round(10_000 * sure) >= 10 * round(10_000 * other_sure)
        return self._is_closer(one, other) or times_as_sure

    def _may_both_stand(self, earlier: int, later: int) -> bool:
        """Whether matches of both can come; reads of one plate are processed in their order."""
        if self._is_better(later, earlier):
            return True
        same_plate = self.reads[earlier][2] == self.reads[later][2]
        return not same_plate and self._is_better(earlier, later)


class Expected:
    """The judge. Call `note` for each read before it is sent, and `came` for each match."""

    def __init__(self, entries: Iterable[Entry], policies: Iterable[Policy]) -> None:
        self._meaning: dict[str, list[tuple[Entry, str]]] = {}
        for entry in entries:
            for text, match_type in dict(reversed([*meant(entry)])).items():
                self._meaning.setdefault(text, []).append((entry, match_type))
        self._policies = {policy.source: policy for policy in policies}
        #: Reads that a policy or the vehicle rules out, by source and reason.
        self.denied: Counter[tuple[str, str]] = Counter()
        #: Reads of allowed entries so far, and matches that came, each once.
        self.allowed = self.matched = 0
        self._latest: dict[_Place, _Passage] = {}
        self._open: dict[_Pair, _Passage] = {}
        self._lost = self._invented = 0

    def note(self, read: SentRead, captured_ms: int) -> None:
        """Record a read; `captured_ms` never goes back."""
        for entry, match_type in self._meaning.get(read.plate, ()):
            denial = self._denial(entry, read)
            if denial is not None:
                self.denied[read.source, denial] += 1
                continue
            self.allowed += 1
            of_plate = read.plate if "?" in entry.plate else ""
            place = entry.entry_id, read.source, read.camera, of_plate
            passage = self._latest.get(place)
            apart_ms = 1000 * (60 if entry.suppress_s is None else entry.suppress_s)
            if passage is None or captured_ms - passage.reads[-1][0] >= apart_ms:
                passage = self._latest[place] = _Passage(apart_ms)
            passage.reads.append((captured_ms, read.read_id, read.plate))
            passage.types[read.read_id] = match_type
            self._open[entry.entry_id, read.read_id] = passage

    def came(self, entry_id: str, read_id: str, match_type: str, confidence: float) -> None:
        """Record a match; a repetition of one does not count."""
        passage = self._open.get((entry_id, read_id))
        if passage is None:
            self._invented += 1
            self.matched += 1
        elif read_id not in passage.came:
            passage.came[read_id] = match_type, confidence
            self.matched += 1

    def judged(self) -> tuple[int, int]:
        """Return how many matches are lost, if no more come, and how many are invented."""
        open_ = [passage.judged() for passage in self._passages()]
        return (
            self._lost + sum(lost for lost, _ in open_),
            self._invented + sum(invented for _, invented in open_),
        )

    def settle(self, now_ms: int) -> None:
        """Judge and evict reads that are too old for further matches."""
        for passage in self._passages():
            if now_ms - passage.reads[-1][0] >= max(passage.apart_ms, _MATCHED_BY_MS):
                lost, invented = passage.judged()
                self._lost += lost
                self._invented += invented
                passage.reads.clear()
        self._open = {pair: passage for pair, passage in self._open.items() if passage.reads}
        self._latest = {place: passage for place, passage in self._latest.items() if passage.reads}

    @property
    def settled(self) -> tuple[int, int]:
        """The result of `judged` for the reads that `settle` has evicted."""
        return self._lost, self._invented

    @property
    def unsettled(self) -> int:
        """The number of entries' reads that `settle` has not evicted yet."""
        return len(self._open)

    @property
    def suppressed(self) -> int:
        """The number of suppressed reads, if no match is lost or invented."""
        return self.allowed - self.matched

    def _passages(self) -> list[_Passage]:
        return list({id(passage): passage for passage in self._open.values()}.values())

    def _denial(self, entry: Entry, read: SentRead) -> str | None:
        policy = self._policies.get(read.source)
        if policy is None:
            return "no_policy"
        for rule in policy.rules:
            agency_ok = rule.agencies == "*" or entry.agency in rule.agencies
            purpose_ok = rule.purposes == "*" or entry.purpose in rule.purposes
            if agency_ok and purpose_ok:
                break
        else:
            return "not_allowed"
        if entry.vehicle is not None and entry.vehicle != read.vehicle:
            return "entry_vehicle"
        return None
