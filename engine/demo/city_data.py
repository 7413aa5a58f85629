"""The fixed data of the demo's city: sources with their policies, kinds of entries, vehicles.

Each source shows an aspect of policies: one allows everything, some allow a few purposes or
agencies, one has no policy.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.documents.fields import AuthorityKind
from engine.documents.model import Rule

#: All plates are of this region.
REGION: Final = "US-CA"
#: Make, model, colour and type; no two of them can be mistaken for each other.
VEHICLES: Final = (
    ("Toyota", "Corolla", "white", "sedan"),
    ("Ford", "F-150", "black", "pickup"),
    ("Volkswagen", "Golf", "gray", "hatchback"),
    ("Honda", "Civic", "blue", "sedan"),
    ("Chevrolet", "Express", "yellow", "van"),
    ("Subaru", "Outback", "green", "station wagon"),
    ("Nissan", "Frontier", "red", "pickup"),
)


class CitySource(NamedTuple):
    """An owner of cameras: their number and share of the traffic, and the policy, also in words."""

    name: str
    camera: str
    cameras: int
    share: float
    rules: tuple[Rule, ...] | None
    in_words: str


_IN_DANGER: Final = ("missing_person", "endangered_person")
SOURCES: Final = (
    CitySource(
        *("city-police", "police", 60, 0.30),
        (Rule(agencies="*", purposes="*"),),
        "everyone, for everything",
    ),
    CitySource(
        *("highway-patrol", "highway", 40, 0.30),
        (Rule(agencies=("PD01", "SP02"), purposes="*"),),
        "PD01 and SP02",
    ),
    CitySource(
        *("toll-road", "toll", 24, 0.15),
        (
            Rule(agencies=("TOLL",), purposes=("unpaid_toll",)),
            Rule(agencies="*", purposes=_IN_DANGER),
        ),
        "tolls, persons in danger",
    ),
    CitySource(
        *("city-parking", "parking", 30, 0.10),
        (
            Rule(agencies=("PARKING",), purposes=("permit", "access")),
            Rule(agencies=("PD01",), purposes=("stolen_vehicle", "stolen_plate")),
        ),
        "permits, stolen for PD01",
    ),
    CitySource(
        *("state-university", "campus", 16, 0.08),
        (Rule(agencies="*", purposes=_IN_DANGER),),
        "persons in danger alone",
    ),
    CitySource("harbour-authority", "harbour", 12, 0.07, None, "none: nothing matches"),
)
#: The one source without a policy. The worker's metrics do not name such a source.
WITHOUT_POLICY: Final = next(source.name for source in SOURCES if source.rules is None)


class EntryKind(NamedTuple):
    """A kind of entries: agency and purpose, its share of all entries, and the shares of its
    entries that allow one misread or are partial; the others may match look-alikes."""

    agency: str
    purpose: str
    authority: AuthorityKind
    share: float
    confusables: bool = False
    distance: float = 0.0
    partial: float = 0.0
    priority: int | None = None
    instructions: str | None = None


KINDS: Final = (
    EntryKind("PD01", "stolen_vehicle", "case", 0.36, confusables=True, partial=0.04),
    EntryKind("PD01", "stolen_plate", "case", 0.10, confusables=True),
    EntryKind("SP02", "wanted_person", "warrant", 0.10, confusables=True, partial=0.2, priority=2),
    EntryKind("SP02", "missing_person", "case", 0.08, confusables=True, distance=0.5, priority=2),
    EntryKind(
        *("SP02", "endangered_person", "case", 0.05),
        distance=1.0,
        priority=1,
        instructions="Call dispatch at once",
    ),
    EntryKind("TOLL", "unpaid_toll", "statute", 0.11),
    EntryKind("PARKING", "permit", "contract", 0.14, priority=5),
    EntryKind("PARKING", "access", "contract", 0.06, priority=5),
)
