"""The city of the demo: named sources and agencies, and vehicles that drive around.

Each of its sources shows an aspect of policies: one allows all, some allow a few purposes or
agencies, one has no policy. Vehicles that are wanted, or that hold a permit, drive from camera
to camera, and a vehicle that stops at a camera is read there again. Cameras misread characters with
the frequencies of the counts in `misreads.toml`.

`fast_clock` decides how many reads there are, and the caller their `captured_at`; everything but
the times follows from the seed. The expected matches are computed elsewhere, in `expected`.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final, NamedTuple

import orjson

from engine.clock import format_time
from engine.demo.city_data import KINDS, REGION, SOURCES, VEHICLES, CitySource, EntryKind
from engine.demo.synthetic import invented_plate
from engine.documents.model import Authority, Entry, Policy, Vehicle
from engine.plates.misreads import Misreads

_ENTRIES: Final = 2_000
#: Short, because a visitor does not wait a minute for the next match of a vehicle at a camera.
SUPPRESS_S: Final = 8
_VEHICLES_ABOUT: Final = 20_000
#: Other vehicles whose plates look like a listed one.
_DOUBLES: Final = 2
#: The share of reads that show a listed vehicle, and how many of those drive at a time.
_LISTED_SHARE: Final = 0.003
_UNDER_WAY: Final = 40
#: The share of readings with a wrong character.
_MISREAD_SHARE: Final = 0.2
_HOUR_MS: Final = 3_600_000


class SentRead(NamedTuple):
    """A read, what its judge must know, and its record's value."""

    read_id: str
    plate: str
    source: str
    camera: str
    vehicle: Vehicle
    value: bytes


class _Seen(NamedTuple):
    """A vehicle: its plate, and what a read says about it, also as JSON."""

    plate: str
    vehicle: Vehicle
    json: str


