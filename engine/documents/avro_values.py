"""Avro's primitive values, read from bytes whose producer may be hostile.

A `Cursor` counts what it reads: a value ends with its last byte, and its parts and its depth are
bounded. Pure; no error has a part of a value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np

from engine import limits
from engine.documents.varints import unzigzag, varint
from engine.errors import DocumentError

_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: More than any decimal of a read needs; Python's work grows with the square of the length.
_DECIMAL_BYTES: Final = 32


class Cursor:
    """A position in a value, and how much of it may still be decoded."""

    __slots__ = ("at", "data", "depth", "left")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.depth = 0
        self.left = limits.AVRO_PARTS

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if not 0 <= count <= len(self.data) - self.at:
            raise misfit("must not end within a field of its schema")
        at = self.at
        self.at += count
        return self.data[at : self.at]

    def long(self) -> int:
        """Return the next integer."""
        try:
            value, self.at = varint(self.data, self.at)
        except EOFError:
            raise misfit("must not end within a field of its schema") from None
        except OverflowError:
            raise misfit("must have no integer of more than 64 bits") from None
        return unzigzag(value)

    def count_part(self) -> None:
        """Count a field or an item, because one may take no bytes."""
        self.left -= 1
        if self.left < 0:
            raise misfit(f"must have at most {limits.AVRO_PARTS} parts")

    def enter(self) -> None:
        """Go one level down."""
        self.depth += 1
        if self.depth > limits.VALUE_DEPTH:
            raise misfit(f"must be nested at most {limits.VALUE_DEPTH} levels deep")


#: Decodes what begins at a position, and moves the position behind it.
Decode = Callable[[Cursor], Any]


def misfit(rule: str) -> DocumentError:
    """Return the error for a value that does not follow its schema."""
    return DocumentError("invalid_avro", rule=rule)


def time_text(value: int, digits: int, zone: str) -> str | int:
    """Return a time as text; the number itself if it is in no year that has four digits."""
    seconds, fraction = divmod(value, 10**digits)
    try:
        whole = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)
    except OverflowError:
        return value
    return f"{whole.isoformat()}.{fraction:0{digits}d}{zone}"


def number_of(unscaled: bytes, scale: int) -> float:
    """Return the number of a decimal."""
    if len(unscaled) > _DECIMAL_BYTES:
        raise misfit(f"must have decimals of at most {_DECIMAL_BYTES} bytes")
    return float(Decimal(int.from_bytes(unscaled, "big", signed=True)).scaleb(-scale))


def nothing(cursor: Cursor) -> None:
    """Decode `null`."""


def _boolean(cursor: Cursor) -> bool:
    byte = cursor.take(1)
    if byte not in (b"\0", b"\1"):
        raise misfit("must have booleans of 0 or 1")
    return byte == b"\1"


def _bytes(cursor: Cursor) -> None:
    cursor.take(cursor.long())


def _float(cursor: Cursor) -> float:
    [value] = _FLOAT.unpack(cursor.take(4))
    return float(str(np.float32(value)))  # the shortest number that is this one in four bytes


def _double(cursor: Cursor) -> float:
    [value] = _DOUBLE.unpack(cursor.take(8))
    return float(value)


def string(cursor: Cursor) -> str:
    """Decode a text."""
    try:
        return cursor.take(cursor.long()).decode()
    except UnicodeDecodeError:
        pass  # continue outside the clause, so that no error chain holds the value
    raise misfit("must have texts in UTF-8")


#: The decoder of each primitive type.
PRIMITIVES: Final[dict[str, Decode]] = {
    "null": nothing,
    "boolean": _boolean,
    "int": Cursor.long,
    "long": Cursor.long,
    "float": _float,
    "double": _double,
    "bytes": _bytes,
    "string": string,
}
