"""What an audit record is about: its fields, checked and written as canonical JSON.

Those of a match come written (`engine.matching.match`), because a match costs less so, and are only
checked.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import orjson
from msgspec import Meta

from engine import limits
from engine.documents.fields import CODE_PATTERN, INTEGER_MAX, Integer

_NAME: Final = re.compile(CODE_PATTERN)
_Text = Annotated[str, Meta(max_length=limits.AUDIT_FIELD_CHARACTERS)]
Fields = Annotated[dict[str, _Text | Integer], Meta(max_length=limits.AUDIT_FIELDS)]


class _Checked(msgspec.Struct, array_like=True):
    """Fields to be checked. A class, because msgspec looks up any other type by a slow hash."""

    fields: Fields


class _MatchFields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of a match. A class, because msgspec reads it in half the time of a dictionary."""

    agency: _Text
    authority: _Text
    entry_id: _Text
    entry_revision: Integer
    list_id: _Text
    list_revision: Integer
    match_id: _Text
    match_type: _Text
    policy_revision: Integer
    purpose: _Text
    source: _Text
    suppressed: Integer


_MATCH_FIELDS: Final = msgspec.json.Decoder(_MatchFields)


def written_fields(fields: Mapping[str, str | int] | bytes) -> tuple[bytes, str]:
    """Return fields as canonical JSON, and why they are not those of an AuditRecord; empty if they
    are. Those of a match may come as canonical JSON."""
    if isinstance(fields, bytes):
        return fields, _fault_of_match(fields)
    fault = _fault(fields)
    if fault:
        return b"", fault
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), ""
    except orjson.JSONEncodeError as error:  # half of a surrogate pair
        return b"", str(error)


def _fault_of_match(fields: bytes) -> str:
    try:
        _MATCH_FIELDS.decode(fields)
    except (msgspec.DecodeError, UnicodeError) as error:
        return str(error)
    return ""


#: Well-formed names of fields, as a cache. Bounded, because names are read from other writers.
_names: set[str] = set()
_NAMES_KEPT: Final = 256


def _fault(fields: Mapping[str, Any]) -> str:
    """Return why these are not the fields of an AuditRecord; empty if they are."""
    try:
        msgspec.convert((fields,), _Checked)
    except msgspec.ValidationError:
        return _fault_of_fields(fields)
    return fault_of_names(fields)


def _fault_of_fields(fields: Mapping[str, Any]) -> str:
    """Return what makes the fields invalid, in words."""
    if len(fields) > limits.AUDIT_FIELDS:
        return f"{len(fields)} fields, more than {limits.AUDIT_FIELDS}"
    for name, value in fields.items():
        if type(value) is str:
            if len(value) > limits.AUDIT_FIELD_CHARACTERS:
                return f"{name} has more than {limits.AUDIT_FIELD_CHARACTERS} characters"
        elif type(value) is not int:
            return f"{name} is neither text nor a whole number"
        elif not -INTEGER_MAX <= value <= INTEGER_MAX:
            return f"{name} is out of range"
    return "a field has another form"


def fault_of_names(fields: Mapping[str, Any]) -> str:
    if fields.keys() <= _names:
        return ""
    for name in fields:
        if not _NAME.fullmatch(name):
            return f"{name!r} is not the name of a field"
        if len(_names) < _NAMES_KEPT:
            _names.add(name)
    return ""
