"""The main job: what comes out is what the oracle says, no more and no fewer.

On a real Kafka and with the worker in a process of its own, because the promises rest on that:
straight through, stopped and started in the middle, killed in the middle, and shared by two
workers of which one goes. Then every codec, and transactions. `HOTLIST_TEST_READS=1000000` runs it
with a million reads instead of a quarter of it.

In the middle means: some of the reads are produced only after the worker was told to stop or
was killed, so however fast it is, it cannot have been through.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from engine.kafka.topics import Topics
from tests.kafka.conftest import Broker
from tests.kafka.forked_worker import ForkedWorker
from tests.kafka.records import (
    ToSend,
    committed_offsets,
    end_offsets,
    produce,
    producing,
    read_topic,
    send_to_partition,
    until,
)
from tests.kafka.town import Town, found_matches, sizes
from tests.kafka.worker_here import WorkerHere, worker_here
from tests.kafka.worker_process import WorkerProcess
from tests.models.naive import Likeness
from tests.repository.schemas import validator

_READS = int(os.environ.get("HOTLIST_TEST_READS", "250000"))
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture(scope="module")
def town() -> Town:
    return Town(entries=100_000, sources=80, reads=_READS, hit_rate=0.02)


@pytest.fixture(scope="module")
def village() -> Town:
    """Small enough for five codecs, and for the embedded broker's memory."""
    return Town(entries=2_000, sources=20, reads=20_000, hit_rate=0.1, seed=2)


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


async def all_done(bootstrap: str, prefix: str, worker: WorkerProcess | WorkerHere) -> None:
    """Wait until the group has committed the end of every partition of the reads.

    An offset is committed only after the matches below it were acknowledged, so from then on
    the matches topic is complete.
    """
    topic = Topics(prefix).detections
    ends = {tp: end for tp, end in (await end_offsets(bootstrap, topic)).items() if end}

    async def committed() -> bool:
        await worker.alive()
        return ends.items() <= (await committed_offsets(bootstrap, topic, f"{prefix}group")).items()

    await until(committed, f"everything is committed: {ends}", worker.log)


async def matches_on(bootstrap: str, prefix: str) -> list[Any]:
    return await read_topic(bootstrap, Topics(prefix).matches)


def test_the_town_is_a_test(town: Town) -> None:
    """Every rule is at work: many hits, and many of them denied; matches of every type, by
    alternates too, and folded reads that they carry."""
    assert sizes(town.reads) == _READS
    assert town.hit_count > 0.015 * _READS
    assert 0.2 * town.hit_count < len(town.expected) < 0.7 * town.hit_count
    types = Counter(match.likeness.match_type for match in town.matches.values())
    assert types.keys() == {"exact", "confusable", "distance", "partial"}
    assert min(types.values()) > _READS // 20_000
    assert sum(match.alternate is not None for match in town.matches.values()) > _READS // 15_000
    assert sum(match.suppressed for match in town.matches.values()) > _READS // 10_000


async def test_straight_through(real_kafka: str, prefix: str, town: Town, log_file: Path) -> None:
    topics = Topics(prefix)
    await town.produce_control(real_kafka, topics.hotlist, topics.policies)
    await produce(real_kafka, topics.detections, town.reads)
    async with ForkedWorker(log_file, real_kafka, prefix) as worker:
        await all_done(real_kafka, prefix, worker)
        await worker.has_processed(town.read_count)
        counted = await worker.metric("hotlist_matches_total")
        rejected = await worker.metric("hotlist_rejects_total")
        denied = await worker.metric("hotlist_denied_total")
        folded = await worker.metric("hotlist_suppressed_total")
        await worker.stop()
    records = await matches_on(real_kafka, prefix)
    found = found_matches(records)
    assert set(found) == town.expected
    assert len(found) == len(town.expected), "a match came twice without any failure"
    assert (counted, rejected, folded) == (len(found), 0, town.folded_count)
    assert denied > 0
    assert await read_topic(real_kafka, topics.rejects) == []
    check_likeness(records, town)
    for record in random.Random(1).sample(records, 500):
        check_match_record(record)


