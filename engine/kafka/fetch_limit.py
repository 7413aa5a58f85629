"""Fetching goes on while there is room, and each partition is known to have been heard of.

aiokafka fetches ahead for every partition that has nothing waiting in its buffer, whatever the
consumer has taken out of it before and still holds, and a batch comes whole however large it is. So
a `FetchRoom` counts the bytes of fetches that anybody still holds, wherever that is, and lets no
further request out while there are more than `limits.FETCHED_BYTES`. What was asked for before that
comes on top: one response of each broker, of FETCH_BYTES or of one larger batch.

It also notes when each partition was last answered for, or had no need to be asked. A partition
without a leader, or a fetcher that has died, falls silent here.

With `engine.kafka.raw_fetcher` this is the seam in aiokafka: it stands in the way of one method of
one fetcher, and `tests/kafka_package/test_fetch_limit.py` fails loudly when that changes.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher

from engine import limits

#: How soon the fetcher looks again whether there is room.
_LOOK_AGAIN_S: Final = 0.02


class FetchRoom:
    """See the module. Counts for one consumer, in whatever thread fetches come to their end."""

    def __init__(
        self,
        limit_bytes: int = limits.FETCHED_BYTES,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._now_s = now_s
        # One entry a fetch, because to put and to take one is a single step in any thread.
        self._sizes: dict[int, int] = {}
        self._numbers = count()
        self._answered_ms: dict[TopicPartition, int] = {}
        #: When each partition that is assigned was heard of last. Replaced whole, never changed.
        self.heard_s: Mapping[TopicPartition, float] = {}

    @property
    def held_bytes(self) -> int:
        """Bytes as fetched that somebody still holds."""
        return sum(list(self._sizes.values()))

    @property
    def is_full(self) -> bool:
        """Whether no more is fetched for now."""
        return self.held_bytes >= self._limit_bytes

    def hold(self, data: bytes) -> memoryview:
        """The same bytes, counted until nobody has this view or a part of it any more."""
        array = np.frombuffer(data, dtype=np.uint8)
        number = next(self._numbers)
        self._sizes[number] = len(data)
        weakref.finalize(array, self._sizes.pop, number, None).atexit = False
        return array.data

    def mind(self, consumer: AIOKafkaConsumer) -> None:
        """Stand between a started consumer's fetcher and its requests.

        Raises RuntimeError where this aiokafka has no such place.
        """
        fetcher = consumer._fetcher
        routine = aiokafka_fetcher.Fetcher._fetch_requests_routine
        if fetcher is None or "_get_actions_per_node" not in routine.__code__.co_names:
            raise RuntimeError("this version of aiokafka has another fetcher; pin aiokafka 0.14")
        ask = fetcher._get_actions_per_node

        def ask_if_there_is_room(assignment: Any) -> Any:
            fetches, resets, timeout_s, has_no_leader, resumed = ask(assignment)
            is_full = self.is_full
            self._listen(assignment, fetcher._records, is_full=is_full)
            if is_full:
                fetches, timeout_s = [], min(timeout_s, _LOOK_AGAIN_S)
            return fetches, resets, timeout_s, has_no_leader, resumed

        fetcher._get_actions_per_node = ask_if_there_is_room

    def _listen(self, assignment: Any, buffered: Mapping[Any, Any], *, is_full: bool) -> None:
        now_s, before = self._now_s(), self.heard_s
        heard_s = {}
        for tp in assignment.tps:
            state = assignment.state_value(tp)
            answered_ms = state.timestamp or 0
            has_no_need = tp in buffered or state.paused or is_full
            is_heard = has_no_need or answered_ms != self._answered_ms.get(tp)
            self._answered_ms[tp] = answered_ms
            heard_s[tp] = now_s if is_heard else before.get(tp, now_s)
        self._answered_ms = {tp: self._answered_ms[tp] for tp in heard_s}
        self.heard_s = heard_s
