"""A made-up city: sources with cameras and policies, hot lists, and a stream of reads.

For the demo, the tests and the benchmarks. Everything follows from the seed. Plates, agencies
and references are invented; the form of a read (fields, lengths, pictures as references) is
that of vendors' reads. A read of a listed plate shows the listed vehicle.

The options of `CitySize` beside its numbers have their own random numbers: the plates, sources and
cameras are the same with them and without.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.clock import format_time
from engine.documents.model import Authority, Entry, Policy, Rule, Vehicle

_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
_DIGITS = "0123456789"
_PURPOSES = ("stolen_vehicle", "stolen_plate", "missing_person", "wanted_person", "unpaid_toll")
_VEHICLES = (
    ("Toyota", "Corolla", "white", "car"),
    ("Ford", "F-150", "black", "truck"),
    ("Volkswagen", "Golf", "grey", "car"),
    ("Honda", "Civic", "blue", "car"),
    ("Ford", "Transit", "white", "van"),
)
_DAY_MS = 86_400_000


#: Characters that cameras mistake for one another. Plates here have no letters I, O and Q, so these
#: appear only by misreading.
_READ_AS = {"0": "OQD", "D": "0OQ", "1": "IL", "L": "1I", "8": "B", "B": "8", "5": "S", "S": "5"}
_READ_AS |= {"2": "Z", "Z": "2", "6": "G", "G": "6", "7": "T", "T": "7"}

_Words = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class CitySize:
    """The size of a city. A third of the sources have no policy, so nothing matches there.

    The shares, 0 to 1, are independent probabilities: of an entry to let look-alikes match, to have
    one or two unknown characters, and, if it has none, to allow one misread more; of a read of a
    listed plate to be misread; of any read to have alternates, including the true plate if the
    read is misread. `suppress_s` is for all entries.
    """

    entries: int = 1_000
    sources: int = 80
    cameras_a_source: int = 50
    agencies: int = 20
    confusables_share: float = 0.0
    distance_share: float = 0.0
    partial_share: float = 0.0
    misread_share: float = 0.0
    alternates_share: float = 0.0
    suppress_s: int | None = None


class City:
    """A made-up city. `now_ms` is the time around which its documents are written."""

    def __init__(self, seed: int, size: CitySize, now_ms: int) -> None:
        self._random = random.Random(seed)
        #: For details that no count depends on, so that they may change.
        self._details = random.Random(~seed)
        #: For the shares of `CitySize`.
        self._shares = random.Random(f"shares {seed}")
        self._size = size
        self._now_ms = now_ms
        self._created_at = format_time(now_ms - _DAY_MS)
        self._expires_at = format_time(now_ms + 30 * _DAY_MS)
        self.sources = [f"source-{number:02d}" for number in range(size.sources)]
        self.agencies = [f"AG{number:04d}" for number in range(size.agencies)]
        #: The plates of the wanted vehicles, with all characters known.
        self.listed_plates: list[str] = []
        self._vehicle_of: dict[str, _Words] = {}
        self._places = {
            f"{source}-cam-{number:03d}": (
                round(37 + self._details.random(), 6),
                round(-122 - self._details.random(), 6),
            )
            for source in self.sources
            for number in range(size.cameras_a_source)
        }

    def policies(self) -> list[Policy]:
        """Make a policy for two sources in three: for all, for some agencies or some purposes."""
        policies = []
        for number, source in enumerate(self.sources):
            if number % 3 == 2:
                continue
            rule = Rule(agencies="*", purposes="*")
            if number % 6 == 1:
                rule = Rule(agencies=tuple(self.agencies[::2]), purposes="*")
            elif number % 6 == 3:
                rule = Rule(agencies="*", purposes=("stolen_vehicle", "missing_person"))
            policies.append(
                Policy(source=source, rules=(rule,), updated_by="demo", updated_at=self._created_at)
            )
        return policies

    def entries(self) -> Iterator[Entry]:
        """Yield the hot lists' entries, each with a plate of its own. Iterate over them once."""
        while len(self.listed_plates) < self._size.entries:
            plate = self._plate()
            if plate in self._vehicle_of:
                continue
            self.listed_plates.append(plate)
            number = len(self.listed_plates)
            agency = self._random.choice(self.agencies)
            words = self._vehicle_of[plate] = self._random.choice(_VEHICLES)
            make, model, color, kind = words
            yield Entry(
                entry_id=f"{agency}-{number:07d}",
                list_id=f"{agency}-hot",
                agency=agency,
                purpose=self._random.choice(_PURPOSES),
                authority=Authority(kind="case", reference=f"2026-{number:07d}"),
                requested_by="officer.demo",
                created_at=self._created_at,
                expires_at=self._expires_at,
                vehicle=Vehicle(make=make, model=model, color=color, type=kind),
                suppress_s=self._size.suppress_s,
                **self._asked_of(plate),
            )

    def reads(self, count: int, hit_rate: float, *, first: int = 0) -> Iterator[dict[str, Any]]:
        """Yield reads as JSON-ready dicts; `hit_rate` of them show a listed plate.

        Call it after iterating over `entries`. `first` numbers the first read.
        """
        chance = self._random
        for number in range(first, first + count):
            if self.listed_plates and chance.random() < hit_rate:
                plate = chance.choice(self.listed_plates)
            else:
                plate = self._plate()
            yield self._read(number, plate)

    def _asked_of(self, plate: str) -> dict[str, Any]:
        """Return the plate as its entry lists it, and how a read may differ from it."""
        size, chance = self._size, self._shares
        asked: dict[str, Any] = {"plate": plate}
        if chance.random() < size.confusables_share:
            asked["confusables"] = True
        if chance.random() < size.partial_share:
            unknown = chance.sample(range(len(plate)), chance.choice((1, 2)))
            listed = ("?" if place in unknown else char for place, char in enumerate(plate))
            asked["plate"] = "".join(listed)
        elif chance.random() < size.distance_share:
            asked["distance"] = 1
        return asked

    def _read(self, number: int, plate: str) -> dict[str, Any]:
        chance = self._random
        source = chance.choice(self.sources)
        camera = f"{source}-cam-{chance.randrange(self._size.cameras_a_source):03d}"
        lat, lon = self._places[camera]
        read_id = f"{number:08x}-{chance.getrandbits(32):08x}{self._details.getrandbits(64):016x}"
        seen = chance.choice(_VEHICLES)
        make, model, color, kind = self._vehicle_of.get(plate, seen)
        return {
            "read_id": read_id,
            **self._seen_as(plate),
            "captured_at": format_time(self._now_ms + number),
            "source": source,
            "camera": camera,
            "confidence": round(0.8 + 0.2 * chance.random(), 3),
            "location": {"lat": lat, "lon": lon},
            "heading": chance.randrange(360),
            "vehicle": {"make": make, "model": model, "color": color, "type": kind},
            "images": [
                {"kind": "plate", "uri": f"s3://plates/{self._details.getrandbits(128):032x}.jpg"}
            ],
        }

    def _seen_as(self, plate: str) -> dict[str, Any]:
        """Return the plate as a camera reads it, and its alternates."""
        size, chance = self._size, self._shares
        if not size.misread_share and not size.alternates_share:
            return {"plate": plate}
        read = plate
        if plate in self._vehicle_of and chance.random() < size.misread_share:
            read = self._misread(plate)
        if chance.random() >= size.alternates_share:
            return {"plate": read}
        others = [self._misread(plate) for _ in range(chance.choice((1, 2)))]
        others = [plate if read != plate else others[0], *others[1:]]
        chance.shuffle(others)
        alternates = [
            {"plate": other, "confidence": round(0.2 + 0.5 * chance.random(), 3)}
            for other in others
        ]
        return {"plate": read, "alternates": alternates}

    def _misread(self, plate: str) -> str:
        """Misread a plate at one place: mostly as a look-alike, else with one character lost, added
        or replaced."""
        chance = self._shares
        place = chance.randrange(len(plate))
        alike = [at for at, char in enumerate(plate) if char in _READ_AS]
        kind = chance.choice(("alike", "alike", "alike", "missing", "added", "other"))
        if kind == "alike" and alike:
            place = chance.choice(alike)
            return plate[:place] + chance.choice(_READ_AS[plate[place]]) + plate[place + 1 :]
        if kind == "missing":
            return plate[:place] + plate[place + 1 :]
        other = chance.choice(_LETTERS + _DIGITS)
        return plate[:place] + other + plate[place + (kind != "added") :]

    def _plate(self) -> str:
        return invented_plate(self._random)


def invented_plate(chance: random.Random) -> str:
    """Invent a plate of seven characters in one of three patterns: some 5 * 10^8 plates."""
    pattern = chance.choice(("LLLDDDD", "DLLLDDD", "LLDDDLL"))
    return "".join(chance.choice(_LETTERS if place == "L" else _DIGITS) for place in pattern)
