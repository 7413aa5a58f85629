"""What the worker writes into the audit, on a real Kafka: all of it, once, and no plate.

Whether the chains are whole is asked of the verifier that `hotlist audit verify` runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import limits
from engine.audit.checkpoints import new_key_pair, open_checkpoint, public_key
from engine.audit.verifier import Verifier
from engine.cli.audit.audit_reader import verify
from engine.clock import SystemClock, format_time
from engine.config import Settings
from engine.control.change_auditor import ChangeAuditor
from engine.documents.codec import decode_audit
from engine.documents.fields import CHAIN_ENDED
from engine.documents.model import AuditRecord
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.conftest import Broker, replicas
from tests.kafka.following import reads, sent
from tests.kafka.forked_worker import ForkedWorker
from tests.kafka.records import (
    ToSend,
    administering,
    committed_offsets,
    end_offsets,
    produce,
    producing,
    read_topic,
    send_to_partition,
    until,
)
from tests.kafka.town import Town, found_matches
from tests.kafka.worker.test_main_job import all_done
from tests.kafka.worker_here import WorkerHere, worker_here

_HOUR_MS = 3_600_000
_ENTRY_EVENTS = ("entry_added", "entry_changed", "entry_removed", "entry_refused")


@pytest.fixture(scope="module")
def town() -> Town:
    return Town(entries=3_000, sources=20, reads=300_000, hit_rate=0.05, seed=3)


@contextlib.contextmanager
def _no_bar(total: int) -> Iterator[Any]:
    yield lambda steps: None


async def the_audit(bootstrap: str, prefix: str) -> list[AuditRecord]:
    """All events of the audit, whose chains are whole; the ends of chains are left out."""
    return [each for each in await all_audit(bootstrap, prefix) if each.event != CHAIN_ENDED]


async def all_audit(bootstrap: str, prefix: str) -> list[AuditRecord]:
    """All records of the audit, whose chains are whole."""
    topic = Topics(prefix).audit
    verifier = Verifier(topic)
    await verify(Settings(bootstrap=bootstrap, prefix=prefix), verifier, _no_bar)
    assert verifier.problems.shown == []
    return [decode_audit(record.value) for record in await read_topic(bootstrap, topic)]


async def all_audited(bootstrap: str, prefix: str, worker: ForkedWorker | WorkerHere) -> None:
    """Wait until it is committed that all changes of the lists are audited."""
    for topic in (Topics(prefix).hotlist, Topics(prefix).policies):
        ends = {tp: end for tp, end in (await end_offsets(bootstrap, topic)).items() if end}

        async def committed(topic: str = topic, ends: dict[Any, int] = ends) -> bool:
            await worker.alive()
            found = await committed_offsets(bootstrap, topic, f"{prefix}group.audit")
            return ends.items() <= found.items()

        await until(committed, f"all changes are audited: {ends}", worker.log)


def named(records: Iterable[AuditRecord], *events: str) -> list[AuditRecord]:
    return [record for record in records if record.event in events]


def told(record: AuditRecord) -> dict[str, Any]:
    """What a record is about, without what the first of a chain says of the one before, and without
    the time of a control record."""
    return {
        key: value
        for key, value in record.fields.items()
        if not key.startswith("follows_") and key != "stamped_at"
    }


def no_plate(records: Iterable[AuditRecord], plates: set[str]) -> None:
    for record in records:
        words = set(re.findall(r"\w+", " ".join(map(str, record.fields.values()))))
        assert not words & plates


def by_hand(document: dict[str, Any], operator: str | None) -> dict[int, list[ToSend]]:
    """A control record, and who says that he made it."""
    headers = (("trace", b"1"), ("operator", operator.encode())) if operator else ()
    key = (document.get("entry_id") or document["source"]).encode()
    return {0: [ToSend(key, orjson.dumps(document), headers)]}


async def test_every_match_and_every_change(
    real_kafka: str, prefix: str, town: Town, tmp_path: Path
) -> None:
    topics = Topics(prefix)
    await town.produce_control(real_kafka, topics.hotlist, topics.policies)
    await produce(real_kafka, topics.detections, town.reads)
    async with ForkedWorker(tmp_path / "first.log", real_kafka, prefix) as worker:
        await all_done(real_kafka, prefix, worker)
        await all_audited(real_kafka, prefix, worker)
        counted = await worker.metric("hotlist_audit_records_total")
        assert await worker.metric("hotlist_audit_pending") == 0
        assert await worker.metric("hotlist_audit_delay_seconds_count") > 0
        await worker.stop()
    records = await the_audit(real_kafka, prefix)
    assert counted == len(records)
    assert len({record.chain for record in records}) == 1

    matches = [orjson.loads(r.value) for r in await read_topic(real_kafka, topics.matches)]
    assert len(matches) == len(town.expected)
    audited = {record.fields["match_id"]: told(record) for record in named(records, "match")}
    assert audited == {match["match_id"]: as_audited(match) for match in matches}
    of_entries = [record.fields["revision"] for record in named(records, *_ENTRY_EVENTS)]
    assert of_entries == list(range(len(town.entries[0])))
    of_policies = [record.fields["revision"] for record in named(records, "policy_changed")]
    assert of_policies == list(range(len(town.policies[0])))
    no_plate(records, {orjson.loads(entry.value or b"")["plate"] for entry in town.entries[0]})

    async with ForkedWorker(tmp_path / "second.log", real_kafka, prefix) as again:
        await again.ready()
        await again.stop()
    assert len(await the_audit(real_kafka, prefix)) == counted, "a restart audits nothing again"


def as_audited(match: dict[str, Any]) -> dict[str, Any]:
    entry = match["entry"]
    return {
        "match_id": match["match_id"],
        "match_type": match["match_type"],
        "entry_id": entry["entry_id"],
        "entry_revision": match["entry_revision"],
        "list_id": entry["list_id"],
        "list_revision": match["list_revision"],
        "suppressed": match["suppressed"],
        "agency": entry["agency"],
        "purpose": entry["purpose"],
        "authority": f"{entry['authority']['kind']} {entry['authority']['reference']}",
        "source": match["read"]["source"],
        "policy_revision": match["policy"]["revision"],
    }


async def test_workers_that_are_killed_and_share(
    real_kafka: str, prefix: str, town: Town, tmp_path: Path
) -> None:
    """Reads and changes of the lists come all the while. Whatever is on the topics in the end
    is in the audit: repeats are allowed, gaps are not, and every chain is whole."""
    topics = Topics(prefix)
    await town.produce_control(real_kafka, topics.hotlist, topics.policies)
    await produce(real_kafka, topics.detections, town.reads_between(0, 0.3))

    async def change_lists() -> None:
        for number in range(100_000):
            others = [
                an_entry(entry_id=f"other-{number}-{n}", plate=f"Z{n:04}{number % 1000:03}")
                for n in range(20)
            ]
            gone = [(f"other-{number - 2}-{n}", None) for n in range(number % 5)]
            await produce(real_kafka, topics.hotlist, sent(*others, *gone))
            await asyncio.sleep(0.1)

    changing = asyncio.create_task(change_lists())
    async with (
        ForkedWorker(tmp_path / "a.log", real_kafka, prefix) as first,
        ForkedWorker(tmp_path / "b.log", real_kafka, prefix) as second,
    ):
        await first.ready()
        await second.ready()
        await produce(real_kafka, topics.detections, town.reads_between(0.3, 0.6))
        await auditing_changes(first, second)
        owner, other = await by_ownership(first, second)
        await owner.kill()
        await produce(real_kafka, topics.detections, town.reads_between(0.6, 0.8))
        async with ForkedWorker(tmp_path / "c.log", real_kafka, prefix) as third:
            await third.ready()
            await produce(real_kafka, topics.detections, town.reads_between(0.8, 1))
            await all_done(real_kafka, prefix, third)
            await other.stop()
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)
            await all_audited(real_kafka, prefix, third)
            await third.stop()

    records = await the_audit(real_kafka, prefix)
    found = found_matches(await read_topic(real_kafka, topics.matches))
    assert set(found) == town.expected
    audited = {record.fields["match_id"] for record in named(records, "match")}
    assert audited == {match.match_id for match in found}
    entries = await read_topic(real_kafka, topics.hotlist)
    revisions = {record.fields["revision"] for record in named(records, *_ENTRY_EVENTS)}
    assert revisions == {record.offset for record in entries}
    per_chain = Counter(record.chain for record in records)
    assert len(per_chain) == 3, "each worker has a chain of its own"


async def test_a_worker_that_is_killed_in_the_middle_of_the_first_audit(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """A worker is ready before the entries that its first load adds are in the audit. If it is
    killed then, the next one audits the rest: no revision is missing, and every chain is whole."""
    entries = [an_entry(entry_id=f"E-{number}", plate=f"A{number:06}") for number in range(30_000)]
    for attempt in range(5):
        topics = Topics(f"{prefix}{attempt}.")
        cluster = Cluster(real_kafka, topics)
        await create_topics(cluster, partitions=4, replication=replicas())
        await produce(real_kafka, topics.hotlist, sent(*entries))
        await produce(real_kafka, topics.policies, sent(a_policy()))
        async with ForkedWorker(tmp_path / "first.log", real_kafka, topics.prefix) as first:
            await killed_in_the_audit(first)
        begun = await audited_revisions(real_kafka, topics.prefix)
        if 0 < len(begun) < len(entries):
            break
    else:
        pytest.fail("the audit of a load was always written before its worker was killed")

    async with ForkedWorker(tmp_path / "second.log", real_kafka, topics.prefix) as second:
        await second.ready()
        await all_audited(real_kafka, topics.prefix, second)
        await second.stop()
    of_chains = Counter(record.chain for record in await the_audit(real_kafka, topics.prefix))
    assert len(of_chains) == 2
    found = await audited_revisions(real_kafka, topics.prefix)
    assert found.keys() == set(range(len(entries)))
    assert max(found.values()) <= 2, "each worker audits a revision at most once"


async def killed_in_the_audit(worker: ForkedWorker) -> None:
    """Kill a worker as soon as it is ready and has audited some of the changes, and ask without a
    pause: a load is soon audited."""
    async with asyncio.timeout(120):
        is_ready = False
        while not (is_ready and await changes_audited(worker)):
            is_ready = is_ready or (await worker.get("/readyz"))[0] == 200
    await worker.kill()


async def audited_revisions(bootstrap: str, prefix: str) -> Counter[int]:
    """How often each revision of an entry is in the audit."""
    records = named(await the_audit(bootstrap, prefix), *_ENTRY_EVENTS)
    return Counter(int(record.fields["revision"]) for record in records)


async def auditing_changes(*workers: ForkedWorker) -> None:
    async def so() -> bool:
        return any([await changes_audited(worker) for worker in workers])

    await until(so, "one of the workers audits changes", workers[0].log)


async def by_ownership(
    first: ForkedWorker, second: ForkedWorker
) -> tuple[ForkedWorker, ForkedWorker]:
    """The one that audits the entries' changes now, and the other."""
    before = await changes_audited(first), await changes_audited(second)
    grown: list[ForkedWorker] = []

    async def so() -> bool:
        after = await changes_audited(first), await changes_audited(second)
        grown[:] = [
            worker
            for worker, was, now in zip((first, second), before, after, strict=True)
            if now > was
        ]
        return bool(grown)

    await until(so, "one of the workers goes on auditing changes", first.log)
    return (first, second) if grown[-1] is first else (second, first)


