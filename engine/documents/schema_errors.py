"""The errors of documents: msgspec's messages translated into DocumentErrors.

The text of a rule never holds a part of the document. Only messages that are recognized here are
passed on, and only the parts of them that come from our schema.
"""

from __future__ import annotations

import re
from typing import Final, get_args

from engine.documents.fields import (
    AUDIT_EVENTS,
    CODE_PATTERN,
    DAYS,
    END_PATTERN,
    HASH_PATTERN,
    MATCH_ID_PATTERN,
    PRINTABLE_PATTERN,
    READ_TIME_PATTERN,
    REGION_PATTERN,
    REJECT_REASONS,
    START_PATTERN,
    TIME_PATTERN,
    TIME_ZONE_PATTERN,
    AuthorityKind,
    CheckName,
    CheckResult,
    DroppableField,
    ImageKind,
    anchored,
)
from engine.errors import DocumentError
from engine.plates.likeness import MatchType, MisreadKind

_PATTERN_RULES: Final = {
    anchored(TIME_PATTERN): "must be a time in UTC such as 2026-01-31T12:00:00.000Z",
    anchored(READ_TIME_PATTERN): "must be a time of RFC 3339 such as 2026-01-31T12:00:00.000Z",
    anchored(CODE_PATTERN): "must be lower-case letters, digits and _, at most 64, a letter first",
    anchored(REGION_PATTERN): "must be an ISO 3166-2 code such as US-CA, or a country such as NL",
    anchored(START_PATTERN): "must be a time of day such as 08:00",
    anchored(END_PATTERN): "must be a time of day such as 18:30, or 24:00",
    anchored(TIME_ZONE_PATTERN): "must be a time zone such as America/Los_Angeles",
    anchored(PRINTABLE_PATTERN): "must not hold control characters",
    anchored(MATCH_ID_PATTERN): "must be 32 lower-case hexadecimal digits",
    anchored(HASH_PATTERN): "must be 64 lower-case hexadecimal digits",
}

# msgspec's messages, and our words for them. Only messages that are recognized are passed on.
_JSON_TYPES = {"str": "a string", "int": "an integer", "float": "a number", "bool": "a boolean"}
_JSON_TYPES |= {"array": "an array", "object": "an object", "null": "null"}

_WRONG_TYPE = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
_LENGTH = re.compile(r"Expected `(str|array|object)` of length (<=|>=) (\d+)")
_BOUND = re.compile(r"Expected `(?:int|float)` (<=|>=|>|<) (-?\d+)(?:\.0)?")
_MISSING = re.compile(r"Object missing required field `([a-z_]+)`")
_PATH = re.compile(r"\$[a-z_.\d\[\]]*")

#: The longest path to a field of ours; one more name fits into a Reject's 256 characters.
_PATH_CHARACTERS = 128
_BOUNDS = {"<=": "at most", ">=": "at least", ">": "more than", "<": "less than"}

_ALLOWED: Final[dict[str, tuple[str, ...]]] = {
    "images.kind": get_args(ImageKind),
    "authority.kind": get_args(AuthorityKind),
    "windows.days": DAYS,
    "match_type": get_args(MatchType),
    "misread.kind": get_args(MisreadKind),
    "checks.check": get_args(CheckName),
    "checks.result": get_args(CheckResult),
    "checks.field": get_args(DroppableField),
    "verification.required": ("true",),
    "rules.agencies": ('"*"', "a list"),
    "rules.purposes": ('"*"', "a list"),
    "reason": REJECT_REASONS,
    "event": AUDIT_EVENTS,
}


def schema_error(message: str) -> DocumentError:
    """Return the DocumentError, reason `schema`, for a `msgspec.ValidationError`'s message."""
    what, _, at = message.rpartition(" - at ")
    what, path = (what, at.removeprefix("`key` in ").strip("`")) if what else (at, "$")
    path = path.replace("[...]", "")  # msgspec's placeholder for a key that the sender chose
    # A path into unknown fields may be as long as its sender likes.
    field = path if len(path) <= _PATH_CHARACTERS and _PATH.fullmatch(path) else "$"
    if missing := _MISSING.fullmatch(what):
        return DocumentError("schema", field=f"{field}.{missing[1]}", rule="is required")
    return DocumentError("schema", field=field, rule=_rule(what, field))


def _rule(what: str, field: str) -> str:
    if wrong := _WRONG_TYPE.fullmatch(what):
        wanted = " or ".join(_JSON_TYPES.get(name, name) for name in wrong[1].split(" | "))
        return f"must be {wanted}, not {_JSON_TYPES.get(wrong[2], wrong[2])}"
    if length := _LENGTH.fullmatch(what):
        if length[3] == "1" and length[2] == ">=":
            return "must not be empty"
        unit = {"str": "characters", "array": "items", "object": "fields"}[length[1]]
        return f"must have {_BOUNDS[length[2]]} {length[3]} {unit}"
    if bound := _BOUND.fullmatch(what):
        return f"must be {_BOUNDS[bound[1]]} {bound[2]}"
    if what.startswith("Expected `str` matching regex "):
        return next(
            (rule for pattern, rule in _PATTERN_RULES.items() if what.endswith(repr(pattern))),
            "does not have the form that the schema asks for",
        )
    if what.startswith("Invalid enum value "):
        place = "." + re.sub(r"\[\d+\]", "", field)
        for name, values in _ALLOWED.items():
            if place.endswith("." + name):
                return f"must be {' or '.join(values)}"
    if what == "Number out of range":
        return "holds a number out of range"
    return "does not fit the schema"
