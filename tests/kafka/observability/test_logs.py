"""The log of a running worker: one form, a level that changes, and nothing of a read in it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import orjson

from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import sent
from tests.kafka.records import ToSend, produce, until
from tests.kafka.worker_process import WorkerProcess

_MARK = "QZX"


def lines(worker: WorkerProcess) -> list[dict[str, Any]]:
    """The whole lines so far, each of which is JSON."""
    return [orjson.loads(line) for line in worker.log().split("\n")[:-1]]


def messages(worker: WorkerProcess) -> list[str]:
    return [line["message"] for line in lines(worker)]


async def test_the_level_of_a_running_worker_is_changed_by_signals(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, sent(an_entry(plate=f"{_MARK}123")))
    await produce(real_kafka, topics.policies, sent(a_policy()))
    arguments = ("--log-format", "json", "--log-level", "info")
    async with WorkerProcess(tmp_path / "log", real_kafka, prefix, *arguments) as worker:
        await worker.ready()
        first, second, *_ = lines(worker)
        assert second["message"].startswith("limits: 64 KiB a read, ")
        assert first["message"].startswith("hotlist-engine ")
        for part in (f"group {prefix}group", *topics.all[:2], "at_least_once"):
            assert part in first["message"]
        assert first["group"] == f"{prefix}group"
        assert first["worker"].endswith(f":{worker.pid}")
        assert {line["level"] for line in lines(worker)} == {"info"}

        read = ToSend(f"{_MARK}123".encode(), orjson.dumps(a_read(plate=f"{_MARK}-123")))
        bad = ToSend(f"{_MARK}123".encode(), _MARK.encode())
        taken = 0

        async def take() -> None:
            nonlocal taken
            await produce(real_kafka, topics.detections, {2: [read, bad]})
            taken += 2
            await worker.has_processed(taken)

        async def says(text: str) -> None:
            async def said() -> bool:
                return text in messages(worker)

            await until(said, text, worker.log)

        await take()
        assert "a fetch is processed" not in messages(worker)
        os.kill(worker.pid, signal.SIGUSR1)
        await says("the log level is now debug")
        await take()
        await says("a fetch is processed")
        [fetch] = [line for line in lines(worker) if line["message"] == "a fetch is processed"]
        assert fetch["topic"] == topics.detections
        assert (fetch["partition"], fetch["offset"], fetch["end_offset"]) == (2, 2, 4)
        assert (fetch["reads"], fetch["generation"] >= 0) == (2, True)

        os.kill(worker.pid, signal.SIGUSR2)
        await says("the log level is now info")
        count = len(lines(worker))
        await take()
        os.kill(worker.pid, signal.SIGUSR2)
        await says("the log level is now warning")
        assert messages(worker)[count:] == ["the log level is now warning"]
        await worker.stop()
        libraries = {
            (line["logger"], line["level"])
            for line in lines(worker)
            if not line["logger"].startswith("engine")
        }
        assert not {level for _, level in libraries} & {"debug"}
    assert _MARK not in worker.log()


async def test_a_worker_that_cannot_go_on_says_so_in_the_log_and_in_one_line(
    tmp_path: Path, real_kafka: str, prefix: str
) -> None:
    arguments = ("--log-format", "json")
    worker = WorkerProcess(tmp_path / "log", real_kafka, f"{prefix}none.", *arguments)
    async with worker:
        assert await worker.ends() == 1
    *_, ended_line, last = worker.log().splitlines()
    assert last.startswith("hotlist: ")
    ended = orjson.loads(ended_line)
    assert ended["level"] == "error"
    assert ended["message"].startswith("the worker has ended: ")
    [error] = ended["errors"]
    assert error["kind"] == "TopicError"
    assert error["hint"].startswith("run: hotlist topics create")
    assert error["trace"][-1].endswith(" in check_presence")
