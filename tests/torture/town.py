"""Entries that nobody changes, and reads whose outcome is known beforehand.

Most come from `tests.kafka.town`: exact and partial plates, look-alikes, misreads, regions, areas,
hours, denials. Beside them stand a few vehicles that are read again and again, late ones among
them, so that much is folded: every one of their reads comes by one partition, and what comes of
it follows from that partition's order alone. They are read well and badly, so that a better match
follows a worse one and the other way round. Among them are those of entries that are corrected.
Each of these reads comes from two sources, at cameras of the same names with the same read ids.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from engine.clock import SystemClock, format_time
from tests.fakes.examples import a_read, an_entry
from tests.kafka.records import ToSend, encoded, partition_of
from tests.kafka.town import Records, Town
from tests.torture.churn import (
    CONFIDENCES,
    CORRECTED,
    CORRECTED_PLATES,
    FOLDING,
    NEIGHBOUR,
    STEADY,
)

#: So far from each other that none is a misread of another.
_FOLDING = [f"FOLD{6 * letter}" for letter in "AEHKMNUX"]
_SUPPRESS_S = 20
_CAMERAS = ("gate-1", "gate-2")
#: One read in so many of these vehicles is of an entry that is corrected.
_CORRECTED_SHARE = 0.4
_LATE_S = (0, 0, 0, 0, 25, 300)


class TortureTown:
    """`reads` is how many reads there are in all, `folding` of them of vehicles read often."""

    def __init__(self, seed: int, reads: int, folding_share: float = 0.1) -> None:
        folding = round(reads * folding_share)
        self._town = Town(
            entries=300,
            sources=20,
            reads=reads - folding,
            hit_rate=0.5,
            seed=seed,
            is_answered=False,
        )
        self._chance = random.Random(f"{seed} town")
        self._folded = [
            an_entry(
                entry_id=f"E-{plate}",
                plate=plate,
                suppress_s=_SUPPRESS_S,
                confusables=True,
                distance=1,
            )
            for plate in _FOLDING
        ]
        self.entries: Records = {
            0: [
                *self._town.entries[0],
                *(ToSend(entry["entry_id"].encode(), encoded(entry)) for entry in self._folded),
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

    def reads_between(self, start: float, stop: float) -> Records:
        """A share of each partition's reads, such as the first half: 0 to 0.5."""
        return {
            partition: records[round(start * len(records)) : round(stop * len(records))]
            for partition, records in self.reads.items()
        }

    def _folding_reads(self, count: int) -> Iterator[tuple[int, ToSend]]:
        now_ms = SystemClock().now_ms()
        moving = [plate for plates in CORRECTED_PLATES.values() for plate in plates]
        is_corrected, listed = False, _FOLDING[0]
        for number in range(count):
            if number % 2 == 0:
                is_corrected = self._chance.random() < _CORRECTED_SHARE
                listed = self._chance.choice(moving if is_corrected else _FOLDING)
            plate = listed if is_corrected else _misread(self._chance, listed)
            late_s = self._chance.choice(_LATE_S)
            stated = self._chance.choice(CONFIDENCES)
            read = a_read(
                read_id=f"{CORRECTED if is_corrected else FOLDING}{number // 2}",
                plate=plate,
                source=(STEADY, NEIGHBOUR)[number % 2],
                camera=self._chance.choice(_CAMERAS),
                **({} if stated is None else {"confidence": stated}),
                captured_at=format_time(now_ms + 1000 * (number // 2 - late_s)),
            )
            # By the partition of the listed plate, however it was read: its order decides.
            record = ToSend(plate.encode(), encoded(read))
            yield partition_of(listed.encode(), 4), record


def _misread(chance: random.Random, plate: str) -> str:
    """The plate as it is listed, with a look-alike, without a character or with another one."""
    return chance.choice(
        (plate, plate, plate.replace("O", "0"), plate[:-1], f"{plate[:6]}W{plate[7:]}")
    )


def _spread(many: list[ToSend], few: list[ToSend]) -> Iterator[ToSend]:
    """The few evenly among the many, each in its order."""
    taken = 0
    for number, record in enumerate(many):
        yield record
        while taken < len(few) and taken * len(many) <= number * len(few):
            yield few[taken]
            taken += 1
    yield from few[taken:]
