"""`engine.delivery.audit_chains`: what a chain names, and which chains get a last record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from engine import limits
from engine.audit.chain import AuditedEvent
from engine.audit.chain_state import Head
from engine.delivery import audit_chains
from engine.delivery.audit_chains import AuditChains, new_chain_id
from engine.delivery.records import Outgoing
from engine.documents.codec import decode_audit
from engine.documents.fields import CHAIN_ENDED
from engine.documents.model import AuditRecord
from engine.errors import BrokerError
from engine.kafka.cluster import Cluster
from engine.matching.match import audit_fields, found_match
from tests.fakes.documents import NOW_MS, at, detection, entry, exact_match
from tests.fakes.event_loop import settle
from tests.fakes.runtime import CLUSTER

MATCH = exact_match(entry(), detection())
EVENT = AuditedEvent("match", NOW_MS, found_match(MATCH, 0).audit)


class Clock:
    def now_ms(self) -> int:
        return NOW_MS


class Sink:
    """Holds what it is given; the newest record is what `last_record` finds."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.fails = False

    async def partition_of(self, topic: str, key: bytes) -> int:
        return 0

    async def deliver_in_order(self, records: Sequence[Outgoing], partition: int) -> None:
        if self.fails:
            raise BrokerError("audit records were not acknowledged")
        self.records += [decode_audit(record.value) for record in records]

    async def last_record(self, cluster: Cluster) -> AuditRecord | None:
        return self.records[-1] if self.records else None


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Sink:
    sink = Sink()
    monkeypatch.setattr(audit_chains, "last_record", sink.last_record)
    return sink


async def test_the_first_chain_follows_one_that_only_begins_the_topic(sink: Sink) -> None:
    chains = AuditChains(CLUSTER, sink, Clock())
    sealing = await chains.begin()
    (begun,) = sink.records
    assert (begun.event, begun.sequence, begun.fields) == (CHAIN_ENDED, 0, {})
    record = decode_audit(next(sealing.records([EVENT])).value)
    assert record.fields == {
        **audit_fields(MATCH),
        "follows_chain": begun.chain,
        "follows_sequence": 0,
        "follows_hash": begun.hash,
    }
    await chains.begin()
    assert sink.records == [begun], "the topic has begun"


async def test_a_chain_that_was_expected_waits_for_no_search_of_its_own(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that it names was the last one just before. Later it may not be any more."""
    searches: list[asyncio.Future[None]] = []

    async def last_record(cluster: Cluster) -> AuditRecord | None:
        searches.append(asyncio.get_running_loop().create_future())
        await searches[-1]
        return await sink.last_record(cluster)

    monkeypatch.setattr(audit_chains, "last_record", last_record)
    chains = AuditChains(CLUSTER, sink, Clock())
    chains.expect()
    chains.expect()
    await settle()
    searches[0].set_result(None)
    first = await chains.begin()
    assert len(sink.records) == 1, "it began the topic"
    chains.expect()
    await settle()
    searches[1].set_result(None)
    for _ in range(2):
        await chains.begin()
    assert len(searches) == 2
    monkeypatch.setattr(limits, "AUDIT_EXPECTED_S", 0.0)
    late = asyncio.create_task(chains.begin())
    await settle()
    assert len(searches) == 3
    searches[2].set_result(None)
    keys = {first.key, (await late).key}
    assert len(keys) == 2
    chains.expect()
    await settle()
    await chains.end()
    assert searches[3].cancelled(), "no chain needs it any more"


async def test_only_what_is_acknowledged_is_a_head_and_is_ended(sink: Sink) -> None:
    chains = AuditChains(CLUSTER, sink, Clock())
    empty, whole, unknown = [await chains.begin() for _ in range(3)]
    for sealing in (whole, unknown):
        assert list(sealing.records([EVENT]))
        sealing.acknowledged()
    assert list(unknown.records([EVENT]))  # the outcome of its transaction is never known
    assert [head.sequence for head in chains.heads()] == [0, 0]
    await chains.end()
    ends = [record for record in sink.records[1:] if record.event == CHAIN_ENDED]
    assert [(end.chain.encode(), end.sequence) for end in ends] == [(whole.key, 1)]
    assert Head(ends[0].chain, 1, ends[0].hash) in chains.heads()
    assert empty.head is None


async def test_an_end_that_fails_is_said(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    chains = AuditChains(CLUSTER, sink, Clock())
    sealing = await chains.begin()
    assert list(sealing.records([EVENT]))
    sealing.acknowledged()
    sink.fails = True
    with caplog.at_level(logging.WARNING):
        await chains.end()
    assert caplog.messages == [
        (
            f"chain {sealing.key.decode()} has no last record (BrokerError); hotlist audit verify "
            "shows it as not ended"
        )
    ]
    assert [head.sequence for head in chains.heads()] == [0]


def test_the_id_of_a_chain() -> None:
    ids = {new_chain_id("group", NOW_MS) for _ in range(100)}
    assert len(ids) == 100
    assert all(chain_id.startswith(f"group/{at(0)}-") for chain_id in ids)
    assert len(new_chain_id("g" * 300, NOW_MS)) == limits.AUDIT_CHAIN_CHARACTERS


async def test_a_chain_begins_when_the_brokers_answer_again(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_PAUSE_S", 0.0)
    answers = [BrokerError("away"), BrokerError("away")]

    async def last_record(cluster: Cluster) -> AuditRecord | None:
        if answers:
            raise answers.pop()
        return await sink.last_record(cluster)

    monkeypatch.setattr(audit_chains, "last_record", last_record)
    await AuditChains(CLUSTER, sink, Clock()).begin()
    assert not answers
    monkeypatch.setattr(limits, "DELIVERY_TIMEOUT_S", -1.0)
    answers.append(BrokerError("away"))
    with pytest.raises(BrokerError, match="away"):
        await AuditChains(CLUSTER, sink, Clock()).begin()
