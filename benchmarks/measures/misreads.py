"""Measure `misreads`: how many sightings of a listed vehicle are found, and how many others with
them, by what an entry asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from benchmarks.measures.definition import Count, Share, Strict
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.sightings import Found, Listed, Round, Scenery, of_count, table_of, wilson
from benchmarks.runner import Say
from engine.plates.confidence import confidence
from engine.plates.likeness import compare
from engine.plates.misreads import Misreads

_ASKED = ("exact", "look-alikes", "one misread", "both")


class _Groups(Strict, frozen=True, kw_only=True):
    """Look-alike groups to try instead of those of the shipped table."""

    name: str
    groups: tuple[str, ...]


class Settings(Scenery, frozen=True, kw_only=True):
    """`misread` are the shares of the plates that are misread. False matches are stated for
    `listed_a_million` entries among a million vehicles. `confidences` are the least that a
    match of everything must state to be counted. `other_groups` are tried at each share."""

    misread: tuple[Share, ...]
    listed_a_million: Count
    confidences: tuple[Share, ...]
    other_groups: tuple[_Groups, ...]


class _Tally:
    """What one way of matching gave, by round."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.found: list[int] = []
        self.others: list[int] = []
        self.false: list[int] = []

    def add(self, seen: int, found: int, others: int, false: int) -> None:
        self.seen.append(seen)
        self.found.append(found)
        self.others.append(others)
        self.false.append(false)


def measure(_: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """A case for each share of misread plates and each way of matching. Needs no broker."""
    listed = Listed(settings)
    ways = _Ways(settings, listed)
    tallies: dict[tuple[float, str], _Tally] = {}
    for number in range(rounds):
        one = Round(settings, listed, number)
        seen = sum(sighting.entry is not None for sighting in one.sightings)
        table = table_of(listed.misreads, one.known)
        for misread in settings.misread:
            found, false = Counter[str](), Counter[str]()
            for sighting, read in zip(one.sightings, one.reads(misread), strict=True):
                for way, entry in ways.of(read, 1 - misread, table):
                    if sighting.entry is None:
                        false[way] += 1
                    elif sighting.entry == entry:
                        found[way] += 1
            for way in ways.names:
                tally = tallies.setdefault((misread, way), _Tally())
                tally.add(seen, found[way], len(one.sightings) - seen, false[way])
            say(f"  {misread:.0%} misread: {found['both']:,} of {seen:,} found")
    return [_case(settings, *key, tally) for key, tally in tallies.items()]


class _Ways:
    """The ways of matching: by what an entry asks for, by confidence, by other groups."""

    def __init__(self, settings: Settings, listed: Listed) -> None:
        self._listed = listed
        self._floors = {
            f"both, confidence {least:g} or more": least for least in settings.confidences
        }
        self._groups: dict[str, tuple[Misreads, dict[str, list[int]]]] = {}
        for other in settings.other_groups:
            table = table_of(listed.misreads, listed.misreads.counts, other.groups)
            by_skeleton: dict[str, list[int]] = {}
            for number, plate in enumerate(listed.plates):
                by_skeleton.setdefault(table.skeleton(plate), []).append(number)
            self._groups[f"look-alikes, {other.name}"] = table, by_skeleton
        self.names = (*_ASKED, *self._floors, *self._groups)

    def of(self, read: str, stated: float, known: Misreads) -> Iterator[tuple[str, int]]:
        """By which ways which entries are found, with the confidences that `known` gives."""
        for found in self._listed.like(read):
            for way in self._asked(read, found):
                yield way, found.entry
            sure = confidence(found.likeness, found.listed, read, stated, known)
            for way, least in self._floors.items():
                if sure >= least:
                    yield way, found.entry
        for way, (table, by_skeleton) in self._groups.items():
            for entry in by_skeleton.get(table.skeleton(read), ()):
                yield way, entry

    def _asked(self, read: str, found: Found) -> Iterator[str]:
        kind, table = found.likeness.match_type, self._listed.misreads
        yield "both"
        if kind == "exact":
            yield "exact"
        if kind != "distance":
            yield "look-alikes"
        if compare(read, found.listed, confusables=False, distance=1, misreads=table) is not None:
            yield "one misread"


def _case(settings: Settings, misread: float, way: str, tally: _Tally) -> MeasuredCase:
    entries = settings.density * settings.plates * settings.listed_a_million / 1e6
    weight = 1e6 * entries / settings.entries
    least, most = wilson(sum(tally.found), sum(tally.seen))
    few, many = of_count(sum(tally.false))
    others = sum(tally.others)

    def figure(name: str, unit: str, *values: float) -> Figure:
        return Figure(name=name, unit=unit, values=list(values))

    found = [100 * hits / seen for hits, seen in zip(tally.found, tally.seen, strict=True)]
    false = [weight * hits / of for hits, of in zip(tally.false, tally.others, strict=True)]
    return MeasuredCase(
        case=f"{misread:.0%} misread, {way}",
        figures=[
            figure("found", "%", *found),
            figure("found from", "%", 100 * least),
            figure("found to", "%", 100 * most),
            figure("false matches", "a million reads", *false),
            figure("false from", "a million reads", weight * few / others),
            figure("false to", "a million reads", weight * many / others),
            figure("counted", "false matches", sum(tally.false)),
        ],
    )
