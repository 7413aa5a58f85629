"""Entries that nobody changes, and reads whose outcome is known beforehand.

Most come from `tests.kafka.town`: exact and partial plates, look-alikes, misreads, regions, areas,
hours, denials. Beside them stand a few vehicles that are read again and again, late ones among
them, so that much is folded: every one of their reads comes by one partition, and what comes of
it follows from that partition's order alone.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator

import orjson

from engine.clock import SystemClock, format_time
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.records import ToSend, partition_of
from tests.kafka.town import Records, Town
from tests.models.contract_oracle import ContractOracle
from tests.models.contract_records import EntryRecord, PolicyRecord
from tests.models.contract_rules import RULES
from tests.models.oracle import Oracle
from tests.torture.churn import FOLDING, NEIGHBOUR, STEADY

_FOLDING = [f"FOLDED000{number}" for number in range(8)]
_SUPPRESS_S = 20
_CAMERAS = ("gate-1", "gate-2")
_CONFIDENCES = (None, 0.01, 0.1, 0.5, 0.95)
_LATE_S = (0, 0, 0, 0, 25, 300)


class TortureTown:
    """`reads` is how many reads there are in all, `folding` of them of vehicles read often."""

    def __init__(self, seed: int, reads: int, folding_share: float = 0.1) -> None:
        folding = round(reads * folding_share)
        self._town = Town(entries=300, sources=20, reads=reads - folding, hit_rate=0.5, seed=seed)
        self._chance = random.Random(f"{seed} town")
        self._folded = [
            an_entry(entry_id=f"E-{plate}", plate=plate, suppress_s=_SUPPRESS_S)
            for plate in _FOLDING
        ]
        self.entries: Records = {
            0: [
                *self._town.entries[0],
                *(
                    ToSend(entry["entry_id"].encode(), orjson.dumps(entry))
                    for entry in self._folded
                ),
            ]
        }
        self.policies = self._town.policies
        self.reads: Records = {
            partition: list(records) for partition, records in self._town.reads.items()
        }
        made: dict[int, list[ToSend]] = {}
        for partition, read in self._folding_reads(folding):
            made.setdefault(partition, []).append(read)
        for partition, own in made.items():
            self.reads[partition] = list(_spread(self.reads[partition], own))

    def oracle(self) -> Oracle:
        """What must come of the reads, in the order of their partitions."""
        return Oracle(
            [
                (offset, (record.key or b"").decode(), orjson.loads(record.value or b""))
                for offset, record in enumerate(self.entries[0])
            ],
            [
                *(
                    ((record.key or b"").decode(), orjson.loads(record.value or b""))
                    for record in self.policies[0]
                ),
                *((source, a_policy(source=source)) for source in (STEADY, NEIGHBOUR)),
            ],
        )

    def contract_oracle(self) -> ContractOracle:
        """What must come of the reads of vehicles that are read again and again."""
        oracle = ContractOracle(RULES)
        now_ms = SystemClock().now_ms()
        first = len(self.entries[0]) - len(self._folded)
        for offset, entry in enumerate(self._folded, first):
            oracle.process(EntryRecord(entry["entry_id"], entry, offset, now_ms))
        for source in (STEADY, NEIGHBOUR):
            oracle.process(PolicyRecord(source, a_policy(source=source), 0, now_ms))
        return oracle

    def reads_between(self, start: float, stop: float) -> Records:
        """A share of each partition's reads, such as the first half: 0 to 0.5."""
        return {
            partition: records[round(start * len(records)) : round(stop * len(records))]
            for partition, records in self.reads.items()
        }

    def _folding_reads(self, count: int) -> Iterator[tuple[int, ToSend]]:
        now_ms = SystemClock().now_ms()
        for number in range(count):
            plate = self._chance.choice(_FOLDING)
            late_s = self._chance.choice(_LATE_S)
            stated = self._chance.choice(_CONFIDENCES)
            read = a_read(
                read_id=f"{FOLDING}{number // 2}",
                plate=plate,
                source=(STEADY, NEIGHBOUR)[number % 2],
                camera=self._chance.choice(_CAMERAS),
                **({} if stated is None else {"confidence": stated}),
                captured_at=format_time(now_ms + 1000 * (number // 2 - late_s)),
            )
            key = plate.encode()
            yield partition_of(key, 4), ToSend(key, orjson.dumps(read))


def at_now() -> datetime.datetime:
    """When the reads are taken, as the oracle wants it: no entry of the town begins or ends
    within a day of it."""
    return datetime.datetime.now(datetime.UTC)


def _spread(many: list[ToSend], few: list[ToSend]) -> Iterator[ToSend]:
    """The few evenly among the many, each in its order."""
    taken = 0
    for number, record in enumerate(many):
        yield record
        while taken < len(few) and taken * len(many) <= number * len(few):
            yield few[taken]
            taken += 1
    yield from few[taken:]
