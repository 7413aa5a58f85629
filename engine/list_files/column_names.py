"""Which field a column of another system probably fills, by its name.

The names are in `data/column_names.toml`. They only make proposals: of a profile, and in the error
for a column that a profile does not know. No file is read by them.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Final

from engine.errors import ConfigError
from engine.list_files.entry_fields import FIELDS
from engine.resources import read_toml

_NAMES: Final = "column_names.toml"
_NOT_A_LETTER: Final = re.compile(r"[\W_]+")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def probable_field(name: str) -> str | None:
    """Return the field that a column of this name probably fills, None if there is none."""
    plain = _plain(name)
    fields = _fields()
    return fields.get(plain) or next((field for field in FIELDS if _plain(field) == plain), None)


def profile_line(name: str, field: str | None) -> str:
    """Return the line of a profile's `columns` for a column, which is skipped without a field."""
    key = name if _BARE.fullmatch(name) else toml_text(name)
    return f"{key} = {'false' if field is None else toml_text(field)}"


def toml_text(text: str) -> str:
    """Return a text as TOML writes it."""
    escaped = "".join(
        f"\\u{ord(letter):04x}" if not letter.isprintable() and ord(letter) < 0x10000 else letter
        for letter in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'


@cache
def _fields() -> dict[str, str]:
    table, where = read_toml(_NAMES)
    fields: dict[str, str] = {}
    for field, names in table.items():
        for name in names:
            if field not in FIELDS or fields.setdefault(_plain(name), field) != field:
                raise ConfigError(f"{name!r} is no field's, or two fields'", where=where)
    return fields


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold().replace("ß", "ss"))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return _NOT_A_LETTER.sub("", plain)
