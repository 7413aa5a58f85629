"""What was folded goes with the partitions: through restarts, a rebalance and a SIGKILL.

Beside the naive model of `tests.matching.test_suppression`, which knows of no worker at all.
"""

from __future__ import annotations

import contextlib
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson

from engine.clock import SystemClock, format_time
from engine.kafka.topics import Topics
from engine.matching.suppression import SUPPRESSED
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import sent
from tests.kafka.forked_worker import ForkedWorker
from tests.kafka.records import ToSend, produce, read_topic, until
from tests.kafka.worker.test_audit import named, the_audit
from tests.kafka.worker_here import worker_here
from tests.matching.test_suppression import Naive, Read

PARTITIONS = 4
#: A listed plate for each partition.
PLATES = [f"ABC123{number}" for number in range(PARTITIONS)]


def entry_of(plate: str, **fields: Any) -> dict[str, Any]:
    return an_entry(entry_id=f"E-{plate}", plate=plate, **{"suppress_s": 60, **fields})


class Traffic:
    """Reads of the listed plates, some late, and what must come of them by the naive model."""

    def __init__(self) -> None:
        self._random = random.Random(7)
        self._now_ms = SystemClock().now_ms()
        self._models = {plate: Naive() for plate in PLATES}
        self._count = 0
        #: What the match of a read carries.
        self.expected: dict[str, int] = {}
        #: By plate, folded reads that no match has carried.
        self.waiting: dict[str, int] = {}

    @property
    def count(self) -> int:
        """Reads made so far."""
        return self._count * PARTITIONS

    def reads(self, count: int) -> dict[int, list[ToSend]]:
        """So many further reads in each partition."""
        made: dict[int, list[ToSend]] = defaultdict(list)
        for _ in range(count):
            for partition, plate in enumerate(PLATES):
                made[partition].append(self._read(partition, plate))
            self._count += 1
        return made

    def _read(self, partition: int, plate: str) -> ToSend:
        camera = self._random.choice(["north", "south"])
        late_s = self._random.choice([0, 0, 0, 0, 70, 300])
        captured_ms = self._now_ms + 1000 * (17 * self._count - late_s)
        model = self._models[plate]
        answer = model.admit(Read(captured_ms, 0, camera), partition, self._count)
        read_id = f"{plate}-{self._count}"
        if answer != SUPPRESSED:
            self.expected[read_id] = answer
        self.waiting[plate] = sum(model.suppressed.values())
        read = a_read(
            read_id=read_id, plate=plate, camera=camera, captured_at=format_time(captured_ms)
        )
        return ToSend(plate.encode(), orjson.dumps(read))


async def carried(bootstrap: str, prefix: str) -> dict[str, int]:
    """By read, what its match carries, however often it came."""
    found: dict[str, int] = {}
    for record in await read_topic(bootstrap, Topics(prefix).matches):
        match = orjson.loads(record.value)
        read_id = match["read"]["read_id"]
        assert found.setdefault(read_id, match["suppressed"]) == match["suppressed"]
    return found


async def remembered(bootstrap: str, prefix: str) -> dict[bytes, Any]:
    """The last state of each key, as the topic has it."""
    states: dict[bytes, Any] = {}
    for record in await read_topic(bootstrap, Topics(prefix).suppression):
        states[record.key] = record.value and orjson.loads(record.value)
    return {key: state for key, state in states.items() if state is not None}


async def test_a_restart_folds_on(real_kafka: str, prefix: str) -> None:
    topics, traffic = Topics(prefix), Traffic()
    await produce(real_kafka, topics.hotlist, sent(*map(entry_of, PLATES)))
    await produce(real_kafka, topics.policies, sent(a_policy()))
    for _ in range(2):
        await produce(real_kafka, topics.detections, traffic.reads(30))
        async with worker_here(real_kafka, prefix) as worker:
            await worker.ready()
            await worker.has_processed(30 * PARTITIONS)

            async def all_counted(worker: Any = worker) -> bool:
                folded = worker.metric("hotlist_suppressed_total")
                return bool(worker.metric("hotlist_matches_total") + folded == 30 * PARTITIONS)

            await until(all_counted, "all reads are matched or folded", worker.log)
            assert len(worker.worker.suppression) == 2 * PARTITIONS
    assert await carried(real_kafka, prefix) == traffic.expected
    states = await remembered(real_kafka, prefix)
    assert sum(traffic.waiting.values()) == sum(each["suppressed"] for each in states.values())


