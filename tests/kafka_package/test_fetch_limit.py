"""The contract with aiokafka's fetcher about what it asks for, and the room that there is."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.kafka.fetch_limit import FetchRoom

PARTS = [TopicPartition("lpr.detections.v1", number) for number in range(3)]


class Partition:
    """What aiokafka keeps of an assigned partition, as far as it is asked here."""

    def __init__(self) -> None:
        self.timestamp: int | None = None
        self.paused = False
        self.has_valid_position = True
        self.position = 7


class Asking:
    """A fetcher's own `_get_actions_per_node`, of which nothing but its surroundings is made up:
    one broker leads all partitions that have a leader."""

    def __init__(self, room: FetchRoom) -> None:
        self.states = {tp: Partition() for tp in PARTS}
        self.leaders: dict[TopicPartition, int] = dict.fromkeys(PARTS, 1)
        self.fetcher: Any = types.SimpleNamespace(
            _records={},
            _in_flight=set(),
            _select_read_replica=self.leaders.get,
            _max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
            _fetch_max_wait_ms=limits.FETCH_WAIT_MS,
            _fetch_min_bytes=1,
            _fetch_max_bytes=limits.FETCH_BYTES,
            _isolation_level=1,
            _client_rack=None,
            _fetcher_timeout=0.2,
        )
        self.fetcher._get_actions_per_node = types.MethodType(
            aiokafka_fetcher.Fetcher._get_actions_per_node, self.fetcher
        )
        room.mind(types.SimpleNamespace(_fetcher=self.fetcher))

    def ask(self, assigned: list[TopicPartition] = PARTS) -> tuple[set[TopicPartition], float]:
        """The partitions that are asked for, and after how long it is looked again."""
        assignment = types.SimpleNamespace(tps=assigned, state_value=self.states.__getitem__)
        fetches, _, timeout_s, _, _ = self.fetcher._get_actions_per_node(assignment)
        asked = {
            TopicPartition(topic, partition)
            for _, request in fetches
            for topic, partitions in request._topics
            for partition, *_ in partitions
        }
        return asked, timeout_s


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_aiokafka_has_this_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def _fetch_requests_routine(self: Any) -> None:
        return None

    monkeypatch.setattr(
        aiokafka_fetcher.Fetcher, "_fetch_requests_routine", _fetch_requests_routine
    )
    with pytest.raises(RuntimeError, match="another fetcher"):
        FetchRoom().mind(types.SimpleNamespace(_fetcher=object()))


def test_a_consumer_that_is_not_started_has_none() -> None:
    with pytest.raises(RuntimeError, match="another fetcher"):
        FetchRoom().mind(types.SimpleNamespace(_fetcher=None))


def test_nothing_is_fetched_while_too_much_is_held() -> None:
    room = FetchRoom(limit_bytes=1_000)
    asking = Asking(room)
    assert asking.ask()[0] == set(PARTS)
    first, second = room.hold(bytes(600)), room.hold(bytes(600))
    assert room.is_full
    asked, timeout_s = asking.ask()
    assert asked == set()
    assert timeout_s <= 0.02, "it is looked again soon, because nobody says when there is room"
    part = first[10:20]
    del first
    assert asking.ask()[0] == set(), "a batch of it is still held"
    assert bytes(part) == bytes(10)
    del part
    assert room.held_bytes == 600
    assert asking.ask()[0] == set(PARTS)
    del second
    assert room.held_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 5_000), st.booleans()), max_size=30))
def test_what_is_held_is_counted(steps: list[tuple[int, bool]]) -> None:
    room = FetchRoom()
    held: list[memoryview] = []
    for size, is_taken in steps:
        data = bytes([size % 251]) * size
        if is_taken or not held:
            held.append(room.hold(data))
            assert held[-1] == data
        else:
            held.pop(size % len(held))
        assert room.held_bytes == sum(map(len, held))


def test_when_partitions_were_heard_of() -> None:
    clock = Clock()
    room = FetchRoom(1_000, clock)
    asking = Asking(room)
    answered, silent, leaderless = PARTS
    asking.leaders[leaderless] = -1

    def heard(after_s: float) -> Mapping[Any, float]:
        clock.now_s += after_s
        asking.ask()
        return {tp.partition: clock.now_s - at_s for tp, at_s in room.heard_s.items()}

    assert heard(0) == {0: 0, 1: 0, 2: 0}, "its time begins when it comes"
    asking.states[answered].timestamp = 5_000
    assert heard(10) == {0: 0, 1: 10, 2: 10}
    assert heard(10) == {0: 10, 1: 20, 2: 20}, "the same answer as before is none"
    asking.states[answered].timestamp = 4_000
    assert heard(1)[0] == 0, "though somebody has set the clock back"

    asking.fetcher._records[silent] = types.SimpleNamespace(calculate_backoff=lambda: 0)
    assert heard(10) == {0: 10, 1: 0, 2: 31}, "what waits to be taken need not be asked for"
    del asking.fetcher._records[silent]
    asking.states[silent].paused = True
    asking.states[silent].resume_fut = None  # type: ignore[attr-defined]
    assert heard(10) == {0: 20, 1: 0, 2: 41}
    view = room.hold(bytes(2_000))
    assert heard(10) == {0: 0, 1: 0, 2: 0}, "nothing is asked for: that is our own doing"
    assert len(view) == 2_000

    asking.ask([answered])
    assert list(room.heard_s) == [answered], "the others are somebody else's now"
