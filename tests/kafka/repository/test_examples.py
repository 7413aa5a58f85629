"""The examples in deploy/examples: they do what they say."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from engine.documents.codec import decode_detection, encode
from engine.kafka.topics import Topics
from tests.fakes.documents import detection, entry, exact_match
from tests.kafka.records import ToSend, produce, read_topic, until

_EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"


def _needs(command: str) -> None:
    if shutil.which(command) is None:
        why = f"no {command}; Debian's package {command} has it"
        if os.environ.get("HOTLIST_REQUIRE_KAFKA") == "1":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)


@pytest.mark.parametrize(
    "example", ["produce_aiokafka.py", "produce_confluent_kafka.py", "produce_kcat.sh"]
)
async def test_a_producer(real_kafka: str, prefix: str, example: str) -> None:
    if example.endswith(".sh"):
        _needs("kcat")
    program = "sh" if example.endswith(".sh") else sys.executable
    topic = Topics(prefix).detections
    done = await asyncio.to_thread(_run, program, str(_EXAMPLES / example), real_kafka, topic)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    [record] = await read_topic(real_kafka, topic)
    assert record.key == b"7ABC123"
    assert decode_detection(record.value).plate == "7abc 123"
    if example.endswith(".sh"):
        assert record.headers == (("alternates", b"7ABC128"),)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class Receiver:
    """A webhook that can be away, and keeps the ids that it took."""

    def __init__(self) -> None:
        self.status = 200
        self.asked = 0
        self.taken: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        match = await request.json()
        assert request.headers["ce-id"] == match["match_id"]
        if self.status == 200:
            self.taken.append(match["match_id"])
        return web.Response(status=self.status)


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield receiver, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def alerting(
    bootstrap: str, prefix: str, webhook: str, directory: Path
) -> AsyncIterator[None]:
    """The consumer as a process, ended by SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, _EXAMPLES / "alert.py", "--webhook", webhook, "--bootstrap", bootstrap),
        *("--topic", Topics(prefix).matches, "--group", f"{prefix}alerting"),
        cwd=directory,
    )
    try:
        yield
    except BaseException:
        process.kill()
        await process.wait()
        raise
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_each_match_is_sent_once(real_kafka: str, prefix: str, tmp_path: Path) -> None:
    """With repeats on the topic, a receiver that is away, and a restart in between."""
    matches = [exact_match(entry(), detection(read_id=f"R-{number}")) for number in range(6)]
    ids = [match.match_id for match in matches]
    records = [ToSend(b"E-1", encode(match)) for match in matches]
    topic = Topics(prefix).matches
    await produce(real_kafka, topic, {0: [*records[:3], records[1]]})

    async with receiving() as (receiver, url):
        receiver.status = 503
        async with alerting(real_kafka, prefix, url, tmp_path):
            await until(_is(lambda: receiver.asked >= 2), "it is asked again")
            receiver.status = 200
            await until(_is(lambda: len(receiver.taken) >= 3), "the first matches")
            await produce(real_kafka, topic, {0: records[3:4]})
            await until(_is(lambda: len(receiver.taken) >= 4), "one more")
        assert receiver.taken == ids[:4]
        await produce(real_kafka, topic, {0: [records[0], *records[4:]]})
        async with alerting(real_kafka, prefix, url, tmp_path):
            await until(_is(lambda: len(receiver.taken) >= 6), "the last")
        assert receiver.taken == ids
    assert (
        json.loads(records[0].value or b"")["match_id"].encode()
        in (tmp_path / "sent.sqlite").read_bytes()
    )


def _is(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return condition()

    return asked
