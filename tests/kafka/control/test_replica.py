"""`engine.control.replica` on real brokers: what it reads before it opens the gate, and what counts
then.

What closes the gate is tested in `test_outages`.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.errors import TopicAlreadyExistsError

from engine import limits
from engine.errors import BrokerError
from engine.kafka.topics import Topics
from engine.matching.lists import ControlKind
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.conftest import Broker
from tests.kafka.following import (
    Following,
    following,
    has_records,
    make_plain,
    matched_reads,
    reads,
    sent,
)
from tests.kafka.forked_worker import ForkedWorker
from tests.kafka.records import (
    ToSend,
    add_partitions,
    administering,
    produce,
    producing,
    send_to_partition,
    until,
)
from tests.kafka.worker_here import worker_here


async def test_empty_topics_open_the_gate(broker: Broker, prefix: str) -> None:
    async with following(broker.bootstrap, prefix) as here:
        assert here.loaded == here.followed == []
        await produce(broker.bootstrap, Topics(prefix).hotlist, sent(an_entry()))
        await until(lambda: has_records(here.followed, 1), "the first record")


async def test_everything_comes_in_order_before_the_gate_opens(broker: Broker, prefix: str) -> None:
    topics = Topics(prefix)
    entries = [an_entry(entry_id=f"E-{number % 50}", priority=1) for number in range(500)]
    await produce(broker.bootstrap, topics.hotlist, sent(*entries, ("E-7", None)))
    await produce(broker.bootstrap, topics.policies, sent(a_policy(), ("city", None)))
    async with following(broker.bootstrap, prefix) as here:
        of_entries = [r for r in here.loaded if r.kind is ControlKind.ENTRY]
        of_policies = [r for r in here.loaded if r.kind is ControlKind.POLICY]
    assert [record.offset for record in of_entries] == list(range(501))
    assert [record.key for record in of_entries[:500]] == [
        entry["entry_id"].encode() for entry in entries
    ]
    assert (of_entries[-1].key, of_entries[-1].value) == (b"E-7", None)
    assert [(r.key, r.value is None) for r in of_policies] == [(b"city", False), (b"city", True)]
    assert all(record.timestamp_ms > 0 for record in here.loaded)


async def test_a_topic_whose_beginning_is_gone(real_kafka: str, prefix: str) -> None:
    await make_plain(real_kafka, f"{prefix}other.hotlist.v1", f"{prefix}other.policies.v1")
    topics = Topics(f"{prefix}other.")
    entries = [an_entry(entry_id=f"E-{number}") for number in range(10)]
    await produce(real_kafka, topics.hotlist, sent(*entries))
    await delete_before(real_kafka, TopicPartition(topics.hotlist, 0), 6)
    async with following(real_kafka, topics.prefix) as here:
        assert [record.offset for record in here.loaded] == [6, 7, 8, 9]
    await delete_before(real_kafka, TopicPartition(topics.hotlist, 0), 10)
    async with following(real_kafka, topics.prefix) as here:
        assert here.loaded == []


async def delete_before(bootstrap: str, tp: TopicPartition, offset: int) -> None:
    async with administering(bootstrap) as admin:
        await admin.delete_records({tp: RecordsToDelete(offset)})


async def test_transactions(real_kafka: str, prefix: str) -> None:
    """Aborted records at the end do not count, nor keep the gate shut; nor do open ones."""
    topics = Topics(prefix)
    async with producing(real_kafka, acks="all", transactional_id=f"{prefix}editor") as producer:
        for number, commit in enumerate([True, False, True, False, False]):
            await producer.begin_transaction()
            entries = sent(*(an_entry(entry_id=f"E-{number}-{n}") for n in range(3)))
            await send_to_partition(producer, topics.hotlist, 0, entries[0])
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        async with following(real_kafka, prefix) as here:
            keys = [record.key for record in here.loaded]
            assert keys == [b"E-0-0", b"E-0-1", b"E-0-2", b"E-2-0", b"E-2-1", b"E-2-2"]
        await producer.begin_transaction()
        await send_to_partition(producer, topics.hotlist, 0, sent(an_entry(entry_id="late"))[0])
        async with following(real_kafka, prefix) as here:
            assert [record.key for record in here.loaded] == keys
            assert here.followed == []
            await producer.commit_transaction()
            assert await keys_committed(here) == [b"late"]
            await produce(real_kafka, topics.hotlist, sent(an_entry(entry_id="plain")))
            await until(lambda: has_records(here.followed, 1), "the record outside of any")
            assert [record.key for record in here.followed] == [b"plain"]


async def keys_committed(here: Following) -> list[bytes | None]:
    """The keys that the first commit after the load made count."""
    await until(lambda: has_records(here.commits, 2), "a commit after the load")
    return [record.key for record in here.commits[1]]


async def test_a_transaction_counts_as_a_whole(real_kafka: str, prefix: str) -> None:
    """Larger than one step; what comes behind it waits for its end, policies do not."""
    topics = Topics(prefix)
    padding = "x" * 1900
    many = [an_entry(entry_id=f"E-{number}", instructions=padding) for number in range(10_000)]
    async with (
        following(real_kafka, prefix) as here,
        producing(real_kafka, acks="all", transactional_id=f"{prefix}editor") as editor,
    ):
        await produce(real_kafka, topics.hotlist, sent(an_entry(entry_id="before")))
        await until(lambda: has_records(here.followed, 1), "the record before")
        await editor.begin_transaction()
        await send_to_partition(editor, topics.hotlist, 0, sent(*many)[0])
        await produce(real_kafka, topics.hotlist, sent(an_entry(entry_id="behind")))
        await produce(real_kafka, topics.policies, sent(a_policy()))
        await until(lambda: has_records(here.followed, 2), "the policy")
        assert [record.key for record in here.followed] == [b"before", b"city"]
        assert (here.staged, len(here.commits)) == ([], 1)
        await editor.commit_transaction()
        wanted = [entry["entry_id"].encode() for entry in many]
        committed = await keys_committed(here)
        assert committed[: len(many)] == wanted
        # The step that brings the transaction's end may or may not bring what is behind it.
        await until(lambda: has_records(here.after_load(), len(many) + 3), "the record behind")
        assert [committed[len(many) :], len(here.followed)] in ([[b"behind"], 2], [[], 3])


async def test_an_aborted_transaction_stages_nothing(real_kafka: str, prefix: str) -> None:
    topics = Topics(prefix)
    async with (
        following(real_kafka, prefix) as here,
        producing(real_kafka, acks="all", transactional_id=f"{prefix}editor") as editor,
    ):
        await editor.begin_transaction()
        await send_to_partition(editor, topics.hotlist, 0, sent(an_entry())[0])
        await editor.abort_transaction()
        await produce(real_kafka, topics.hotlist, sent(an_entry(entry_id="behind")))
        await until(lambda: has_records(here.followed, 1), "the record behind")
        assert [record.key for record in here.after_load()] == [b"behind"]
        assert len(here.commits) == 1


async def test_a_transaction_of_which_the_broker_gives_a_part(real_kafka: str, prefix: str) -> None:
    """The broker gives out what lies before the first transaction that is not decided. That may
    be half of one that is: it must not count, neither later nor from the start on."""
    topics = Topics(prefix)

    async def send(producer: AIOKafkaProducer, entry_id: str) -> None:
        entry = sent(an_entry(entry_id=entry_id))[0]
        await send_to_partition(producer, topics.hotlist, 0, entry)

    async with (
        following(real_kafka, prefix) as here,
        producing(real_kafka, acks="all", transactional_id=f"{prefix}first") as first,
        producing(real_kafka, acks="all", transactional_id=f"{prefix}second") as second,
    ):
        await first.begin_transaction()
        await send(first, "first-half")
        await second.begin_transaction()
        await send(second, "second")
        await send(first, "second-half")
        await first.commit_transaction()
        await until(lambda: has_records(here.staged, 1), "the first half")
        assert here.replica.gate.is_open
        async with following(real_kafka, prefix, until_open=False) as late:
            await until(lambda: has_records(late.loaded, 1), "the first half")
            for each in (here, late):
                await polled(each, 3)
            assert [record.key for record in here.staged] == [b"first-half"]
            assert len(here.commits) == 1
            assert [record.key for record in late.loaded] == [b"first-half"]
            assert not late.replica.gate.is_open
            await second.commit_transaction()
            wanted = [b"first-half", b"second", b"second-half"]
            assert await keys_committed(here) == wanted
            await late.gate_is(True)
            assert [record.key for record in late.loaded] == wanted
            assert late.commits == [[]]


async def polled(here: Following, times: int) -> None:
    """Wait until the replica has heard of the hot list so many times more."""
    consumer = here.replica._consumer
    [tp] = [tp for tp in consumer.assignment() if tp.topic.endswith("hotlist.v1")]
    heard: set[int] = set()

    async def often_enough() -> bool:
        heard.add(consumer.last_poll_timestamp(tp))
        return len(heard) > times

    await until(often_enough, f"{times} answers of the broker")


async def test_a_transaction_whose_end_is_lost(real_kafka: str, prefix: str) -> None:
    """Where the partition has been read whole, nothing is open; the lists must not stand still."""
    topics = Topics(prefix)
    async with (
        following(real_kafka, prefix) as here,
        producing(real_kafka, acks="all", transactional_id=f"{prefix}editor") as editor,
    ):
        here.replica._open_transactions[TopicPartition(topics.hotlist, 0)] = {10**9}
        await editor.begin_transaction()
        await send_to_partition(editor, topics.hotlist, 0, sent(an_entry())[0])
        await editor.commit_transaction()
        assert await keys_committed(here) == [b"E-1"]


async def test_many_entries(real_kafka: str, prefix: str, tmp_path: Path) -> None:
    topics = Topics(prefix)
    template = orjson.dumps(an_entry(entry_id="E-@@@@@@@", plate="@@@@@@@"))
    numbers = (b"%07d" % number for number in range(200_000))
    entries = (ToSend(b"E-" + n, template.replace(b"@@@@@@@", n)) for n in numbers)
    await produce(real_kafka, topics.hotlist, {0: entries})
    await produce(real_kafka, topics.policies, sent(a_policy()))
    listed = ["0000000", "0099999", "0199999"]
    documents = [a_read(read_id=plate, plate=plate) for plate in [*listed, "0200000"]]
    await produce(
        real_kafka,
        topics.detections,
        {0: [ToSend(read["plate"].encode(), orjson.dumps(read)) for read in documents]},
    )
    async with ForkedWorker(tmp_path / "worker.log", real_kafka, prefix) as worker:
        await worker.ready()
        assert await worker.metric('hotlist_entries{state="active"}') == 200_000
        await worker.has_processed(len(documents))
        await worker.stop()
    assert sorted(await matched_reads(real_kafka, prefix)) == listed


async def test_changes_count_while_reads_come(broker: Broker, prefix: str) -> None:
    """Each change is made, seen by the worker, and then counts for the next read."""
    topics = Topics(prefix)
    bad = an_entry(purpose="curiosity")
    bob = an_entry(entry_id="E-2", purpose="missing_person")
    only_missing = a_policy(rules=[{"agencies": "*", "purposes": ["missing_person"]}])
    changes: list[tuple[str, Any, int]] = [
        (topics.hotlist, an_entry(), 0),  # no policy yet
        (topics.policies, a_policy(), 1),
        (topics.hotlist, bob, 2),
        (topics.policies, only_missing, 1),
        (topics.policies, a_policy(rules=[]), 0),
        (topics.policies, a_policy(), 2),
        (topics.hotlist, bad, 1),  # refused, and its predecessor is gone
        (topics.hotlist, ("E-2", None), 0),
        (topics.hotlist, an_entry(), 1),
        (topics.policies, ("city", None), 0),
    ]
    wanted: list[str] = []
    async with worker_here(broker.bootstrap, prefix, has_topics=broker.is_real) as here:
        await here.ready()
        for number, (topic, change, matches) in enumerate(changes):
            await produce(broker.bootstrap, topic, sent(change))

            async def received(count: int = number + 1) -> bool:
                await here.alive()
                return here.metric("hotlist_control_records_total") >= count

            await until(received, f"change {number} is received", here.log)
            read = a_read(read_id=f"R-{number}")
            await produce(broker.bootstrap, topics.detections, reads(read))
            await here.has_processed(number + 1)
            wanted += [f"R-{number}"] * matches
        assert here.metric("hotlist_control_records_total", result="refused") == 1
        assert here.metric("hotlist_control_delay_seconds_count") == len(changes)
    assert sorted(await matched_reads(broker.bootstrap, prefix)) == wanted


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "METADATA_MAX_AGE_S", 0.2)


async def ended_with(here: Following) -> BrokerError:
    """Wait until the replica gives up, and return why."""
    task = here.task
    assert task is not None

    async def ended() -> bool:
        return task.done()

    await until(ended, "the replica gives up")
    error = task.exception()
    assert isinstance(error, BrokerError)
    return error


@pytest.mark.usefixtures("_looks_often")
async def test_a_control_topic_that_goes_ends_the_worker(real_kafka: str, prefix: str) -> None:
    """It may come back with other records, and nobody would take the old ones away."""
    topics = Topics(prefix)
    await produce(real_kafka, topics.policies, sent(a_policy()))
    async with following(real_kafka, prefix) as here:
        async with administering(real_kafka) as admin:
            await admin.delete_topics([topics.hotlist])
        error = await ended_with(here)
    assert str(error).startswith(f"{topics.hotlist}: the broker does not know the topic any more")


@pytest.mark.usefixtures("_looks_often")
async def test_a_control_topic_made_anew_ends_the_worker(real_kafka: str, prefix: str) -> None:
    """The offset at which the worker reads on lies within the new topic: what stands before it
    would be passed over, and nothing of the old topic would be taken away."""
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, sent(an_entry(entry_id="old")))
    async with following(real_kafka, prefix) as here:
        async with administering(real_kafka) as admin:
            await admin.delete_topics([topics.hotlist])

            async def made() -> bool:
                found = await admin.create_topics([NewTopic(topics.hotlist, 1, 1)])
                return not any(code for _, code, *_ in found.topic_errors)

            with contextlib.suppress(TopicAlreadyExistsError):
                await until(made, "the topic is made anew")
        new = [an_entry(entry_id=f"new-{number}") for number in range(5)]
        await produce(real_kafka, topics.hotlist, sent(*new))
        error = await ended_with(here)
    # Whichever is seen first: that the topic is another one, or that it is too short.
    assert str(error).startswith((f"{topics.hotlist}: ", f"{topics.hotlist}/0/"))
    assert "restart the worker" in str(error)


@pytest.mark.usefixtures("_looks_often")
async def test_partitions_added_to_a_control_topic_end_the_worker(
    real_kafka: str, prefix: str
) -> None:
    """Changes of one entry would lie in two partitions, and have no order."""
    topics = Topics(prefix)
    async with following(real_kafka, prefix) as here:
        await add_partitions(real_kafka, topics.hotlist, 2)
        await produce(real_kafka, topics.hotlist, {1: sent(an_entry())[0]})
        error = await ended_with(here)
    assert str(error).startswith(f"{topics.hotlist}: the topic has 2 partitions now, and had 1")


async def test_added_partitions_are_found_within_half_a_minute(
    real_kafka: str, prefix: str
) -> None:
    topics = Topics(prefix)
    async with following(real_kafka, prefix) as here:
        await add_partitions(real_kafka, topics.policies, 3)
        async with asyncio.timeout(30):
            error = await ended_with(here)
    assert str(error).startswith(f"{topics.policies}: the topic has 3 partitions now, and had 1")
