"""What callers of the library give, checked: documents and times."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from engine.clock import EPOCH, parse_time
from engine.documents.model import Detection, Entry, Policy, encode
from engine.errors import DocumentError

#: The times that documents can name.
_FIRST_MS: Final = parse_time("1900-01-01T00:00:00.000Z")
_LAST_MS: Final = parse_time("2999-12-31T23:59:59.999Z")

D = TypeVar("D", Detection, Entry, Policy)


def document(given: D | Mapping[str, Any], kind: type[D], decode: Callable[[bytes], D]) -> D:
    """A document that is what its schema says, whoever made it; else DocumentError."""
    try:
        if isinstance(given, kind):
            return decode(encode(given))
        if isinstance(given, Mapping):
            return decode(msgspec.json.encode(dict(given)))
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # outside of the clause, so that no error chain carries the document along
    raise DocumentError("schema", rule=f"must be what JSON can say of {kind.__name__}")


def time_ms(at: datetime.datetime | int) -> int:
    """A time in ms since 1970. ValueError where it is none that documents can name."""
    if isinstance(at, datetime.datetime) and at.tzinfo is not None:
        at = (at - EPOCH) // datetime.timedelta(milliseconds=1)
    if type(at) is not int or not _FIRST_MS <= at <= _LAST_MS:
        raise ValueError("a time must be aware or whole ms since 1970, in the years 1900 to 2999")
    return at
