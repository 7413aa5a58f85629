"""From each vendor's message to a match, by the commands that README names."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, an_entry
from tests.kafka.cli.test_cli import Commands
from tests.kafka.records import ToSend, produce, read_topic, until
from tests.kafka.worker_here import worker_here

_VENDORS = Path(__file__).parents[2] / "data" / "vendors"
#: A listed plate, and the files in which each vendor tells of it.
_LISTED = {
    "A137O9": ["openalpr-v2.json"],
    "7ABC123": ["openalpr-v1.json", "platerecognizer-stream.json", "frigate.jsonl"],
    "XP123K": ["openalpr-alert.json", "platerecognizer-snapshot.json"],
    "5AB1234": ["axis-lost.json"],
    "ABC1234": ["genetec.xml"],
}


@pytest.fixture
def commands(real_kafka: str, prefix: str) -> Commands:
    return Commands(real_kafka, prefix)


async def test_every_vendors_message_matches(
    real_kafka: str, prefix: str, commands: Commands
) -> None:
    topics = Topics(prefix)
    entries = [an_entry(entry_id=plate, plate=plate) for plate in _LISTED]
    await produce(
        real_kafka,
        topics.hotlist,
        {0: [ToSend(entry["entry_id"].encode(), json.dumps(entry).encode()) for entry in entries]},
    )
    await produce(real_kafka, topics.policies, {0: [ToSend(b"city", _json(a_policy()))]})
    async with worker_here(real_kafka, prefix) as worker:
        await worker.ready()
        for file in (file for files in _LISTED.values() for file in files):
            vendor = file.partition("-")[0].partition(".")[0]
            said = await asyncio.to_thread(
                commands.good, "ingest", vendor, str(_VENDORS / file), "--source", "city"
            )
            assert said.startswith("sent ")
        wanted = sum(map(len, _LISTED.values()))

        async def matched() -> bool:
            return len(await read_topic(real_kafka, topics.matches)) >= wanted

        await until(matched, f"{wanted} matches")
    found = [json.loads(each.value) for each in await read_topic(real_kafka, topics.matches)]
    counts = {plate: sum(m["entry"]["plate"] == plate for m in found) for plate in _LISTED}
    assert counts == {plate: len(files) for plate, files in _LISTED.items()}
    # That one was read as A13709, and the listed plate is its first alternate.
    [by_alternate] = [match for match in found if match["entry"]["plate"] == "A137O9"]
    assert by_alternate["alternate"] == {"plate": "A137O9", "confidence": 0.841}


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def test_a_file_in_which_something_is_wrong(commands: Commands, tmp_path: Path) -> None:
    """The good messages are sent, the bad ones named by their lines."""
    good = (_VENDORS / "frigate.jsonl").read_bytes().splitlines()[0]
    file = tmp_path / "reads.jsonl"
    file.write_bytes(good + b'\n\n{"type": "lpr", "camera": "c", "plate": "AB1"}\nnot JSON\n')
    result = commands.run("ingest", "frigate", str(file), "--source", "city")
    assert (result.exit_code, result.stdout) == (
        1,
        f"sent 1 read to {commands.topics.detections}\n",
    )
    assert result.stderr.splitlines() == [
        f"{file}: line 3: $.timestamp: is required",
        f"{file}: line 4: $: must be a JSON object in UTF-8",
        "hotlist: frigate: 2 of 3 messages gave no read, or only some",
    ]
    [record] = commands.records(commands.topics.detections)
    assert record.key() == b"ABC123"


def test_the_last_state_of_a_car_is_sent(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "cars.jsonl"
    states = [(_VENDORS / f"axis-{state}.json").read_bytes() for state in ("new", "update", "lost")]
    file.write_bytes(b"".join(states))
    assert commands.good("ingest", "axis", str(file), "--source", "city").startswith("sent 1 read ")
    [record] = commands.records(commands.topics.detections)
    assert record.key() == b"5AB1234"


async def test_the_endpoint(real_kafka: str, prefix: str, commands: Commands) -> None:
    """A process of its own: takes a webhook, holds a car back, and sends it when it is stopped."""
    token = "a-token-of-the-tests"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine", "ingest", "axis", "--source", "city"),
        *("--listen", "127.0.0.1:0", "--bootstrap", real_kafka, "--prefix", prefix),
        env={**os.environ, "HOTLIST_INGEST_TOKEN": token},
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        line = (await process.stderr.readline()).decode()
        assert line.startswith("listening at http://127.0.0.1:"), line
        url = line.split()[-1]
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
            for state in ("new", "update"):
                data = (_VENDORS / f"axis-{state}.json").read_bytes()
                async with client.post(url, data=data) as response:
                    assert response.status == 200
        assert await asyncio.to_thread(commands.records, commands.topics.detections) == []
        process.send_signal(signal.SIGTERM)
        _, told = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, told) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    [record] = await asyncio.to_thread(commands.records, commands.topics.detections)
    assert record.key() == b"5AB1234"
