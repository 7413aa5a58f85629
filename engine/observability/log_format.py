"""What a log line says, and what it may hold.

A record of Python's logging becomes one line, for people or as JSON. It may be ours or a
library's, and it may have been given anything; so what is shown of a value depends on its type
alone. Numbers and texts are shown, texts without anything that a terminal would obey and not
beyond a length; of an exception its type, and what it says where that is known to hold nothing of
a document (`described`); of bytes their number; of anything else its type. So no key, no value and
no read gets into a line, whoever hands one over, and neither does a variable of a trace.

A library's line that is one text already, such as asyncio's, is cut off where values begin in it.
Fields beside the message are those of `FIELDS`, and no others.
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

#: What a record may say beside its message, given to the logger as `extra`.
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

#: Makes a line, without its end, of a record and of what holds for the whole process.
Form = Callable[[logging.LogRecord, Mapping[str, str]], str]

_PLACEHOLDER = re.compile(r"%(?:\([^)]*\))?[-+ #0]*[\d*]*(?:\.[\d*]+)?[a-zA-Z]")
#: Where values begin in a text that somebody else has put together.
_VALUE = re.compile(r"[(<{'\"=]")


def printable(text: str) -> str:
    """The text cut to a bearable length, a replacement character for what is not printable."""
    if len(text) > limits.LOG_TEXT_CHARACTERS:
        text = text[: limits.LOG_TEXT_CHARACTERS] + "…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def shown(value: object) -> Any:
    """What a line may show of a value: a number or None as it is, anything else as text."""
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
        return f"{shown(value[0])}/{shown(value[1])}"
    if isinstance(value, tuple | list | set | frozenset) and not hasattr(value, "_fields"):
        return _listed(value)
    return f"<{type(value).__name__}>"


def _listed(values: Iterable[object]) -> str:
    members = [
        str(shown(each))
        if not isinstance(each, tuple | list | set | frozenset) or _is_named(each)
        else f"<{type(each).__name__}>"
        for each in values
    ]
    more = len(members) - limits.LOG_MEMBERS
    told = ", ".join(sorted(members)[: limits.LOG_MEMBERS])
    return f"{told} and {more} more" if more > 0 else told


def _is_named(value: object) -> bool:
    return hasattr(value, "_fields")


def described(error: BaseException) -> str:
    """An exception on one line: what it says where that is ours or a constant, and its type."""
    if isinstance(error, RuleError):  # its own text shows what stands in the entry
        return printable(f"{type(error).__name__}: {error.field}: {error.rule}")
    if isinstance(error, HotlistError):
        return printable(str(error))
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{name}: {error.strerror}")
    # Kafka's errors have a constant that says what they are.
    constant = getattr(type(error), "description", None)
    return printable(f"{name}: {constant}") if isinstance(constant, str) else name


def message(record: logging.LogRecord) -> str:
    """What the record says, on one line."""
    template = _template(record)
    if not record.args:
        return printable(template)
    given = record.args
    if not isinstance(given, Mapping):
        values: Any = tuple(shown(each) for each in given)
    elif "%(" in template:
        values = {name: shown(each) for name, each in given.items()}
    else:  # a mapping that is the only value
        values = shown(given)
    try:
        return printable(template % values)
    except (TypeError, ValueError, KeyError):  # a template that asks for something else
        return kind(record)


def kind(record: logging.LogRecord) -> str:
    """What records of this kind have in common: what they say, without their values."""
    template = _template(record)
    if record.args:
        template = _PLACEHOLDER.sub("…", template).replace("%%", "%")
    return printable(template)


def is_ours(record: logging.LogRecord) -> bool:
    """Whether the engine logged it, and not one of the libraries."""
    return record.name == "engine" or record.name.startswith("engine.")


def _template(record: logging.LogRecord) -> str:
    if not isinstance(record.msg, str):
        return str(shown(record.msg))
    first, *further = record.msg.split("\n", 1)
    if is_ours(record):
        return record.msg
    if not record.args and (found := _VALUE.search(first)):
        return first[: found.start()].rstrip() + " …"
    return f"{first} …" if further else first


def console(record: logging.LogRecord, _context: Mapping[str, str]) -> str:
    """For people: time, level, what it says, its fields; under it where an exception comes from."""
    who = "" if is_ours(record) else f"{printable(record.name)}: "
    parts = [f"{_time(record)} {record.levelname.lower():<7} {who}{message(record)}"]
    parts += [f"{name}={value}" for name, value in _fields(record).items()]
    lines = ["  ".join(parts)]
    for error in _chain(record):
        lines.append(f"    {described(error)}")
        lines += [f"      at {place}" for place in _trace(error)]
    return "\n".join(lines)


def as_json(record: logging.LogRecord, context: Mapping[str, str]) -> str:
    """One JSON object: `time`, `level`, `logger`, `message`, what holds for the process, the
    fields, and for an exception `errors`: it and what it came from, each with `kind`, `text`,
    `hint` where it has one, and `trace`, the places in the code, the innermost last."""
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
    told: dict[str, Any] = {"kind": type(error).__name__, "text": described(error)}
    if isinstance(error, HotlistError) and error.hint:
        told["hint"] = printable(error.hint)
    return {**told, "trace": _trace(error)}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given = ((name, record.__dict__.get(name)) for name in FIELDS)
    return {name: _plain(shown(value)) for name, value in given if value is not None}


def _plain(value: Any) -> Any:
    """A value that JSON has a form for."""
    if isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def _chain(record: logging.LogRecord) -> list[BaseException]:
    """The record's exception and what it came from, as far as is told."""
    error = record.exc_info[1] if record.exc_info else None
    chain: list[BaseException] = []
    while error is not None and error not in chain and len(chain) < limits.LOG_ERRORS:
        chain.append(error)
        hidden = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or hidden
    return chain


def _trace(error: BaseException) -> list[str]:
    """Where it was raised and on which way, without any value."""
    places = [
        f"{printable('/'.join(frame.f_code.co_filename.replace(os.sep, '/').split('/')[-2:]))}"
        f":{line} in {printable(frame.f_code.co_name)}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return places[-limits.LOG_FRAMES :]


def _time(record: logging.LogRecord) -> str:
    return format_time(int(record.created * 1000))
