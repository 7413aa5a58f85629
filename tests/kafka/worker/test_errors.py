"""What a worker that cannot start says: one line that tells what to do, and a status."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from engine.kafka.topics import DECLARED, Topics
from tests.kafka.records import end_offsets

_ROOT = Path(__file__).resolve().parents[3]


def worker(directory: Path, *arguments: str) -> tuple[int, str]:
    """Run a worker that is expected to end by itself; its status and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", "worker", *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(_ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nothing listens and nothing will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def new_prefix() -> str:
    """A prefix without topics."""
    return f"test-{uuid.uuid4().hex[:12]}."


def test_no_broker(nobody: str, tmp_path: Path) -> None:
    status, text = worker(tmp_path, "--bootstrap", nobody, "--http-port", "0")
    assert status == 1
    assert text == (
        f"hotlist: {nobody}: no Kafka broker answers; "
        "start one, or set --bootstrap (HOTLIST_BOOTSTRAP) to its address\n"
    )


def test_no_topics(real_kafka: str, new_prefix: str, tmp_path: Path) -> None:
    status, text = worker(
        tmp_path, "--bootstrap", real_kafka, "--prefix", new_prefix, "--http-port", "0"
    )
    assert status == 1
    assert text == (
        f"hotlist: {real_kafka}: topics {', '.join(Topics(new_prefix).all)} missing; "
        f"run: hotlist topics create --bootstrap {real_kafka} --prefix {new_prefix}\n"
    )


def test_a_control_topic_that_is_not_compacted(
    real_kafka: str, new_prefix: str, tmp_path: Path
) -> None:
    topics = Topics(new_prefix)

    async def make() -> None:
        settings = {declared.name: dict(declared.settings) for declared in DECLARED}
        settings["hotlist"] = {"cleanup.policy": "delete"}
        admin = AIOKafkaAdminClient(bootstrap_servers=real_kafka)
        await admin.start()
        try:
            await admin.create_topics(
                [
                    NewTopic(topics.name(name), 1, 1, topic_configs=given)
                    for name, given in settings.items()
                ]
            )
        finally:
            await admin.close()
        for topic in topics.all:
            await end_offsets(real_kafka, topic)

    asyncio.run(make())
    status, text = worker(
        tmp_path, "--bootstrap", real_kafka, "--prefix", new_prefix, "--http-port", "0"
    )
    assert status == 1
    assert text == (
        f"hotlist: topic {topics.hotlist}: cleanup.policy is delete and must be compact (Kafka "
        "deletes entries that are still listed), delete.retention.ms is 86400000 and must be at "
        "least 31536000000 (a removed entry could be listed for a new term), "
        "message.timestamp.type is CreateTime and must be LogAppendTime (a producer could choose "
        "when an entry was created); "
        f"to correct it run: hotlist topics apply --bootstrap {real_kafka} "
        f"--prefix {new_prefix}\n"
    )


def test_the_port_is_taken(real_kafka: str, prefix: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        status, text = worker(
            tmp_path, "--bootstrap", real_kafka, "--prefix", prefix, "--http-port", port
        )
    assert status == 1
    assert text.startswith(f"hotlist: HTTP port: cannot listen on 127.0.0.1:{port} (")
    assert text.endswith("; choose another with --http-host and --http-port\n")
    assert text.count("\n") == 1


def test_a_host_that_is_not_ours(tmp_path: Path) -> None:
    status, text = worker(tmp_path, "--http-host", "192.0.2.1", "--http-port", "0")
    assert status == 1
    assert text.startswith("hotlist: HTTP port: cannot listen on 192.0.2.1:0 (")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("bootstrap = [1", "not valid TOML"),
        ("bootsrap = 'a:1'", "bootsrap: unknown key; did you mean bootstrap? "),
        ("http_port = 'nine'", "http_port: 'nine' is not possible: must be a whole number"),
    ],
)
def test_a_settings_file_that_is_wrong(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "hotlist.toml").write_text(content)
    status, text = worker(tmp_path)
    assert status == 2
    assert text.startswith("hotlist: ")
    assert "hotlist.toml" in text
    assert complaint in text
    assert text.count("\n") == 1


def test_a_settings_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "hotlist.toml").mkdir()
    status, text = worker(tmp_path)
    assert status == 2
    assert text == f"hotlist: hotlist.toml: cannot be read: {os.strerror(21)}\n"


def test_a_purposes_file_that_is_not_there(tmp_path: Path) -> None:
    status, text = worker(tmp_path, "--purposes", "none.json", "--http-port", "0")
    assert status != 0
    assert "none.json" in text
    assert text.count("\n") == 1
