"""Reads of a made-up city, sent at a steady rate: traffic for a deployment without cameras yet.

The city is the same on every run: `write_lists` writes the hot list and the policies that match
its reads, as files for `hotlist entries import` and `hotlist policies set`. The reads go to
the detections topic only, and are made up; nothing is read from Kafka.

It keeps its rate: after a stall it sends the missed reads of the last second, and no more.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from engine.clock import Clock, format_time
from engine.config import Settings
from engine.demo.synthetic import City, CitySize
from engine.documents.model import Entry, Policy
from engine.documents.read_record import alternates_header
from engine.kafka.topics import Topics
from engine.kafka.writer import outbox
from engine.plates.normal_form import normalize

#: The files that `write_lists` writes.
ENTRIES_FILE: Final = "entries.csv"
POLICIES_FILE: Final = "policies.json"

_SEED: Final = 2026
#: Small enough to look at, with some entries for each option of an entry.
_SIZE: Final = CitySize(
    entries=300,
    sources=12,
    cameras_a_source=20,
    agencies=4,
    confusables_share=0.2,
    distance_share=0.05,
    partial_share=0.05,
    misread_share=0.2,
    alternates_share=0.05,
)
_STEP_S: Final = 0.1
#: A burst after a stall has at most the reads of this long.
_OWED_S: Final = 1.0
_COLUMNS: Final = (
    *("entry_id", "list_id", "plate", "agency", "purpose", "authority_kind", "authority_ref"),
    *("confusables", "distance", "vehicle_make", "vehicle_model", "vehicle_color", "vehicle_type"),
)


def write_lists(directory: Path) -> list[Path]:
    """Write the city's entries (.csv) and policies (.json) into a directory; return the paths.

    Neither has author or time: the importing commands set these.
    """
    city = City(_SEED, _SIZE, now_ms=0)
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_row(entry) for entry in city.entries())
    policies = b",\n ".join(orjson.dumps(_policy(policy)) for policy in city.policies())
    entries_file, policies_file = directory / ENTRIES_FILE, directory / POLICIES_FILE
    entries_file.write_text(rows.getvalue(), encoding="utf-8")
    policies_file.write_bytes(b"[" + policies + b"]\n")
    return [entries_file, policies_file]


async def send_traffic(
    settings: Settings,
    clock: Clock,
    *,
    rate: float,
    listed: float,
    reads: int | None,
    sent: Callable[[int], None],
) -> int:
    """Send `rate` reads a second, `listed` (0 to 1) of them of listed plates; return their number.

    Ends after `reads`, or never. `sent` is called with the number so far, about ten times a
    second. Raises BrokerError and TopicError like every command.
    """
    started_ms = clock.now_ms()  # numbers the reads, so that the next run has other ids
    city = City(_SEED, _SIZE, started_ms)
    for _ in city.entries():
        pass  # iterating draws the listed plates
    loop = asyncio.get_running_loop()
    count = 0
    async with outbox(settings, Topics(settings.prefix).detections) as box:
        owed, last_s = 0.0, loop.time()
        while reads is None or count < reads:
            now_s = loop.time()
            owed = min(owed + (now_s - last_s) * rate, max(1.0, rate * _OWED_S))
            last_s = now_s
            step = int(owed) if reads is None else min(int(owed), reads - count)
            owed -= step
            captured_at = format_time(clock.now_ms())
            for read in city.reads(step, listed, first=started_ms + count):
                read["captured_at"] = captured_at
                others = (alternate["plate"] for alternate in read.get("alternates", ()))
                await box.send(
                    normalize(read["plate"]).encode(),
                    orjson.dumps(read),
                    alternates_header(others),
                )
            await box.flush()
            count += step
            sent(count)
            await asyncio.sleep(max(0.0, _STEP_S - (loop.time() - now_s)))
    return count


def _row(entry: Entry) -> tuple[object, ...]:
    vehicle = entry.vehicle
    assert vehicle is not None
    return (
        *(entry.entry_id, entry.list_id, entry.plate, entry.agency, entry.purpose),
        *(entry.authority.kind, entry.authority.reference),
        *("true" if entry.confusables else "", entry.distance or ""),
        *(vehicle.make, vehicle.model, vehicle.color, vehicle.type),
    )


def _policy(policy: Policy) -> dict[str, object]:
    rules = [{"agencies": rule.agencies, "purposes": rule.purposes} for rule in policy.rules]
    return {"source": policy.source, "rules": rules}
