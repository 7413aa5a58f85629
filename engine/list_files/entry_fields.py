"""An entry's fields by flat names, and how a cell's text becomes the value of each.

The entry's nested document is laid out as the columns of a table: `authority_reference`,
`vehicle_make`, `area`. Column profiles use these names, and the rows of every file become
documents through them. This module only parses numbers and flags from text: the schema checks the
rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from engine.documents.hours import parse_hours

_TEXTS: Final = (
    "entry_id",
    "list_id",
    "plate",
    "agency",
    "purpose",
    "requested_by",
    "created_at",
    "expires_at",
    "starts_at",
    "region",
    "instructions",
)
_VEHICLE: Final = ("make", "model", "color", "type")
_SHOWN_CHARACTERS: Final = 60

#: The fields that hold times.
TIMES: Final = ("created_at", "expires_at", "starts_at")


def _flag(cell: str) -> bool:
    if cell.lower() in ("true", "1", "yes"):
        return True
    if cell.lower() in ("false", "0", "no"):
        return False
    raise ValueError("must be true or false (or 1, 0, yes, no)")


def _number(cell: str) -> int | float:
    # The schema decides whether a fraction is allowed; here the text must only look like a number.
    if re.fullmatch(r"[+-]?[0-9]{1,15}", cell, re.ASCII):
        return int(cell)
    if re.fullmatch(r"[+-]?[0-9]{1,15}\.[0-9]{1,15}", cell, re.ASCII):
        return float(cell)
    raise ValueError("must be a number")


def parse_area(text: str) -> dict[str, float]:
    """Parse one circle of an area, written `LAT LON RADIUS_M`; ValueError for anything else."""
    parts = text.split()
    if len(parts) != 3:
        raise ValueError("must be LAT LON RADIUS_M")
    return dict(zip(("lat", "lon", "radius_m"), map(_number, parts), strict=True))


def _areas(cell: str) -> list[dict[str, float]]:
    return [parse_area(part) for part in cell.split("|")]


@dataclass(frozen=True, slots=True)
class Field:
    """A value's position in the document, and the parser of a cell's text.

    `parse` raises ValueError with the rule; None keeps the text as it is.
    """

    field: str
    part: str | None = None
    parse: Callable[[str], Any] | None = None

    @property
    def path(self) -> str:
        """The field's path in the document, such as `plate` or `authority.kind`."""
        return self.field if self.part is None else f"{self.field}.{self.part}"

    def of(self, document: dict[str, Any]) -> Any:
        """Return the field's value in an entry's document, None if it is absent."""
        value = document.get(self.field)
        if self.part is None:
            return value
        return value.get(self.part) if isinstance(value, dict) else None

    def put(self, document: dict[str, Any], value: Any) -> None:
        """Set the field in a document that has only fields of this module."""
        if self.part is None:
            document[self.field] = value
        else:
            document.setdefault(self.field, {})[self.part] = value


#: Every field by its flat name.
FIELDS: Final[dict[str, Field]] = {
    **{name: Field(name) for name in _TEXTS},
    "authority_kind": Field("authority", "kind"),
    "authority_reference": Field("authority", "reference"),
    **{f"vehicle_{part}": Field("vehicle", part) for part in _VEHICLE},
    "confusables": Field("confusables", None, _flag),
    "distance": Field("distance", None, _number),
    "priority": Field("priority", None, _number),
    "suppress_s": Field("suppress_s", None, _number),
    "area": Field("area", None, _areas),
    "hours": Field("hours", None, parse_hours),
}


def quoted(value: object) -> str:
    """Quote a value of the user's file for an error message, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
