"""`engine.delivery.records`: matches that compiled code has written, beside the same as objects."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.delivery.batch import batches
from engine.delivery.producer import by_partition
from engine.delivery.records import Outgoing, match_events, records_of
from engine.documents.model import Reject
from engine.in_parts import PartsList
from engine.kafka.topics import Topics
from engine.matching.outcome import FoundMatch, Outcome
from engine.wire.trace_context import TraceContext
from tests.fakes.documents import NOW_MS, at
from tests.fakes.written_matches import FOUND, written

TOPICS = Topics("lpr.")
_REJECT = Reject(topic="t", partition=0, offset=1, reason="schema", rejected_at=at(0))
_TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1, "a=1")


class Producer:
    def __init__(self, partitions: int) -> None:
        self._partitions = {*range(partitions)}

    async def partitions_for(self, topic: str) -> set[int]:
        return self._partitions


def outcomes(parts: list[list[FoundMatch]]) -> tuple[Outcome, Outcome]:
    """The same matches, with every other part as compiled code has it, and all as objects."""
    matches: PartsList[FoundMatch] = PartsList()
    for number, part in enumerate(parts):
        if number % 2:
            for one in part:
                matches.append(one)
        else:
            matches.add(written(part))
    fields: dict[str, Any] = {"at_ms": NOW_MS, "rejects": [_REJECT] * (len(parts) % 2)}
    return Outcome(matches=matches, **fields), Outcome(matches=[*matches], **fields)


PARTS = st.lists(st.lists(FOUND, max_size=6), max_size=4)


@given(PARTS)
def test_records_and_events_are_the_same(parts: list[list[FoundMatch]]) -> None:
    in_arrays, objects = outcomes(parts)
    assert records_of(TOPICS, in_arrays) == records_of(TOPICS, objects)
    assert [*match_events(in_arrays)] == [*match_events(objects)]


@given(PARTS, st.sampled_from([1, 3, 8]), st.sampled_from([300, 5_000, limits.SINK_BATCH_BYTES]))
def test_batches_are_the_same(
    parts: list[list[FoundMatch]], partitions: int, limit_bytes: int
) -> None:
    """To the last byte: compressed, in their partitions, and split where they are too large."""
    built: list[dict[Any, list[bytes]]] = []
    with (
        mock.patch.object(limits, "SINK_BATCH_BYTES", limit_bytes),
        mock.patch("engine.delivery.batch.time.time", return_value=5.0),
    ):
        for outcome in outcomes(parts):
            records = records_of(TOPICS, outcome)
            placed = asyncio.run(by_partition(Producer(partitions), records))
            built.append(
                {
                    place: [each.build() for each in batches(some, is_transactional=False)]
                    for place, some in placed.items()
                }
            )
    assert built[0] == built[1]


@pytest.mark.parametrize("at_first", [True, False])
def test_matches_with_a_trace_are_between_the_others(at_first: bool) -> None:
    found = [
        FoundMatch(b'{"match_id":"%032d"' % n, f"{n:032}", at(0), "exact", b"E", "access", b"", 0)
        for n in range(4)
    ]
    traced = FoundMatch(b"{}", "1", at(0), "exact", b"E", "access", b"", 0, _TRACE)
    in_arrays, objects = outcomes([[], [traced], found] if at_first else [found, [traced]])
    records = records_of(TOPICS, in_arrays)
    assert records == records_of(TOPICS, objects)
    assert b"tracestate" in records[0 if at_first else len(found)].headers


def test_a_part_of_the_records() -> None:
    found = [
        FoundMatch(b'{"match_id":"%032d"' % n, f"{n:032}", at(0), "exact", b"E", "access", b"", 0)
        for n in range(4)
    ]
    in_arrays, objects = outcomes([found])
    [some, _] = records_of(TOPICS, in_arrays).parts
    assert [*some[1:3]] == records_of(TOPICS, objects)[1:3]
    assert isinstance(some[1], Outgoing)
