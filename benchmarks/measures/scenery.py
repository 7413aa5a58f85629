"""Probes: plates, entries and reads that the measures put among the synthetic ones.

Their plates have eight characters, so that no synthetic read or entry shows them. Their source
lets all match, and an entry of theirs gives a match a read.
"""

from __future__ import annotations

import time

import orjson
from aiokafka.partitioner import DefaultPartitioner

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
#: Plates whose entries suppress repeats: each camera that reads one makes a suppression key.
STATE_PLATES = tuple(f"STATE{number:03d}" for number in range(120))

_DAY_MS = 86_400_000
_STATE_S = 3600
_BATCH_BYTES = 256 * 1024


_partition_of = DefaultPartitioner()


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as the producers choose it."""
    numbers = list(range(partitions))
    return int(_partition_of(key, numbers, numbers))


def probe_read(plate: str, number: int, camera: int = 0) -> bytes:
    """A probe's JSON; the number, which stands in its id, is its time in nanoseconds."""
    read = {
        "read_id": f"{PROBE}{number:016x}",
        "plate": plate,
        "captured_at": format_time(number // 1_000_000),
        "source": PROBE_SOURCE,
        "camera": f"{PROBE_SOURCE}-cam-{camera:03d}",
        "confidence": 0.9,
        "images": [{"kind": "plate", "uri": "s3://plates/probe.jpg"}],
    }
    return orjson.dumps(read)


def quantiles(values: list[float]) -> list[float]:
    """The 0th to the 100th percentile, each a value that occurs."""
    ordered = sorted(values)
    return [ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in range(101)]


def probe_entry(entry_id: str, plate: str, suppress_s: int = 0) -> Entry:
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
        suppress_s=suppress_s,
    )


def state_entries() -> list[Entry]:
    """Entries whose matches leave suppression keys for an hour."""
    return [probe_entry(f"state-{plate}", plate, _STATE_S) for plate in STATE_PLATES]


async def send_states(bootstrap: str, topics: Topics, count: int) -> None:
    """Produce reads that come to so many suppression keys."""
    started_ns = time.time_ns()
    async with open_producer(bootstrap, "lz4", _BATCH_BYTES) as producer:
        last = None
        for number in range(count):
            camera, place = divmod(number, len(STATE_PLATES))
            plate = STATE_PLATES[place]
            value = probe_read(plate, started_ns + number, camera)
            last = await producer.send(topics.detections, value, plate.encode())
        if last is not None:
            await last


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


async def fill_by_plate(bootstrap: str, topic: str, scene: Scene, probes: list[Entry]) -> None:
    """Produce the entries keyed by plate, which no two of them share."""
    records = scene.entries_by_plate()
    records += [Record(entry.plate.encode(), encode(entry)) for entry in probes]
    async with open_producer(bootstrap, "lz4", _BATCH_BYTES) as producer:
        await send(producer, topic, {0: batches_of(producer, records)})
