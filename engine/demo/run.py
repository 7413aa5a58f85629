"""The demo: a broker, a city, a worker, and a comparison of the matches with the expected ones.

Everything passes through Kafka as in production: lists and policies on the control topics, reads on
the detections topic, matches from the matches topic. `city` makes the records; `feed` sends them
at the rate of `fast_clock`; `expected` computes the expected matches without the engine's own
code. `board` is the state shown, with `lessons` on policies; `screen` draws it on a terminal,
`lines` in plain lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from engine import limits
from engine.clock import SystemClock
from engine.config import Settings
from engine.demo.board import Board
from engine.demo.city import ShownCity
from engine.demo.city_data import SOURCES, WITHOUT_POLICY
from engine.demo.embedded_broker import FETCH_WAIT_MS, EmbeddedBroker
from engine.demo.expected import Expected
from engine.demo.feed import ReadFeed
from engine.demo.lessons import lessons
from engine.demo.lines import Result, report_lines
from engine.demo.worker_process import WorkerProcess, demo_settings
from engine.documents.codec import encode, read_match
from engine.documents.model import Match
from engine.kafka.cluster import Cluster
from engine.kafka.reader import follow
from engine.kafka.topic_admin import create_topics, delete_topics
from engine.kafka.topics import Topics
from engine.kafka.writer import outbox
from engine.observability.metric_families import OTHER_SOURCES

_SEED: Final = 2026
_DRAW_EVERY_S: Final = 0.25
_REPORT_EVERY_S: Final = 1.0
_SETTLE_EVERY_S: Final = 10.0
#: How long the last matches may take to be seen after the last read was processed.
_LAST_MATCHES_S: Final = 15.0

Show = Callable[[str], None]


class Drawing(Protocol):
    """A drawing of the board that is updated while the demo runs."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, board: Board) -> None:
        """Draw the board's current state."""
        ...


def run_demo(
    bootstrap: str | None,
    reads: int | None,
    show: Show,
    line: Callable[[Match], str],
    drawing: Drawing | None = None,
) -> int:
    """Run the demo on a broker, or on an embedded one if `bootstrap` is None.

    With `reads` it stops after so many and returns 0 only if exactly the expected matches came;
    without, it runs until it is interrupted, and then returns the same. `show` prints a line of
    output, `line` formats a match. `drawing` replaces the lines while the demo runs. Raises
    KeyboardInterrupt if it is interrupted before `reads` are sent.
    """
    prefix = f"demo-{os.getpid()}-{int(time.time())}."
    with contextlib.ExitStack() as stack:
        embedded = bootstrap is None
        if bootstrap is None:
            show("starting the embedded broker ...")
            broker = stack.enter_context(EmbeddedBroker())
            broker.make_topics(Topics(prefix).all)
            bootstrap = broker.bootstrap
        settings = demo_settings(bootstrap, prefix)
        shown = _Shown(show, line, drawing)
        return asyncio.run(_run(settings, shown, reads, embedded=embedded))


@dataclass(frozen=True, slots=True)
class _Shown:
    """What shows the demo: see `run_demo`."""

    show: Show
    line: Callable[[Match], str]
    drawing: Drawing | None


async def _run(settings: Settings, shown: _Shown, reads: int | None, *, embedded: bool) -> int:
    # The process starts first: it warms up while this one makes the city.
    async with (
        _own_topics(settings, embedded=embedded),
        WorkerProcess.started(settings, embedded=embedded) as worker,
    ):
        return await _Demo(settings, worker, shown, embedded=embedded).run(reads)


@contextlib.asynccontextmanager
async def _own_topics(settings: Settings, *, embedded: bool) -> AsyncIterator[None]:
    """On a broker that is not ours, the demo's topics go when it ends."""
    if embedded:
        yield
        return
    cluster = Cluster.of(settings)
    await create_topics(cluster, partitions=4, replication=1)
    try:
        yield
    finally:
        await delete_topics(cluster)


