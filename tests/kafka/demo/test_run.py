"""`hotlist demo --bootstrap` on a real Kafka: as on its own broker, and nothing of it is left."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from engine.cli.tail import readable
from engine.demo.run import run_demo


async def topics(bootstrap: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


def test_it_is_right_and_leaves_no_topic(
    real_kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = asyncio.run(topics(real_kafka))
    status = run_demo(real_kafka, 20_000, print, readable)
    output = capsys.readouterr().out
    assert status == 0, output
    assert "20,000 of 20,000 sent, 0 rejects" in output
    assert "0 lost, 0 invented" in output
    left = {name for name in asyncio.run(topics(real_kafka)) - before if name.startswith("demo-")}
    assert not left