async def test_a_rebalance_and_a_kill_change_nothing(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Then the entries go, and the audit has what no match carries. The matches stay for a while,
    in case an entry is listed again in the same words."""
    topics, traffic = Topics(prefix), Traffic()
    await produce(real_kafka, topics.hotlist, sent(*map(entry_of, PLATES)))
    await produce(real_kafka, topics.policies, sent(a_policy()))
    # What another group remembers lies there too, and stays.
    others = b"other/0/" + b"0" * 32
    await produce(real_kafka, topics.suppression, {0: [ToSend(others, b"[]")]})
    await produce(real_kafka, topics.detections, traffic.reads(40))
    async with contextlib.AsyncExitStack() as stack:

        async def a_worker(name: str) -> ForkedWorker:
            worker = ForkedWorker(tmp_path / f"{name}.log", real_kafka, prefix)
            await stack.enter_async_context(worker)
            await worker.ready()
            return worker

        first = await a_worker("first")

        async def is_processed() -> bool:
            return await first.metric("hotlist_reads_total") == traffic.count

        await until(is_processed, "the first one takes all reads", first.log)
        states_read = await first.metric("hotlist_suppression_records_read_total")
        second = await a_worker("second")

        async def is_shared() -> bool:
            await produce(real_kafka, topics.detections, traffic.reads(3))
            counts = [await each.metric("hotlist_reads_total") for each in (first, second)]
            return min(counts) > 0 and sum(counts) >= traffic.count - 3 * PARTITIONS

        await until(is_shared, "both take reads", second.log)
        assert await first.metric("hotlist_suppression_records_read_total") == states_read
        await produce(real_kafka, topics.detections, traffic.reads(100))
        await first.kill()
        await produce(real_kafka, topics.detections, traffic.reads(20))

        async def all_matched() -> bool:
            await second.alive()
            return (await carried(real_kafka, prefix)).keys() >= traffic.expected.keys()

        await until(all_matched, "all matches are out", second.log)
        assert await carried(real_kafka, prefix) == traffic.expected
        assert sum(traffic.waiting.values()) > 0
        ends = SystemClock().now_ms() + 1
        gone = [(f"E-{plate}", None) for plate in PLATES[1:]]
        await produce(
            real_kafka,
            topics.hotlist,
            sent(*gone, entry_of(PLATES[0], expires_at=format_time(ends))),
        )

        left: dict[bytes, Any] = {}

        async def all_audited() -> bool:
            await second.alive()
            nonlocal left
            left = await remembered(real_kafka, prefix)
            return not any(state["suppressed"] for key, state in left.items() if key != others)

        await until(all_audited, "all counts are audited", lambda: f"{second.log()}\n{left}")
        assert others in left
        await second.stop()
    records = await the_audit(real_kafka, prefix)
    audited: dict[str, int] = defaultdict(int)
    for record in named(records, "suppressed"):
        assert {**record.fields, "agency": "AG0001", "purpose": "stolen_vehicle"} == record.fields
        assert record.fields["authority"] == "case 2026-0017"
        audited[str(record.fields["entry_id"]).removeprefix("E-")] += int(
            record.fields["suppressed"]
        )
        assert not {"plate", "camera", "read_id"} & record.fields.keys()
    assert audited == {plate: count for plate, count in traffic.waiting.items() if count}
    total = sum(traffic.expected.values()) + sum(audited.values()) + len(traffic.expected)
    assert total == traffic.count
