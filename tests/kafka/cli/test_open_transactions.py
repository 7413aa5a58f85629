"""Changes of the lists behind an open transaction: a command says whether its change counts."""

from __future__ import annotations

import re
import signal
import time
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from engine import limits
from tests.fakes.examples import ROW_FLAGS
from tests.kafka.cli.test_cli import Commands
from tests.kafka.cli.test_sync_command import plates_of, process, some, write

OTHER_FLAGS = ["--list=other", *ROW_FLAGS[1:]]
DIE = (
    "import os, signal\nfrom engine.kafka.writer import Outbox\nflush = Outbox.flush\n"
    "async def flush_and_die(box):\n"
    "    await flush(box)\n"
    "    if box.sent: os.kill(os.getpid(), signal.SIGKILL)\n"
    "Outbox.flush = flush_and_die"
)
TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def commands(
    real_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch, own_settings: None
) -> Commands:
    monkeypatch.setattr(limits, "READABLE_S", 2.0)
    return Commands(real_kafka, prefix)


def kill_a_sync(commands: Commands, *flags: str) -> None:
    """All its records are with the broker, and its transaction is open: then it is gone."""
    killed = process(
        commands, "entries", "sync", write("killed.csv", some(9, 900)), *flags, before=DIE
    )
    assert killed.communicate(timeout=60) == (b"", b"")
    assert killed.returncode == -signal.SIGKILL


def test_behind_a_dead_sync_no_command_says_that_its_change_counts(commands: Commands) -> None:
    topic = commands.topics.hotlist
    commands.good("entries", "add", "--id=old", "--plate=OLD123", *ROW_FLAGS)
    kill_a_sync(commands, *ROW_FLAGS)
    what = (
        rf"hotlist: {re.escape(topic)}: sent, but does not count yet: an open transaction of "
        rf"producer \d+ \({re.escape(topic)}/sync/l\) since ({TIME}) holds them back, at the "
        rf"latest until about ({TIME}); it counts by itself when that has ended: do not send "
        r"it again; if no sync of list l is running, the next one ends it at once\n"
    )
    not_yet = re.compile(what)
    for args in (
        ["add", "--id=new", "--plate=NEW123", *ROW_FLAGS],
        ["import", write("i.csv", ["imp,IMP123"], "entry_id,plate"), *ROW_FLAGS],
        ["remove", "old"],
    ):
        result = commands.run("entries", *args)
        assert (result.exit_code, result.stdout) == (1, "")
        said = not_yet.fullmatch(result.stderr)
        assert said is not None, result.stderr
        assert said[1] < said[2]
    assert plates_of(commands) == {"OLD123"}
    # A sync of another list would compare with what is out of date: it sends nothing.
    count = len(commands.records(topic))
    result = commands.run("entries", "sync", write("o.csv", some(1)), *OTHER_FLAGS)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"hotlist: {topic}: nothing was sent, because the last changes of the lists cannot be read "
        "yet: an open transaction of producer "
    )
    assert result.stderr.endswith(
        "try again when that has ended; if no sync of list l is running, the next one ends it at "
        "once\n"
    )
    assert len(commands.records(topic)) == count
    # The next sync of the list fences the dead one, and sees what waited behind it.
    synced = commands.good("entries", "sync", write("n.csv", some(1)), *ROW_FLAGS)
    assert synced.startswith("list l: 1 added, 0 changed, 2 removed, 0 unchanged; ")
    assert plates_of(commands) == set(some(1))


def test_add_waits_for_a_transaction_that_ends_in_time(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = commands.topics.hotlist
    producer = Producer(
        {"bootstrap.servers": commands.bootstrap, "transactional.id": f"t-{uuid.uuid4()}"}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, key="x", value=None)
    assert producer.flush(30) == 0
    add = process(commands, "entries", "add", "--id=e", "--plate=AB12CD", *ROW_FLAGS)
    while log_end(commands, topic) < 2:  # until the command's own record is there
        time.sleep(0.1)
    assert add.poll() is None
    producer.commit_transaction(30)
    assert add.communicate(timeout=60) == (b"added e\n", b"")
    assert add.returncode == 0
    assert plates_of(commands) == {"AB12CD"}


def log_end(commands: Commands, topic: str) -> int:
    """The end of the topic, open transactions included."""
    consumer = Consumer(
        {
            "bootstrap.servers": commands.bootstrap,
            "group.id": "none",
            "isolation.level": "read_uncommitted",
        }
    )
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
        return high
    finally:
        consumer.close()
