"""A read's trace context: by the recommendation's own rules, and beside OpenTelemetry's reader."""

from __future__ import annotations

import string
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from engine import limits
from engine.wire.trace_context import TraceContext, carried_by, span_id_of

_TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
_SPAN: Final = "00f067aa0ba902b7"
_PARENT: Final = f"00-{_TRACE}-{_SPAN}-01".encode()

Headers = list[tuple[str, bytes | None]]


def of(parent: str | bytes, *states: str | bytes) -> TraceContext | None:
    """What these headers say."""
    values = [value.encode() if isinstance(value, str) else value for value in (parent, *states)]
    return carried_by([("traceparent", values[0]), *(("tracestate", each) for each in values[1:])])


def test_nothing_says_nothing() -> None:
    assert carried_by([]) is None
    assert carried_by([("alternates", b"A"), ("tracestate", b"a=1")]) is None


def test_a_trace_goes_on_as_it_came() -> None:
    found = carried_by([("x", None), ("tracestate", b"a=1"), ("traceparent", _PARENT)])
    assert found == TraceContext(_TRACE, _SPAN, 1, "a=1")
    assert found.is_sampled
    assert found.headers() == [("traceparent", _PARENT), ("tracestate", b"a=1")]
    assert TraceContext(_TRACE, _SPAN, 0).headers() == [("traceparent", _PARENT[:-2] + b"00")]


def test_a_span_of_ours_stands_below_the_one_that_came() -> None:
    came = TraceContext(_TRACE, _SPAN, 1, "a=1")
    ours = came.child(span_id_of("a1b2c3d4e5f60718" + "9" * 16))
    assert ours.parent_id == _SPAN
    parent = f"00-{_TRACE}-a1b2c3d4e5f60718-01".encode()
    assert ours.headers() == [("traceparent", parent), ("tracestate", b"a=1")]


def test_a_spans_id_is_never_the_one_that_is_none() -> None:
    assert span_id_of("0" * 32) == "0" * 15 + "1"
    assert span_id_of("0" * 15 + "2" + "0" * 16) == "0" * 15 + "2"


def test_what_tracing_systems_say_is_not_in_a_repr() -> None:
    assert "secret" not in repr(TraceContext(_TRACE, _SPAN, 1, "a=secret"))


@pytest.mark.parametrize(
    ("parent", "flags"),
    [
        (f"00-{_TRACE}-{_SPAN}-00", 0),
        (f"00-{_TRACE}-{_SPAN}-01", 1),
        (f"00-{_TRACE}-{_SPAN}-03", 3),
        (f"00-{_TRACE}-{_SPAN}-ff", 3),  # flags that nobody has defined do not go on
        (f"00-{_TRACE}-{_SPAN}-fc", 0),
        (f" \t00-{_TRACE}-{_SPAN}-01 ", 1),
        # A later version: the parts that we know, and of its flags the first.
        (f"01-{_TRACE}-{_SPAN}-03", 1),
        (f"cc-{_TRACE}-{_SPAN}-01-", 1),
        (f"fe-{_TRACE}-{_SPAN}-00-what-comes-then", 0),
    ],
)
def test_a_parent_that_counts(parent: str, flags: int) -> None:
    assert of(parent) == TraceContext(_TRACE, _SPAN, flags)


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        f"00-{'0' * 32}-{_SPAN}-01",
        f"00-{_TRACE}-{'0' * 16}-01",
        f"ff-{_TRACE}-{_SPAN}-01",
        f"00-{_TRACE}-{_SPAN}-01-",
        f"00-{_TRACE}-{_SPAN}-01-more",
        f"01-{_TRACE}-{_SPAN}-01.more",
        f"01-{_TRACE}-{_SPAN}-012",
        f"00-{_TRACE.upper()}-{_SPAN}-01",
        f"00-{_TRACE}-{_SPAN.upper()}-01",
        f"0A-{_TRACE}-{_SPAN}-01",
        f"00-{_TRACE}-{_SPAN}-0A",
        f"00-{_TRACE}-{_SPAN}-1",
        f"00-{_TRACE}-{_SPAN}",
        f"00-{_TRACE[:-1]}-{_SPAN}-01",
        f"00-{_TRACE}-{_SPAN}0-01",
        f"00_{_TRACE}_{_SPAN}_01",
        f"00-{_TRACE}-{_SPAN}-01\n",
        f"\r00-{_TRACE}-{_SPAN}-01",
        f"00-{_TRACE[:-1]}g-{_SPAN}-01",
        f"00-{_TRACE[:-1]}٣-{_SPAN}-01",
        b"\xff" * 55,
        f"01-{_TRACE}-{_SPAN}-01-{'x' * limits.TRACEPARENT_BYTES}",
        b"0" * 10_000_000,
    ],
    ids=lambda parent: repr(parent)[:70],
)
def test_a_parent_that_is_none(parent: str | bytes) -> None:
    assert of(parent, "a=1") is None


def test_a_parent_that_comes_twice_or_without_a_value_is_none() -> None:
    twice: Headers = [("traceparent", _PARENT), ("traceparent", _PARENT)]
    assert carried_by(twice) is None
    assert carried_by([*twice[:1], ("traceparent", None)]) is None
    assert carried_by([("traceparent", None)]) is None
    assert carried_by([("Traceparent", _PARENT)]) is None


def test_among_more_headers_than_are_looked_at_there_is_none() -> None:
    others: Headers = [("x", b"")] * (limits.READ_HEADERS - 1)
    assert carried_by([*others, ("traceparent", _PARENT)]) is not None
    assert carried_by([*others, ("x", b""), ("traceparent", _PARENT)]) is None


