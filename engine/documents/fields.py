"""What a field may hold, and how to say that it does not.

The constrained types from which `engine.documents.model` builds the documents, the patterns and
value lists behind them, and the translation of msgspec's complaints into DocumentErrors. A rule's
wording never holds a part of the document: only complaints recognized here are passed on, and of
those only the parts that we wrote.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

from engine import limits
from engine.errors import DocumentError, RejectReason
from engine.plates.likeness import MatchType, MisreadKind

#: The header of a control record that names who made the change.
OPERATOR_HEADER: Final = "operator"
#: The header of a read that asks for its alternates to be tried: their normal forms, in UTF-8,
#: joined by commas.
ALTERNATES_HEADER: Final = "alternates"

ImageKind = Literal["plate", "overview"]
AuthorityKind = Literal["case", "warrant", "ncic", "statute", "contract"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
CheckName = Literal["plate", "region", "vehicle", "area", "hours", "entry_age", "read_age"]
CheckResult = Literal["same", "differs", "unknown"]
AuditEvent = Literal[
    "match",
    "entry_added",
    "entry_changed",
    "entry_removed",
    "entry_expired",
    "entry_refused",
    "policy_changed",
    "suppressed",
]

REJECT_REASONS: Final[tuple[str, ...]] = get_args(RejectReason)
AUDIT_EVENTS: Final[tuple[str, ...]] = get_args(AuditEvent)
#: From Monday, as `datetime.weekday` counts.
DAYS: Final[tuple[str, ...]] = get_args(Day)

# Patterns, as they stand in the schemas. RFC 3339 in UTC, the years 1900 to 2999, with the days
# that each month has, the last alternative being the 29th of February: so code and schema
# refuse the same strings without a parser at their side.
_DATE = (
    "(?:(?:19[0-9]{2}|2[0-9]{3})-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:(?:19|2[0-9])(?:0[48]|[2468][048]|[13579][26])|2[048]00)-02-29)"
)
TIME_PATTERN: Final = (
    f"^{_DATE}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{{1,9}})?(?:Z|[+]00:00)$"
)
CODE_PATTERN: Final = "^[a-z][a-z0-9_]{0,63}$"
REGION_PATTERN: Final = "^[A-Z]{2}(?:-[A-Z0-9]{1,3})?$"
START_PATTERN: Final = "^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"
END_PATTERN: Final = "^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
TIME_ZONE_PATTERN: Final = "^[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*$"
PRINTABLE_PATTERN: Final = r"^[^\x00-\x1f\x7f]+$"
MATCH_ID_PATTERN: Final = "^[0-9a-f]{32}$"
HASH_PATTERN: Final = "^[0-9a-f]{64}$"

#: The largest integer that every JSON reader holds exactly.
INTEGER_MAX: Final = 2**53 - 1


def _python(pattern: str) -> str:
    """A schema's pattern for `re`, whose `$` would also stand before a final newline."""
    return pattern.removesuffix("$") + r"\Z"


_PATTERN_RULES: Final = {
    _python(TIME_PATTERN): "must be a time in UTC such as 2026-01-31T12:00:00.000Z",
    _python(CODE_PATTERN): "must be lower-case letters, digits and _, at most 64, a letter first",
    _python(REGION_PATTERN): "must be an ISO 3166-2 code such as US-CA, or a country such as NL",
    _python(START_PATTERN): "must be a time of day such as 08:00",
    _python(END_PATTERN): "must be a time of day such as 18:30, or 24:00",
    _python(TIME_ZONE_PATTERN): "must be a time zone such as America/Los_Angeles",
    _python(PRINTABLE_PATTERN): "must not hold control characters",
    _python(MATCH_ID_PATTERN): "must be 32 lower-case hexadecimal digits",
    _python(HASH_PATTERN): "must be 64 lower-case hexadecimal digits",
}

Time = Annotated[str, Meta(pattern=_python(TIME_PATTERN))]
Code = Annotated[str, Meta(pattern=_python(CODE_PATTERN))]
Region = Annotated[str, Meta(pattern=_python(REGION_PATTERN))]
StartOfWindow = Annotated[str, Meta(pattern=_python(START_PATTERN))]
EndOfWindow = Annotated[str, Meta(pattern=_python(END_PATTERN))]
TimeZone = Annotated[str, Meta(max_length=64, pattern=_python(TIME_ZONE_PATTERN))]
MatchId = Annotated[str, Meta(pattern=_python(MATCH_ID_PATTERN))]
Hash = Annotated[str, Meta(pattern=_python(HASH_PATTERN))]
# Without control characters: U+001F parts an entry id from what follows it in a match id.
EntryId = Annotated[str, Meta(min_length=1, max_length=128, pattern=_python(PRINTABLE_PATTERN))]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
ReadId = Annotated[str, Meta(min_length=1, max_length=64)]
#: A plate as read, and as an entry lists it.
PlateText = Annotated[str, Meta(min_length=1, max_length=64)]
ListedPlate = Annotated[str, Meta(min_length=1, max_length=limits.PLATE_CHARACTERS)]
Trait = Annotated[str, Meta(max_length=64)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Confidence = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Integer = Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
Partition = Annotated[int, Meta(ge=0, le=2**31 - 1)]


# What msgspec says, and how we say it. Only what is recognized here is passed on.
_JSON_TYPES = {"str": "a string", "int": "an integer", "float": "a number", "bool": "a boolean"}
_JSON_TYPES |= {"array": "an array", "object": "an object", "null": "null"}
_WRONG_TYPE = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
_LENGTH = re.compile(r"Expected `(str|array|object)` of length (<=|>=) (\d+)")
_BOUND = re.compile(r"Expected `(?:int|float)` (<=|>=|>|<) (-?\d+)(?:\.0)?")
_MISSING = re.compile(r"Object missing required field `([a-z_]+)`")
_PATH = re.compile(r"\$[a-z_.\d\[\]]*")
#: The longest path to a field of ours, with room for one name more in a Reject's 256.
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
    "verification.required": ("true",),
    "rules.agencies": ('"*"', "a list"),
    "rules.purposes": ('"*"', "a list"),
    "reason": REJECT_REASONS,
    "event": AUDIT_EVENTS,
}


def schema_error(message: str) -> DocumentError:
    """The DocumentError, reason `schema`, for the message of a `msgspec.ValidationError`."""
    what, _, at = message.rpartition(" - at ")
    what, path = (what, at.removeprefix("`key` in ").strip("`")) if what else (at, "$")
    path = path.replace("[...]", "")  # where msgspec hides a key that the sender chose
    # A path into what nobody knows may be as long as its sender likes.
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