class _Demo:
    def __init__(
        self, settings: Settings, worker: WorkerProcess, shown: _Shown, *, embedded: bool
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._show, self._line, self._drawing = shown.show, shown.line, shown.drawing
        self._wait_ms = FETCH_WAIT_MS if embedded else limits.FETCH_WAIT_MS
        self._topics = Topics(settings.prefix)
        self._clock = SystemClock()
        self._city = ShownCity(_SEED, self._clock.now_ms())
        self._policies = self._city.policies()
        self._expected = Expected(self._city.entries, self._policies)
        self._board = Board(
            tuple((source.name, source.in_words) for source in SOURCES),
            tuple(lessons(self._city.entries, self._policies, self._clock.now_ms())),
        )
        self._feed = ReadFeed(self._city, self._expected, self._board, self._clock)
        self._stopped = asyncio.Event()
        #: The engine's delays at the last look, and whether the reads were paced then.
        self._delays: Counter[float] = Counter()
        self._was_paced = True

    async def run(self, reads: int | None) -> int:
        await self._send_lists()
        self._show(
            f"{len(self._city.entries):,} entries; {len(self._policies)} of {len(SOURCES)} "
            "sources have a policy, and reads of the other match nothing"
        )
        self._show("starting the worker (the first time, numba compiles it for some seconds) ...")
        await self._worker.begin()
        self._show(f"metrics: http://127.0.0.1:{self._worker.counts.port}/metrics")
        result = await self._run_city(reads, self._worker.running)
        for text in result.lines():
            self._show(text)
        if reads is not None and result.sent < reads:
            raise KeyboardInterrupt
        return 0 if result.is_right else 1

    async def _run_city(self, reads: int | None, running: asyncio.Task[None]) -> Result:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._stopping_on_signals())
            if self._drawing is not None:
                stack.enter_context(self._drawing)
            beside = [asyncio.create_task(self._watch()), asyncio.create_task(self._report())]
            try:
                await self._send_reads(reads, [running, *beside])
                await self._wait_for_the_rest([running, *beside])
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
            self._count()
        return Result(self._feed.sent, self._feed.rates, self._expected, self._board)

    @contextlib.contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        """Let the first Ctrl-C end the city, with a count of what was sent; the second one ends
        the demo."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)

        def stop() -> None:
            self._stopped.set()
            for number in signals:
                loop.remove_signal_handler(number)

        with contextlib.suppress(NotImplementedError, ValueError):  # not available everywhere
            for number in signals:
                loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            with contextlib.suppress(NotImplementedError, ValueError):
                for number in signals:
                    loop.remove_signal_handler(number)

    async def _send_lists(self) -> None:
        async with outbox(self._settings, self._topics.hotlist) as box:
            for entry in self._city.entries:
                await box.send(entry.entry_id.encode(), encode(entry))
        async with outbox(self._settings, self._topics.policies) as box:
            for policy in self._policies:
                await box.send(policy.source.encode(), encode(policy))

    async def _send_reads(self, count: int | None, tasks: list[asyncio.Task[None]]) -> None:
        """Send as many reads as the city's clock asks for, until `count` or a signal."""
        async with outbox(self._settings, self._topics.detections) as box:
            while (count is None or self._feed.sent < count) and not self._stopped.is_set():
                _raise_if_ended(tasks)
                await self._feed.send_due(box, self._worker.counts.processed, count)

    async def _watch(self) -> None:
        """Receive the matches as a consumer does."""
        values = follow(
            self._settings, self._topics.matches, from_start=True, wait_ms=self._wait_ms
        )
        async with contextlib.aclosing(values):
            async for value in values:
                match = read_match(value)
                delay_ms = self._clock.now_ms() - match.read.captured_ms
                self._expected.came(
                    match.entry.entry_id,
                    match.read.read_id,
                    match.match_type,
                    match.confidence,
                )
                self._board.saw(match, delay_ms, paced=self._feed.was_paced(match.read.captured_ms))

    async def _report(self) -> None:
        before, before_s = 0, time.perf_counter()
        settled_s = before_s
        every_s = _REPORT_EVERY_S if self._drawing is None else _DRAW_EVERY_S
        while True:
            await asyncio.sleep(every_s)
            now_s = time.perf_counter()
            self._count()
            if now_s - before_s >= 0.9 * _REPORT_EVERY_S:
                rate = (self._board.processed - before) / (now_s - before_s)
                self._board.reads_a_minute = 60 * rate
                self._board.curve.append(60 * rate)
                before, before_s = self._board.processed, now_s
            if now_s - settled_s >= _SETTLE_EVERY_S:
                self._expected.settle(self._clock.now_ms())
                settled_s = now_s
            if self._drawing is not None:
                self._drawing.show(self._board)
                continue
            for text in report_lines(self._board, self._line):
                self._show(text)

    def _count(self) -> None:
        """Copy the worker's own counts."""
        board, counts = self._board, self._worker.counts
        board.processed = counts.processed
        board.denied.clear()
        for source, reason, count in counts.denied:
            board.denied[WITHOUT_POLICY if source == OTHER_SOURCES else source, reason] = count
        board.other_vehicle = counts.other_vehicle
        board.suppressed = counts.suppressed
        board.rejects = counts.rejects
        self._count_engine_delays()
        board.lost, board.invented = self._expected.settled

    def _count_engine_delays(self) -> None:
        """Add the engine's share of the delays since the last look, if all reads were paced."""
        delays = Counter(dict(self._worker.counts.delays))
        if self._was_paced and self._feed.is_paced:
            self._board.engine_delays_s.update(delays - self._delays)
        self._delays, self._was_paced = delays, self._feed.is_paced

    async def _wait_for_the_rest(self, tasks: list[asyncio.Task[None]]) -> None:
        deadline_s = time.perf_counter() + _LAST_MATCHES_S
        while time.perf_counter() < deadline_s:
            _raise_if_ended(tasks)
            if self._worker.counts.processed >= self._feed.sent and not self._expected.judged()[0]:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # an unexpected match would come now


def _raise_if_ended(tasks: list[asyncio.Task[None]]) -> None:
    """Raise the error of a task that should run as long as the city."""
    for task in tasks:
        if task.done():
            task.result()
            raise AssertionError("a task of the demo ended too early")
