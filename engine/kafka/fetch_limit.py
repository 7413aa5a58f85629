"""Fetching continues only while there is room; it is noted when each partition last answered.

aiokafka fetches ahead for every partition that has nothing in its buffer, whatever the consumer has
already taken out of it and still holds, and a batch comes whole however large it is. So a
`FetchRoom` counts the bytes of fetches that are still held anywhere, and allows no further request
while there are more than `limits.FETCHED_BYTES`. Requests sent before that come on top: one
response of each broker, of FETCH_BYTES or of one larger batch.

It also records when each partition last had an answer, or did not need one. A partition without a
leader, or with a fetcher that has died, shows here as silent.

Together with `engine.kafka.raw_fetcher` this is the seam in aiokafka: it wraps one method of one
fetcher, and `tests/kafka_package/test_fetch_limit.py` fails loudly if that method changes.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher

from engine import limits


class FetchRoom:
    """The bytes held of one consumer's fetches; see the module. They may be freed in any thread."""

    def __init__(
        self,
        limit_bytes: int = limits.FETCHED_BYTES,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._now_s = now_s
        # One entry for each array, because adding and removing one is atomic in any thread.
        self._sizes: dict[int, int] = {}
        self._answered_ms: dict[TopicPartition, int] = {}
        #: When each assigned partition was last heard from. Replaced whole, never changed.
        self.heard_s: Mapping[TopicPartition, float] = {}

    @property
    def held_bytes(self) -> int:
        """Bytes as fetched that are still held."""
        return sum(list(self._sizes.values()))

    @property
    def is_full(self) -> bool:
        """Whether fetching pauses now."""
        return self.held_bytes >= self._limit_bytes

    def hold(self, data: bytes | memoryview) -> memoryview:
        """Return the same bytes, counted until this view and all its parts are released.

        Of a view of an array, the whole array is counted, once for all its views, because it stays
        as long as one of them.
        """
        if isinstance(data, bytes):
            data = np.frombuffer(data, dtype=np.uint8).data
        array: Any = data.obj
        number = id(array)  # of no other one as long as it is held
        if number not in self._sizes:
            self._sizes[number] = array.nbytes
            weakref.finalize(array, self._sizes.pop, number, None).atexit = False
        return data

    def mind(self, consumer: AIOKafkaConsumer) -> None:
        """Wrap a started consumer's fetcher, so that it checks for room before its requests.

        Raises RuntimeError if this aiokafka has no such method.
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
                fetches, timeout_s = [], min(timeout_s, limits.FETCH_LOOK_S)
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
