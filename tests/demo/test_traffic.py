"""`engine.demo.traffic`: good reads of one city, at the rate that is asked for."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.config import Settings
from engine.demo import traffic
from engine.documents.codec import decode_detection
from engine.plates.normal_form import normalize
from engine.wire.alternates import asked_by, to_try

NOW_MS = 1_790_000_000_000
Record = tuple[bytes, bytes, list[tuple[str, bytes | None]]]


@dataclass(frozen=True)
class Stopped:
    """A clock that stands."""

    at_ms: int

    def now_ms(self) -> int:
        return self.at_ms


class Box:
    """Takes what would go to Kafka; `acknowledged` is called for each step."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.steps: list[int] = []
        self.acknowledged: Callable[[], None] = lambda: None

    async def send(
        self, key: bytes, value: bytes, headers: list[tuple[str, bytes | None]] | None = None
    ) -> None:
        self.records.append((key, value, headers or []))

    async def flush(self) -> None:
        self.steps.append(len(self.records) - sum(self.steps))
        self.acknowledged()


class Loop:
    """A clock that goes on when somebody sleeps."""

    now_s = 100.0

    def time(self) -> float:
        return self.now_s

    async def sleep(self, for_s: float) -> None:
        self.now_s += for_s


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    monkeypatch.setattr(asyncio, "sleep", loop.sleep)
    return loop


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    box = Box()

    @asynccontextmanager
    async def outbox(settings: Settings, topic: str) -> AsyncIterator[Box]:
        assert topic == "lpr.detections.v1"
        yield box

    monkeypatch.setattr(traffic, "outbox", outbox)
    return box


async def send(now_ms: int = NOW_MS, *, rate: float, reads: int, listed: float = 0.5) -> int:
    return await traffic.send_traffic(
        Settings(),
        Stopped(now_ms),
        rate=rate,
        listed=listed,
        reads=reads,
        sent=lambda count: None,
    )


async def test_reads_are_good_and_their_keys_right(box: Box, loop: Loop) -> None:
    assert await send(rate=10_000, reads=3_000) == len(box.records) == 3_000
    with_alternates = 0
    for key, value, headers in box.records:
        read = decode_detection(value)
        assert key.decode() == normalize(read.plate)
        assert read.captured_ms == NOW_MS
        tried = [plate for plate, _ in to_try(read, key.decode(), asked_by(headers))]
        assert bool(headers) == bool(read.alternates)
        if read.alternates:
            # All of them are asked for; what is the read's own plate need not be tried again.
            assert {*tried, key.decode()} >= {normalize(each.plate) for each in read.alternates}
            with_alternates += 1
    assert with_alternates > 50


async def test_they_show_the_plates_of_the_lists_and_their_sources(
    box: Box, loop: Loop, tmp_path: Path
) -> None:
    entries, policies = traffic.write_lists(tmp_path)
    plates = {row["plate"] for row in csv.DictReader(entries.read_text("utf-8").splitlines())}
    with_policy = {policy["source"] for policy in json.loads(policies.read_bytes())}
    await send(rate=10_000, reads=3_000)
    reads = [decode_detection(value) for _, value, _ in box.records]
    shown = sum(normalize(read.plate) in plates for read in reads)
    assert 900 < shown < 1_500, "half of them, less those that are misread or listed in part"
    sources = {read.source for read in reads}
    assert with_policy < sources, "some are denied"


async def test_no_read_comes_again_with_the_next_run(box: Box, loop: Loop) -> None:
    await send(rate=1_000, reads=500)
    await send(NOW_MS + 60_000, rate=1_000, reads=500)
    assert len({decode_detection(value).read_id for _, value, _ in box.records}) == 1_000


async def test_it_keeps_to_its_rate(box: Box, loop: Loop) -> None:
    began_s = loop.now_s
    await send(rate=300, reads=3_000)
    assert loop.now_s - began_s == pytest.approx(10, abs=0.3)
    assert max(box.steps) <= 31


async def test_after_a_stall_it_owes_a_second_and_no_more(box: Box, loop: Loop) -> None:
    def stall() -> None:
        if len(box.steps) == 5:
            loop.now_s += 600

    box.acknowledged = stall
    await send(rate=200, reads=1_000)
    assert max(box.steps) == box.steps[5] == 200


async def test_a_slow_rate_sends_too(box: Box, loop: Loop) -> None:
    began_s = loop.now_s
    await send(rate=0.1, reads=2)
    assert loop.now_s - began_s == pytest.approx(20, abs=1)


def test_the_command_writes_the_lists_and_sends_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["traffic", "--bootstrap", "127.0.0.1:1", "--lists", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entries.csv", "policies.json"]
    assert result.stdout.splitlines() == [
        f"wrote {tmp_path / 'entries.csv'}",
        f"wrote {tmp_path / 'policies.json'}",
    ]
