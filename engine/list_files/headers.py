"""What a file's first row says: the delimiter, and which columns there are.

A row that the profile's delimiter does not split, and another one does, is a file with another
delimiter: the error names it, because reading on would make one cell of a whole row. An unknown
column is an error that proposes the profile's lines for it.

Pure.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Final

from engine.list_files.column_names import probable_field, profile_line
from engine.list_files.entry_fields import quoted
from engine.list_files.profile import DELIMITERS, OTHERS, Profile
from engine.list_files.profile_files import caseless
from engine.list_files.text import Encoding, EntryFileError

#: A spreadsheet's own line that names the delimiter of the rows below it.
_SEP_LINE: Final = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)
_PROPOSED: Final = 12


def separator_line(line: str) -> str | None:
    """Return the delimiter that a line `sep=;` names, None for any other line."""
    found = _SEP_LINE.fullmatch(line)
    return found[1] if found else None


def delimiter_of(line: str, profile: Profile) -> str:
    """Return the delimiter that gives the most known columns in a header; if tied, the comma."""

    def rank(delimiter: str) -> tuple[int, int]:
        return _known(_split(line, delimiter), profile), line.count(delimiter)

    return max(DELIMITERS.values(), key=rank)


def check_delimiter(line: str, delimiter: str, profile: Profile, where: str) -> None:
    """Raise EntryFileError if the file's first row has another delimiter than the profile."""
    if len(_split(line, delimiter)) > 1:
        return
    other = max(
        (each for each in DELIMITERS.values() if each not in (delimiter, ":")),
        key=lambda each: (_known(_split(line, each), profile), line.count(each)),
    )
    cells = list(filter(None, _split(line, other)))
    if len(cells) < 2 and ":" in line and _known(_split(line, ":"), profile):
        other, cells = ":", _split(line, ":")
    if len(cells) < 2:
        return
    what = "header" if _known(cells, profile) else "first row"
    raise EntryFileError(
        f"the {what} looks like it uses {_named(other)}, and the profile has {_named(delimiter)}",
        where=where,
        hint=f"set delimiter = {_toml_name(other)} {_in_own_profile(profile)}",
    )


def header_names(cells: list[str], where: str, profile: Profile, encoding: Encoding) -> list[str]:
    """Return the normalized names of a header's columns; raise EntryFileError if it has others."""
    names = [caseless(cell) for cell in cells]
    while names and not names[-1]:
        names.pop()  # spreadsheets write empty columns at the end
    if not names:
        raise EntryFileError("no header row with the names of the columns", where=where)
    for name in names:
        if "\0" in name or any("\udc80" <= letter <= "\udcff" for letter in name):
            raise EntryFileError(encoding.problem, where=where, hint="save the file as UTF-8")
    if OTHERS not in profile.columns:
        unknown = [
            cells[place].strip() for place, name in enumerate(names) if name not in profile.columns
        ]
        if unknown:
            raise _unknown_columns(unknown, where, profile)
    for place, name in enumerate(names):
        if name in names[:place] and profile.columns.get(name) is not None:
            raise EntryFileError(f"column {name} twice", where=where)
    return names


def is_header(cells: Iterable[str], profile: Profile) -> bool:
    """Return whether a first row names the columns, as the profile says."""
    if profile.header is not None:
        return profile.header
    return any(caseless(cell) in profile.columns for cell in cells)


def unnamed(profile: Profile) -> list[str]:
    """Return the profile's columns in order, as a file without a header has them."""
    return [name for name in profile.columns if name != OTHERS]


def _unknown_columns(unknown: list[str], where: str, profile: Profile) -> EntryFileError:
    lines = [profile_line(name, probable_field(name)) for name in unknown if name][:_PROPOSED]
    named = ", ".join(quoted(name) for name in unknown[:_PROPOSED])
    hint = f"known columns: {', '.join(unnamed(profile))}"
    if lines:
        hint = (
            f"{_in_own_profile(profile)} add to [columns]: {', '.join(lines)} (false skips a "
            f"column); {hint}"
        )
    return EntryFileError(
        f"unknown column{'s' if len(unknown) > 1 else ''} {named}", where=where, hint=hint
    )


def _in_own_profile(profile: Profile) -> str:
    if profile.name.endswith(".toml"):
        return f"in {profile.name}"
    return f'in a profile of your own with base = "{profile.name}"'


def _known(cells: Iterable[str], profile: Profile) -> int:
    return sum(cell in profile.columns for cell in cells)


def _split(line: str, delimiter: str) -> list[str]:
    try:
        cells: list[str] = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        cells = line.split(delimiter)
    return [caseless(cell) for cell in cells]


def _named(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else f"'{delimiter}'"


def _toml_name(delimiter: str) -> str:
    return '"tab"' if delimiter == "\t" else f'"{delimiter}"'
