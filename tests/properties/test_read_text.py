"""No text of a read that makes no match comes out of a worker, in any form.

Each field of each read holds a marker of its own, also where a marker breaks the field's rule. The
reads are denied, rejected or like no entry. Then everything that a worker would send or show is
searched for the markers: rejects, suppression state, metrics in each format, the status page, spans
and log lines of every level. One read that matches shows that the search finds what is there.

`tests/kafka/worker/test_nothing_left.py` searches a real worker.
"""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from prometheus_client.exposition import choose_encoder

from engine.documents.codec import encode
from engine.documents.purposes import Purposes
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression
from engine.observability.logs import FORMS, Log
from engine.observability.metric_families import OTHER_SOURCES
from engine.observability.metrics import Metrics
from engine.observability.status import Facts, Watch
from engine.observability.status_page import Page, status_json
from tests.fakes.documents import NOW_MS, as_bytes, at, detection_json, entry_json, policy_json
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch, raw_fetch
from tests.serving.test_registry import FORMATS

_MARK = "qz7mark"
#: The scanner leaves a batch with such a header to the general parser.
_ODD = ("ключ", b"")
_TRACE = ("traceparent", b"00-" + b"5" * 32 + b"-00f067aa0ba902b7-01")


class Marks:
    """Texts, each another one."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def next(self) -> str:
        return f"{_MARK}{next(self._numbers):06d}"

    def read(self, **fields: Any) -> dict[str, Any]:
        """A sound read of the listed plate with a marker in every field that takes a text."""
        return detection_json(
            **{
                "read_id": self.next(),
                "plate": "abc-123",
                "captured_at": at(0),
                "source": self.next(),
                "camera": self.next(),
                "vehicle": dict.fromkeys(("make", "model", "color", "type"), self.next()),
                "images": [{"kind": "plate", "uri": f"https://{self.next()}/"}],
                "alternates": [{"plate": f"{_MARK}{next(self._numbers):04d}", "confidence": 0.5}],
                self.next(): self.next(),
                **fields,
            }
        )

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        return (
            _TRACE,
            ("tracestate", f"{self.next()}=1".encode()),
            (self.next(), self.next().encode()),
        )

    def reads(self) -> Iterator[tuple[bytes | None, bytes]]:
        """Keys and values: a key is any text."""
        listed = b"ABC123"
        yield listed, as_bytes(self.read())  # no policy
        yield listed, as_bytes(self.read(source="closed"))  # a policy that denies
        yield listed, as_bytes(self.read(source="regions", region="US-CA"))
        yield None, as_bytes(self.read(plate=f"{_MARK}99"))  # like no entry
        yield self.next().encode(), as_bytes(self.read(plate=f"{_MARK}98"))
        yield listed, as_bytes(self.read(plate=f"{_MARK}97"))  # key and plate disagree
        yield listed, b'{"plate": "' + self.next().encode()
        yield listed, orjson.dumps({self.next(): {self.next(): [self.next()]}})
        yield listed, orjson.dumps([self.next()])
        yield listed, orjson.dumps(self.next())
        yield self.next().encode() + b"\xff", as_bytes(self.read()) + b"\xff"
        # Each field once with a marker in the place of its value, and once with an object of them.
        for name in (*self.read(), "region", "confidence", "location", "heading"):
            yield listed, as_bytes(self.read(**{name: self.next()}))
            yield listed, as_bytes(self.read(**{name: {self.next(): self.next()}}))
            yield listed, as_bytes(self.read(**{name: [self.next(), {self.next(): 1}]}))


def _matcher() -> Matcher:
    matcher = Matcher(Lists(Purposes.load()), 1, parse, Suppression())
    entry = entry_json(plate="ABC123", confusables=True, suppress_s=60)
    policies = [
        policy_json(source="open"),
        policy_json(source="closed", rules=[]),
        policy_json(source="regions", regions=["NL"]),
    ]
    matcher.lists.apply(
        [ControlRecord(ControlKind.ENTRY, 0, 0, NOW_MS, b"E1", as_bytes(entry))], NOW_MS
    )
    matcher.lists.apply(
        [
            ControlRecord(
                ControlKind.POLICY, 0, offset, NOW_MS, each["source"].encode(), as_bytes(each)
            )
            for offset, each in enumerate(policies)
        ],
        NOW_MS,
    )
    return matcher


def _emitted(matcher: Matcher, outcome: Outcome, log: str) -> dict[str, str]:
    """Everything that a worker sends and shows of an outcome, by its name."""
    metrics = Metrics()
    metrics.count_fetch(outcome, 0, 0)
    metrics.count_delivered(outcome, NOW_MS, 0.1)
    metrics.show_lists(matcher.lists, NOW_MS)
    watch = Watch(metrics, 0)
    watch.sample(0.0)
    status = watch.status(Facts(NOW_MS, "", "g", "at_least_once", {}, {}))
    formats = {accept: choose_encoder(accept)[0](metrics.registry).decode() for accept in FORMATS}
    return {
        "outcome": repr(outcome),
        "rejects": b"\n".join(map(encode, outcome.rejects)).decode(),
        "matches": b"\n".join(encode(found.match) for found in outcome.matches).decode(),
        "metrics": metrics.exposition().body.decode(),
        **formats,
        "status": status_json(status).decode(),
        "page": Page().rendered(status).decode(),
        "log": log,
    }


@pytest.mark.parametrize("odd", [(), (_ODD,)], ids=["scanned", "parsed"])
@pytest.mark.parametrize("form", FORMS)
def test_no_text_of_a_read_without_a_match_comes_out(
    odd: tuple[tuple[str, bytes], ...], form: str
) -> None:
    marks = Marks()
    sent = [Sent(key, value, (*marks.headers(), *odd)) for key, value in marks.reads()]
    stream = io.StringIO()
    log = Log(form, "debug", {}, stream)
    log.begin()
    try:
        logging.getLogger("engine").debug("the log is at work")
        matcher = _matcher()
        outcome = matcher.process(raw_fetch(raw_batch(batch_bytes(sent))), NOW_MS)
    finally:
        log.end()
    assert outcome.matches == []
    assert outcome.denied["no_policy"] >= 5
    assert {"schema", "invalid_json", "key_mismatch"} <= {one.reason for one in outcome.rejects}
    emitted = _emitted(matcher, outcome, stream.getvalue())
    assert "the log is at work" in emitted["log"]
    for name, text in emitted.items():
        assert _MARK not in text.lower(), name
        assert "_created" not in text, name
    assert f'source="{OTHER_SOURCES}"' in emitted["metrics"]
    assert 'source="closed"' in emitted["metrics"]


def test_the_search_finds_a_read_that_matches() -> None:
    matcher, marks = _matcher(), Marks()
    sent = Sent(b"ABC123", as_bytes(marks.read(source="open")), marks.headers())
    outcome = matcher.process(raw_fetch(raw_batch(batch_bytes([sent]))), NOW_MS)
    emitted = _emitted(matcher, outcome, "")
    assert {name for name, text in emitted.items() if _MARK in text} == {"outcome", "matches"}