def check_likeness(records: list[Any], town: Town) -> None:
    """All matches say in what they differ, and how many reads were folded, as they should; those
    that came twice too."""
    for record in records:
        match = orjson.loads(record.value)
        expected = town.matches[match["match_id"]]
        [check] = [check for check in match["verification"]["checks"] if check["check"] == "plate"]
        misread, alternate = check.get("misread"), match.get("alternate")
        assert expected.likeness == Likeness(
            match["match_type"],
            tuple(check.get("look_alikes", ())),
            misread and (misread["kind"], misread["position"]),
        )
        assert expected.alternate == (alternate and (alternate["plate"], alternate["confidence"]))
        assert expected.suppressed == match["suppressed"]


def check_match_record(record: Any) -> None:
    """A record of the matches topic is what the contract says, headers and all."""
    match = orjson.loads(record.value)
    validator("match").validate(match)
    assert record.key.decode() == match["entry"]["entry_id"]
    headers = {name: value.decode() for name, value in record.headers}
    assert headers == {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": match["match_id"],
        "ce_source": headers["ce_source"],
        "ce_type": headers["ce_type"],
        "ce_time": match["matched_at"],
        "ce_subject": match["entry"]["entry_id"],
    }
    assert headers["ce_source"]
    assert headers["ce_type"]
    assert 0 < match["confidence"] <= 1
    assert match["policy"]["source"] == match["read"]["source"]
    assert "vendor" not in match["read"], "an unknown field came out again"
    assert {check["check"] for check in match["verification"]["checks"]} >= {
        "plate",
        "region",
        "vehicle",
        "entry_age",
        "read_age",
    }


async def test_a_match_record_that_is_none_is_noticed(
    real_kafka: str, prefix: str, village: Town
) -> None:
    """The check above can fail: it is tried on a record that lacks what it asks for."""
    await produce(real_kafka, f"{prefix}matches.v1", {0: [ToSend(b"E1", b'{"match_id": "1"}')]})
    (record,) = await matches_on(real_kafka, prefix)
    with pytest.raises(jsonschema.ValidationError):
        check_match_record(record)


