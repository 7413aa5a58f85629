"""The fields of a form, or of the query of a URL, as a message: `plate=AB12&time=...`.

Of a field that is there twice, the first counts. Cameras put their values into a URL as they are:
a plus sign, which means a space in a form, stays one before the offset of a time.

Pure: no clock, no I/O, no state.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from engine import limits
from engine.ingest.adapters.message import AdapterError, Node, check_size

_OFFSET: Final = re.compile(r"(\d\d:\d\d:\d\d(?:[.,]\d+)?) (\d\d:?\d\d)$", re.ASCII)


def parse_form(message: bytes) -> Node:
    """Parse a form. Raises AdapterError if it has no field, too many, or other text than UTF-8."""
    check_size(message)
    fields: dict[str, str] = {}
    parts = message.strip().split(b"&", limits.INGEST_MAPPED_FIELDS)
    if len(parts) > limits.INGEST_MAPPED_FIELDS:
        rule = f"must have at most {limits.INGEST_MAPPED_FIELDS} fields"
        raise AdapterError("$", rule, "not_form")
    for part in parts:
        name, equals, value = part.partition(b"=")
        if equals and name:
            fields.setdefault(_text(name), _text(value))
    if not fields:
        raise AdapterError("$", "must be a form such as plate=AB12&time=...", "not_form")
    return Node(fields)


def _text(escaped: bytes) -> str:
    try:
        text = unquote_to_bytes(escaped.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise AdapterError("$", "must be a form in UTF-8", "not_form") from None
    return _OFFSET.sub(r"\1+\2", text) if b"+" in escaped else text
