"""A town whose matches are known: documents to produce, and what must come of them.

`engine.demo.synthetic` makes the documents; this module takes them out of its hands as plain dicts,
adds what makes the rules bite (entries that have expired or not begun, regions, areas and hours,
plates in vendors' spellings, vehicles read twice, alternates that nobody asks for, fields that
nobody asked for) and asks the oracle.

Exact entries fold what is read twice, for all reads of a plate come by one partition. The others
fold nothing: which of a vehicle's reads came first would be a matter of chance.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from engine.clock import SystemClock, format_time
from engine.demo.synthetic import City, CitySize
from engine.documents.codec import encode
from engine.documents.fields import ALTERNATES_HEADER
from tests.kafka.records import ToSend, encoded, partition_of, produce
from tests.models.naive import Matched, plain_plate
from tests.models.oracle import Expected, Oracle

_DAY_MS = 86_400_000
_REGIONS = (None, "US-CA", "US-NV", "US", "NL")
#: One read in so many shows the last vehicle again that was listed; and between two of them, one
#: shows a vehicle that was shown again so many times before: more than a minute ago.
_AGAIN_EVERY = 500
_TIMES_AGO = 130
#: How often a vehicle passes by whose entry lists no exact plate alone.
_OFTEN = 10

Document = dict[str, Any]
#: What is produced to a topic, by partition.
Records = dict[int, list[ToSend]]


class Town:
    """Entries, policies and reads, and the matches that must come of them.

    The records lie encoded in `entries`, `policies` and `reads`, by partition; an entry's
    place in its partition is its offset in a new topic. A town that is not `is_answered` has the
    records alone.
    """

    def __init__(
        self,
        *,
        entries: int,
        sources: int,
        reads: int,
        hit_rate: float,
        seed: int = 1,
        is_answered: bool = True,
    ) -> None:
        now_ms = SystemClock().now_ms()
        size = CitySize(
            entries=entries,
            sources=sources,
            confusables_share=0.03,
            distance_share=0.003,
            partial_share=0.005,
            misread_share=0.4,
            alternates_share=0.1,
            suppress_s=0,
        )
        city = City(seed, size, now_ms)
        self._at = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC)
        self._listed = [_plain(entry) for entry in city.entries()]
        for number, entry in enumerate(self._listed):
            _vary_entry(entry, number, now_ms)
            if not _is_exact(entry):
                city.listed_plates += (_OFTEN - 1) * [city.listed_plates[number]]
        self._policies = [_plain(policy) for policy in city.policies()]
        for policy in self._policies[::7]:
            policy["regions"] = ["US-CA", "NL"]
        denying = {**self._policies[1], "source": city.sources[2], "rules": []}
        self._policies.append(denying)

        self.read_count = reads
        self.reads: Records = {partition: [] for partition in range(4)}
        self.entries: Records = {
            0: [ToSend(entry["entry_id"].encode(), encoded(entry)) for entry in self._listed]
        }
        self.policies: Records = {
            0: [ToSend(policy["source"].encode(), encoded(policy)) for policy in self._policies]
        }
        oracle = self._oracle()
        #: By their ids.
        self.matches: dict[str, Matched] = {}
        self.hit_count = self.folded_count = 0
        folding = {entry["plate"] for entry in self._listed if "suppress_s" not in entry}
        for read, is_hit in _with_some_again(city.reads(reads, hit_rate), oracle):
            texts = [plain_plate(each["plate"]) for each in read.get("alternates", ())]
            # A plate that is folded comes by no partition but its own.
            asks = bool(texts) and folding.isdisjoint(texts)
            header = ",".join(texts).encode()
            key = plain_plate(read["plate"]).encode()
            headers = ((ALTERNATES_HEADER, header),) if asks else ()
            self.reads[partition_of(key, 4)].append(ToSend(key, encoded(read), headers))
            if is_hit and is_answered:
                self.hit_count += 1
                answer = oracle.answer(read, self._at, (header,) if asks else ())
                self.matches |= {match.match_id: match for match in answer.matches}
                self.folded_count += answer.suppressed
        self.expected = {Expected(*match[:3]) for match in self.matches.values()}

    def _oracle(self) -> Oracle:
        return Oracle(
            [(offset, entry["entry_id"], entry) for offset, entry in enumerate(self._listed)],
            [(policy["source"], policy) for policy in self._policies],
        )

    def expected_of(self, reads: Iterable[ToSend]) -> set[Expected]:
        """What must come of some of the reads, in their order, where there are no others."""
        oracle = self._oracle()
        return {
            Expected(*match[:3])
            for read in reads
            for match in oracle.answer(
                orjson.loads(read.value or b""), self._at, [value for _, value in read.headers]
            ).matches
        }

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
    if number % 8 == 1:
        entry["area"] = [{"lat": 37.5, "lon": -122.5, "radius_m": 40_000}]
    if number % 8 == 3:
        days = ["mon", "wed", "fri"] if number % 16 == 3 else ["tue", "thu", "sat", "sun"]
        windows = [{"days": days, "start": "00:00", "end": "24:00"}]
        entry["hours"] = {"time_zone": "Pacific/Auckland", "windows": windows}
    if number % 2 and _is_exact(entry):
        del entry["suppress_s"]


def _is_exact(entry: Document) -> bool:
    return not (entry.keys() & {"confusables", "distance"} or "?" in entry["plate"])


def _with_some_again(reads: Iterable[Document], oracle: Oracle) -> Iterator[tuple[Document, bool]]:
    """The reads, some of them in the place of others: of vehicles that were read before; and
    whether each can match."""
    last: Document | None = None
    again: list[Document] = []
    for number, read in enumerate(reads):
        _vary_read(read, number)
        place = number % _AGAIN_EVERY
        seen = None
        if place == 0 and last is not None:
            seen = last
            again.append(last)
        elif place == _AGAIN_EVERY // 2 and len(again) >= _TIMES_AGO:
            seen = again[-_TIMES_AGO]
        if seen is not None:
            yield {**seen, "read_id": read["read_id"], "captured_at": read["captured_at"]}, True
            continue
        is_hit = oracle.can_match(read)
        if is_hit:
            last = read
        yield read, is_hit


def _vary_read(read: Document, number: int) -> None:
    region = _REGIONS[number % len(_REGIONS)]
    if region is not None:
        read["region"] = region
    if number % 10 == 0:
        plate = read["plate"]
        read["plate"] = f"{plate[:3].lower()}-{plate[3:]} "
    if number % 3 == 0:
        read["vendor"] = {"model": "LX-7", "lane": number % 4, "ocr": ["v2", 0.98]}
    if number % 7 == 0:
        del read["vehicle"], read["location"]
