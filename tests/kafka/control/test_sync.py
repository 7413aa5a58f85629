"""A list that is rewritten in one transaction while reads of old and new entries flow.

The old state has all plates `A…`, the new one all plates `B…`. Each partition's reads are of
both in turn, numbered, so that the matches tell at which read a worker went over from the old
state to the new one: there is one such point in each partition, before which every old and
no new entry matches, and after which it is the other way round.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import sent
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

_ENTRIES = 40_000
_PARTITIONS = 4
_READS_A_ROUND = 40
#: How often brokers look for transactions that are open for too long, and a little more
#: (transaction.abort.timed.out.transaction.cleanup.interval.ms).
_ABORTED_S = 11
#: A sync with a limit of a second, and more for many changes. It ends when a file is there.
_SLOW_SYNC = """
import asyncio, pathlib, sys
from engine import limits
from engine.kafka.writer import Outbox
limits.TRANSACTION_S, limits.TRANSACTION_RECORDS_A_S = 1.0, 5.0
may_end, flush = pathlib.Path(sys.argv.pop(1)), Outbox.flush
async def flush_and_wait(box):
    await flush(box)
    while box.sent and not may_end.exists():
        await asyncio.sleep(0.1)
Outbox.flush = flush_and_wait
from engine.cli import main
main()
"""
_TEMPLATE = orjson.dumps(an_entry(entry_id="E-@@@@@@@", plate="@@@@@@@"))


def entries(state: str, count: int = _ENTRIES) -> Iterable[ToSend]:
    """The entries of a state, A or B."""
    for number in range(count):
        name = b"%s%06d" % (state.encode(), number)
        yield ToSend(b"E-" + name, _TEMPLATE.replace(b"@@@@@@@", name))


def difference() -> Iterable[ToSend]:
    """What makes state B of state A."""
    for old, new in zip(entries("A"), entries("B"), strict=True):
        yield ToSend(old.key, None)
        yield new


class Traffic:
    """Reads of old and new entries in turn, numbered by partition, until it is told to stop."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self.count = 0

    async def round(self, producer: AIOKafkaProducer) -> None:
        """Some more reads for each partition."""
        for partition in range(_PARTITIONS):
            reads = [
                a_read(
                    read_id=f"{partition}/{number}",
                    plate=f"{'AB'[number % 2]}{(7_919 * number + partition) % _ENTRIES:06d}",
                )
                for number in range(self.count, self.count + _READS_A_ROUND)
            ]
            records = [ToSend(read["plate"].encode(), orjson.dumps(read)) for read in reads]
            await send_to_partition(producer, self._topic, partition, records)
        self.count += _READS_A_ROUND

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Reads flow meanwhile."""

        async def flow() -> None:
            async with producing(self._bootstrap) as producer:
                while not ended.is_set():
                    await self.round(producer)
                    await asyncio.sleep(0.02)

        ended = asyncio.Event()
        task = asyncio.create_task(flow())
        try:
            yield
        finally:
            ended.set()
            await task


async def both_take_reads(traffic: Traffic, bootstrap: str, workers: list[ForkedWorker]) -> None:
    """Wait until each worker has partitions of its own."""
    async with producing(bootstrap) as producer:

        async def both() -> bool:
            await traffic.round(producer)
            return all([await each.metric("hotlist_reads_total") > 0 for each in workers])

        await until(both, "both workers take reads", lambda: workers[0].log() + workers[1].log())


async def all_committed(bootstrap: str, prefix: str) -> None:
    topic = Topics(prefix).detections
    ends = await end_offsets(bootstrap, topic)

    async def committed() -> bool:
        return ends.items() <= (await committed_offsets(bootstrap, topic, f"{prefix}group")).items()

    await until(committed, "all reads are processed")


async def test_a_sync_is_seen_all_at_once(real_kafka: str, prefix: str, tmp_path: Path) -> None:
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, {0: entries("A")})
    await produce(real_kafka, topics.policies, sent(a_policy()))
    traffic = Traffic(real_kafka, topics.detections)
    async with (
        ForkedWorker(tmp_path / "first.log", real_kafka, prefix) as first,
        ForkedWorker(tmp_path / "second.log", real_kafka, prefix) as second,
        producing(real_kafka, acks="all", transactional_id=f"{prefix}sync") as editor,
    ):
        workers = [first, second]
        for worker in workers:
            await worker.ready()
        await both_take_reads(traffic, real_kafka, workers)

        # One that is given up changes nothing.
        await editor.begin_transaction()
        await send_to_partition(editor, topics.hotlist, 0, entries("B", 1_000))
        await editor.abort_transaction()

        async with traffic.flowing():
            await editor.begin_transaction()
            await send_to_partition(editor, topics.hotlist, 0, difference())
            # While it is open, all goes on as before.
            open_until = traffic.count + 10 * _READS_A_ROUND
            await until(lambda: reached(traffic, open_until), "reads flow")
            for worker in workers:
                status, reason = await worker.get("/readyz")
                assert status == 200, reason
            await editor.commit_transaction()
            # Behind the last record of a transaction stands its end, which is no record.
            after_sync = max((await end_offsets(real_kafka, topics.hotlist)).values()) - 1
            await until(lambda: all_at(workers, after_sync), "the sync counts", first.log)
            flow_until = traffic.count + 10 * _READS_A_ROUND
            await until(lambda: reached(traffic, flow_until), "reads flow")
        await all_committed(real_kafka, prefix)
        for worker in workers:
            assert await worker.metric('hotlist_entries{state="active"}') == _ENTRIES
            assert await worker.metric("hotlist_denied_total") == 0
            await worker.stop()

    matched = await matches_by_partition(real_kafka, prefix)
    assert sorted(matched) == list(range(_PARTITIONS))
    for partition, found in matched.items():
        old = {number for number, said in found.items() if said == ("A", _ENTRIES)}
        new = {number for number, said in found.items() if said == ("B", after_sync)}
        assert len(old) + len(new) == len(found), f"another revision in {set(found.values())}"
        first_new, last_old = min(new), max(old)
        assert open_until <= first_new < flow_until
        # The first read after the change may be of an old entry, and is no match then.
        assert first_new - last_old in (1, 3), f"partition {partition}"
        assert old == set(range(0, last_old + 1, 2))
        assert new == set(range(first_new, traffic.count, 2))


async def test_a_large_sync_may_take_longer_than_the_limit_of_a_small_one(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """A worker goes on by the old state meanwhile, and by the new one when it has ended. A killed
    sync changes nothing."""
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, {0: entries("A", 5)})
    await produce(real_kafka, topics.policies, sent(a_policy()))
    (tmp_path / "b.csv").write_text("\n".join(["plate", *(f"B{n:06d}" for n in range(300)), ""]))
    may_end = tmp_path / "may_end"

    async def synced(*, end: bool) -> tuple[int | None, bytes, bytes]:
        """Run a sync. Its transaction is open until the brokers have looked for old ones."""
        before = max((await end_offsets(real_kafka, topics.hotlist)).values())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _SLOW_SYNC, str(may_end), "entries", "sync", "b.csv"),
            *("--list=l", "--agency=AG1", "--purpose=stolen_vehicle", "--authority-kind=case"),
            *("--authority-ref=C-1", "--requested-by=jo", "--expires-in=30d", "--operator=jo"),
            *("--bootstrap", real_kafka, "--prefix", prefix),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

        async def is_sent() -> bool:
            log_end = max((await end_offsets(real_kafka, topics.hotlist)).values())
            return process.returncode is not None or log_end >= before + 300

        await until(is_sent, "all of it is sent")
        await asyncio.sleep(_ABORTED_S)
        assert await worker.metric('hotlist_entries{state="active"}') == active
        if end:
            may_end.touch()
        else:
            process.kill()
        output, errors = await process.communicate()
        return process.returncode, output, errors

    async with ForkedWorker(tmp_path / "worker.log", real_kafka, prefix) as worker:
        await worker.ready()
        active = 5

        async def has_all() -> bool:
            return await worker.metric('hotlist_entries{state="active"}') == active

        await until(has_all, "the old state")
        assert (await synced(end=False))[0] == -signal.SIGKILL
        status, output, errors = await synced(end=True)
        assert status == 0, errors
        assert output.startswith(b"list l: 300 added, 0 changed, 0 removed"), output
        assert b"are sent in one transaction" in errors
        active = 305
        await until(has_all, "the new state")
        await worker.stop()


async def reached(traffic: Traffic, count: int) -> bool:
    return traffic.count >= count


async def all_at(workers: list[ForkedWorker], revision: int) -> bool:
    return all([await each.metric("hotlist_list_revision") == revision for each in workers])


async def matches_by_partition(
    bootstrap: str, prefix: str
) -> dict[int, dict[int, tuple[str, int]]]:
    """By partition and number of the read: the state of its entry, and the list's revision.

    A read that matched twice may only have done so in the same way: reads that one worker had
    not committed when the second came are processed again.
    """
    found: dict[int, dict[int, tuple[str, int]]] = defaultdict(dict)
    for record in await read_topic(bootstrap, Topics(prefix).matches):
        match: dict[str, Any] = orjson.loads(record.value)
        partition, number = map(int, match["read"]["read_id"].split("/"))
        said = match["entry"]["plate"][0], match["list_revision"]
        assert found[partition].setdefault(number, said) == said
    return found
