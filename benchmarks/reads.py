"""The synthetic input of a case: reads, entries, policies, and how many matches they must give.

The expected number comes from a plain loop over plain dicts, which shares no code with any
engine. Everything but the times follows from the seed. Listed plates come at fixed places, in
exactly the share that the case asks for; a plate that the generator lists by chance is drawn
again, so that a quiet city is as quiet as it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import orjson

from benchmarks.definitions import Expected, Input
from benchmarks.misread_entries import Like, misread_entries
from engine.clock import CANONICAL_TIME_CHARACTERS, format_time, parse_time
from engine.demo.synthetic import City, CitySize
from engine.documents.codec import encode
from engine.documents.model import Entry, Policy

SEED = 20_240_501
#: For counting alone: no count depends on it.
_SOME_TIME_MS = 1_700_000_000_000
_DAY_MS = 86_400_000
_CAPTURED_AT = b'"captured_at":"'


class Record(NamedTuple):
    """A record of a control topic."""

    key: bytes
    value: bytes


class Read(NamedTuple):
    """One read, ready to be produced, and how many matches it must give."""

    key: bytes
    value: bytes
    matches: int


class Scene:
    """The documents of one case. `entries` and `policies` are made at once, reads as asked."""

    def __init__(self, wanted: Input, now_ms: int) -> None:
        self._wanted = wanted
        size = CitySize(entries=wanted.entries, sources=wanted.sources)
        self._city = City(SEED, size, now_ms)
        exact = [
            msgspec.structs.replace(entry, suppress_s=wanted.suppress_s)
            for entry in self._city.entries()
        ]
        misread = misread_entries(wanted, exact, SEED)
        self.entries = [*exact, *misread]
        self.policies = self._city.policies()
        self._listed = {entry.plate: entry for entry in exact}
        self._like = Like(misread)
        self._has_misread = bool(misread)
        self._matched_ms: dict[tuple[str, str], int] = {}
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
            yield Read(read["plate"].encode(), orjson.dumps(read), self._count(read, is_hit))

    def control_records(self) -> tuple[list[Record], list[Record]]:
        """Keys and values of the hot list topic and of the policy topic."""
        return (
            [Record(entry.entry_id.encode(), encode(entry)) for entry in self.entries],
            [Record(policy.source.encode(), encode(policy)) for policy in self.policies],
        )

    def entries_by_plate(self) -> list[Record]:
        """The hot list keyed by plate, for engines that can only join on a topic's key."""
        return [Record(entry.plate.encode(), encode(entry)) for entry in self.entries]

    def _count(self, read: dict[str, Any], is_hit: bool) -> int:
        """The matches that a read must give."""
        policy = self._policy_of.get(read["source"])
        if policy is None:
            return 0
        plate = read["plate"]
        count = int(is_hit and _allowed(policy, self._listed[plate]) and not self._suppresses(read))
        if self._has_misread:
            for entry in self._like.of(plate):
                listed = entry.vehicle
                if listed is None or msgspec.structs.asdict(listed) == read["vehicle"]:
                    count += _allowed(policy, entry)
        return count

    def _suppresses(self, read: dict[str, Any]) -> bool:
        """Return whether an exact match is suppressed; reads come in the order of their times."""
        at_ms = parse_time(read["captured_at"])
        place = read["plate"], read["camera"]
        matched_ms = self._matched_ms.get(place)
        if matched_ms is not None and at_ms - matched_ms < 1000 * self._wanted.suppress_s:
            return True
        self._matched_ms[place] = at_ms
        return False


def days_ago(read: Read, days: int) -> Read:
    """The same read so many days earlier."""
    at = read.value.index(_CAPTURED_AT) + len(_CAPTURED_AT)
    end = at + CANONICAL_TIME_CHARACTERS
    earlier_ms = parse_time(read.value[at:end].decode()) - days * _DAY_MS
    return read._replace(
        value=read.value[:at] + format_time(earlier_ms).encode() + read.value[end:]
    )


def count_expected(wanted: Input) -> Expected:
    """Count the matches that a case must give."""
    scene = Scene(wanted, _SOME_TIME_MS)
    return expected_of([read.matches for read in scene.distinct_reads()], wanted)


def expected_of(matches: list[int], wanted: Input) -> Expected:
    """The matches of each topic, from how many each distinct read gives."""
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
