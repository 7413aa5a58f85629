"""The demo's reads on their way to Kafka, at the rate of the city's clock, then at full speed.

A delay means something only while the reads are fewer than the engine can take: so the city sets
the rate for `PACED_S`, and the delays of these reads are the ones that are shown. Then the reads
are sent as fast as this process makes them, for `FULL_S`, and this gives a rate. Both are repeated.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from typing import Final, NamedTuple

from engine.clock import Clock, format_time
from engine.demo.board import Board
from engine.demo.city import ShownCity
from engine.demo.expected import Expected
from engine.demo.fast_clock import CityClock
from engine.kafka.writer import Outbox

PACED_S: Final = 20.0
FULL_S: Final = 10.0
#: Reads produced but not yet processed. The embedded broker keeps about 5 MB a partition.
_READS_AHEAD: Final = 10_000
#: Reads sent at once. Few while their delay counts: the first of them waits for the last.
_READS_A_STEP: Final = 2_000
_PACED_READS_A_STEP: Final = 100
#: Reads made in one go, without yielding to other tasks of this thread.
_READS_A_TURN: Final = 100
#: Each step makes a fetch of a few reads in each partition, which costs the engine about as much as
#: one of a hundred.
_STEP_S: Final = 0.010
#: If this machine cannot keep up with the city, the feed drops reads that are later than this.
_OWED_S: Final = 0.1


class FeedRates(NamedTuple):
    """The reads that the city's clock asked for and those that were sent at its rate, and the reads
    at full speed; each with its time in seconds."""

    asked: float
    paced: int
    paced_s: float
    full: int
    full_s: float


class ReadFeed:
    """Sends the reads of a city, and notes each one in `expected` and on the board.

    `sent` counts the reads sent. The clock starts with the first call of `send_due`.
    """

    def __init__(self, city: ShownCity, expected: Expected, board: Board, clock: Clock) -> None:
        self.sent = 0
        self.is_paced = True
        self._paced = 0
        self._asked = self._paced_s = self._full_s = 0.0
        self._city = city
        self._expected = expected
        self._board = board
        self._clock = clock
        self._city_clock = CityClock()
        self._began_s: float | None = None
        self._last_s = self._part_began_s = 0.0
        self._owed = 0.0
        #: The latest read's own time, which never goes back, and the same in RFC 3339.
        self._captured_ms, self._captured_at = 0, ""
        #: The times of the reads at which the parts changed: paced, full speed, paced, ...
        self._switched_ms: list[int] = []

    @property
    def rates(self) -> FeedRates:
        """The rates so far."""
        full = self.sent - self._paced
        return FeedRates(self._asked, self._paced, self._paced_s, full, self._full_s)

    def was_paced(self, captured_ms: int) -> bool:
        """Whether a read that was made at this time was sent at the rate of the city."""
        return bisect_right(self._switched_ms, captured_ms) % 2 == 0

    async def send_due(self, box: Outbox, processed: int, count: int | None) -> None:
        """Send the reads that are due, and wait for the next step.

        It stays at most `_READS_AHEAD` reads ahead of the `processed` ones, and sends no more than
        `count` in all, and paces at most half of them. Raises BrokerError if the broker does not
        acknowledge a read.
        """
        now_s = self._elapsed_s()
        self._board.time = self._city_clock.text(now_s)
        self._board.period = self._city_clock.period(now_s) if self.is_paced else "full speed"
        ended = self._part_has_ended(now_s, count)
        if ended and (self.is_paced or processed >= self.sent):
            self._switch(now_s)
        due = self._paced_due(now_s) if self.is_paced else _READS_A_STEP
        if ended and not self.is_paced:
            due = 0  # until all are processed
        left = due if count is None else count - self.sent
        step = max(0, min(due, left, _READS_AHEAD - (self.sent - processed)))
        if step:
            await self._send_step(box, step)
        if self.is_paced or not step:
            await asyncio.sleep(max(0.0, now_s + _STEP_S - self._elapsed_s()))
        if self.is_paced:
            self._owed -= step
            self._paced += step
            self._paced_s += self._elapsed_s() - now_s
        else:
            self._full_s += self._elapsed_s() - now_s

    def _elapsed_s(self) -> float:
        if self._began_s is None:
            self._began_s = time.perf_counter()
        return time.perf_counter() - self._began_s

    def _part_has_ended(self, now_s: float, count: int | None) -> bool:
        lasted_s = now_s - self._part_began_s
        if self.is_paced:
            return lasted_s >= PACED_S or (count is not None and self.sent >= count / 2)
        return lasted_s >= FULL_S and count is None

    def _switch(self, now_s: float) -> None:
        """Begin the other part, with a read that is later than the last one of this part."""
        self.is_paced = not self.is_paced
        self._part_began_s = self._last_s = now_s
        self._owed = 0.0
        self._captured_ms += 1
        self._captured_at = format_time(self._captured_ms)
        self._switched_ms.append(self._captured_ms)

    def _paced_due(self, now_s: float) -> int:
        rate = self._city_clock.rate(now_s)
        due = rate * (now_s - self._last_s)
        self._last_s = now_s
        self._asked += due
        self._owed = min(self._owed + due, rate * _OWED_S)
        return min(int(self._owed), _PACED_READS_A_STEP)

    async def _send_step(self, box: Outbox, step: int) -> None:
        """Send reads, each with the time at which it is made, until the broker has them all."""
        for number in range(1, step + 1):
            now_ms = self._clock.now_ms()
            if now_ms > self._captured_ms:
                self._captured_ms, self._captured_at = now_ms, format_time(now_ms)
            read = self._city.read(self._captured_at)
            self._expected.note(read, self._captured_ms)
            self._board.sent[read.source] += 1
            await box.send(read.plate.encode(), read.value)
            if number % _READS_A_TURN == 0:
                await asyncio.sleep(0)
        self.sent += step
        await box.flush()
