"""A trace from the read to its match on a real Kafka, and the match's span at a collector."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import orjson
import pytest

from engine.kafka.topics import Topics
from engine.matching.match import match_id
from tests.fakes.collector import attributes_of, collecting
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import sent
from tests.kafka.records import ToSend, produce, read_topic
from tests.kafka.worker.test_main_job import all_done
from tests.kafka.worker_here import worker_here

_SPAN = "00f067aa0ba902b7"
#: A header that the scanner leaves to aiokafka's parser, and its batch with it.
_ODD = ("ключ", b"")


def _parent(trace_id: str, flags: str = "01") -> tuple[str, bytes]:
    return "traceparent", f"00-{trace_id}-{_SPAN}-{flags}".encode()


#: Of each read what it brings along and where it lies: batches of partition 1 go the slow way.
_READS: dict[str, tuple[int, tuple[tuple[str, bytes], ...]]] = {
    "scanned": (0, (_parent("1" * 32), ("tracestate", b"a=1"))),
    "parsed": (1, (_parent("2" * 32), ("tracestate", b"b=2"), _ODD)),
    "unsampled": (0, (_parent("3" * 32, "00"),)),
    "broken": (0, (_parent("0" * 32), ("tracestate", b"a=1"))),
    "untraced": (1, ()),
}


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize("exports", [False, True], ids=["carried", "exported"])
async def test_from_the_read_to_the_match(
    real_kafka: str, prefix: str, delivery: str, exports: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, sent(an_entry()))
    await produce(real_kafka, topics.policies, sent(a_policy()))
    records: dict[int, list[ToSend]] = {0: [], 1: []}
    for read_id, (partition, headers) in _READS.items():
        value = orjson.dumps(a_read(read_id=read_id))
        records[partition].append(ToSend(b"ABC1234", value, headers))
    await produce(real_kafka, topics.detections, records)
    with collecting() if exports else nullcontext() as collector:
        settings: dict[str, Any] = {"delivery": delivery}
        if collector is not None:
            settings["otlp_endpoint"] = collector.endpoint
        async with worker_here(real_kafka, prefix, **settings) as worker:
            await all_done(real_kafka, prefix, worker)
        assert worker.metric("hotlist_batches_parsed_slowly_total") == 1
        assert worker.metric("hotlist_spans_total") == (2 if exports else 0)
        assert worker.metric("hotlist_spans_dropped_total") == 0
        spans = [] if collector is None else collector.spans()
    matches = await read_topic(real_kafka, topics.matches)
    carried = {}
    for record in matches:
        names = dict(record.headers)
        trace = _texts(names, "traceparent", "tracestate")
        assert trace == _texts(names, "ce_traceparent", "ce_tracestate")
        carried[orjson.loads(record.value)["read"]["read_id"]] = trace
    own = {read_id: match_id("E-1", 0, a_read()["source"], read_id)[:16] for read_id in _READS}
    passed = own if exports else dict.fromkeys(_READS, _SPAN)
    assert carried == {
        "scanned": [f"00-{'1' * 32}-{passed['scanned']}-01", "a=1"],
        "parsed": [f"00-{'2' * 32}-{passed['parsed']}-01", "b=2"],
        "unsampled": [f"00-{'3' * 32}-{_SPAN}-00", None],
        "broken": [None, None],
        "untraced": [None, None],
    }
    if not exports:
        return
    assert {(span.trace_id.hex(), span.span_id.hex()) for span in spans} == {
        ("1" * 32, own["scanned"]),
        ("2" * 32, own["parsed"]),
    }
    matched_ms = [record.timestamp for record in matches]
    for span in spans:
        assert span.parent_span_id.hex() == _SPAN
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.start_time_unix_nano < min(matched_ms) * 1_000_000
        assert attributes_of(span)["messaging.destination.partition.id"] == str(
            0 if span.span_id.hex() == own["scanned"] else 1
        )
        written = span.SerializeToString()
        for private in ("ABC", "E-1", "bridge", "city", "scanned", "parsed", "R-1"):
            assert private.encode() not in written


def _texts(headers: dict[str, bytes], *names: str) -> list[str | None]:
    return [headers[name].decode() if name in headers else None for name in names]
