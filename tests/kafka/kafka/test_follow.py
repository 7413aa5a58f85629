"""`engine.kafka.reader.follow` on a real broker: no record of the topic is passed over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.errors import TopicAlreadyExistsError

from engine import limits
from engine.config import Settings
from engine.kafka.reader import follow
from engine.kafka.topics import Topics
from tests.kafka.records import ToSend, add_partitions, administering, produce, until

#: Longer than anything here takes.
_WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "METADATA_MAX_AGE_S", 0.2)


class Followed:
    """What has come so far, as it comes, and what was deleted before."""

    def __init__(self, bootstrap: str, prefix: str, *, from_start: bool) -> None:
        self.topic = Topics(prefix).matches
        self.deleted: list[tuple[int, int, int]] = []
        self.caught_up = asyncio.Event()
        settings = Settings(bootstrap=bootstrap, prefix=prefix)
        self.values = follow(
            settings,
            self.topic,
            from_start=from_start,
            deleted=self._note,
            caught_up=self.caught_up.set,
        )

    def _note(self, part: TopicPartition, first: int, next_offset: int) -> None:
        self.deleted.append((part.partition, first, next_offset))

    async def next(self, count: int) -> list[str]:
        """The next values, in whatever order their partitions come."""
        async with asyncio.timeout(_WAIT_S):
            return sorted([(await anext(self.values)).decode() for _ in range(count)])


@contextlib.asynccontextmanager
async def followed(bootstrap: str, prefix: str, *, from_start: bool) -> AsyncIterator[Followed]:
    here = Followed(bootstrap, prefix, from_start=from_start)
    values: AsyncGenerator[bytes, None] = here.values
    async with contextlib.aclosing(values):
        yield here


def records(*values: str) -> list[ToSend]:
    return [ToSend(b"K", value.encode()) for value in values]


@pytest.mark.parametrize("from_start", [True, False])
async def test_added_partitions_are_followed_from_their_beginning(
    real_kafka: str, prefix: str, from_start: bool
) -> None:
    """And of those that were there before nothing comes twice and nothing is left out."""
    async with followed(real_kafka, prefix, from_start=from_start) as here:
        # It begins when it is first asked.
        first = asyncio.create_task(here.next(1))
        number = 0

        async def came() -> bool:
            nonlocal number
            number += 1
            await produce(real_kafka, here.topic, {0: records(f"before-{number:03}")})
            await asyncio.wait({first}, timeout=0.2)
            return first.done()

        await until(came, "the first one")
        [begun] = first.result()
        left = number - int(begun.removeprefix("before-"))
        # More than are asked for now, so that some wait in the consumer while it looks.
        await produce(real_kafka, here.topic, {1: records(*(f"old-{n:03}" for n in range(200)))})
        before = await here.next(left + 50)
        await add_partitions(real_kafka, here.topic, 6)
        await produce(real_kafka, here.topic, {4: records("new-4"), 5: records("new-5")})
        await asyncio.sleep(0.5)
        await produce(real_kafka, here.topic, {1: records("old-200")})
        rest = await here.next(151 + 2)
    came_all = sorted(value for value in [*before, *rest] if not value.startswith("before"))
    assert came_all == ["new-4", "new-5", *(f"old-{number:03}" for number in range(201))]


async def test_what_was_deleted_before_it_came_is_told(real_kafka: str, prefix: str) -> None:
    async with followed(real_kafka, prefix, from_start=True) as here:
        await produce(real_kafka, here.topic, {0: records("0")})
        assert await here.next(1) == ["0"]
        # No more is fetched before it is asked for.
        await produce(real_kafka, here.topic, {0: records("1", "2", "3", "4")})
        async with administering(real_kafka) as admin:
            await admin.delete_records({TopicPartition(here.topic, 0): RecordsToDelete(4)})
        assert await here.next(1) == ["4"]
    assert here.deleted == [(0, 1, 4)]


async def test_a_topic_made_anew_is_followed_from_its_beginning(
    real_kafka: str, prefix: str
) -> None:
    async with followed(real_kafka, prefix, from_start=True) as here:
        await produce(real_kafka, here.topic, {0: records("old-0", "old-1")})
        assert await here.next(2) == ["old-0", "old-1"]
        waiting = asyncio.create_task(here.next(5))
        async with administering(real_kafka) as admin:
            await admin.delete_topics([here.topic])

            async def made() -> bool:
                found = await admin.create_topics([NewTopic(here.topic, 4, 1)])
                return not any(code for _, code, *_ in found.topic_errors)

            with contextlib.suppress(TopicAlreadyExistsError):
                await until(made, "the topic is made anew")
        await produce(real_kafka, here.topic, {0: records(*(f"new-{n}" for n in range(5)))})
        assert await waiting == [f"new-{number}" for number in range(5)]


async def test_older_records_are_read_before_it_has_caught_up(real_kafka: str, prefix: str) -> None:
    """`tail --from-start` explains why nothing comes: not while it reads what there is."""
    async with followed(real_kafka, prefix, from_start=True) as here:
        await produce(real_kafka, here.topic, {0: records("0", "1")})
        assert await here.next(1) == ["0"]
        assert not here.caught_up.is_set()
        assert await here.next(1) == ["1"]
        waiting = asyncio.create_task(here.next(1))
        async with asyncio.timeout(_WAIT_S):
            await here.caught_up.wait()
        await produce(real_kafka, here.topic, {0: records("2")})
        assert await waiting == ["2"]
