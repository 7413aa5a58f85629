"""Probes: plates, entries and reads that the measures put among the synthetic ones.

Their plates have eight characters, so that no synthetic read or entry shows them. Their source
lets all match, and an entry of theirs gives a match a read.
"""

from __future__ import annotations

import time

import orjson

from benchmarks.fill import batches_of, open_producer, send
from benchmarks.reads import Record, Scene
from engine.clock import format_time
from engine.documents.codec import encode
from engine.documents.model import Authority, Entry, Policy, Rule
from engine.kafka.topics import Topics

#: How a probe's read id begins; sixteen hexadecimal digits follow.
PROBE = "probe-"
PROBE_PLATES = tuple(f"PROBE{number:03d}" for number in range(200))
PROBE_SOURCE = "probes"

_DAY_MS = 86_400_000
_BATCH_BYTES = 256 * 1024


def probe_read(plate: str, number: int) -> bytes:
    """A probe's JSON; the number, which stands in its id, is its time in nanoseconds."""
    read = {
        "read_id": f"{PROBE}{number:016x}",
        "plate": plate,
        "captured_at": format_time(number // 1_000_000),
        "source": PROBE_SOURCE,
        "camera": f"{PROBE_SOURCE}-cam-000",
        "confidence": 0.9,
        "images": [{"kind": "plate", "uri": "s3://plates/probe.jpg"}],
    }
    return orjson.dumps(read)


def quantiles(values: list[float]) -> list[float]:
    """The 0th to the 100th percentile, each a value that occurs."""
    ordered = sorted(values)
    return [ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in range(101)]


def probe_entry(entry_id: str, plate: str) -> Entry:
    """An entry of a probe's plate, in force now."""
    now_ms = int(time.time() * 1000)
    return Entry(
        entry_id=entry_id,
        list_id="probes",
        plate=plate,
        agency="PROBES",
        purpose="stolen_vehicle",
        authority=Authority(kind="case", reference="probe"),
        requested_by="benchmark",
        created_at=format_time(now_ms - 1000),
        expires_at=format_time(now_ms + _DAY_MS),
        suppress_s=0,
    )


def probe_policy() -> Policy:
    """Of the probes' source: all may match."""
    return Policy(
        source=PROBE_SOURCE,
        rules=(Rule(agencies="*", purposes="*"),),
        updated_by="benchmark",
        updated_at=format_time(int(time.time() * 1000)),
    )


async def fill_lists(bootstrap: str, topics: Topics, scene: Scene, probes: list[Entry]) -> None:
    """Produce a scene's entries and policies, and those of probes."""
    hotlist, policies = scene.control_records()
    hotlist += [Record(entry.entry_id.encode(), encode(entry)) for entry in probes]
    policies.append(Record(PROBE_SOURCE.encode(), encode(probe_policy())))
    async with open_producer(bootstrap, "lz4", _BATCH_BYTES) as producer:
        await send(producer, topics.hotlist, {0: batches_of(producer, hotlist)})
        await send(producer, topics.policies, {0: batches_of(producer, policies)})