class ShownCity:
    """The demo's city; see the module. `now_ms` is the time around which its lists are written."""

    def __init__(self, seed: int, now_ms: int) -> None:
        self._chance = random.Random(seed)
        self.misreads = Misreads.load()
        self._counts = self.misreads.counts
        #: How often each character is read as another one.
        self._wrong = {
            char: 1 - read.get(char, 0) / sum(read.values()) for char, read in self._counts.items()
        }
        self._since = format_time(now_ms - 30 * 24 * _HOUR_MS)
        self._listed: list[_Seen] = []
        self.entries: list[Entry] = [
            self._entry(kind, number, now_ms)
            for number, kind in enumerate(
                (kind for kind in KINDS for _ in range(round(kind.share * _ENTRIES))), start=1
            )
        ]
        self._about = [self._vehicle(self._plate()) for _ in range(_VEHICLES_ABOUT)]
        self._about += self._doubles()
        #: Each camera's source, name and its part of a read's JSON.
        self._cameras: list[tuple[str, str, str]] = []
        weights = []
        for source in SOURCES:
            for number in range(1, source.cameras + 1):
                self._cameras.append(self._camera(source, number))
                weights.append(source.share / source.cameras)
        self._upto = list(accumulate(weights))
        self._under_way: list[Iterator[tuple[_Seen, int]]] = [
            self._drive() for _ in range(_UNDER_WAY)
        ]
        self._run = f"{self._chance.getrandbits(64):016x}"
        self._sent = 0

    def policies(self) -> list[Policy]:
        """Return the policies of the sources that have one."""
        return [
            Policy(
                source=source.name,
                rules=source.rules,
                updated_by="demo",
                updated_at=self._since,
            )
            for source in SOURCES
            if source.rules is not None
        ]

    def reads(self, count: int, captured_at: str) -> Iterator[SentRead]:
        """Yield the next reads, all made at one time."""
        for _ in range(count):
            yield self.read(captured_at)

    def read(self, captured_at: str) -> SentRead:
        """Return the next read."""
        chance, about = self._chance.random, self._about
        if chance() < _LISTED_SHARE:
            return self._read(*self._next_listed(), captured_at)
        seen = about[int(chance() * len(about))]
        return self._read(seen, self._any_camera(), captured_at)

    def _read(self, seen: _Seen, camera: int, captured_at: str) -> SentRead:
        chance = self._chance.random
        plate, confidence = seen.plate, 0.85 + 0.14 * chance()
        if chance() < _MISREAD_SHARE:
            plate, confidence = self.misread(plate), confidence - 0.15
        self._sent += 1
        read_id = f"{self._run}{self._sent:016x}"
        source, name, place = self._cameras[camera]
        value = (
            f'{{"read_id":"{read_id}","plate":"{plate}","captured_at":"{captured_at}",{place},'
            f'"confidence":{confidence:.2f},{seen.json},'
            f'"images":[{{"kind":"plate","uri":"s3://reads/{read_id}.jpg"}}]}}'
        )
        return SentRead(read_id, plate, source, name, seen.vehicle, value.encode())

    def _next_listed(self) -> tuple[_Seen, int]:
        """Return the next sighting of a listed vehicle."""
        place = int(self._chance.random() * _UNDER_WAY)
        while (seen := next(self._under_way[place], None)) is None:
            self._under_way[place] = self._drive()
        return seen

    def _drive(self) -> Iterator[tuple[_Seen, int]]:
        """Yield a vehicle's route from camera to camera; at some it stops for a while."""
        seen = self._chance.choice(self._listed)
        for _ in range(self._chance.randint(2, 5)):
            camera = self._any_camera()
            for _ in range(self._chance.choice((1, 1, 1, 2, 4))):
                yield seen, camera

    def _any_camera(self) -> int:
        at = self._chance.random() * self._upto[-1]
        return bisect_right(self._upto, at, hi=len(self._upto) - 1)

    def misread(self, plate: str) -> str:
        """Misread one character of the plate, with the frequencies of the counts."""
        chance = self._chance
        wrong = [self._wrong[char] for char in plate]
        kind = chance.random()
        if kind < 0.03 or not any(wrong):
            place = chance.randrange(len(plate))
            return plate[:place] + plate[place + 1 :]
        if kind < 0.06:
            place = chance.choice((0, len(plate)))  # the plate's edge, or a bolt
            return f"{plate[:place]}1{plate[place:]}"
        (place,) = chance.choices(range(len(plate)), wrong)
        read = dict(self._counts[plate[place]])
        del read[plate[place]]
        (char,) = chance.choices(list(read), list(read.values()))
        return plate[:place] + char + plate[place + 1 :]

    def _plate(self) -> str:
        """Invent a plate whose characters are all in the counts."""
        while True:
            plate = invented_plate(self._chance)
            if all(char in self._counts for char in plate):
                return plate

    def _vehicle(self, plate: str, other_than: Vehicle | None = None) -> _Seen:
        while True:
            make, model, color, kind = self._chance.choice(VEHICLES)
            vehicle = Vehicle(make=make, model=model, color=color, type=kind)
            if vehicle != other_than:
                said = {"make": make, "model": model, "color": color, "type": kind}
                return _Seen(plate, vehicle, f'"vehicle":{orjson.dumps(said).decode()}')

    def _camera(self, source: CitySource, number: int) -> tuple[str, str, str]:
        name = f"{source.camera}-{number:02d}"
        place = {"lat": 37 + self._chance.random(), "lon": -122 - self._chance.random()}
        said: dict[str, Any] = {"source": source.name, "camera": name, "region": REGION}
        said["location"] = {axis: round(degrees, 5) for axis, degrees in place.items()}
        return source.name, name, orjson.dumps(said).decode()[1:-1]

    def _doubles(self) -> list[_Seen]:
        """Make other vehicles with plates that look like those of entries with look-alikes."""
        found: list[_Seen] = []
        for entry, seen in zip(self.entries, self._listed, strict=True):
            if len(found) < _DOUBLES and entry.confusables and "8" in seen.plate:
                found.append(self._vehicle(seen.plate.replace("8", "B", 1), seen.vehicle))
        return found

    def _entry(self, kind: EntryKind, number: int, now_ms: int) -> Entry:
        chance = self._chance
        seen = self._vehicle(self._plate())
        self._listed.append(seen)
        asked: dict[str, Any] = {"plate": seen.plate}
        if chance.random() < kind.distance:
            asked["distance"] = 1
        elif chance.random() < kind.partial:
            unknown = chance.sample(range(len(seen.plate)), chance.choice((1, 2)))
            asked["plate"] = "".join(
                "?" if place in unknown else char for place, char in enumerate(seen.plate)
            )
        elif kind.confusables:
            asked["confusables"] = True
        # An agency that lists a permit or a debt knows the plate, and may not know the vehicle.
        if kind.authority in ("case", "warrant"):
            asked |= {"vehicle": seen.vehicle, "region": REGION}
        return Entry(
            entry_id=f"{kind.agency}-{number:04d}",
            list_id=f"{kind.agency}-{kind.purpose}",
            agency=kind.agency,
            purpose=kind.purpose,
            authority=Authority(kind=kind.authority, reference=f"2026-{number:04d}"),
            requested_by="officer.demo",
            created_at=format_time(now_ms - chance.randint(1, 480) * _HOUR_MS),
            expires_at=format_time(now_ms + 60 * 24 * _HOUR_MS),
            priority=kind.priority,
            instructions=kind.instructions,
            suppress_s=SUPPRESS_S,
            **asked,
        )
