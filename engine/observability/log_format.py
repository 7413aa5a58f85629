"""The content of a log line, and what it may show.

A record of Python's logging becomes one line, for people or as JSON. The record may be ours or a
library's, and its values may be anything; so what a line shows of a value depends only on the
value's type. It shows numbers and texts, texts without anything that a terminal would obey and up
to a length. Of an exception it shows the type, and the text if that is known to hold nothing of a
document (`described`); of bytes their number; of anything else the type. So no key, value or read
gets into a line, whichever code logs one, and neither does a variable of a trace.

A library's line that is a finished text, such as asyncio's, is cut off where its values begin.
The only fields beside the message are those of `FIELDS`.
"""

from __future__ import annotations

import logging
import math
import numbers
import os
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from engine import limits
from engine.clock import format_time
from engine.errors import HotlistError, RuleError

#: The fields that a record may have beside its message, given to the logger as `extra`.
FIELDS: Final = (
    "topic",
    "partition",
    "offset",
    "end_offset",
    "generation",
    "reads",
    "took_ms",
    "lag",
)

#: Formats a record as a line without its end, together with the context of the whole process.
Form = Callable[[logging.LogRecord, Mapping[str, str]], str]

_PLACEHOLDER = re.compile(r"%(?:\([^)]*\))?[-+ #0]*[\d*]*(?:\.[\d*]+)?[a-zA-Z]")
#: Where values begin in a text that a library has already formatted.
_VALUE = re.compile(r"[(<{'\"=]")


def printable(text: str) -> str:
    """Cut a text to a bearable length, with a replacement character for what is not printable."""
    if len(text) > limits.LOG_TEXT_CHARACTERS:
        text = text[: limits.LOG_TEXT_CHARACTERS] + "…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def loggable(value: object) -> Any:
    """Return what a line may show of a value: a number or None as it is, anything else as text."""
    if value is None or isinstance(value, numbers.Number):
        return value
    if isinstance(value, str):
        return printable(str(value))
    if isinstance(value, BaseException):
        return described(value)
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, os.PathLike):
        return printable(os.fsdecode(value))
    if isinstance(value, tuple) and {"topic", "partition"} == set(getattr(value, "_fields", ())):
        return f"{loggable(value[0])}/{loggable(value[1])}"
    if isinstance(value, tuple | list | set | frozenset) and not hasattr(value, "_fields"):
        return _listed(value)
    return f"<{type(value).__name__}>"


def _listed(values: Iterable[object]) -> str:
    members = [
        str(loggable(each))
        if not isinstance(each, tuple | list | set | frozenset) or _is_named(each)
        else f"<{type(each).__name__}>"
        for each in values
    ]
    more = len(members) - limits.LOG_MEMBERS
    text = ", ".join(sorted(members)[: limits.LOG_MEMBERS])
    return f"{text} and {more} more" if more > 0 else text


def _is_named(value: object) -> bool:
    return hasattr(value, "_fields")


def described(error: BaseException) -> str:
    """Describe an exception on one line: its type, and its text if that is ours or a constant."""
    if isinstance(error, RuleError):  # its own text shows values of the entry
        return printable(f"{type(error).__name__}: {error.field}: {error.rule}")
    if isinstance(error, HotlistError):
        return printable(str(error))
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{name}: {error.strerror}")
    # Kafka's errors have a constant description.
    constant = getattr(type(error), "description", None)
    return printable(f"{name}: {constant}") if isinstance(constant, str) else name


def message(record: logging.LogRecord) -> str:
    """Return the record's message, on one line."""
    template = _template(record)
    if not record.args:
        return printable(template)
    given = record.args
    if not isinstance(given, Mapping):
        values: Any = tuple(loggable(each) for each in given)
    elif "%(" in template:
        values = {name: loggable(each) for name, each in given.items()}
    else:  # a mapping that is the only value
        values = loggable(given)
    try:
        return printable(template % values)
    except (TypeError, ValueError, KeyError):  # a template that needs other values
        return kind(record)


class Wording(str):
    """A text that is written in the engine's code, and so belongs to the kind of a record."""

    __slots__ = ()


def kind(record: logging.LogRecord) -> str:
    """Return the kind of a record: its message without its values, but with a `Wording`."""
    template = _template(record)
    if record.args:
        given = iter(record.args if isinstance(record.args, tuple) else ())

        def shown(_: re.Match[str]) -> str:
            value = next(given, None)
            return str(value) if isinstance(value, Wording) else "…"

        template = _PLACEHOLDER.sub(shown, template).replace("%%", "%")
    return printable(template)


def is_ours(record: logging.LogRecord) -> bool:
    """Return whether the engine logged it, and not one of the libraries."""
    return record.name == "engine" or record.name.startswith("engine.")


def _template(record: logging.LogRecord) -> str:
    if not isinstance(record.msg, str):
        return str(loggable(record.msg))
    first, *further = record.msg.split("\n", 1)
    if is_ours(record):
        return record.msg
    if not record.args and (found := _VALUE.search(first)):
        return first[: found.start()].rstrip() + " …"
    return f"{first} …" if further else first


def console(record: logging.LogRecord, _context: Mapping[str, str]) -> str:
    """Format for people: time, level, message and fields; then each exception and its origin."""
    who = "" if is_ours(record) else f"{printable(record.name)}: "
    parts = [f"{_time(record)} {record.levelname.lower():<7} {who}{message(record)}"]
    parts += [f"{name}={value}" for name, value in _fields(record).items()]
    lines = ["  ".join(parts)]
    for error in _chain(record):
        lines.append(f"    {described(error)}")
        lines += [f"      at {place}" for place in _trace(error)]
    return "\n".join(lines)


def log_json(record: logging.LogRecord, context: Mapping[str, str]) -> str:
    """Format as one JSON object: `time`, `level`, `logger`, `message`, the process's context and
    the fields. For an exception it has `errors`: the exception and its causes, each with `kind`,
    `text`, `hint` if it has one, and `trace`, the places in the code, the innermost last."""
    line: dict[str, Any] = {
        "time": _time(record),
        "level": record.levelname.lower(),
        "logger": printable(record.name),
        "message": message(record),
        **{name: printable(value) for name, value in context.items()},
        **_fields(record),
    }
    errors = [_error(error) for error in _chain(record)]
    if errors:
        line["errors"] = errors
    return orjson.dumps(line).decode()


def _error(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": type(error).__name__, "text": described(error)}
    if isinstance(error, HotlistError) and error.hint:
        found["hint"] = printable(error.hint)
    return {**found, "trace": _trace(error)}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given = ((name, record.__dict__.get(name)) for name in FIELDS)
    return {name: _plain(loggable(value)) for name, value in given if value is not None}


def _plain(value: Any) -> Any:
    """Return a value that JSON can represent."""
    if isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def _chain(record: logging.LogRecord) -> list[BaseException]:
    """Return the record's exception and its causes, up to LOG_ERRORS of them."""
    error = record.exc_info[1] if record.exc_info else None
    chain: list[BaseException] = []
    while error is not None and error not in chain and len(chain) < limits.LOG_ERRORS:
        chain.append(error)
        hidden = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or hidden
    return chain


def _trace(error: BaseException) -> list[str]:
    """Return the frames through which it was raised, without any value."""
    places = [
        f"{printable('/'.join(frame.f_code.co_filename.replace(os.sep, '/').split('/')[-2:]))}"
        f":{line} in {printable(frame.f_code.co_name)}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return places[-limits.LOG_FRAMES :]


def _time(record: logging.LogRecord) -> str:
    return format_time(int(record.created * 1000))
