"""A producer that floods the topic with bad records: each is counted and pointed to, and the good
reads between them and behind them match as if nothing were."""

from __future__ import annotations

import collections

import orjson

from engine import limits
from engine.kafka.topics import Topics
from tests.fakes.examples import a_read
from tests.kafka.records import ToSend, produce, read_topic
from tests.kafka.worker.test_bad_input import (
    LISTED,
    counted,
    good,
    good_reads_match,
    has_counted,
    listed,
)
from tests.kafka.worker_here import worker_here

#: More than comes to one outcome, many times over.
_BAD = 40_000
_GOOD = 20
#: Of them, in turn.
_KINDS = (
    (ToSend(LISTED, None), "value_missing"),
    (ToSend(LISTED, b"[" * 50), "invalid_json"),
    (ToSend(b"", orjson.dumps(a_read(plate="-"))), "plate_length"),
    (ToSend(LISTED, b"{}"), "schema"),
)


async def test_a_flood_of_bad_records_stops_nothing(real_kafka: str, prefix: str) -> None:
    assert _BAD * 512 > 4 * limits.OUTCOME_BYTES
    await listed(real_kafka, prefix)
    topics = Topics(prefix)
    kinds = [_KINDS[number % len(_KINDS)] for number in range(_BAD)]
    flood = [record for record, _ in kinds]
    wanted = dict(collections.Counter(reason for _, reason in kinds))
    between = range(_BAD // _GOOD, _BAD, _BAD // _GOOD)
    for number, place in enumerate(reversed(between)):
        flood.insert(place, good(number))
    async with worker_here(real_kafka, prefix, has_topics=True) as here:
        await here.ready()
        await produce(real_kafka, topics.detections, {0: flood})
        await produce(real_kafka, topics.detections, {0: [good(len(between))]})
        await has_counted(here, {reason: float(count) for reason, count in wanted.items()})
        await here.has_processed(len(flood) + 1)
        assert not here.worker.not_ready_because
        assert counted(here) == wanted
    await good_reads_match(real_kafka, prefix, len(between) + 1)
    pointers = [
        orjson.loads(record.value) for record in await read_topic(real_kafka, topics.rejects)
    ]
    bad = [offset for offset, record in enumerate(flood) if record in {each for each, _ in _KINDS}]
    assert sorted(pointer["offset"] for pointer in pointers) == bad
    assert collections.Counter(pointer["reason"] for pointer in pointers) == wanted
