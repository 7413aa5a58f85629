"""Which entry a row is for: the id that it gives, or one derived from its contents.

A sync removes the entries of its list that the file does not name. A bad row still names its
entry if the values that make up the id are good, however bad the others are. `Identity.of_bad_row`
decides that, and returns None in every case of doubt: a wrong id would remove the entry that the
row is for.

A derived id always covers the agency, so that lists of two agencies with the same name do not
share entries. Earlier versions left it out: an entry that they listed keeps its id as long as a
row of the same list and agency names it (`former`, see `difference`).

The values are checked in a document in which everything else is known to be good. A plate that
is too short for the row's purpose is in doubt too, because it may have been cut off.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import xxhash

from engine.documents.admission import Purposes, check_entry
from engine.documents.codec import encode, entry_of
from engine.errors import DocumentError, RuleError
from engine.list_files.entry_fields import FIELDS, Field
from engine.list_files.profile import Profile

_GIVEN: Final = (FIELDS["entry_id"],)
_STAND_INS: Final[dict[str, Any]] = {
    "entry_id": "e",
    "list_id": "l",
    "plate": "0" * 16,
    "agency": "a",
    "requested_by": "r",
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-02T00:00:00Z",
}


def derived_id(*parts: str) -> str:
    """Return the id of an entry without an id of its own. It depends only on the parts that the
    profile chooses, such as list and plate, and on the agency."""
    return xxhash.xxh3_128_hexdigest("\x1f".join(parts).encode(errors="replace"))


class Identity:
    """The ids of one file's entries, as its profile derives them."""

    def __init__(self, profile: Profile, purposes: Purposes) -> None:
        self._former_fields = tuple(FIELDS[name] for name in profile.id_fields)
        names = dict.fromkeys((*profile.id_fields, "agency"))
        self._fields = tuple(FIELDS[name] for name in names)
        self._purposes = purposes
        self._strictest = max(
            purposes.codes,
            key=lambda code: getattr(purposes.get(code), "known_characters_floor", 0),
            default="",
        )

    def derive(self, document: dict[str, Any]) -> str:
        """Return the id derived from an entry's document."""
        return _derived(self._fields, document)

    def former(self, document: dict[str, Any]) -> str:
        """Return the id that earlier versions derived from the document."""
        return _derived(self._former_fields, document)

    def of_bad_row(
        self, document: dict[str, Any], bad_paths: Iterable[str], *, derived: bool
    ) -> str | None:
        """Return the id of the row's entry, or None if it cannot be known.

        `document` is complete, with its id; `derived` says whether it was derived. `bad_paths`
        name fields that are known to be bad, such as `authority.kind` or `area[0].lat`.
        """
        needed = self._fields if derived else _GIVEN
        if any(_overlap(path, field.path) for path in bad_paths for field in needed):
            return None
        probe = {**_STAND_INS, "purpose": self._purpose(document)}
        probe["authority"] = {"kind": "case", "reference": "r"}
        if document.get("distance") not in (None, 0):
            probe["distance"] = 1
        for field in needed:
            _copy(field, document, probe)
        try:
            entry = entry_of(probe)
            encode(entry)
            check_entry(entry, self._purposes)
        except (DocumentError, RuleError, UnicodeEncodeError):
            return None
        return str(document["entry_id"])

    def _purpose(self, document: Mapping[str, Any]) -> str:
        own = document.get("purpose")
        return own if isinstance(own, str) and self._purposes.get(own) else self._strictest


def _derived(fields: Iterable[Field], document: dict[str, Any]) -> str:
    # If a required part is missing, the schema will report it.
    parts = [field.of(document) for field in fields]
    return derived_id(*("" if part is None else str(part) for part in parts))


def error_path(error: DocumentError | RuleError) -> str:
    """Return the field of an error, such as `plate` or `authority.kind`."""
    return error.field.removeprefix("$").removeprefix(".")


def paths_without_text(document: Mapping[str, Any]) -> list[str]:
    """Return the fields whose value is not Unicode text or has a part that is not."""
    return [name for name, value in document.items() if not _is_text(value)]


def _is_text(value: object) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, Mapping):
        return all(_is_text(part) for pair in value.items() for part in pair)
    return not isinstance(value, list) or all(map(_is_text, value))


def _overlap(path: str, other: str) -> bool:
    """Whether one of two fields is the other, or a part of it."""
    parts, others = re.split(r"[.\[]", path), re.split(r"[.\[]", other)
    shorter = min(len(parts), len(others))
    return parts[:shorter] == others[:shorter]


def _copy(field: Field, document: dict[str, Any], probe: dict[str, Any]) -> None:
    value = field.of(document)
    if value is not None:
        field.put(probe, value)
    elif field.part is None:
        probe.pop(field.field, None)
    else:
        probe.setdefault(field.field, {}).pop(field.part, None)
