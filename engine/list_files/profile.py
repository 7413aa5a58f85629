"""Column profiles: what the columns of a file are, and what becomes of them.

A profile is a TOML file. The shipped ones are in `engine/data/profiles/`; a user's own is named by
its path. Each of these is a ConfigError that names the file, the key and the rule: an unknown key
or field, a date format that cannot be read, a value of the wrong type.

    title       what the profile is for
    base        the profile that this one changes; tables are merged, all else is replaced
    endings     how the names of such files end; without it ".csv" and ".jsonl" (JSON Lines)
    header      true: the first row names the columns; false: they come in the profile's order;
                "auto": the first row is a header if it names one of the columns
    delimiter   "," ";" ":" "|" "tab" or "auto"
    fixed       for a file without delimiters: the start (from 0) and length of each column
    skip_lines  how many lines stand above the header or the first row
    columns     the name of each column, whatever its case, to the field that it fills (see
                `entry_fields`), or to false for one that is read past; "*" = false reads past
                all others. Of several columns for one field the first that is not empty counts
    values      by field: what each value in the file becomes, whatever its case
    unlisted    by field: what happens to other values: "refuse" (as without it), "keep", "drop"
                (left empty, and reported), "leave_out" (the whole row is, and is counted)
    no_plate    what happens to a row without a plate: "refuse" (as without it) or "leave_out"
    constants   by field: what stands there in every row whose columns leave it empty
    dates       forms (see `date_formats`), time_zone, and the fields which a date without a time
                holds through to the day's end
    normalize   true: plates are brought to normal form; else they must have it already
    id          the fields that make the id of an entry without one; the agency always does too
    json        "columns": a line of JSON is an object by column; "documents": an entry

What we ship is named without its ending.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final

from engine.clock import zone_named
from engine.errors import ConfigError
from engine.list_files.date_formats import DateForms
from engine.list_files.entry_fields import FIELDS
from engine.list_files.profile_files import ProfileDates, ProfileFile, caseless, merged
from engine.list_files.text import EntryFileError
from engine.resources import as_struct

DEFAULT: Final = "hotlist"
#: Any other column.
OTHERS: Final = "*"

#: What a profile calls each delimiter; the earlier wins where a header does not decide.
DELIMITERS: Final = {",": ",", ";": ";", "tab": "\t", "|": "|", ":": ":"}


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile, as the module says; `delimiter` None is found by the header.

    `fixed` has start and length of each column of a file without delimiters. `columns` maps
    a name without case to a field, or to None for a column that is skipped, in the profile's order.
    `values` holds values without case by field.
    """

    name: str
    columns: dict[str, str | None]
    title: str
    endings: tuple[str, ...]
    header: bool | None
    delimiter: str | None
    values: dict[str, dict[str, str]]
    unlisted: dict[str, str]
    constants: dict[str, Any]
    dates: DateForms | None
    through: frozenset[str]
    normalize: bool
    id_fields: tuple[str, ...]
    json_documents: bool
    fixed: dict[str, tuple[int, int]] = field(default_factory=dict)
    skip_lines: int = 0
    leaves_out_no_plate: bool = False


def load(name: str = DEFAULT, time_zone: str | None = None) -> Profile:
    """The profile that is shipped under this name, or else the file at this path.

    `time_zone` takes the place of the profile's own. Raises ConfigError.
    """
    where, table = merged(name)
    return _Reader(where, as_struct(ProfileFile, table, where), time_zone).profile(name)