async def changes_audited(worker: ForkedWorker) -> float:
    return await worker.metric('hotlist_audit_records_total{event="entry_added"}')


async def test_who_did_what(broker: Broker, prefix: str) -> None:
    bootstrap, topics = broker.bootstrap, Topics(prefix)
    of_e1 = {
        "entry_id": "E-1",
        "list_id": "north-hot",
        "agency": "AG0001",
        "purpose": "stolen_vehicle",
        "authority": "case 2026-0017",
    }
    async with worker_here(bootstrap, prefix, has_topics=broker.is_real) as here:
        await here.ready()
        entry = an_entry()
        later = an_entry(requested_by="officer.kim", expires_at=entry["expires_at"])
        refused = an_entry(entry_id="E-2", plate="ZZ?", purpose="stolen_vehicle")
        await produce(bootstrap, topics.hotlist, by_hand(entry, "ann"))
        await produce(bootstrap, topics.hotlist, by_hand(later, None))
        await produce(bootstrap, topics.hotlist, by_hand(refused, "bob"))
        await produce(
            bootstrap,
            topics.hotlist,
            {0: [ToSend(b"E-1", None, (("operator", "Zoë".encode()),))]},
        )
        await produce(bootstrap, topics.policies, by_hand(a_policy(), "cleo"))
        await all_audited(bootstrap, prefix, here)
    records = await the_audit(bootstrap, prefix)
    of_entries = [(r.event, told(r)) for r in records if r.event in _ENTRY_EVENTS]
    assert of_entries[0] == (
        "entry_added",
        of_e1
        | {
            "requested_by": "officer.lee",
            "expires_at": entry["expires_at"],
            "revision": 0,
            "operator": "ann",
        },
    )
    changed = of_e1 | {"requested_by": "officer.kim", "expires_at": entry["expires_at"]}
    assert of_entries[1] == ("entry_changed", changed | {"revision": 1})
    event, fields = of_entries[2]
    assert event == "entry_refused"
    assert (fields["entry_id"], fields["field"]) == ("E-2", "plate")
    assert fields["rule"] == "must have at least 4 known characters for stolen_vehicle"
    assert (fields["revision"], fields["operator"]) == (2, "bob")
    assert of_entries[3] == (
        "entry_removed",
        changed | {"revision": 3, "operator": "Zoë"},
    )
    (policy,) = named(records, "policy_changed")
    assert told(policy) == {
        "source": "city",
        "updated_by": "records.chief",
        "rules": '[{"agencies":"*","purposes":"*"}]',
        "revision": 0,
        "operator": "cleo",
    }
    no_plate(records, {"ABC1234", "ZZ"})


