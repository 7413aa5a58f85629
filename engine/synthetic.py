"""A made-up city: sources with cameras and policies, hot lists, and a stream of reads.

For the demo, the tests and the benchmarks. Everything follows from the seed. Plates, agencies
and references are invented; the shape of a read (fields, lengths, pictures as references) is
that of what vendors send.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.clock import format_time
from engine.documents import Authority, Entry, Policy, Rule, Vehicle

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


@dataclass(frozen=True, slots=True)
class CitySize:
    """How large a city is. A third of the sources have no policy, so nothing matches there."""

    entries: int = 1_000
    sources: int = 80
    cameras_a_source: int = 50
    agencies: int = 20


class City:
    """See the module. `now_ms` is the time around which its documents are written."""

    def __init__(self, seed: int, size: CitySize, now_ms: int) -> None:
        self._random = random.Random(seed)
        #: For what no count depends on, so that it may change.
        self._details = random.Random(~seed)
        self._size = size
        self._now_ms = now_ms
        self._created_at = format_time(now_ms - _DAY_MS)
        self._expires_at = format_time(now_ms + 30 * _DAY_MS)
        self.sources = [f"source-{number:02d}" for number in range(size.sources)]
        self.agencies = [f"AG{number:04d}" for number in range(size.agencies)]
        self.listed_plates: list[str] = []
        self._places = {
            f"{source}-cam-{number:03d}": (
                round(37 + self._details.random(), 6),
                round(-122 - self._details.random(), 6),
            )
            for source in self.sources
            for number in range(size.cameras_a_source)
        }

    def policies(self) -> list[Policy]:
        """A policy for two sources in three: all may match, or some agencies, or some purposes."""
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
        """The hot lists' entries, each of a plate of its own."""
        plates = set[str]()
        while len(plates) < self._size.entries:
            plate = self._plate()
            if plate in plates:
                continue
            plates.add(plate)
            self.listed_plates.append(plate)
            number = len(plates)
            agency = self._random.choice(self.agencies)
            make, model, color, kind = self._random.choice(_VEHICLES)
            yield Entry(
                entry_id=f"{agency}-{number:07d}",
                list_id=f"{agency}-hot",
                plate=plate,
                agency=agency,
                purpose=self._random.choice(_PURPOSES),
                authority=Authority(kind="case", reference=f"2026-{number:07d}"),
                requested_by="officer.demo",
                created_at=self._created_at,
                expires_at=self._expires_at,
                vehicle=Vehicle(make=make, model=model, color=color, type=kind),
            )

    def reads(self, count: int, hit_rate: float, *, first: int = 0) -> Iterator[dict[str, Any]]:
        """Reads as JSON-ready dicts; `hit_rate` of them show a listed plate.

        Call it after `entries` has been run through. `first` numbers the first read.
        """
        chance = self._random
        for number in range(first, first + count):
            if self.listed_plates and chance.random() < hit_rate:
                plate = chance.choice(self.listed_plates)
            else:
                plate = self._plate()
            yield self._read(number, plate)

    def _read(self, number: int, plate: str) -> dict[str, Any]:
        chance = self._random
        source = chance.choice(self.sources)
        camera = f"{source}-cam-{chance.randrange(self._size.cameras_a_source):03d}"
        lat, lon = self._places[camera]
        read_id = f"{number:08x}-{chance.getrandbits(32):08x}{self._details.getrandbits(64):016x}"
        make, model, color, kind = chance.choice(_VEHICLES)
        return {
            "read_id": read_id,
            "plate": plate,
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

    def _plate(self) -> str:
        """Seven characters in one of three patterns: some 5 * 10^8 plates."""
        chance = self._random
        pattern = chance.choice(("LLLDDDD", "DLLLDDD", "LLDDDLL"))
        return "".join(chance.choice(_LETTERS if place == "L" else _DIGITS) for place in pattern)
