"""The term of an authority on a real Kafka: an entry is removed, compacted and listed again."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import NewTopic

from engine.clock import SystemClock, format_time
from engine.kafka.topic_config import until_led
from engine.kafka.topics import DECLARED, Topics
from tests.kafka.cli.test_cli import Commands
from tests.kafka.records import ToSend, administering, delete_topic, produce, read_topic, until

DAY_MS = 86_400_000


@pytest.fixture
def commands(real_kafka: str, prefix: str, own_settings: None) -> Commands:
    return Commands(real_kafka, prefix)


async def _recreate(bootstrap: str, topic: str) -> None:
    """The hot list topic with its declared settings, but that compaction is in a hurry."""
    (declared,) = (each.settings for each in DECLARED if each.name == "hotlist")
    hurried = {
        "segment.ms": "100",
        "max.compaction.lag.ms": "100",
        "min.cleanable.dirty.ratio": "0.01",
    }
    async with administering(bootstrap) as admin:
        await delete_topic(admin, topic)

        async def created() -> bool:
            new = NewTopic(topic, 1, 1, topic_configs={**declared, **hurried})
            answer = await admin.create_topics([new])
            return not answer.topic_errors[0][1]

        await until(created, f"{topic} is there again")
        # The controller has created it; a broker learns of that a little later.
        await until_led(admin, [topic])


async def _compacted(bootstrap: str, topic: str, key: bytes) -> None:
    """Wait until the removal is the only record of a key."""

    async def is_alone() -> bool:
        # The active segment is never compacted: each further record may open a new one.
        await produce(bootstrap, topic, {0: [ToSend(b"other", None)]})
        await asyncio.sleep(0.2)
        records = [record for record in await read_topic(bootstrap, topic) if record.key == key]
        return [record.value for record in records] == [None]

    await until(is_alone, f"{topic} keeps the removal alone")


def test_the_term_outlives_removal_and_compaction(
    real_kafka: str, prefix: str, commands: Commands
) -> None:
    """The contract: "`expires_at` is [...] further off than the purpose's longest term"."""
    topic = Topics(prefix).hotlist
    asyncio.run(_recreate(real_kafka, topic))
    now_ms = SystemClock().now_ms()
    first = format_time(now_ms - 100 * DAY_MS)

    def add(days: int, *flags: str, reference: str = "2026-17") -> tuple[int, str]:
        result = commands.run(
            *("entries", "add", "--id=E-1", "--list=l", "--plate=ABC1234", "--agency=AG1"),
            *("--purpose=stolen_vehicle", "--authority-kind=case", "--requested-by=jo"),
            f"--authority-ref={reference}",
            f"--expires-at={format_time(now_ms + days * DAY_MS)}",
            *flags,
        )
        return result.exit_code, result.stderr

    assert add(10, f"--created-at={first}") == (0, "")
    assert commands.run("entries", "remove", "E-1").exit_code == 0
    asyncio.run(_compacted(real_kafka, topic, b"E-1"))

    status, error = add(300)
    assert status != 0
    assert "authority.reference" in error
    assert "2026-17" in error
    assert f"365 days after {first}" in error
    assert "Traceback" not in error
    assert add(200) == (0, "")
    (shown,) = commands.documents("entries", "show", "--json", "--list=l")
    assert shown["created_at"] == first

    assert commands.run("entries", "remove", "E-1").exit_code == 0
    assert add(300)[0] != 0, "the removal says the first day again"
    assert add(300, reference="2026-18") == (0, "")