class Ahead:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.by_ms = 0

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self.by_ms


async def test_an_expiry_is_audited_once_for_all_workers(real_kafka: str, prefix: str) -> None:
    """Also one that falls due while no worker runs."""
    topics = Topics(prefix)
    clock = Ahead()
    now_ms = clock.now_ms()
    ends = {f"E-{hours}": now_ms + hours * _HOUR_MS for hours in (1, 2, 4)}
    entries = [
        an_entry(entry_id=entry_id, expires_at=format_time(at_ms))
        for entry_id, at_ms in ends.items()
    ]
    await produce(real_kafka, topics.hotlist, sent(*entries))

    async def expired() -> list[tuple[str | int, str]]:
        found = named(await the_audit(real_kafka, prefix), "entry_expired")
        return [(record.fields["entry_id"], record.recorded_at) for record in found]

    async def have_expired(count: int) -> bool:
        return len(await expired()) >= count

    async with (
        worker_here(real_kafka, prefix, clock=clock) as first,
        worker_here(real_kafka, prefix, clock=clock) as second,
    ):
        await first.ready()
        await second.ready()
        assert not await expired()
        clock.by_ms = 3 * _HOUR_MS
        await until(lambda: have_expired(2), "two entries have expired", first.log)

        async def forgotten() -> bool:
            entries = [w.metric("hotlist_entries", state="active") for w in (first, second)]
            return not first.audit_pending() + second.audit_pending() and entries == [1, 1]

        await until(forgotten, "both workers know that they are audited")
    clock.by_ms = 5 * _HOUR_MS
    async with worker_here(real_kafka, prefix, clock=clock) as third:
        await third.ready()
        await until(lambda: have_expired(3), "the third has expired", third.log)
    async with worker_here(real_kafka, prefix, clock=clock) as fourth:
        await fourth.ready()
        await asyncio.sleep(2 * limits.EXPIRY_INTERVAL_S)  # one too many would come now
    assert sorted(await expired()) == [
        (entry_id, format_time(at_ms)) for entry_id, at_ms in ends.items()
    ]


