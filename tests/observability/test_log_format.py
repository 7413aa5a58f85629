"""`engine.observability.log_format`: what a line says, and what cannot get into one."""

from __future__ import annotations

import io
import logging
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from faust.types import TP
from hypothesis import example, given
from hypothesis import strategies as st

from engine import limits
from engine.documents.model import Detection
from engine.errors import BrokerError, DocumentError, HotlistError, RuleError
from engine.observability.log_format import (
    FIELDS,
    Wording,
    console,
    described,
    kind,
    log_json,
    loggable,
    message,
    printable,
)

_TIME_S = 1_795_190_400.25  # 2026-11-20T16:00:00.250Z
#: What a plate looks like that nobody may find in a line.
_PLATE = "QZX7HCR107"


def record(
    msg: Any,
    *args: Any,
    name: str = "engine.x",
    level: int = logging.WARNING,
    error: BaseException | None = None,
    **fields: Any,
) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord(name, level, "x.py", 1, msg, args, info)
    made.created = _TIME_S
    made.__dict__.update(fields)
    return made


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """The error with a trace, from a function whose variables hold a plate."""

    def fails(plate: str) -> None:
        raise error from cause

    try:
        fails(_PLATE)
    except Exception as caught:  # noqa: BLE001 - whichever it is
        return caught
    raise AssertionError


# What is shown of a value.


class Point(NamedTuple):
    """What any library may hand over."""

    plate: str


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (True, True),
        (12, 12),
        (1.5, 1.5),
        (np.int64(3), 3),
        ("lpr.detections.v1", "lpr.detections.v1"),
        (ValueError, "ValueError"),
        (_PLATE.encode(), "<10 bytes>"),
        (bytearray(3), "<3 bytes>"),
        (memoryview(b"ab"), "<2 bytes>"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (TopicPartition("t", 3), "t/3"),
        (TP("t", 3), "t/3"),
        ({TopicPartition("t", 3), TopicPartition("t", 1)}, "t/1, t/3"),
        (["a", b"b", [_PLATE]], "<1 bytes>, <list>, a"),
        (list(range(100, 200)), ", ".join(map(str, range(100, 116))) + " and 84 more"),
        ((), ""),
        ({"plate": _PLATE}, "<dict>"),
        (Point(_PLATE), "<Point>"),
        ([Point(_PLATE)], "<Point>"),
        (KeyError(_PLATE), "KeyError"),
        (object, "object"),
        (lambda: _PLATE, "<function>"),
    ],
)
def test_shown(value: object, text: object) -> None:
    assert loggable(value) == text


def test_of_an_object_its_type_alone_is_shown() -> None:
    class Telling:
        def __repr__(self) -> str:
            return _PLATE

        __str__ = __repr__

    assert loggable(Telling()) == "<Telling>"
    assert _PLATE not in message(record("%s %r", Telling(), Telling()))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (HotlistError("no", where="here", hint="do"), "here: no; do"),
        (DocumentError("schema", field="$.plate", rule="a text"), "$.plate: a text"),
        (RuleError("plate", _PLATE, "must be longer"), "RuleError: plate: must be longer"),
        (ValueError(f"{_PLATE} is no number"), "ValueError"),
        (UnicodeDecodeError("utf-8", _PLATE.encode(), 0, 1, "x"), "UnicodeDecodeError"),
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: Connection "),
        (OSError(_PLATE), "OSError"),
        (KafkaError(_PLATE), "KafkaError"),
        (GroupAuthorizationFailedError(_PLATE), "GroupAuthorizationFailedError: "),
        (BaseExceptionGroup(_PLATE, [ValueError(_PLATE)]), "ExceptionGroup"),
    ],
)
def test_described(error: BaseException, text: str) -> None:
    assert described(error).startswith(text)
    assert _PLATE not in described(error)


@given(st.text())
@example("\x1b[31mred\x1b[0m\r\n\u202ertl\u2028\x00\ud800")
def test_whatever_a_text_holds_it_stays_one_line_that_no_terminal_obeys(text: str) -> None:
    for form in (console, log_json):
        made = record("%s", text, topic=text, name="engine." + text)
        line = form(made, {"group": text})
        assert line.isprintable()
        assert len(line) < 10 * limits.LOG_TEXT_CHARACTERS
    assert orjson.loads(line)["message"] == printable(text)


# The message.


