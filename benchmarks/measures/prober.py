"""Lists plates and waits for their first match, while a worker drains at full speed.

`python -m benchmarks.measures.prober PROBE`. Every plate of a fixed set appears over and over in
the reads. By a timetable, an entry is produced for the next plate; its first match is its effect.
Then its tombstone is produced, so that listed plates stay few, and its plate may serve again.
Ends with its input.

Two delays of each entry, from its intended time: to the time at which the worker processed the
read (`matched_at`, in whole milliseconds), and to the moment at which the match was visible.
"""

from __future__ import annotations

import time
from collections import deque

import msgspec
from confluent_kafka import Consumer, Producer

from benchmarks.measures.children import argument, input_ended, say
from benchmarks.measures.definition import Count
from benchmarks.measures.observer import assign_ends
from benchmarks.measures.scenery import PROBE_PLATES, probe_entry
from engine.clock import parse_time
from engine.documents.codec import encode

_POLL_S = 0.002
_ENTRY = "effect-"


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Where entries go and matches come from."""

    bootstrap: str
    hotlist: str
    matches: str
    partitions: Count
    entries_per_s: float


class Probing(msgspec.Struct, frozen=True, kw_only=True):
    """The prober stands at the end of the matches topic; the next line that it says is Probed."""

    plates: int


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. Unix nanoseconds, and None where no match came."""

    intended_ns: int
    matched_ns: int | None = None
    visible_ns: int | None = None


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """All entries in order. Matches came of the prober's own entries (`of_probes`) and of
    `others`, the last of any at `last_match_ns`."""

    effects: list[Effect]
    of_probes: int
    others: int
    last_match_ns: int


class _Entry(msgspec.Struct, frozen=True):
    entry_id: str


class _Match(msgspec.Struct, frozen=True):
    """What the prober reads of a match."""

    matched_at: str
    entry: _Entry


def _run(probe: Probe) -> Probed:
    producer = Producer({"bootstrap.servers": probe.bootstrap, "linger.ms": 0})
    consumer = Consumer(
        {
            "bootstrap.servers": probe.bootstrap,
            "group.id": f"{probe.matches}-prober",
            "enable.auto.commit": False,
        }
    )
    decode = msgspec.json.Decoder(_Match).decode
    assign_ends(consumer, probe.matches, probe.partitions)
    ended = input_ended()
    say(Probing(plates=len(PROBE_PLATES)))
    effects: list[Effect] = []
    plates = deque(PROBE_PLATES)
    plate_of: dict[str, str] = {}
    others = of_probes = 0
    last_match_ns = 0
    interval_ns = int(1e9 / probe.entries_per_s)
    next_ns = 0
    while not ended.is_set():
        now_ns = time.time_ns()
        if others and not next_ns:
            next_ns = now_ns + interval_ns  # the worker is at work
        if next_ns and now_ns >= next_ns and plates:
            entry_id, plate = f"{_ENTRY}{len(effects)}", plates.popleft()
            producer.produce(probe.hotlist, encode(probe_entry(entry_id, plate)), entry_id)
            plate_of[entry_id] = plate
            effects.append(Effect(intended_ns=next_ns))
            next_ns += interval_ns
        producer.poll(0)
        message = consumer.poll(_POLL_S)
        if message is None:
            continue
        last_match_ns = time.time_ns()
        assert message.error() is None, message.error()
        match = decode(message.value() or b"")
        entry_id = match.entry.entry_id
        if not entry_id.startswith(_ENTRY):
            others += 1
            continue
        of_probes += 1
        if entry_id in plate_of:
            number = int(entry_id.removeprefix(_ENTRY))
            effects[number] = Effect(
                intended_ns=effects[number].intended_ns,
                matched_ns=parse_time(match.matched_at) * 1_000_000,
                visible_ns=last_match_ns,
            )
            producer.produce(probe.hotlist, None, entry_id)
            plates.append(plate_of.pop(entry_id))
    producer.flush(10)
    consumer.close()
    return Probed(effects=effects, of_probes=of_probes, others=others, last_match_ns=last_match_ns)


if __name__ == "__main__":
    say(_run(argument(Probe)))
