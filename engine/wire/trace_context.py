"""Trace context: the trace that a read belongs to, from its headers, for its matches.

It follows the W3C recommendation, https://www.w3.org/TR/trace-context/. `traceparent` names the
trace and the parent of the next span; `tracestate` holds what tracing systems add for each other. A
malformed header is ignored: it is no error of the read, and it is not reported. A `tracestate`
counts only beside a valid `traceparent`.

Neither of them is ever logged, because other systems decide what is in `tracestate`.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from engine import limits
from engine.wire.headers import Headers

PARENT_HEADER: Final = "traceparent"
STATE_HEADER: Final = "tracestate"

_BLANK: Final = " \t"
#: Version, trace, span, flags, and what later versions may add.
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_VERSION: Final = "ff"
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16

_SAMPLED: Final = 1
#: The flags that are passed on: sampled, and that the trace's id is random (level 2). Of a later
#: version's flags, only the first is passed on.
_KNOWN_FLAGS: Final = 3

_MEMBER: Final = re.compile(
    r"([a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
#: If there is too much, members longer than this are dropped first.
_LONG_MEMBER_CHARACTERS: Final = 128


class TraceContext(NamedTuple):
    """A span of a trace: ids in lower-case hexadecimal, 32 and 16 digits, and `tracestate`.

    `parent_id` is its parent span, if the span is one of ours.
    """

    trace_id: str
    span_id: str
    flags: int
    state: str = ""
    parent_id: str | None = None

    def __repr__(self) -> str:
        return "<trace context>"

    @property
    def is_sampled(self) -> bool:
        """Whether the trace's originator wants its spans recorded."""
        return bool(self.flags & _SAMPLED)

    def child(self, span_id: str) -> TraceContext:
        """Return a span of ours with this one as its parent."""
        return self._replace(span_id=span_id, parent_id=self.span_id)

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the headers that pass this context on."""
        parent = f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"
        headers = [(PARENT_HEADER, parent.encode())]
        if self.state:
            headers.append((STATE_HEADER, self.state.encode()))
        return headers


class Span(NamedTuple):
    """The span of a match, for export. `trace` is the span itself, and has a `parent_id`."""

    trace: TraceContext
    start_ms: int
    end_ms: int
    match_type: str
    purpose: str
    partition: int


def carried_by(headers: Headers) -> TraceContext | None:
    """Return the trace context from a record's headers; None if there is none or it is malformed.

    Names are lower case, as is usual in Kafka. Two `traceparent` headers count as none; several
    `tracestate` headers are joined in their order.
    """
    if len(headers) > limits.READ_HEADERS:
        return None
    parents = [value for name, value in headers if name == PARENT_HEADER]
    if len(parents) != 1:
        return None
    text = _text(parents[0], limits.TRACEPARENT_BYTES)
    found = None if text is None else _PARENT.fullmatch(text.strip(_BLANK))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _NO_VERSION or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    if version == "00" and more is not None:
        return None
    known = int(flags, 16) & (_KNOWN_FLAGS if version == "00" else _SAMPLED)
    state = _state([value for name, value in headers if name == STATE_HEADER])
    return TraceContext(trace_id, span_id, known, state)


def span_id_of(match_id: str) -> str:
    """Return the id of a match's span; it is the same if the match is delivered again."""
    span_id = match_id[: len(_NO_SPAN)]
    return span_id if span_id != _NO_SPAN else "1".zfill(len(_NO_SPAN))


def _state(values: Sequence[bytes | memoryview | None]) -> str:
    """Return the `tracestate` to pass on, without some of its members if it is too long."""
    if not values:
        return ""
    if sum(1 if value is None else len(value) + 1 for value in values) > limits.TRACESTATE_BYTES:
        return ""
    members: dict[str, str] = {}
    for value in values:
        text = _text(value, limits.TRACESTATE_BYTES)
        if text is None:
            return ""
        for member in filter(None, (each.strip(_BLANK) for each in text.split(","))):
            found = _MEMBER.fullmatch(member)
            if found is None or found[1] in members:
                return ""
            members[found[1]] = member
    if len(members) > limits.TRACESTATE_MEMBERS:
        return ""
    return ",".join(_shortened(list(members.values())))


def _shortened(members: list[str]) -> list[str]:
    """Drop members until the rest fits: the long ones first, then the last ones."""
    while sum(map(len, members)) + len(members) - 1 > limits.TRACESTATE_CHARACTERS:
        long = [at for at, member in enumerate(members) if len(member) > _LONG_MEMBER_CHARACTERS]
        del members[long[-1] if long else -1]
    return members


def _text(value: bytes | memoryview | None, limit_bytes: int) -> str | None:
    """Return a header's value as text; None if it has none, is not ASCII or is too long."""
    if value is None or len(value) > limit_bytes:
        return None
    try:
        return str(value, "ascii")
    except UnicodeDecodeError:
        return None
