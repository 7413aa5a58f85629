"""What a text of JSON says, by Python's own parser: the second opinion on every document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final, NoReturn

_MOST: Final = sys.float_info.max
_DEPTH: Final = 200


def json_value(data: bytes) -> tuple[bool, Any]:
    """Whether bytes are JSON in UTF-8 as RFC 8259 has it, without a mark at the start, and the
    value; of a name that stands there twice, the last."""
    try:
        value = json.loads(data.decode(), parse_constant=_refuse, parse_int=_number)
    except (ValueError, RecursionError):
        return False, None
    return _is_text(value), value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _number(digits: str) -> int | float:
    # Python makes no int of thousands of digits.
    return int(digits) if len(digits) < 4000 else float(digits)


def is_far_out(value: Any) -> bool:
    """Whether a number stands somewhere that no float can hold, or brackets nest deeper than
    every reader goes: then one may take what another refuses."""
    return any(
        depth > _DEPTH or (isinstance(one, int | float) and not -_MOST <= one <= _MOST)
        for one, depth in _members(value)
    )


def _members(value: Any) -> Iterator[tuple[Any, int]]:
    """All values in a value, names among them, and how deep they stand."""
    rest = [(value, 0)]
    while rest:
        one, depth = rest.pop()
        yield one, depth
        if isinstance(one, dict):
            rest += [(inner, depth + 1) for inner in (*one, *one.values())]
        elif isinstance(one, list):
            rest += [(inner, depth + 1) for inner in one]


def _is_text(value: Any) -> bool:
    """Whether all texts can be written in UTF-8: half a surrogate pair cannot."""
    return not any(
        isinstance(one, str) and any("\ud800" <= char <= "\udfff" for char in one)
        for one, _ in _members(value)
    )
