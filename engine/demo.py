"""The demo: a broker, a city, a worker, and a count of what came out against what should have.

Everything passes through Kafka as in production: lists and policies on the control topics,
reads on the detections topic, matches from the matches topic. What is expected is worked out
here by plain loops over the documents that were sent, so that the demo checks the engine with
nothing of the engine's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.client import Outbox, follow, outbox
from engine.clock import SystemClock, format_time
from engine.config import Settings
from engine.documents import Entry, Match, Policy, decode_match, encode
from engine.embedded import EmbeddedBroker
from engine.synthetic import City, CitySize
from engine.topics import Topics, create_topics, delete_topics
from engine.worker import Worker, WorkerOptions

#: One match of an entry at a camera in so long; the others are folded.
_SUPPRESS_S = 60
_SIZE = CitySize(entries=5_000, suppress_s=_SUPPRESS_S)
_HIT_RATE = 0.002
_SEED = 2026
#: Reads produced but not yet processed. The embedded broker keeps about 5 MB a partition.
_READS_AHEAD = 20_000
_READS_A_STEP = 2_000
_REPORT_EVERY_S = 1.0
_MATCHES_SHOWN_A_REPORT = 3
#: How long the last matches may take to be seen after the last read was processed.
_LAST_MATCHES_S = 15.0

Show = Callable[[str], None]


@dataclass(slots=True)
class _Tally:
    """What was sent, what is expected and what was seen."""

    reads: int = 0
    expected: set[tuple[str, str]] = field(default_factory=set)
    #: The time of the last match of an entry at a camera.
    matched_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    unreported: list[Match] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)

    def expect(self, entry_id: str, read: dict[str, Any], captured_ms: int) -> None:
        """Note a read that an entry matches: a match is expected, or that it is folded."""
        place = entry_id, read["camera"]
        matched_ms = self.matched_ms.get(place)
        if matched_ms is None or abs(captured_ms - matched_ms) >= 1000 * _SUPPRESS_S:
            self.matched_ms[place] = captured_ms
            self.expected.add((entry_id, read["read_id"]))

    @property
    def lost(self) -> int:
        return len(self.expected - self.seen)

    @property
    def invented(self) -> int:
        return len(self.seen - self.expected)


def run_demo(
    bootstrap: str | None, reads: int | None, show: Show, line: Callable[[Match], str]
) -> int:
    """Run the demo on a broker, or on an embedded one where `bootstrap` is None.

    With `reads` it stops after so many and returns 0 only if every expected match came out and
    no other; without, it goes on until interrupted. `show` takes a line of output, `line` makes
    one of a match.
    """
    prefix = f"demo-{os.getpid()}-{int(time.time())}."
    with contextlib.ExitStack() as stack:
        embedded = bootstrap is None
        if bootstrap is None:
            show("starting the embedded broker ...")
            broker = stack.enter_context(EmbeddedBroker())
            broker.make_topics(Topics(prefix).all)
            bootstrap = broker.bootstrap
        settings = Settings(
            bootstrap=bootstrap, prefix=prefix, group=f"{prefix}engine", http_port=0, verify_keys=64
        )
        return asyncio.run(_Demo(settings, embedded, show, line).run(reads))


class _Demo:
    def __init__(
        self, settings: Settings, embedded: bool, show: Show, line: Callable[[Match], str]
    ) -> None:
        self._settings = settings
        self._topics = Topics(settings.prefix)
        self._embedded = embedded
        self._show = show
        self._line = line
        self._tally = _Tally()
        clock = SystemClock()
        self._city = City(_SEED, _SIZE, clock.now_ms())
        self._worker = Worker(settings, WorkerOptions(clock, check_topics=not embedded))

    async def run(self, reads: int | None) -> int:
        async with self._topics_for_a_while():
            entries, policies = await self._send_lists()
            self._show(
                f"{len(entries):,} entries of {len(self._city.agencies)} agencies; "
                f"{len(policies)} of {len(self._city.sources)} sources have a policy, "
                "on the reads of the others nothing matches"
            )
            self._show("starting the worker (the first time, numba compiles the scanner) ...")
            async with self._running_worker() as running:
                self._show(f"metrics: http://127.0.0.1:{self._worker.http.port}/metrics")
                watching = asyncio.create_task(self._watch())
                reporting = asyncio.create_task(self._report())
                began_s = time.perf_counter()
                try:
                    await self._send_reads(reads, entries, policies, running)
                    await self._wait_for_the_rest(running)
                    took_s = time.perf_counter() - began_s
                finally:
                    reporting.cancel()
                    watching.cancel()
                    await asyncio.gather(reporting, watching, return_exceptions=True)
                return self._summarize(took_s)

    @contextlib.asynccontextmanager
    async def _topics_for_a_while(self) -> AsyncIterator[None]:
        """On a broker that is not ours, the demo's topics go when it ends."""
        bootstrap = self._settings.bootstrap
        if self._embedded:
            yield
            return
        await create_topics(bootstrap, self._topics, partitions=4, replication=1)
        try:
            yield
        finally:
            await delete_topics(bootstrap, self._topics)

    @contextlib.asynccontextmanager
    async def _running_worker(self) -> AsyncIterator[asyncio.Task[None]]:
        running = asyncio.create_task(self._worker.run())
        try:
            while self._worker.not_ready_because and not running.done():
                await asyncio.sleep(0.05)
            if running.done():
                await running
            yield running
        finally:
            self._worker.stop()
            await running

    async def _send_lists(self) -> tuple[dict[str, Entry], dict[str, Policy]]:
        entries = {entry.plate: entry for entry in self._city.entries()}
        policies = {policy.source: policy for policy in self._city.policies()}
        async with outbox(self._settings, self._topics.hotlist) as box:
            for entry in entries.values():
                await box.send(entry.entry_id.encode(), encode(entry))
        async with outbox(self._settings, self._topics.policies) as box:
            for policy in policies.values():
                await box.send(policy.source.encode(), encode(policy))
        return entries, policies

    async def _send_reads(
        self,
        count: int | None,
        entries: dict[str, Entry],
        policies: dict[str, Policy],
        running: asyncio.Task[None],
    ) -> None:
        tally = self._tally
        async with outbox(self._settings, self._topics.detections) as box:
            while count is None or tally.reads < count:
                while tally.reads - self._processed() >= _READS_AHEAD:
                    _raise_if_ended(running)
                    await asyncio.sleep(0.005)
                step = _READS_A_STEP if count is None else min(_READS_A_STEP, count - tally.reads)
                await self._send_step(box, step, entries, policies)
                await box.flush()

    async def _send_step(
        self, box: Outbox, step: int, entries: dict[str, Entry], policies: dict[str, Policy]
    ) -> None:
        captured_ms = SystemClock().now_ms()
        captured_at = format_time(captured_ms)
        for read in self._city.reads(step, _HIT_RATE, first=self._tally.reads):
            read["captured_at"] = captured_at
            self._tally.reads += 1
            entry = entries.get(read["plate"])
            if entry is not None and _allows(policies.get(read["source"]), entry):
                self._tally.expect(entry.entry_id, read, captured_ms)
            await box.send(read["plate"].encode(), orjson.dumps(read))

    async def _watch(self) -> None:
        """See the matches as a consumer does."""
        values = follow(self._settings, self._topics.matches, from_start=True)
        async with contextlib.aclosing(values):
            async for value in values:
                match = decode_match(value)
                self._tally.seen.add((match.entry.entry_id, match.read.read_id))
                self._tally.delays_ms.append(SystemClock().now_ms() - match.read.captured_ms)
                self._tally.unreported.append(match)

    async def _report(self) -> None:
        before, before_s = 0, time.perf_counter()
        while True:
            await asyncio.sleep(_REPORT_EVERY_S)
            processed, now_s = self._processed(), time.perf_counter()
            rate = (processed - before) / (now_s - before_s)
            before, before_s = processed, now_s
            matches, self._tally.unreported = self._tally.unreported, []
            for match in matches[:_MATCHES_SHOWN_A_REPORT]:
                self._show(f"  {self._line(match)}")
            if len(matches) > _MATCHES_SHOWN_A_REPORT:
                self._show(f"  and {len(matches) - _MATCHES_SHOWN_A_REPORT:,} more")
            self._show(
                f"{processed:,} reads, {rate * 60 / 1e6:.1f} million a minute, "
                f"{len(self._tally.seen):,} matches"
            )

    async def _wait_for_the_rest(self, running: asyncio.Task[None]) -> None:
        deadline_s = time.perf_counter() + _LAST_MATCHES_S
        while time.perf_counter() < deadline_s:
            _raise_if_ended(running)
            if self._processed() >= self._tally.reads and not self._tally.lost:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # a match too many would come now

    def _processed(self) -> int:
        return self._worker.reads_processed

    def _summarize(self, took_s: float) -> int:
        tally = self._tally
        rate = tally.reads / took_s
        for text in self._summary(rate):
            self._show(text)
        return 1 if tally.lost or tally.invented or self._processed() != tally.reads else 0

    def _summary(self, rate: float) -> Iterator[str]:
        tally = self._tally
        yield ""
        yield f"reads      {self._processed():,} of {tally.reads:,} sent"
        yield (
            f"matches    {len(tally.seen):,} seen, {len(tally.expected):,} expected, "
            f"{tally.lost:,} lost, {tally.invented:,} invented"
        )
        yield (
            f"rate       {rate * 60 / 1e6:.1f} million reads a minute, held back by making "
            "the reads in the same process"
        )
        if len(tally.delays_ms) > 1:
            cuts = statistics.quantiles(tally.delays_ms, n=100)
            yield (
                f"delay      {cuts[49]:.0f} ms median, {cuts[98]:.0f} ms p99, from making the "
                "read to seeing its match"
            )


def _raise_if_ended(running: asyncio.Task[Any]) -> None:
    if running.done():
        running.result()
        raise AssertionError("the worker ended by itself")


def _allows(policy: Policy | None, entry: Entry) -> bool:
    """Whether a source's policy lets an entry match, by the contract's words."""
    if policy is None:
        return False
    for rule in policy.rules:
        agency_ok = rule.agencies == "*" or entry.agency in rule.agencies
        purpose_ok = rule.purposes == "*" or entry.purpose in rule.purposes
        if agency_ok and purpose_ok:
            return True
    return False