def members(count: int, value: str = "1") -> str:
    return ",".join(f"k{number}={value}" for number in range(count))


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ((), ""),
        (("",), ""),
        (("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",), "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
        (("a=1", "b=2,c=3"), "a=1,b=2,c=3"),
        (("a=1 ,\tb=2,, ,c= 3",), "a=1,b=2,c= 3"),
        (("0t@v=1",), "0t@v=1"),
        ((f"{'k' * 256}={'v' * 255}",), f"{'k' * 256}={'v' * 255}"),
        ((members(32),), members(32)),
        ((members(33),), ""),
        (("a=1,a=2",), ""),
        (("a=1", "a=1"), ""),
        (("a=1", b"b=\xff"), ""),
        (("a",), ""),
        (("a=",), ""),
        (("a=1=2",), ""),
        (("A=1",), ""),
        (("0a=1",), ""),
        (("a=\x7f",), ""),
        (("a=b\nc=d",), ""),
        ((f"{'k' * 257}=1",), ""),
        ((f"a={'v' * 257}",), ""),
        ((f"a=1,{' ' * limits.TRACESTATE_BYTES}",), ""),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_tracing_systems_add(states: tuple[str | bytes, ...], found: str) -> None:
    """What is no good goes, and the trace stays."""
    assert of(_PARENT, *states) == TraceContext(_TRACE, _SPAN, 1, found)


def test_what_has_no_value_adds_nothing() -> None:
    without: Headers = [("traceparent", _PARENT), ("tracestate", None)]
    assert carried_by(without) == TraceContext(_TRACE, _SPAN, 1)


def test_where_there_is_too_much_the_longest_kind_goes_first_then_the_last() -> None:
    short, long = [f"k{number}={'v' * 97}" for number in range(6)], f"long={'v' * 124}"
    assert [len(each) for each in (short[0], long)] == [100, 129]
    found = of(_PARENT, ",".join([short[0], long, *short[1:]]))
    assert found is not None
    assert found.state == ",".join(short[:5])
    found = of(_PARENT, ",".join([short[0], long, *short[1:4]]))
    assert found is not None
    assert found.state == ",".join(short[:4])
    two = f"a={'v' * 254}", f"b={'v' * 253}"  # with the comma, one less and one more than fit
    found = of(_PARENT, ",".join(two))
    assert found is not None
    assert (len(",".join(two)), found.state) == (512, ",".join(two))
    found = of(_PARENT, ",".join([two[0], two[1] + "v"]))
    assert found is not None
    assert found.state == two[0]


# Beside OpenTelemetry's own reader, which writes the first member anew and has no bound of 512.

_HEX: Final = "0123456789abcdef"
_ID: Final = {length: st.text(_HEX, min_size=length, max_size=length) for length in (2, 16, 32)}
_PARENTS: Final = st.builds(
    "-".join,
    st.tuples(
        st.sampled_from(["00", "00", "01", "fe", "ff"]) | _ID[2],
        _ID[32] | st.just("0" * 32),
        _ID[16] | st.just("0" * 16),
        _ID[2],
    ),
)
_DAMAGED: Final = st.builds(
    lambda text, at, put: text[: at % 56] + put + text[at % 56 + 1 :],
    _PARENTS,
    st.integers(0, 55),
    st.text("-0aAgf \t,.", max_size=3),
)
_KEYS: Final = st.text("abc09@_*/-A", min_size=1, max_size=18)
_VALUES: Final = st.text(string.ascii_letters + " ~!=\x7f", max_size=30)
_STATES: Final = st.lists(
    st.lists(
        st.builds("{}={}".format, _KEYS, _VALUES) | st.text("a=, \t", max_size=4), max_size=9
    ).map(",".join),
    max_size=3,
)


@settings(max_examples=10 * settings().max_examples)
@given(_PARENTS | _DAMAGED, _STATES)
@example("01-" + "a" * 32 + "-" + "b" * 16 + "-01-x", ["a=1", "b=2"])
@example("00-" + "a" * 32 + "-" + "b" * 16 + "-01", [",".join(f"k{n}=1" for n in range(33))])
def test_beside_opentelemetry(parent: str, states: list[str]) -> None:
    carrier = {"traceparent": [parent]} | ({"tracestate": states} if states else {})
    context = TraceContextTextMapPropagator().extract(carrier)
    theirs = get_current_span(context).get_span_context()
    ours = of(parent, *states)
    assert (ours is not None) == theirs.is_valid
    if ours is not None:
        assert (int(ours.trace_id, 16), int(ours.span_id, 16)) == (theirs.trace_id, theirs.span_id)
        assert ours.flags == theirs.trace_flags & (3 if parent.strip().startswith("00") else 1)
        whole = theirs.trace_state.to_header()
        if len(whole) <= limits.TRACESTATE_CHARACTERS:
            assert ours.state == whole


_HOSTILE: Final = st.lists(
    st.tuples(
        st.sampled_from(["traceparent", "tracestate", "tracestate", "x"]),
        st.none()
        | st.binary(max_size=40)
        | _STATES.map(",".join).map(str.encode)
        | st.just(_PARENT),
    ),
    max_size=5,
)


@given(_HOSTILE)
def test_whatever_comes_what_goes_on_is_good(headers: Headers) -> None:
    """Nothing is raised; and what goes on comes out again as it is."""
    found = carried_by(headers)
    if found is not None:
        assert len(found.state) <= limits.TRACESTATE_CHARACTERS
        assert carried_by(found.headers()) == found
