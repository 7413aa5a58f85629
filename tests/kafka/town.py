"""A town whose matches are known: documents to produce, and what must come of them.

`engine.synthetic` makes the documents; this module takes them out of its hands as plain dicts,
adds what makes the rules bite (entries that have expired or not begun, regions, plates in
vendors' spellings, fields that nobody asked for) and asks the oracle.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import orjson

from engine.clock import SystemClock, format_time
from engine.documents import encode
from engine.synthetic import City, CitySize
from tests.kafka.records import ToSend, partition_of, produce
from tests.oracle import Expected, expected_matches, plain_plate

_DAY_MS = 86_400_000
_REGIONS = (None, "US-CA", "US-NV", "US", "NL")

Document = dict[str, Any]
#: What is produced to a topic, by partition.
Records = dict[int, list[ToSend]]


class Town:
    """Entries, policies and reads, and the ids of the matches that must come of them.

    The records lie encoded in `entries`, `policies` and `reads`, by partition; an entry's
    place in its partition is its offset in a new topic.
    """

    def __init__(
        self, *, entries: int, sources: int, reads: int, hit_rate: float, seed: int = 1
    ) -> None:
        now_ms = SystemClock().now_ms()
        city = City(seed, CitySize(entries=entries, sources=sources), now_ms)
        listed = [_plain(entry) for entry in city.entries()]
        for number, entry in enumerate(listed):
            _vary_entry(entry, number, now_ms)
        policies = [_plain(policy) for policy in city.policies()]
        for policy in policies[::7]:
            policy["regions"] = ["US-CA", "NL"]
        denying = {**policies[1], "source": city.sources[2], "rules": []}
        policies.append(denying)

        self.read_count = reads
        self.reads: Records = {partition: [] for partition in range(4)}
        hits: list[Document] = []
        plates = {entry["plate"] for entry in listed}
        for number, read in enumerate(city.reads(reads, hit_rate)):
            _vary_read(read, number)
            key = plain_plate(read["plate"])
            if key in plates:
                hits.append(read)
            record = ToSend(key.encode(), orjson.dumps(read))
            self.reads[partition_of(record.key or b"", 4)].append(record)
        self.entries: Records = {
            0: [ToSend(entry["entry_id"].encode(), orjson.dumps(entry)) for entry in listed]
        }
        self.policies: Records = {
            0: [ToSend(policy["source"].encode(), orjson.dumps(policy)) for policy in policies]
        }
        self.expected: set[Expected] = expected_matches(
            [(offset, entry["entry_id"], entry) for offset, entry in enumerate(listed)],
            [(policy["source"], policy) for policy in policies],
            hits,
            datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC),
        )
        self.hit_count = len(hits)

    def is_expected(self, read: ToSend) -> bool:
        """Whether a match must come of a read."""
        read_id = orjson.loads(read.value or b"")["read_id"]
        return any(match.read_id == read_id for match in self.expected)

    def reads_between(self, start: float, stop: float) -> Records:
        """A share of each partition's reads, such as the first half: 0 to 0.5."""
        return {
            partition: records[round(start * len(records)) : round(stop * len(records))]
            for partition, records in self.reads.items()
        }

    async def produce_control(self, bootstrap: str, hotlist: str, policies: str) -> None:
        """Entries and policies into their topics."""
        await produce(bootstrap, hotlist, self.entries)
        await produce(bootstrap, policies, self.policies)


def sizes(records: Records) -> int:
    """How many records there are in all partitions."""
    return sum(len(of_partition) for of_partition in records.values())


def found_matches(records: Iterable[Any]) -> list[Expected]:
    """What the records of the matches topic say, repeats included."""
    documents = [orjson.loads(record.value) for record in records]
    return [
        Expected(match["match_id"], match["entry"]["entry_id"], match["read"]["read_id"])
        for match in documents
    ]


def _plain(document: object) -> Document:
    plain: Document = orjson.loads(encode(document))  # type: ignore[arg-type]
    return plain


def _vary_entry(entry: Document, number: int, now_ms: int) -> None:
    if number % 50 == 0:
        entry["created_at"] = format_time(now_ms - 10 * _DAY_MS)
        entry["expires_at"] = format_time(now_ms - _DAY_MS)
    elif number % 50 == 1:
        entry["starts_at"] = format_time(now_ms + _DAY_MS)
    elif number % 50 == 2:
        entry["starts_at"] = format_time(now_ms - _DAY_MS)
    if number % 4 == 0:
        entry["region"] = _REGIONS[1 + number // 4 % 4]


def _vary_read(read: Document, number: int) -> None:
    region = _REGIONS[number % len(_REGIONS)]
    if region is not None:
        read["region"] = region
    if number % 10 == 0:
        plate = read["plate"]
        read["plate"] = f"{plate[:3].lower()}-{plate[3:]} "
    if number % 3 == 0:
        read["vendor"] = {"model": "LX-7", "lane": number % 4, "ocr": ["v2", 0.98]}
