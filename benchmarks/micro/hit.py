"""Microseconds of the matcher's thread for one read of a listed plate, from a fetch to its matches.

All reads of the fetch are of listed plates: they are decompressed, scanned, opened, decided and
written. Each `match` is of an entry that has matched lately, and each `first match` of one that has
not. A `denied` read comes from a source without a policy. A match `kept in mind` is of an entry
that suppresses repeats, as is the default; no read here is a repeat.
"""

from __future__ import annotations

import itertools
import time

import orjson

from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.micro.material import SEED, batch_of
from benchmarks.micro.timing import warm_s
from engine import limits
from engine.demo.synthetic import City, CitySize
from engine.documents.codec import encode
from engine.documents.purposes import Purposes
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists
from engine.matching.matcher import Matcher
from engine.matching.suppression import Suppression
from engine.wire.record_batch import RawFetch

_READS = 1_000
#: More than are kept ready for their next match, and half as many more.
_ENTRIES = 60_000
_FETCHES = 40
#: A source whose policy allows all of them, and one without a policy.
OPEN_SOURCE, _CLOSED = "source-00", "source-02"


def measure() -> list[MeasuredCase]:
    """A case for each kind of hit."""
    assert _FETCHES * _READS > limits.ENTRIES_KEPT_OPEN
    took_s = {
        "match": _a_hit_s(OPEN_SOURCE, 0, 1),
        "first match": _a_hit_s(OPEN_SOURCE, 0, _FETCHES),
        "denied": _a_hit_s(_CLOSED, 0, 1),
        "kept in mind": _a_hit_s(OPEN_SOURCE, 60, 1),
    }
    return [
        MeasuredCase(case=name, figures=[Figure(name="a hit", unit="µs", values=[each * 1e6])])
        for name, each in took_s.items()
    ]


def _a_hit_s(source: str, suppress_s: int, fetches: int) -> float:
    """Seconds for one read, of fetches that come in turn, each with plates of its own."""
    now_ms = int(time.time() * 1000)
    matcher, given = listed_reads(source, suppress_s, fetches, now_ms)
    matches = 0 if source == _CLOSED else _READS
    for fetch in given:
        outcome = matcher.process(fetch, now_ms)
        assert (len(outcome.matches), outcome.next_offset, outcome.rejects) == (matches, None, [])
    following = itertools.cycle(given)
    return warm_s(lambda: matcher.process(next(following), now_ms)) / _READS


def listed_reads(
    source: str, suppress_s: int, fetches: int, now_ms: int
) -> tuple[Matcher, list[RawFetch]]:
    """Return a matcher, and fetches of reads of listed plates, each with plates of its own."""
    city = City(SEED, CitySize(entries=_ENTRIES, suppress_s=suppress_s), now_ms)
    matcher = Matcher(_lists(city, now_ms), 0, parse, Suppression())
    by_plate: dict[str, dict[str, object]] = {}
    reads = city.reads(8 * _READS * fetches, 1.0)
    while len(by_plate) < _READS * fetches:
        read = next(reads)
        by_plate[read["plate"]] = {**read, "source": source}
    sent = [(plate.encode(), orjson.dumps(read)) for plate, read in by_plate.items()]
    parts = [sent[at : at + _READS] for at in range(0, len(sent), _READS)]
    return matcher, [RawFetch("reads", 0, (batch_of(part, "lz4"),)) for part in parts]


def _lists(city: City, now_ms: int) -> Lists:
    lists = Lists(Purposes.load(None))
    entries = [
        ControlRecord(ControlKind.ENTRY, 0, number, now_ms, entry.entry_id.encode(), encode(entry))
        for number, entry in enumerate(city.entries())
    ]
    policies = [
        ControlRecord(ControlKind.POLICY, 0, number, now_ms, policy.source.encode(), encode(policy))
        for number, policy in enumerate(city.policies())
    ]
    for records in (entries, policies):
        applied = lists.apply(records, now_ms)
        assert not applied.refused
    return lists