@pytest.mark.parametrize(
    ("made", "said", "of_kind"),
    [
        (record("ready"), "ready", "ready"),
        (record("100 %"), "100 %", "100 %"),
        (record("%d of %s, %.1f %%", 3, "x", 0.25), "3 of x, 0.2 %", "… of …, … %"),
        (record("%(a)s!", {"a": 1}), "1!", "…!"),
        (record("%d", "three"), "…", "…"),
        (record("%s %s", 1), "… …", "… …"),
        (record("%r", "a"), "'a'", "…"),
        (record("%s %s: %d", Wording("bad"), "x", 1), "bad x: 1", "bad …: …"),
        (record("%s", Wording("100 %")), "100 %", "100 %"),
        (record(ValueError(_PLATE)), "ValueError", "ValueError"),
        (record("a\nb"), "a\N{REPLACEMENT CHARACTER}b", "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_message_and_kind(made: logging.LogRecord, said: str, of_kind: str) -> None:
    assert message(made) == said
    assert kind(made) == of_kind


@pytest.mark.parametrize(
    ("msg", "args", "said"),
    [
        ("Unable connect to node with id %s: %s", (3, OSError(5, "no")), "with id 3: OSError: no"),
        ("Sending (key=%s value=%s) to %s", (b"k", b"v", TP("t", 1)), "(key=<1 bytes> value="),
        ("Crashed reason=%r", (KeyError(_PLATE),), "Crashed reason='KeyError'"),
        (f"Task exception was never retrieved\nfuture: <Task {_PLATE}>", (), "retrieved …"),
        (f"Exception in callback Future.set_result({_PLATE!r})", (), "Future.set_result …"),
        (f"Unclosed connection\nclient: {_PLATE}", (), "Unclosed connection …"),
        (f"plate={_PLATE}", (), "plate …"),
        (f"{{'plate': {_PLATE}}}", (), " …"),
    ],
)
def test_of_a_librarys_line_no_value_is_shown_that_may_be_a_records(
    msg: str, args: tuple[object, ...], said: str
) -> None:
    made = record(msg, *args, name="asyncio")
    assert said in message(made)
    for form in (console, log_json):
        assert _PLATE not in form(made, {})
    assert _PLATE not in kind(made)


# The forms.


def test_console() -> None:
    made = record("so %d", 1, level=logging.INFO, topic="t", partition=0, offset=7)
    assert console(made, {"group": "g"}) == (
        "2026-11-20T16:00:00.250Z info    so 1  topic=t  partition=0  offset=7"
    )
    library = record("so", name="aiokafka.client")
    assert console(library, {}) == "2026-11-20T16:00:00.250Z warning aiokafka.client: so"


def test_json() -> None:
    made = record("so %d", 1, partition=0, offset=None, lag=2**70, took_ms=float("nan"))
    assert orjson.loads(log_json(made, {"group": "g", "worker": "h:1"})) == {
        "time": "2026-11-20T16:00:00.250Z",
        "level": "warning",
        "logger": "engine.x",
        "message": "so 1",
        "group": "g",
        "worker": "h:1",
        "partition": 0,
        "lag": str(2**70),
        "took_ms": "nan",
    }


def test_fields_that_nobody_has_named_are_not_told() -> None:
    made = record("so", plate=_PLATE, value=_PLATE, read_id=_PLATE)
    for form in (console, log_json):
        assert _PLATE not in form(made, {})
    assert not {"plate", "key", "value", "read_id", "entry_id", "source", "camera"} & set(FIELDS)


def test_an_exception_has_its_hint_its_causes_and_a_trace_without_values() -> None:
    cause = raised(KeyError(_PLATE))
    error = raised(BrokerError("gone", where="b:9092", hint="start it"), cause)
    made = record("failed: %s", error, error=error)
    told = orjson.loads(log_json(made, {}))
    assert told["message"] == "failed: b:9092: gone; start it"
    outer, inner = told["errors"]
    assert outer["kind"] == "BrokerError"
    assert outer["text"] == "b:9092: gone; start it"
    assert outer["hint"] == "start it"
    assert inner == {"kind": "KeyError", "text": "KeyError", "trace": inner["trace"]}
    for each in (outer, inner):
        assert [place.rsplit(" ", 1)[1] for place in each["trace"]] == ["raised", "fails"]
        assert each["trace"][0].startswith("observability/test_log_format.py:")
    lines = console(made, {}).split("\n")
    assert lines[1] == "    b:9092: gone; start it"
    assert lines[2].startswith("      at observability/test_log_format.py:")
    assert lines[4] == "    KeyError"
    assert len(lines) == 7
    for form in (console, log_json):
        assert _PLATE not in form(made, {})


def test_traces_and_chains_are_bounded() -> None:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError

    error: Exception = ValueError()
    try:
        deep(200)
    except ValueError as caught:
        error = caught
    for _ in range(20):
        error = raised(ValueError(), error)
    told = orjson.loads(log_json(record("x", error=error), {}))["errors"]
    assert len(told) == limits.LOG_ERRORS
    looped = ValueError()
    looped.__context__ = KeyError()
    looped.__context__.__context__ = looped
    assert len(orjson.loads(log_json(record("x", error=looped), {}))["errors"]) == 2
    try:
        deep(200)
    except ValueError as caught:
        told = orjson.loads(log_json(record("x", error=caught), {}))["errors"]
    assert len(told[0]["trace"]) == limits.LOG_FRAMES


# No plate, whatever is handed over.

_READ = Detection(
    read_id="rid-" + _PLATE,
    plate=_PLATE,
    captured_at="2026-01-31T12:00:00.000Z",
    source="s",
    camera="c",
)
#: Everything that a record may come as, within the engine and in its libraries.
_CARRIERS: list[Callable[[], object]] = [
    lambda: _READ,
    lambda: _PLATE.encode(),
    lambda: bytearray(_PLATE.encode()),
    lambda: memoryview(_PLATE.encode()),
    lambda: io.BytesIO(_PLATE.encode()),
    lambda: {"plate": _PLATE},
    lambda: {_PLATE: 1},
    lambda: [_READ],
    lambda: [(_PLATE,)],
    lambda: (_PLATE.encode(),),
    lambda: Point(_PLATE),
    lambda: ValueError(_PLATE),
    lambda: KeyError(_PLATE, _READ),
    lambda: RuleError("plate", _PLATE, "rule"),
    lambda: KafkaError(_PLATE),
    lambda: ExceptionGroup("several", [ValueError(_PLATE)]),
    lambda: raised(ValueError(_PLATE), raised(KeyError(_PLATE))),
]
_TEMPLATES = ["%s", "%r", "%d", "%s: %s", "x", "%(a)s", "[^-App]: Crashed reason=%r", "%%s"]


@given(
    st.sampled_from(_TEMPLATES),
    st.lists(st.sampled_from(_CARRIERS), max_size=3),
    st.sampled_from([None, *_CARRIERS]),
    st.sampled_from(["engine.worker.worker", "aiokafka.conn", "faust.app", "asyncio", "mode", ""]),
    st.sampled_from([console, log_json]),
)
def test_no_plate_gets_into_a_line(
    template: str,
    carriers: list[Callable[[], object]],
    error: Callable[[], object] | None,
    name: str,
    form: Callable[[logging.LogRecord, dict[str, str]], str],
) -> None:
    values = [each() for each in carriers]
    caught = None if error is None else error()
    made = record(
        template,
        *values,
        name=name,
        error=caught if isinstance(caught, BaseException) else None,
    )
    made.__dict__.update(zip(FIELDS, values, strict=False))
    line = form(made, {"group": "g"})
    assert _PLATE not in line
    assert "rid-" not in line


def test_every_line_of_the_engine_has_a_constant_text() -> None:
    """What is logged is told by kind; a text put together beforehand would be a kind of its own,
    and could hold anything. Nor does anything print."""
    engine = pathlib.Path(sys.modules["engine"].__file__ or "").parent
    from ast import Attribute, Call, Constant, Name, parse, walk

    found = 0
    for path in engine.rglob("*.py"):
        for node in walk(parse(path.read_text())):
            if not isinstance(node, Call):
                continue
            called = node.func
            if isinstance(called, Name) and called.id == "print":
                raise AssertionError(f"{path}:{node.lineno} prints")
            if (
                isinstance(called, Attribute)
                and isinstance(called.value, Name)
                and called.value.id in ("log", "_log", "logger")
                and called.attr in ("debug", "info", "warning", "error", "exception", "critical")
            ):
                found += 1
                text = node.args[0]
                assert isinstance(text, Constant), f"{path}:{node.lineno}"
                constant = re.sub("%.", "", str(text.value))
                assert re.search("[a-z ]{4}", constant), f"{path}:{node.lineno} says only values"
    assert found > 10
