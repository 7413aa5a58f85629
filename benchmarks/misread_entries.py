"""Entries that match more than one plate, and how many of them a plate is like: by plain loops.

For the cases that ask for such entries beside the exact ones. Shares no code with the engine;
only the look-alike groups are read from the file that the engine reads too.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.definitions import Input
from engine.documents.model import Entry
from engine.plates.misreads import Misreads

_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
_DIGITS = "0123456789"
_PATTERNS = ("LLLDDDD", "DLLLDDD", "LLDDDLL")
_UNKNOWN = "?"


def misread_entries(wanted: Input, like: Sequence[Entry], seed: int) -> list[Entry]:
    """The entries beside the exact ones: with look-alikes, with one or two unknown characters,
    with one misread more. In all else each resembles one of `like`; those with unknown
    characters keep its vehicle, which narrows them, the others have none."""
    chance = random.Random(seed)

    def entry(kind: str, number: int, plate: str, **fields: object) -> Entry:
        model = like[number % len(like)]
        return msgspec.structs.replace(
            model,
            entry_id=f"{kind}-{number:07d}",
            plate=plate,
            vehicle=model.vehicle if _UNKNOWN in plate else None,
            **fields,
        )

    return [
        *(
            entry("look-alike", number, _plate(chance), confusables=True)
            for number in range(wanted.look_alike_entries)
        ),
        *(entry("partial", number, _partial(chance)) for number in range(wanted.partial_entries)),
        *(
            entry("distance", number, _plate(chance), distance=1)
            for number in range(wanted.distance_entries)
        ),
    ]


def _plate(chance: random.Random) -> str:
    pattern = chance.choice(_PATTERNS)
    return "".join(chance.choice(_LETTERS if place == "L" else _DIGITS) for place in pattern)


def _partial(chance: random.Random) -> str:
    characters = list(_plate(chance))
    for place in chance.sample(range(len(characters)), chance.choice((1, 2))):
        characters[place] = _UNKNOWN
    return "".join(characters)


class Like:
    """Which of the entries of `misread_entries` a plate is like."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        first_of = {char: group[0] for group in Misreads.load().groups for char in group}
        self._stands_for = str.maketrans(first_of)
        self._by_skeleton: dict[str, list[Entry]] = defaultdict(list)
        self._by_known: dict[tuple[int, ...], dict[str, list[Entry]]] = {}
        self._shortened: dict[str, set[int]] = defaultdict(set)
        self._distant = [entry for entry in entries if entry.distance]
        for entry in entries:
            plate = entry.plate
            if _UNKNOWN in plate:
                known = tuple(place for place, char in enumerate(plate) if char != _UNKNOWN)
                of_known = self._by_known.setdefault(known, defaultdict(list))
                of_known["".join(plate[place] for place in known)].append(entry)
            elif entry.confusables:
                self._by_skeleton[plate.translate(self._stands_for)].append(entry)
        for number, entry in enumerate(self._distant):
            for text in (entry.plate, *_shortened(entry.plate)):
                self._shortened[text].add(number)

    def of(self, plate: str) -> Iterator[Entry]:
        """The entries that a plate of seven characters is like."""
        yield from self._by_skeleton.get(plate.translate(self._stands_for), ())
        for known, of_known in self._by_known.items():
            yield from of_known.get("".join([plate[place] for place in known]), ())
        if self._distant:
            for number in self._near(plate):
                yield self._distant[number]

    def _near(self, plate: str) -> set[int]:
        """Those of the same length with one character in the place of another, or none: as all
        plates here have seven characters, none is missing one or has one more."""
        found = set[int]()
        for text in _shortened(plate):
            found |= self._shortened.get(text, set())
        return {
            number
            for number in found
            if sum(a != b for a, b in zip(plate, self._distant[number].plate, strict=True)) <= 1
        }


def _shortened(plate: str) -> set[str]:
    return {plate[:place] + plate[place + 1 :] for place in range(len(plate))}
