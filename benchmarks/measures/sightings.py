"""Made-up sightings of vehicles, listed and not, that a made-up reader misreads.

What `misreads` and `calibration` stand on. The lists are in the engine's own index, and what it
finds for a read is what counts.

Of the vehicles that are not listed every plate that there can be is drawn alike, and what they
give is weighed: a list of so many plates among so many vehicles, each as likely to pass as any
other. So no fleet need be drawn, and the share of plates that exist can be changed afterwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.measures.definition import Count, Share, Strict
from benchmarks.misread_reader import Counts, Format, Reader, draw_plates, halves
from engine.clock import format_time
from engine.documents.model import Authority, Entry
from engine.index.eligibility import Eligibility
from engine.index.plate_index import Index
from engine.plates.likeness import Likeness
from engine.plates.misreads import Misreads
from engine.plates.normal_form import WILDCARD

_DAY_MS = 86_400_000


class Scenery(Strict, frozen=True, kw_only=True):
    """`entries` plates are listed, `partial_entries` of them with one unknown character. Listed
    vehicles are seen `sightings` times, others `others` times. Counts are parted `lump` at a
    time. A plate that there can be exists with `density`."""

    seed: int
    formats: tuple[Format, ...]
    entries: Count
    partial_entries: int
    sightings: Count
    others: Count
    lump: Count
    density: Share

    @property
    def plates(self) -> int:
        """How many plates there can be."""
        return sum(each.plates for each in self.formats)

    def others_a_listed(self, density: float) -> float:
        """How many vehicles that are not listed there are for each that is."""
        return density * self.plates / self.entries - 1


class Sighting(NamedTuple):
    """A vehicle that passed: the number of its entry, None of one that is not listed."""

    entry: int | None
    plate: str


class Found(NamedTuple):
    """An entry that a read is like."""

    entry: int
    listed: str
    likeness: Likeness


class Listed:
    """The listed plates, in the engine's index."""

    def __init__(self, scenery: Scenery) -> None:
        chance = np.random.default_rng(scenery.seed)
        plates = draw_plates(scenery.formats, scenery.entries, chance)
        self.plates = list(dict.fromkeys(plates))
        self.misreads = Misreads.load()
        self.listed = [
            self._partial(plate, chance) if number < scenery.partial_entries else plate
            for number, plate in enumerate(self.plates)
        ]
        now_ms = int(time.time() * 1000)
        self._index = Index(Eligibility(), self.misreads)
        self._index.put_many(
            [(_entry(number, plate, now_ms), number) for number, plate in enumerate(self.listed)],
            now_ms,
        )

    def like(self, plate: str) -> Iterator[Found]:
        """The entries that a plate is like, all with look-alikes and one misread more."""
        for slot, entry, likeness in self._index.candidates(plate):
            yield Found(self._index.revision(slot), entry.plate, likeness)

    @staticmethod
    def _partial(plate: str, chance: np.random.Generator) -> str:
        place = int(chance.integers(len(plate)))
        return plate[:place] + WILDCARD + plate[place + 1 :]


def _entry(number: int, plate: str, now_ms: int) -> Entry:
    return Entry(
        entry_id=f"{number:08d}",
        list_id="list",
        plate=plate,
        agency="AGENCY",
        purpose="stolen_vehicle",
        authority=Authority(kind="case", reference="1"),
        requested_by="benchmark",
        created_at=format_time(now_ms),
        expires_at=format_time(now_ms + _DAY_MS),
        confusables=True,
        distance=None if WILDCARD in plate else 1,
    )


class Round:
    """One round: sightings, and a reader and a table of misreads from different counts."""

    def __init__(self, scenery: Scenery, listed: Listed, number: int) -> None:
        self.chance = np.random.default_rng([scenery.seed, number])
        shipped = listed.misreads
        known, reader = halves(shipped.counts, scenery.lump, scenery.seed + number)
        self.known = known
        self.reader = Reader(reader, shipped.table.missing_rate, shipped.table.added_rate)
        seen = self.chance.integers(len(listed.plates), size=scenery.sightings).tolist()
        self.sightings = [Sighting(entry, listed.plates[entry]) for entry in seen]
        others = draw_plates(scenery.formats, scenery.others, self.chance)
        known_plates = set(listed.plates)
        self.sightings += [Sighting(None, one) for one in others if one not in known_plates]

    def reads(self, misread: float, numbers: Sequence[int] | None = None) -> list[str]:
        """What is read at the sightings with these numbers, or at all, where this share of the
        plates is misread."""
        every = self.sightings
        seen = every if numbers is None else [every[number] for number in numbers]
        plates = [sighting.plate for sighting in seen]
        return self.reader.read(plates, self.reader.scale_for(plates, misread), self.chance)

    def reads_as_counted(self) -> list[str]:
        """What is read at all sightings where each character is misread as often as counted."""
        return self.reader.read([sighting.plate for sighting in self.sightings], 1.0, self.chance)


def table_of(shipped: Misreads, counts: Counts, groups: Sequence[str] | None = None) -> Misreads:
    """The shipped table with other counts, or other groups."""
    groups = list(shipped.groups if groups is None else groups)
    return Misreads(msgspec.structs.replace(shipped.table, groups=groups, counts=counts))


def wilson(hits: float, count: float) -> tuple[float, float]:
    """The 95% interval of a share (Wilson)."""
    z = 1.96
    middle = (hits + z * z / 2) / (count + z * z)
    half = z * math.sqrt(hits * (count - hits) / count + z * z / 4) / (count + z * z)
    return middle - half, middle + half


def of_count(count: int) -> tuple[float, float]:
    """The 95% interval of a number of events that come by chance (Byar's approximation to the
    Poisson distribution)."""
    z = 1.96
    least = count * (1 - 1 / (9 * count) - z / (3 * math.sqrt(count))) ** 3 if count else 0.0
    more = count + 1
    return least, more * (1 - 1 / (9 * more) + z / (3 * math.sqrt(more))) ** 3
