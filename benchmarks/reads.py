"""The synthetic input of a case: reads, entries, policies, and how many matches they must give.

The expected number comes from a plain loop over plain dicts, which shares no code with any
engine. Everything but the times follows from the seed. Listed plates come at fixed places, in
exactly the share that the case asks for; a plate that the generator lists by chance is drawn
again, so that a quiet city is as quiet as it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import orjson

from benchmarks.definitions import Expected, Input
from engine.documents import Entry, Policy, encode
from engine.synthetic import City, CitySize

SEED = 20_240_501
#: For counting alone: no count depends on it.
_SOME_TIME_MS = 1_700_000_000_000


class Record(NamedTuple):
    """A record of a control topic."""

    key: bytes
    value: bytes


class Read(NamedTuple):
    """One read, ready to be produced, and whether it must match."""

    key: bytes
    value: bytes
    matches: bool


class Scene:
    """The documents of one case. `entries` and `policies` are made at once, reads as asked."""

    def __init__(self, wanted: Input, now_ms: int) -> None:
        self._wanted = wanted
        size = CitySize(entries=wanted.entries, sources=wanted.sources)
        self._city = City(SEED, size, now_ms)
        # A match a read, even where repeated reads would later be folded into one.
        self.entries = [
            msgspec.structs.replace(entry, suppress_s=0) for entry in self._city.entries()
        ]
        self.policies = self._city.policies()
        self._listed = {entry.plate: entry for entry in self.entries}
        self._policy_of = {policy.source: policy for policy in self.policies}

    def distinct_reads(self) -> Iterator[Read]:
        """The case's distinct reads, in order. To be asked for once: the seed moves on."""
        count, rate = self._wanted.distinct_reads, self._wanted.hit_rate
        hits = self._city.reads(count, 1.0)
        others = (
            read
            for read in self._city.reads(2 * count + 1000, 0.0, first=count)
            if read["plate"] not in self._listed
        )
        for number in range(count):
            is_hit = int((number + 1) * rate) > int(number * rate)
            read = next(hits if is_hit else others)
            plate = read["plate"]
            matches = is_hit and self._may_match(plate, read["source"])
            yield Read(plate.encode(), orjson.dumps(read), matches)

    def control_records(self) -> tuple[list[Record], list[Record]]:
        """Keys and values of the hot list topic and of the policy topic."""
        return (
            [Record(entry.entry_id.encode(), encode(entry)) for entry in self.entries],
            [Record(policy.source.encode(), encode(policy)) for policy in self.policies],
        )

    def entries_by_plate(self) -> list[Record]:
        """The hot list keyed by plate, for engines that can only join on a topic's key."""
        return [Record(entry.plate.encode(), encode(entry)) for entry in self.entries]

    def _may_match(self, plate: str, source: str) -> bool:
        policy = self._policy_of.get(source)
        return policy is not None and _allowed(policy, self._listed[plate])


def count_expected(wanted: Input) -> Expected:
    """Count the matches that a case must give."""
    scene = Scene(wanted, _SOME_TIME_MS)
    return expected_of([read.matches for read in scene.distinct_reads()], wanted)


def expected_of(matches: list[bool], wanted: Input) -> Expected:
    """The matches of each topic, from whether each distinct read matches."""
    once = sum(matches)
    return Expected(
        reads=once * wanted.repeats, once=once, short=sum(matches[: wanted.short_reads])
    )


def _allowed(policy: Policy, entry: Entry) -> bool:
    for rule in policy.rules:
        agency = rule.agencies == "*" or entry.agency in rule.agencies
        purpose = rule.purposes == "*" or entry.purpose in rule.purposes
        if agency and purpose:
            return True
    return False