class _Reader:
    """Makes a profile of a file's content; checks that what it names is there."""

    def __init__(self, where: str, file: ProfileFile, time_zone: str | None) -> None:
        self._where = where
        self._file = file
        self._time_zone = time_zone

    def profile(self, name: str) -> Profile:
        file = self._file
        dates = file.dates
        if dates is None and self._time_zone is not None:
            raise ConfigError(f"profile {name} has no dates without a zone", where="--time-zone")
        return Profile(
            name=name,
            columns=self._columns(),
            title=file.title,
            endings=file.endings,
            header=None if file.header == "auto" else file.header,
            delimiter=DELIMITERS.get(file.delimiter),
            values=self._values(),
            unlisted={
                self._field(f"unlisted.{key}", key): how for key, how in file.unlisted.items()
            },
            constants=self._constants(),
            dates=None if dates is None else self._forms(dates),
            through=frozenset(() if dates is None else dates.through),
            normalize=file.normalize,
            id_fields=tuple(self._field("id", each) for each in file.id),
            json_documents=file.json == "documents",
            fixed=self._fixed(),
            skip_lines=file.skip_lines,
            leaves_out_no_plate=file.no_plate == "leave_out",
        )

    def _refused(self, key: str, rule: str) -> ConfigError:
        return ConfigError(rule, where=f"{self._where}: {key}")

    def _field(self, key: str, name: object) -> str:
        if not isinstance(name, str) or name not in FIELDS:
            raise self._refused(key, f"{name!r} is no field; fields are {', '.join(FIELDS)}")
        return name

    def _columns(self) -> dict[str, str | None]:
        columns: dict[str, str | None] = {}
        for name, becomes in self._file.columns.items():
            key = f"columns.{name}"
            caseless_name = caseless(name)
            if not caseless_name:
                raise self._refused(key, "a column must have a name")
            if caseless_name in columns:
                raise self._refused(key, "the same column twice, in other letters")
            if becomes is False:
                columns[caseless_name] = None
            elif caseless_name == OTHERS:
                raise self._refused(key, "must be false: all other columns are read past")
            else:
                columns[caseless_name] = self._field(key, becomes)
        if not any(columns.values()):
            raise self._refused("columns", "must name a column that fills a field")
        return columns

    def _fixed(self) -> dict[str, tuple[int, int]]:
        file = self._file
        if file.fixed and file.delimiter != "auto":
            raise self._refused("fixed", "a file has either fixed columns or a delimiter")
        known = {caseless(name) for name in file.columns}
        fixed = {}
        for name, place in file.fixed.items():
            if caseless(name) not in known:
                raise self._refused(f"fixed.{name}", "is none of the columns")
            fixed[caseless(name)] = place
        return fixed

    def _values(self) -> dict[str, dict[str, str]]:
        values: dict[str, dict[str, str]] = {}
        for name, table in self._file.values.items():
            key = f"values.{name}"
            made = values[self._field(key, name)] = {}
            for value, becomes in table.items():
                if made.get(caseless(value), becomes) != becomes:
                    raise self._refused(f"{key}.{value}", "the same value twice")
                made[caseless(value)] = becomes
        return values

    def _constants(self) -> dict[str, Any]:
        constants: dict[str, Any] = {}
        for name, value in self._file.constants.items():
            key = f"constants.{name}"
            parse = FIELDS[self._field(key, name)].parse
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if isinstance(value, dict | list) or not text.strip():
                raise self._refused(key, "must be a text, a number, true or false")
            try:
                constants[name] = text if parse is None else parse(text)
            except ValueError as error:
                raise self._refused(key, str(error)) from None
        return constants

    def _forms(self, dates: ProfileDates) -> DateForms:
        zone = self._zone(dates.time_zone)
        try:
            return DateForms(dates.forms, zone)
        except ValueError as error:
            raise self._refused("dates.forms", str(error)) from None

    def _zone(self, own: object) -> tzinfo:
        where, name = (
            ("--time-zone", self._time_zone)
            if self._time_zone is not None
            else (f"{self._where}: dates.time_zone", own)
        )
        if name == "UTC":
            return UTC  # known where there is no data base of time zones
        try:
            return zone_named(name)
        except ValueError:
            raise ConfigError(
                f"{name!r} is no time zone such as America/Chicago", where=where
            ) from None


def check_kind(path: Path, profile: Profile) -> str:
    """Return the ending of a file. Raises EntryFileError if the profile describes no such file."""
    ending = path.suffix.lower()
    # A sheet of Excel's is a table like any other.
    endings = (*profile.endings, *((".xlsx",) if ".csv" in profile.endings else ()))
    if ending not in endings:
        hint = "save it as .xlsx, or its sheet as CSV" if ending == ".xls" else ""
        raise EntryFileError(f"must end in {' or '.join(endings)}", where=str(path), hint=hint)
    return ending
