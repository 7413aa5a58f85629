"""A made-up reader: plates of some formats, and what it takes them for, drawn by counts.

Shares no code with the engine's model of a reader, and is not quite of its kind: a poorer
picture multiplies the rates of all errors here, where the engine takes powers of what is right.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measures.definition import Strict

Counts = Mapping[str, Mapping[str, int]]
_Array = npt.NDArray[Any]

#: Share of the misreadings of a character that may be any other one: counts are few.
_ANY = 0.05
#: No character is misread more often than that.
_MOST_WRONG = 0.95
#: Plates on which a scale is found.
_TRIED = 4000


class Format(Strict, frozen=True, kw_only=True):
    """Plates that look like `pattern`: L for one of `letters`, D for a digit."""

    pattern: str
    letters: str

    @property
    def plates(self) -> int:
        """How many there can be."""
        letters = self.pattern.count("L")
        return math.prod([len(self.letters)] * letters + [10] * (len(self.pattern) - letters))


def draw_plates(formats: Sequence[Format], count: int, chance: np.random.Generator) -> list[str]:
    """Plates; every possible plate is equally likely."""
    sizes = np.array([each.plates for each in formats], dtype=float)
    plates = []
    for each, number in zip(formats, chance.multinomial(count, sizes / sizes.sum()), strict=True):
        columns = [
            chance.choice(_codes(each.letters if place == "L" else "0123456789"), number)
            for place in each.pattern
        ]
        plates += _texts(np.stack(columns, axis=1))
    chance.shuffle(plates)
    return plates


def halves(counts: Counts, lump: int, seed: int) -> tuple[Counts, Counts]:
    """The counts in two parts, at random, `lump` readings at a time: those that one photograph
    gave are alike and go together."""
    chance = random.Random(seed)
    parts: tuple[dict[str, dict[str, int]], ...] = ({}, {})
    for true, of_true in counts.items():
        for read, count in of_true.items():
            for start in range(0, count, lump):
                part = parts[chance.randrange(2)].setdefault(true, {})
                part[read] = part.get(read, 0) + min(lump, count - start)
    return parts[0], parts[1]


class Reader:
    """Reads plates with the errors of `counts`, and leaves out or adds characters."""

    def __init__(self, counts: Counts, missing_rate: float, added_rate: float) -> None:
        characters = sorted({*counts, *(read for of_true in counts.values() for read in of_true)})
        self._characters = _codes("".join(characters))
        self._missing_rate = missing_rate
        self._added_rate = added_rate
        readings = sum(sum(of_true.values()) for of_true in counts.values())
        wrong_of_all = 1 - sum(counts[true].get(true, 0) for true in counts) / readings
        self._wrong = np.full(256, wrong_of_all)
        self._instead: dict[int, _Array] = {}
        for true in characters:
            of_true = counts.get(true, {})
            found = np.array([of_true.get(read, 0.0) for read in characters])
            found[characters.index(true)] = 0.0
            if of_true:
                self._wrong[ord(true)] = found.sum() / sum(of_true.values())
            even = np.ones(len(characters))
            even[characters.index(true)] = 0.0
            share = found / found.sum() if found.any() else even / even.sum()
            self._instead[ord(true)] = (1 - _ANY) * share + _ANY * even / even.sum()

    def scale_for(self, plates: Sequence[str], wrong: float) -> float:
        """How much more often than in the counts errors must be for this share of the plates to
        be misread."""
        low, high = 0.0, 100.0
        for _ in range(40):
            scale = (low + high) / 2
            right = sum(self._right(plate, scale) for plate in plates[:_TRIED])
            if 1 - right / len(plates[:_TRIED]) < wrong:
                low = scale
            else:
                high = scale
        return low

    def read(self, plates: Sequence[str], scale: float, chance: np.random.Generator) -> list[str]:
        """What is read of each plate."""
        reads: list[str] = [""] * len(plates)
        by_length: dict[int, list[int]] = {}
        for number, plate in enumerate(plates):
            by_length.setdefault(len(plate), []).append(number)
        for length, numbers in by_length.items():
            text = "".join(plates[number] for number in numbers)
            true = _codes(text).reshape(-1, length)
            for number, read in zip(numbers, self._read(true, scale, chance), strict=True):
                reads[number] = read
        return reads

    def _read(self, true: _Array, scale: float, chance: np.random.Generator) -> list[str]:
        wrong = chance.random(true.shape) < np.minimum(_MOST_WRONG, scale * self._wrong)[true]
        read = true.copy()
        for code, shares in self._instead.items():
            places = wrong & (true == code)
            read[places] = chance.choice(self._characters, places.sum(), p=shares)
        texts = _texts(read)
        missing = chance.random(true.shape) < scale * self._missing_rate
        added = chance.random((len(true), true.shape[1] + 1)) < scale * self._added_rate
        for number in np.flatnonzero(missing.any(axis=1) | added.any(axis=1)):
            text = ""
            for place, char in enumerate(f"{texts[number]} "):
                if added[number, place]:
                    text += chr(chance.choice(self._characters))
                if char != " " and not missing[number, place]:
                    text += char
            texts[number] = text or texts[number]
        return texts

    def _right(self, plate: str, scale: float) -> float:
        right = 1.0
        for char in plate:
            right *= 1 - min(_MOST_WRONG, scale * self._wrong[ord(char)])
        right *= (1 - min(1, scale * self._missing_rate)) ** len(plate)
        return float(right * (1 - min(1, scale * self._added_rate)) ** (len(plate) + 1))


def _codes(text: str) -> _Array:
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8)


def _texts(codes: _Array) -> list[str]:
    flat = np.ascontiguousarray(codes).tobytes().decode("ascii")
    length = codes.shape[1]
    return [flat[start : start + length] for start in range(0, len(flat), length)]
