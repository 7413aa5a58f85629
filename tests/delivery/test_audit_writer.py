"""`engine.delivery.audit_writer`: the chain's order is the order on the topic, whatever fails in
between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from unittest import mock

import hypothesis.strategies as st
import msgspec
import orjson
import pytest
from hypothesis import given

from engine import limits
from engine.audit.chain import GENESIS_HASH, Chain
from engine.audit.compiled_hash import HAS_SHA256
from engine.delivery.audit_writer import AuditLog, Sealing
from engine.delivery.records import Outgoing, match_events
from engine.documents.codec import decode_audit
from engine.documents.model import AuditRecord
from engine.errors import BrokerError
from engine.in_parts import InParts
from engine.kafka.topics import Topics
from engine.matching.outcome import FoundMatch, Outcome
from tests.fakes.chains import MATCH, to_json
from tests.fakes.documents import NOW_MS, at
from tests.fakes.event_loop import settle
from tests.fakes.written_matches import FOUND, written
from tests.repository.schemas import validator

TOPICS = Topics("lpr.")
CHAIN = "group/1"
#: What an audit record is about, written.
AUDIT = to_json({**MATCH, "suppressed": 0})


class Event(NamedTuple):
    event: str
    at_ms: int
    fields: Mapping[str, str | int]


def events(*names: str) -> list[Event]:
    return [Event("match", NOW_MS, {"match_id": name}) for name in names]


class Sink:
    """Takes batches one by one; `hold` keeps what comes from being acknowledged."""

    def __init__(self) -> None:
        self.batches: list[list[Outgoing]] = []
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()
        self.fails_with: Exception | None = None
        self.under_way = 0

    async def partition_of(self, topic: str, key: bytes) -> int:
        assert (topic, key) == (TOPICS.audit, CHAIN.encode())
        return 3

    async def deliver_in_order(self, records: Sequence[Outgoing], partition: int) -> None:
        assert partition == 3
        assert self.under_way == 0, "two batches under way"
        self.under_way += 1
        self.batches.append(list(records))
        await self.acknowledges.wait()
        self.under_way -= 1
        if self.fails_with is not None:
            raise self.fails_with

    def records(self) -> list[AuditRecord]:
        return [decode_audit(record.value) for batch in self.batches for record in batch]

    def names(self) -> list[str | int]:
        return [record.fields["match_id"] for record in self.records()]


class Counted:
    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.oldest_ms: list[int] = []

    def __call__(self, events: Mapping[str, int], oldest_ms: int) -> None:
        self.events.update(events)
        self.oldest_ms.append(oldest_ms)


@asynccontextmanager
async def running(
    sink: Sink, *, counted: Counted | None = None, follows: AuditRecord | None = None
) -> AsyncIterator[tuple[AuditLog, asyncio.Task[None]]]:
    sealing = Sealing(TOPICS, Chain(CHAIN), follows)

    async def begin_chain() -> Sealing:
        return sealing

    log = AuditLog(sink, begin_chain, counted or Counted())
    task = asyncio.create_task(log.run())
    try:
        async with asyncio.timeout(30):  # what is never acknowledged fails a test
            yield log, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def check_whole(records: list[AuditRecord]) -> None:
    assert [record.sequence for record in records] == list(range(len(records)))
    hashes = [GENESIS_HASH, *(record.hash for record in records)]
    assert [record.previous_hash for record in records] == hashes[:-1]


async def test_acknowledged_means_that_the_broker_has_it() -> None:
    sink = Sink()
    async with running(sink) as (log, _):
        sink.acknowledges.clear()
        appended = log.append(events("a", "b"))
        await settle()
        assert sink.names() == ["a", "b"]
        assert not appended.done()
        sink.acknowledges.set()
        await appended
        assert {record.key for record in sink.batches[0]} == {CHAIN.encode()}
        check_whole(sink.records())


async def test_what_comes_meanwhile_goes_together() -> None:
    sink = Sink()
    async with running(sink) as (log, _):
        sink.acknowledges.clear()
        first = log.append(events("a"))
        await settle()
        later = [log.append(events(name)) for name in "bcd"]
        await settle()
        assert sink.names() == ["a"]
        sink.acknowledges.set()
        await asyncio.gather(first, *later)
        assert [len(batch) for batch in sink.batches] == [1, 3]
        check_whole(sink.records())


@given(
    sizes=st.lists(st.integers(0, 5), max_size=12),
    given_up=st.sets(st.integers(0, 11)),
    batch_bytes=st.integers(1, 3_000),
)
def test_every_way_of_handing_over_gives_one_whole_chain(
    sizes: list[int], given_up: set[int], batch_bytes: int
) -> None:
    """Also where nobody waits any longer, and however the records fall into batches."""

    async def handed_over() -> None:
        sink = Sink()
        counted = Counted()
        names = [[f"{n}-{m}" for m in range(size)] for n, size in enumerate(sizes)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "AUDIT_BATCH_BYTES", batch_bytes)
            async with running(sink, counted=counted) as (log, task):
                for number, some in enumerate(names):
                    appended = log.append(events(*some))
                    if number in given_up:
                        await asyncio.sleep(0)
                        appended.cancel()
                log.close()
                await task
        assert sink.names() == [name for some in names for name in some]
        assert counted.events.total() == sum(sizes)
        check_whole(sink.records())

    asyncio.run(handed_over())


async def test_each_is_told_when_its_own_records_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "AUDIT_BATCH_BYTES", 1)  # a batch for each record
    sink = Sink()
    async with running(sink) as (log, _):
        sink.acknowledges.clear()
        short, long = log.append(events("a")), log.append(events("b", "c"))
        await settle()
        for _ in range(2):
            sink.acknowledges.set()  # wakes who waits, and only those
            sink.acknowledges.clear()
            await settle()
            assert short.done()
            assert not long.done()
        sink.acknowledges.set()
        await long
        assert len(sink.batches) == 3


async def test_the_first_record_names_what_it_follows() -> None:
    last = AuditRecord(
        chain="group/0",
        sequence=7,
        recorded_at=at(0),
        event="match",
        fields={},
        previous_hash=GENESIS_HASH,
        hash="ab" * 32,
    )
    sink = Sink()
    async with running(sink, follows=last) as (log, _):
        await log.append(events("a", "b"))
        first, second = sink.records()
    follows = {"follows_chain": "group/0", "follows_sequence": 7, "follows_hash": "ab" * 32}
    assert first.fields == {"match_id": "a", **follows}
    assert second.fields == {"match_id": "b"}


async def test_a_failure_reaches_all_who_wait_and_all_who_come() -> None:
    sink = Sink()
    sink.fails_with = BrokerError("audit records were not acknowledged")
    counted = Counted()
    async with running(sink, counted=counted) as (log, task):
        sink.acknowledges.clear()
        under_way = log.append(events("a"))
        await settle()
        waits, given_up = log.append(events("b")), log.append(events("c"))
        given_up.cancel()
        sink.acknowledges.set()
        with pytest.raises(BrokerError):
            await task
        for appended in (under_way, waits, log.append(events("d")), log.append([])):
            with pytest.raises(BrokerError, match="not acknowledged"):
                await appended
    assert sink.names() == ["a"]
    assert not counted.events


async def test_what_is_counted() -> None:
    counted = Counted()
    async with running(Sink(), counted=counted) as (log, _):
        await log.append(
            [Event("entry_added", 5, {"entry_id": "E"}), Event("entry_expired", 3, {})]
        )
        await log.append([])
    assert counted.events == {"entry_added": 1, "entry_expired": 1}
    assert counted.oldest_ms == [3]


async def test_records_are_as_the_schema_says() -> None:
    sink = Sink()
    async with running(sink) as (log, _):
        await log.append(events("a"))
    validator("audit").validate(orjson.loads(sink.batches[0][0].value))


@given(
    parts=st.lists(st.tuples(st.booleans(), st.lists(FOUND, max_size=6)), max_size=5),
    batch_bytes=st.integers(1, 6_000),
    has_followed=st.booleans(),
    has_sha256=st.sampled_from([HAS_SHA256, False]),
)
async def test_written_events_are_sealed_like_others(
    parts: list[tuple[bool, list[FoundMatch]]],
    batch_bytes: int,
    *,
    has_followed: bool,
    has_sha256: bool,
) -> None:
    """In the same batches, by compiled code or one by one; also if the first one has to say what
    it follows."""
    audited = [
        (is_written, [msgspec.structs.replace(each, audit=AUDIT) for each in found])
        for is_written, found in parts
    ]
    follows = decode_audit(Chain("group/0").seal("match", {}, NOW_MS)) if has_followed else None
    batches = []
    with (
        mock.patch.object(limits, "AUDIT_BATCH_BYTES", batch_bytes),
        mock.patch("engine.delivery.audit_writer.HAS_SHA256", has_sha256),
    ):
        for in_arrays in (True, False):
            matches = [
                written(found) if is_written and in_arrays else found
                for is_written, found in audited
            ]
            sink, counted = Sink(), Counted()
            async with running(sink, counted=counted, follows=follows) as (log, _):
                await log.append(match_events(Outcome(at_ms=NOW_MS, matches=InParts(matches))))
            batches.append(sink.batches)
            assert counted.events.total() == sum(len(found) for _, found in parts)
    assert batches[0] == batches[1]
    check_whole(sink.records())
