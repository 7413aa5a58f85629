"""The control replica under test, and records for its topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import orjson
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from engine.control.gate import Gate
from engine.control.replica import ControlReplica
from engine.kafka.cluster import Cluster
from engine.kafka.topics import Topics
from engine.matching.control_records import ControlRecords
from engine.matching.lists import ControlKind, ControlRecord, Phase
from tests.kafka.records import (
    ToSend,
    end_offsets,
    read_topic,
    until,
)

#: Silence for the gate to close. Far longer than an idle fetch takes, also on a slow machine.
STALE_S = 3.0


class Following:
    """A replica that runs, and all that it has handed on."""

    audited_to: Mapping[tuple[ControlKind, int], int] = MappingProxyType({})

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        gate = Gate("a test has just begun")
        self.replica = ControlReplica(Cluster(bootstrap, topics), self, gate, stale_s=STALE_S)
        self.loaded: list[ControlRecord] = []
        self.followed: list[ControlRecord] = []
        self.staged: list[ControlRecord] = []
        #: What each commit made count; the first ends the load.
        self.commits: list[list[ControlRecord]] = []
        self.task: asyncio.Task[None] | None = None

    async def apply(self, records: ControlRecords, phase: Phase) -> None:
        if phase is Phase.STAGED:
            self.staged.extend(records)
        else:
            (self.loaded if phase is Phase.LOADING else self.followed).extend(records)

    async def commit(self) -> None:
        self.commits.append(list(self.staged))
        self.staged.clear()

    def after_load(self) -> list[ControlRecord]:
        """All that came to count since the load."""
        return self.followed + [record for commit in self.commits for record in commit]

    async def gate_is(self, is_open: bool) -> None:
        async def so() -> bool:
            assert self.task is not None
            if self.task.done():
                await self.task
            return self.replica.gate.is_open is is_open

        await until(so, f"the gate is {'open' if is_open else 'closed'}")


@asynccontextmanager
async def following(
    bootstrap: str, prefix: str, *, until_open: bool = True
) -> AsyncIterator[Following]:
    """A replica, and its gate has opened."""
    here = Following(bootstrap, Topics(prefix))
    assert not here.replica.gate.is_open
    await here.replica.start()
    here.task = asyncio.create_task(here.replica.run())
    try:
        if until_open:
            await here.gate_is(True)
        yield here
    finally:
        here.task.cancel()
        await asyncio.gather(here.task, return_exceptions=True)
        await here.replica.stop()


def sent(*documents: dict[str, Any] | tuple[str, None]) -> dict[int, list[ToSend]]:
    """Control documents, or a key and None for a tombstone, for the topic's one partition."""
    records = []
    for document in documents:
        if isinstance(document, tuple):
            records.append(ToSend(document[0].encode(), None))
        else:
            key = document.get("entry_id") or document["source"]
            records.append(ToSend(key.encode(), orjson.dumps(document)))
    return {0: records}


def reads(*documents: dict[str, Any]) -> dict[int, list[ToSend]]:
    return {0: [ToSend(b"ABC1234", orjson.dumps(document)) for document in documents]}


async def matched_reads(bootstrap: str, prefix: str) -> list[str]:
    records = await read_topic(bootstrap, Topics(prefix).matches)
    return [orjson.loads(record.value)["read"]["read_id"] for record in records]


async def has_records(records: Sequence[object], count: int) -> bool:
    return len(records) >= count


async def make_plain(bootstrap: str, *names: str, **settings: str) -> None:
    """Topics of one partition, without the settings that the engine gives them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=settings) for name in names])
    finally:
        await admin.close()
    for name in names:
        await end_offsets(bootstrap, name)
