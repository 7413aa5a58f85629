"""From a real MQTT broker to a real Kafka: nothing is lost while Kafka is away, or by a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from tests.fakes.faulty_proxy import FaultyProxy
from tests.fakes.mosquitto import Mosquitto
from tests.ingest.test_mqtt import keys, publish, update
from tests.kafka.own_broker import OwnBroker
from tests.kafka.records import read_topic, until


@asynccontextmanager
async def ingesting(mosquitto: Mosquitto, bootstrap: str, prefix: str) -> AsyncIterator[str]:
    """A process of `hotlist ingest --mqtt`, killed at the end; the address of its status."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine", "ingest", "frigate", "--source", "city"),
        *("--mqtt", f"mqtt://127.0.0.1:{mosquitto.port}", "--listen", "127.0.0.1:0"),
        *("--bootstrap", bootstrap, "--prefix", prefix),
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        line = (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
        assert line.startswith("status at http://127.0.0.1:"), line
        yield line.split()[-1].removesuffix("/readyz")
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()


async def metrics(url: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


@pytest.fixture
async def own_prefix(own_broker: OwnBroker) -> str:
    prefix = f"own-{os.urandom(4).hex()}."
    await create_topics(Cluster(own_broker.straight, Topics(prefix)), partitions=2, replication=1)
    return prefix


async def test_nothing_is_lost(own_broker: OwnBroker, own_prefix: str, tmp_path: Path) -> None:
    topic = Topics(own_prefix).detections

    async def has(*numbers: int) -> None:
        async def arrived() -> bool:
            found = {each.key for each in await read_topic(own_broker.straight, topic)}
            return set(keys(*numbers)) <= found

        await until(arrived, f"{len(numbers)} reads")

    async def shows(url: str, line: str) -> None:
        async def does() -> bool:
            return line in await metrics(url)

        await until(does, line)

    with Mosquitto(tmp_path) as mosquitto:
        async with FaultyProxy(own_broker.proxy_port, own_broker.proxy_target) as proxy:
            async with ingesting(mosquitto, own_broker.behind_proxy, own_prefix) as url:
                await shows(url, 'hotlist_ingest_mqtt_connected{vendor="frigate"} 1.0')
                await publish(mosquitto, *map(update, range(10)))
                await has(*range(10))
                proxy.pause()  # Kafka is away
                await publish(mosquitto, *map(update, range(10, 200)))
                await asyncio.sleep(1)
                # Killed with messages in its hands, and with more at the MQTT broker.
            proxy.resume()
        await publish(mosquitto, update(200))  # while no process runs
        async with ingesting(mosquitto, own_broker.straight, own_prefix) as url:
            await has(*range(201))
            await asyncio.to_thread(mosquitto.stop)
            await shows(url, 'hotlist_ingest_mqtt_connected{vendor="frigate"} 0.0')
            await asyncio.to_thread(mosquitto.start)
            await shows(url, 'hotlist_ingest_mqtt_connected{vendor="frigate"} 1.0')
            await publish(mosquitto, update(201))
            await has(*range(202))