async def test_stopped_in_the_middle(
    real_kafka: str, prefix: str, town: Town, tmp_path: Path
) -> None:
    topics = Topics(prefix)
    await town.produce_control(real_kafka, topics.hotlist, topics.policies)
    await produce(real_kafka, topics.detections, town.reads_between(0, 0.6))
    async with ForkedWorker(tmp_path / "first.log", real_kafka, prefix) as first:
        await first.has_processed(town.read_count // 5)
        await first.stop()
    after_stop = found_matches(await matches_on(real_kafka, prefix))
    assert set(after_stop) < town.expected
    await produce(real_kafka, topics.detections, town.reads_between(0.6, 1))
    async with ForkedWorker(tmp_path / "second.log", real_kafka, prefix) as second:
        await all_done(real_kafka, prefix, second)
        await second.stop()
    records = await matches_on(real_kafka, prefix)
    check_likeness(records, town)
    assert set(found_matches(records)) == town.expected
    assert len(records) == len(town.expected), "a stop in order repeats nothing"


async def test_killed_in_the_middle(
    real_kafka: str, prefix: str, town: Town, tmp_path: Path
) -> None:
    """No hit lost and none invented; repeats are allowed."""
    topics = Topics(prefix)
    await town.produce_control(real_kafka, topics.hotlist, topics.policies)
    for number, start in enumerate((0, 0.3)):
        await produce(real_kafka, topics.detections, town.reads_between(start, start + 0.3))
        async with ForkedWorker(tmp_path / f"{number}.log", real_kafka, prefix) as killed:
            await killed.has_processed(town.read_count // 20)
            await killed.kill()
    await produce(real_kafka, topics.detections, town.reads_between(0.6, 1))
    async with ForkedWorker(tmp_path / "last.log", real_kafka, prefix) as last:
        await all_done(real_kafka, prefix, last)
        await last.stop()
    records = await matches_on(real_kafka, prefix)
    check_likeness(records, town)
    assert set(found_matches(records)) == town.expected


async def test_two_workers_of_which_one_goes(
    real_kafka: str, prefix: str, town: Town, tmp_path: Path
) -> None:
    topics = Topics(prefix)
    await town.produce_control(real_kafka, topics.hotlist, topics.policies)
    await produce(real_kafka, topics.detections, town.reads_between(0, 0.2))
    async with (
        ForkedWorker(tmp_path / "stays.log", real_kafka, prefix) as stays,
        ForkedWorker(tmp_path / "goes.log", real_kafka, prefix) as goes,
    ):
        await stays.ready()
        await goes.ready()
        produced = 0.2

        async def both_have_work() -> bool:
            # The group shares the partitions once both are in it; until then one does it all.
            nonlocal produced
            if produced < 0.6:
                share = town.reads_between(produced, produced + 0.01)
                await produce(real_kafka, topics.detections, share)
                produced += 0.01
            else:
                raise AssertionError("no read came to one of the workers")
            counts = [await worker.metric("hotlist_reads_total") for worker in (stays, goes)]
            return min(counts) > 0

        await until(both_have_work, "both workers take reads", lambda: stays.log() + goes.log())
        await produce(real_kafka, topics.detections, town.reads_between(produced, 0.8))
        await goes.stop()
        await produce(real_kafka, topics.detections, town.reads_between(0.8, 1))
        await all_done(real_kafka, prefix, stays)
        await stays.stop()
    records = await matches_on(real_kafka, prefix)
    check_likeness(records, town)
    assert set(found_matches(records)) == town.expected


async def test_every_codec(broker: Broker, prefix: str, village: Town) -> None:
    """Each partition has batches of all of them, as of producers that are set up in five ways."""
    topics = Topics(prefix)
    await village.produce_control(broker.bootstrap, topics.hotlist, topics.policies)
    share = 1 / len(CODECS)
    for number, codec in enumerate(CODECS):
        reads = village.reads_between(number * share, (number + 1) * share)
        await produce(broker.bootstrap, topics.detections, reads, codec=codec)
    async with worker_here(broker.bootstrap, prefix, has_topics=broker.is_real) as worker:
        await all_done(broker.bootstrap, prefix, worker)
    found = found_matches(await matches_on(broker.bootstrap, prefix))
    assert set(found) == village.expected
    assert len(found) == len(village.expected)


async def test_an_aborted_transaction_never_matches(
    real_kafka: str, prefix: str, village: Town, log_file: Path
) -> None:
    """Reads of an aborted transaction stand between those of committed ones, and at the end."""
    topics = Topics(prefix)
    await village.produce_control(real_kafka, topics.hotlist, topics.policies)
    records = village.reads[0]
    third = len(records) // 3
    parts = (records[:third], records[third : 2 * third], records[2 * third :])
    async with producing(real_kafka, acks="all", transactional_id=f"{prefix}reads") as producer:
        for part, commit in zip((*parts, records), (True, False, True, False), strict=True):
            await producer.begin_transaction()
            await send_to_partition(producer, topics.detections, 0, part)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
    committed = {orjson.loads(record.value or b"")["read_id"] for record in parts[0] + parts[2]}
    expected = village.expected_of([*parts[0], *parts[2]])
    assert expected
    async with ForkedWorker(log_file, real_kafka, prefix) as worker:
        await worker.has_processed(len(committed))
        # One more read, behind the aborted ones, says when the worker is past them.
        last = next(read for read in village.reads[1] if village.is_expected(read))
        await produce(real_kafka, topics.detections, {0: [last]})
        await all_done(real_kafka, prefix, worker)
        assert await worker.metric("hotlist_reads_total") == len(committed) + 1
        await worker.stop()
    found = found_matches(await matches_on(real_kafka, prefix))
    assert {match for match in found if match.read_id in committed} == expected
    assert {match.read_id for match in found} - committed == {
        orjson.loads(last.value or b"")["read_id"]
    }
