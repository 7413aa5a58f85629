"""Workers that go on at a copy of the topics, as deploy/guides/second_cluster.md has it made.

`tests.kafka.copied_topics` makes the copy, on the same broker under another prefix.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from engine.audit.verifier import Verifier
from engine.cli.audit.audit_reader import verify
from engine.config import Settings
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from tests.kafka.conftest import replicas
from tests.kafka.copied_topics import TOO_LOW, copy_topics
from tests.kafka.records import produce, read_topic
from tests.kafka.town import Town, sizes
from tests.kafka.worker.test_main_job import all_done
from tests.kafka.worker_here import worker_here


@contextlib.contextmanager
def _no_bar(total: int) -> Iterator[Any]:
    yield lambda steps: None


async def _told(bootstrap: str, topics: Topics) -> Counter[tuple[str, str]]:
    """How often each pair of entry and read was told; one match id is told once."""
    by_id = {}
    for record in await read_topic(bootstrap, topics.matches):
        match = orjson.loads(record.value)
        by_id[match["match_id"]] = match["entry"]["entry_id"], match["read"]["read_id"]
    return Counter(by_id.values())


async def test_a_copy_loses_nothing_and_tells_twice_what_the_guide_says(
    real_kafka: str, prefix: str
) -> None:
    town = Town(entries=2_000, sources=20, reads=20_000, hit_rate=0.1, seed=11)
    primary, backup = Topics(prefix), Topics(f"{prefix}backup.")
    await town.produce_control(real_kafka, primary.hotlist, primary.policies)
    await produce(real_kafka, primary.detections, town.reads_between(0, 0.5))
    async with worker_here(real_kafka, primary.prefix) as here:
        await here.ready()
        await all_done(real_kafka, primary.prefix, here)
    await produce(real_kafka, primary.detections, town.reads_between(0.5, 0.7))  # these wait

    cluster = Cluster(real_kafka, backup)
    await create_topics(cluster, partitions=4, replication=replicas())
    stands = await copy_topics(real_kafka, primary, backup)

    await produce(real_kafka, backup.detections, town.reads_between(0.7, 1))
    async with worker_here(real_kafka, backup.prefix) as here:
        await here.ready()
        await all_done(real_kafka, backup.prefix, here)
        assert here.metric("hotlist_reads_total") < 0.6 * sizes(town.reads)

    first, second = await _told(real_kafka, primary), await _told(real_kafka, backup)
    # The copy holds what the original told, with its ids.
    again = second - first
    told = first + again
    wanted = {(match.entry_id, match.read_id) for match in town.matches.values()}
    assert wanted - told.keys() == set(), "matches lost"
    suppressing = {
        entry["entry_id"]
        for entry in (orjson.loads(record.value or b"") for record in town.entries[0])
        if entry.get("suppress_s") != 0
    }
    assert {pair for pair in told.keys() - wanted if pair[0] not in suppressing} == set()
    repeated = {pair[1] for pair, count in told.items() if count > 1}
    low = {
        orjson.loads(record.value)["read_id"]
        for record in await read_topic(real_kafka, backup.detections)
        if 0 <= record.offset - stands["detections", record.partition] < 2 * TOO_LOW
    }
    assert repeated <= low
    assert repeated, "the group stood too low"

    verifier = Verifier(backup.audit)
    await verify(Settings(bootstrap=real_kafka, prefix=backup.prefix), verifier, _no_bar)
    assert list(map(str, verifier.problems.shown)) == []
