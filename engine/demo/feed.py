"""The demo's reads on their way to Kafka, at the rate of the city's clock."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from engine.clock import Clock, format_time
from engine.demo.board import Board
from engine.demo.city import ShownCity
from engine.demo.expected import Expected
from engine.demo.fast_clock import CityClock
from engine.kafka.writer import Outbox

#: Reads produced but not yet processed. The embedded broker keeps about 5 MB a partition.
_READS_AHEAD: Final = 10_000
_READS_A_STEP: Final = 2_000
#: Reads made in one go, without yielding to other tasks of this thread.
_READS_A_TURN: Final = 200
_STEP_S: Final = 0.02
#: If this machine cannot keep up with the city, the feed drops reads that are later than this.
_OWED_S: Final = 0.1


class ReadFeed:
    """Sends the reads of a city, and notes each one in `expected` and on the board.

    `sent` and `asked` count the reads sent and the reads that the city's clock asked for. The
    clock starts with the first call of `send_due`.
    """

    def __init__(self, city: ShownCity, expected: Expected, board: Board, clock: Clock) -> None:
        self.sent = 0
        self.asked = 0.0
        self._city = city
        self._expected = expected
        self._board = board
        self._clock = clock
        self._city_clock = CityClock()
        self._began_s: float | None = None
        self._last_s = 0.0
        self._owed = 0.0
        #: The latest read's own time, which never goes back.
        self._captured_ms = 0

    async def send_due(self, box: Outbox, processed: int, count: int | None) -> None:
        """Send the reads that are due, and wait for the next step.

        It stays at most `_READS_AHEAD` reads ahead of the `processed` ones, and sends no more than
        `count` in all. Raises BrokerError if the broker does not acknowledge a read.
        """
        if self._began_s is None:
            self._began_s = time.perf_counter()
        now_s = time.perf_counter() - self._began_s
        rate = self._city_clock.rate(now_s)
        due = rate * (now_s - self._last_s)
        self._last_s = now_s
        self.asked += due
        self._owed = min(self._owed + due, rate * _OWED_S)
        self._board.time = self._city_clock.text(now_s)
        self._board.period = self._city_clock.period(now_s)
        room = _READS_AHEAD - (self.sent - processed)
        step = max(0, min(int(self._owed), _READS_A_STEP, room))
        if count is not None:
            step = min(step, count - self.sent)
        self._owed -= step
        if step:
            await self._send_step(box, step)
            await box.flush()
        await asyncio.sleep(max(0.0, self._began_s + now_s + _STEP_S - time.perf_counter()))

    async def _send_step(self, box: Outbox, step: int) -> None:
        captured_ms = self._captured_ms = max(self._captured_ms, self._clock.now_ms())
        reads = self._city.reads(step, format_time(captured_ms))
        for number, read in enumerate(reads, start=1):
            self._expected.note(read, captured_ms)
            self._board.sent[read.source] += 1
            await box.send(read.plate.encode(), read.value)
            if number % _READS_A_TURN == 0:
                await asyncio.sleep(0)
        self.sent += step