async def test_lists_that_shrank_while_no_worker_ran_are_reported(
    real_kafka: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a topic Kafka deletes what a group has committed for it; the other topic's commit holds
    the counts too. An entry that expired meanwhile is not missing."""
    topics, clock = Topics(prefix), Ahead()
    ends = format_time(clock.now_ms() + _HOUR_MS)
    entries = [an_entry(entry_id=f"E-{number}") for number in range(8)]
    brief = [an_entry(entry_id=f"B-{number}", expires_at=ends) for number in range(20)]
    await produce(real_kafka, topics.hotlist, sent(*entries, *brief))
    await produce(real_kafka, topics.policies, sent(a_policy()))

    async def warnings() -> list[str]:
        caplog.clear()
        async with worker_here(real_kafka, prefix, clock=clock) as here:
            await here.ready()
            await all_audited(real_kafka, prefix, here)
        said = [record.getMessage() for record in caplog.records]
        return [line.partition(";")[0] for line in said if "last audited the lists" in line]

    assert await warnings() == []
    clock.by_ms = 2 * _HOUR_MS
    assert await warnings() == []
    async with administering(real_kafka) as admin:
        await admin.delete_topics([topics.hotlist])

        async def made() -> bool:
            found = await create_topics(
                Cluster(real_kafka, topics), partitions=4, replication=replicas()
            )
            return dict(found)[topics.hotlist] == "created"

        await until(made, "the topic is made again")
    await produce(real_kafka, topics.hotlist, sent(*entries[:3]))
    assert await warnings() == [
        "3 entries are listed, and 28 were when a worker last audited the lists"
    ]
    assert await warnings() == []


async def test_a_chain_names_the_last_record_before_it(real_kafka: str, prefix: str) -> None:
    """And what somebody else has put there keeps no worker from starting."""
    topics = Topics(prefix)
    for number in range(2):
        await produce(real_kafka, topics.hotlist, sent(an_entry(entry_id=f"E-{number}")))
        async with worker_here(real_kafka, prefix) as here:
            await here.ready()
            await all_audited(real_kafka, prefix, here)
    records = await all_audit(real_kafka, prefix)
    by_hash = {record.hash: record for record in records}
    first, second = sorted(await the_audit(real_kafka, prefix), key=lambda r: r.fields["revision"])
    for record, of_chain, sequence in ((first, None, 0), (second, first.chain, 1)):
        named_by = by_hash[str(record.fields["follows_hash"])]
        assert named_by.event == CHAIN_ENDED
        assert (named_by.sequence, named_by.chain) == (sequence, of_chain or named_by.chain)
        assert record.fields == told(record) | {
            "stamped_at": record.fields["stamped_at"],
            "follows_chain": named_by.chain,
            "follows_sequence": sequence,
            "follows_hash": named_by.hash,
        }
    assert len(records) == 5, "one begins the topic, two events, two ends"

    async with producing(real_kafka, acks="all", transactional_id=f"{prefix}editor") as producer:
        await producer.begin_transaction()
        for partition in range(4):
            junk = [ToSend(b"chain", b"no audit record")]
            await send_to_partition(producer, topics.audit, partition, junk)
        await producer.abort_transaction()
    await produce(real_kafka, topics.audit, {0: [ToSend(None, None)], 1: [ToSend(b"", b"{}")]})
    await produce(real_kafka, topics.hotlist, sent(an_entry(entry_id="E-2")))
    async with worker_here(real_kafka, prefix) as here:
        await here.ready()
        await all_audited(real_kafka, prefix, here)
    values = [record.value for record in await read_topic(real_kafka, topics.audit)]
    assert [value for value in values if b'"E-2"' in (value or b"")]


async def test_changes_that_nobody_audits_take_no_effect(
    real_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applying waits, and when that lasts, no reads are taken and the reason is said."""
    monkeypatch.setattr(limits, "AUDIT_PENDING_CHANGES", 4)
    monkeypatch.setattr(limits, "AUDIT_STEP_CHANGES", 2)
    monkeypatch.setattr(limits, "AUDIT_LOOK_S", 0.2)
    monkeypatch.setattr(limits, "CONTROL_STALE_S", 2.0)
    topics = Topics(prefix)
    turn = ChangeAuditor.turn
    audits = asyncio.Event()

    async def turn_when_it_may(self: ChangeAuditor) -> None:
        if audits.is_set():
            await turn(self)

    monkeypatch.setattr(ChangeAuditor, "turn", turn_when_it_may)
    async with worker_here(real_kafka, prefix) as here:
        await here.ready()
        await produce(real_kafka, topics.policies, sent(a_policy()))
        for number in range(6):
            entry = an_entry(entry_id=f"E-{number}")
            await produce(real_kafka, topics.hotlist, sent(entry))
            await asyncio.sleep(0.2)

        async def closed() -> bool:
            await here.alive()
            return "wait to be audited" in here.worker.not_ready_because

        await until(closed, "no reads are taken", here.log)
        because = here.worker.not_ready_because
        assert re.fullmatch(
            r"\d+ changes of the lists wait to be audited, and no more take effect until they are",
            because,
        )
        assert (await here.text("/readyz"))[0] == 503
        assert here.metric("hotlist_entries", state="active") < 6
        await produce(real_kafka, topics.detections, reads(a_read()))
        audits.set()
        await here.ready()
        await here.has_processed(1)
        await all_audited(real_kafka, prefix, here)
    records = await the_audit(real_kafka, prefix)
    assert len(named(records, "match")) == len(named(records, "entry_added")) == 6


async def test_a_worker_signs_the_ends_of_its_chains(
    real_kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without its key, or with one that cannot be written, that is shown."""
    monkeypatch.setattr(limits, "CHECKPOINT_S", 0.2)
    topics, pair = Topics(prefix), new_key_pair()
    key, directory = tmp_path / "key", tmp_path / "checkpoints"
    key.write_bytes(pair.private)
    async with worker_here(
        real_kafka, prefix, checkpoint_key=key, checkpoint_dir=directory
    ) as here:
        await here.ready()
        await produce(real_kafka, topics.hotlist, sent(an_entry()))

        async def signed() -> bool:
            await here.alive()
            return any(directory.glob("*.json"))

        await until(signed, "a checkpoint is written", here.log)
        (path,) = directory.glob("*.json")
        verifying = public_key(pair.public, "key.pub")
        (running,) = open_checkpoint(path.read_bytes(), "c", verifying).heads
        assert here.metric("hotlist_audit_checkpoints") == 1
        assert '<dd id="audit-checkpoints">signed<' in (await here.text("/"))[1]
    checkpoint = open_checkpoint(path.read_bytes(), "c", verifying)
    (ended,) = checkpoint.heads
    records = {each.hash: each for each in await all_audit(real_kafka, prefix)}
    assert checkpoint.partial
    assert records[running.hash].event == "entry_added"
    assert records[ended.hash].event == CHAIN_ENDED
    assert records[ended.hash].sequence == 1

    async with worker_here(real_kafka, prefix) as unsigned:
        await unsigned.ready()
        assert unsigned.metric("hotlist_audit_checkpoints") == 0
        assert "not signed" in (await unsigned.text("/"))[1]


async def test_every_chain_of_exactly_once_has_an_end(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    town = Town(entries=200, sources=4, reads=4_000, hit_rate=0.2, seed=9)
    topics = Topics(prefix)
    await town.produce_control(real_kafka, topics.hotlist, topics.policies)
    await produce(real_kafka, topics.detections, town.reads)
    log_file = tmp_path / "worker.log"
    delivery = ("--delivery", "exactly_once")
    async with ForkedWorker(log_file, real_kafka, prefix, *delivery) as worker:
        await all_done(real_kafka, prefix, worker)
        await all_audited(real_kafka, prefix, worker)
        await worker.stop()
    last: dict[str, AuditRecord] = {}
    for record in await all_audit(real_kafka, prefix):
        if record.chain not in last or last[record.chain].sequence < record.sequence:
            last[record.chain] = record
    assert len(last) > 2, "changes, and partitions, and what begins the topic"
    assert {record.event for record in last.values()} == {CHAIN_ENDED}
