"""Measure `calibration`: of the matches that state such a confidence, how many are right."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from benchmarks.measures.definition import Share
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.sightings import Listed, Round, Scenery, table_of
from benchmarks.runner import Say
from engine.plates.confidence import confidence

#: Where one bin of stated confidence ends and the next begins.
_EDGES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_TYPES = ("exact", "confusable", "distance", "partial")
_STATED = "stated"


class Settings(Scenery, frozen=True, kw_only=True):
    """`misread` are the shares of the plates that are misread, by the picture: each is as
    frequent as the others. `densities` are tried beside `density`, which is the table's."""

    misread: tuple[Share, ...]
    densities: tuple[Share, ...]


class Scored(NamedTuple):
    """A match: the confidence that it states, whether it is right, and whether the vehicle is
    one that is not listed."""

    stated: float
    is_right: bool
    is_other: bool
    match_type: str


_Matches = list[Scored]


def measure(_: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """A case for each kind of reader, for other shares of plates that exist, for each type of
    match and for each bin of stated confidence. Needs no broker."""
    listed = Listed(settings)
    scored: dict[str, list[_Matches]] = {}
    for number in range(rounds):
        one = Round(settings, listed, number)
        for name, matches in _scored(one, listed, settings.misread).items():
            scored.setdefault(name, []).append(matches)
        say(f"  round {number + 1}: {len(scored[_STATED][number]):,} matches with a confidence")

    def weight(density: float) -> float:
        """How many sightings of other vehicles each one that was drawn stands for."""
        return settings.sightings * settings.others_a_listed(density) / settings.others

    usual = weight(settings.density)
    stated = scored[_STATED]
    cases = [
        msgspec.structs.replace(
            _case(name, by_round, usual), curves={"right": _curve(by_round, usual)}
        )
        for name, by_round in scored.items()
    ]
    cases += [
        _case(f"{_STATED}, {density:.0%} of all plates exist", stated, weight(density))
        for density in settings.densities
    ]
    for kind in _TYPES:
        of_kind = [[match for match in matches if match.match_type == kind] for matches in stated]
        cases.append(_case(f"{_STATED}, {kind}", of_kind, usual))
    for least, most, of_bin in _binned([match for matches in stated for match in matches]):
        cases.append(_case(f"{_STATED}, {least:g} to {most:g}", [of_bin], usual))
    return cases


def _scored(one: Round, listed: Listed, misread: Sequence[float]) -> dict[str, _Matches]:
    """All matches of a round, by how the reader states its confidence."""
    table = table_of(listed.misreads, one.known)
    scored: dict[str, _Matches] = {
        name: [] for name in (_STATED, "stated too high", "not stated", "not stated, as counted")
    }
    pictures = one.chance.integers(len(misread), size=len(one.sightings)).tolist()
    mixed = [""] * len(pictures)
    for picture, share in enumerate(misread):
        numbers = [number for number, of in enumerate(pictures) if of == picture]
        for number, read in zip(numbers, one.reads(share, numbers), strict=True):
            mixed[number] = read
    for reads, cases in (
        (mixed, (_STATED, "stated too high", "not stated")),
        (one.reads_as_counted(), ("not stated, as counted",)),
    ):
        for sighting, picture, read in zip(one.sightings, pictures, reads, strict=True):
            wrong = misread[picture]
            for found in listed.like(read):
                for case in cases:
                    of_read = {_STATED: 1 - wrong, "stated too high": 1 - wrong / 2}.get(case)
                    sure = confidence(found.likeness, found.listed, read, of_read, table)
                    scored[case].append(
                        Scored(
                            sure,
                            sighting.entry == found.entry,
                            sighting.entry is None,
                            found.likeness.match_type,
                        )
                    )
    return scored


class _Sums(NamedTuple):
    """Weighted: how many matches, and of these how many right ones; their stated confidences,
    and the squares of how far each was off."""

    matches: float
    right: float
    stated: float
    squares: float


def _sums(matches: _Matches, weight: float) -> _Sums:
    sums = [0.0] * 4
    for match in matches:
        of = weight if match.is_other else 1.0
        sums[0] += of
        sums[1] += of * match.is_right
        sums[2] += of * match.stated
        sums[3] += of * (match.stated - match.is_right) ** 2
    return _Sums(*sums)


def _binned(matches: _Matches) -> list[tuple[float, float, _Matches]]:
    """The bins that hold any, with their bounds."""
    bins: list[_Matches] = [[] for _ in _EDGES[1:]]
    for match in matches:
        bins[bisect.bisect_right(_EDGES, match.stated) - 1].append(match)
    return [
        (least, most, of_bin)
        for least, most, of_bin in zip(_EDGES, _EDGES[1:], bins, strict=False)
        if of_bin
    ]


def _case(name: str, by_round: list[_Matches], weight: float) -> MeasuredCase:
    pooled = [match for matches in by_round for match in matches]
    rounds = [(_sums(matches, weight), matches) for matches in by_round if matches]
    if not rounds:
        return MeasuredCase(case=name, failure="no match")

    def off(sums: _Sums, matches: _Matches) -> float:
        bins = (_sums(of_bin, weight) for _, _, of_bin in _binned(matches))
        return sum(abs(of_bin.stated - of_bin.right) for of_bin in bins) / sums.matches

    least, most = _interval(pooled, weight)
    columns = {
        "matches": [sums.matches for sums, _ in rounds],
        "confidence": [sums.stated / sums.matches for sums, _ in rounds],
        "right": [sums.right / sums.matches for sums, _ in rounds],
        "right from": [least],
        "right to": [most],
        "calibration error": [off(sums, matches) for sums, matches in rounds],
        "Brier score": [sums.squares / sums.matches for sums, _ in rounds],
    }
    units = {"matches": "weighted", "confidence": "mean", "calibration error": "expected"}
    return MeasuredCase(
        case=name,
        figures=[
            Figure(name=column, unit=units.get(column, "share"), values=values)
            for column, values in columns.items()
        ],
    )


def _curve(by_round: list[_Matches], weight: float) -> list[tuple[float, float]]:
    """For each bin of all rounds, what is stated on average and the share that is right."""
    bins = _binned([match for matches in by_round for match in matches])
    sums = [_sums(of_bin, weight) for _, _, of_bin in bins]
    return [(of_bin.stated / of_bin.matches, of_bin.right / of_bin.matches) for of_bin in sums]


def _interval(matches: _Matches, weight: float) -> tuple[float, float]:
    """The 95% interval of the share of right matches: of the quotient of two counts."""
    right = sum(match.is_right for match in matches) + 0.5
    others = sum(match.is_other for match in matches) + 0.5
    wrong = weight * others + sum(not (match.is_right or match.is_other) for match in matches)
    spread = math.exp(1.96 * math.sqrt(1 / right + 1 / others))
    return 1 / (1 + spread * wrong / right), 1 / (1 + wrong / right / spread)
