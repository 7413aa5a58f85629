"""The types of fields: what a field may hold.

`engine.documents.model` builds the documents from these constrained types. The patterns and the
lists of values behind them are here too.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

from engine import limits
from engine.errors import RejectReason

#: The header of a control record that names the operator of a change.
OPERATOR_HEADER: Final = "operator"
#: The header of a read that requests that its alternates be tried: their normal forms, in UTF-8,
#: joined by commas.
ALTERNATES_HEADER: Final = "alternates"

ImageKind = Literal["plate", "overview"]
AuthorityKind = Literal["case", "warrant", "ncic", "statute", "contract"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
CheckName = Literal[
    "plate", "region", "vehicle", "area", "hours", "dropped", "entry_age", "read_age"
]
#: The optional fields of a detection. One that breaks its rule is dropped from the read.
DroppableField = Literal[
    "region", "confidence", "alternates", "location", "heading", "vehicle", "images"
]
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
    "chain_ended",
]

REJECT_REASONS: Final[tuple[str, ...]] = get_args(RejectReason)
DROPPABLE_FIELDS: Final[tuple[str, ...]] = get_args(DroppableField)
AUDIT_EVENTS: Final[tuple[str, ...]] = get_args(AuditEvent)
#: The last record of a chain. It is about the chain itself: nothing is counted by it.
CHAIN_ENDED: Final = "chain_ended"
COUNTED_EVENTS: Final = tuple(event for event in AUDIT_EVENTS if event != CHAIN_ENDED)
#: From Monday, as `datetime.weekday` counts.
DAYS: Final[tuple[str, ...]] = get_args(Day)

# The patterns are those of the schemas. A time is RFC 3339 in UTC, in the years 1900 to 2999. Each
# month has its own number of days, and the last alternative is the 29th of February. So code and
# schema refuse the same strings without a parser.
_DATE = (
    "(?:(?:19[0-9]{2}|2[0-9]{3})-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:(?:19|2[0-9])(?:0[48]|[2468][048]|[13579][26])|2[048]00)-02-29)"
)
TIME_PATTERN: Final = (
    f"^{_DATE}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{{1,9}})?(?:Z|[+]00:00)$"
)
#: The time of a read: all that RFC 3339 allows, so any offset, lower case, a space for the T, any
#: number of decimals, and leap seconds.
READ_TIME_PATTERN: Final = (
    f"^{_DATE}[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:[.][0-9]+)?"
    "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
CODE_PATTERN: Final = "^[a-z][a-z0-9_]{0,63}$"
REGION_PATTERN: Final = "^[A-Z]{2}(?:-[A-Z0-9]{1,3})?$"
START_PATTERN: Final = "^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"
END_PATTERN: Final = "^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
TIME_ZONE_PATTERN: Final = "^[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*$"
PRINTABLE_PATTERN: Final = r"^[^\x00-\x1f\x7f]+$"
MATCH_ID_PATTERN: Final = "^[0-9a-f]{32}$"
HASH_PATTERN: Final = "^[0-9a-f]{64}$"
LISTING_PATTERN: Final = "^[0-9a-f]{16}$"

#: The largest integer that every JSON parser represents exactly.
INTEGER_MAX: Final = 2**53 - 1


def anchored(pattern: str) -> str:
    """Return a schema's pattern for `re`, whose `$` would also match before a final newline."""
    return pattern.removesuffix("$") + r"\Z"


Time = Annotated[str, Meta(pattern=anchored(TIME_PATTERN))]
ReadTime = Annotated[str, Meta(pattern=anchored(READ_TIME_PATTERN))]
Code = Annotated[str, Meta(pattern=anchored(CODE_PATTERN))]
Region = Annotated[str, Meta(pattern=anchored(REGION_PATTERN))]
StartOfWindow = Annotated[str, Meta(pattern=anchored(START_PATTERN))]
EndOfWindow = Annotated[str, Meta(pattern=anchored(END_PATTERN))]
TimeZone = Annotated[str, Meta(max_length=64, pattern=anchored(TIME_ZONE_PATTERN))]
MatchId = Annotated[str, Meta(pattern=anchored(MATCH_ID_PATTERN))]
Hash = Annotated[str, Meta(pattern=anchored(HASH_PATTERN))]
ListingHash = Annotated[str, Meta(pattern=anchored(LISTING_PATTERN))]
# No control characters, because U+001F separates an entry id from what follows it in a match id.
EntryId = Annotated[str, Meta(min_length=1, max_length=128, pattern=anchored(PRINTABLE_PATTERN))]
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
