"""Column profiles: what the columns of a file are, and what becomes of them.

A profile is a TOML file. The shipped ones are in `engine/data/profiles/`; a user's own is named by
its path. Each of these is a ConfigError that names the file, the key and the rule: an unknown key
or field, a date format that cannot be read, a value of the wrong type.

    title       what the profile is for
    base        the profile that this one changes; tables are merged, all else is replaced
    endings     how the names of such files end; without it ".csv" and ".jsonl" (JSON Lines)
    header      true: the first row names the columns; false: they come in the profile's order;
                "auto": the first row is a header if it names one of the columns
    delimiter   "," ";" "tab" or "auto"
    columns     the name of each column, whatever its case, to the field that it fills (see
                `entry_fields`), or to false for one that is read past; "*" = false reads past
                all others. Of several columns for one field the first that is not empty counts
    values      by field: what each value in the file becomes, whatever its case
    unlisted    by field: what happens to other values: "refuse" (as without it), "keep", "drop"
    constants   by field: what stands there in every row whose columns leave it empty
    dates       forms (see `date_formats`), time_zone, and the fields which a date without a time
                holds through to the day's end
    normalize   true: plates are brought to normal form; else they must have it already
    id          the fields that make the id of an entry without one; the agency always does too
    json        "columns": a line of JSON is an object by column; "documents": an entry

What we ship is named without its ending.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from engine.errors import ConfigError
from engine.list_files.date_formats import DateForms
from engine.list_files.entry_fields import FIELDS, TIMES
from engine.resources import as_struct, read_toml

DEFAULT: Final = "hotlist"
#: Any other column.
OTHERS: Final = "*"

_DELIMITERS: Final = {",": ",", ";": ";", "tab": "\t", "auto": None}
_BASES: Final = 5


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile, as the module says; `delimiter` None is found by the header.

    `columns` maps a name without case to a field, or to None for a column that is skipped, in the
    profile's order. `values` holds values without case by field.
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


def load(name: str = DEFAULT, time_zone: str | None = None) -> Profile:
    """The profile that is shipped under this name, or else the file at this path.

    `time_zone` takes the place of the profile's own. Raises ConfigError.
    """
    where, table = merged(name)
    return _Reader(where, as_struct(_File, table, where), time_zone).profile(name)


class _Dates(msgspec.Struct):
    """The dates of a profile; see the module."""

    forms: Annotated[list[str], Meta(min_length=1, description="a list of forms such as %Y-%m-%d")]
    time_zone: Any = "UTC"
    through: Annotated[
        list[Literal["created_at", "expires_at", "starts_at"]],
        Meta(description=f"a list of {', '.join(TIMES)}"),
    ] = []


class _File(msgspec.Struct):
    """What a profile's file may say; see the module. Which names are fields is checked later."""

    columns: dict[str, Any]
    title: Annotated[str, Meta(pattern=r"\S", description="a text that is not empty")] = ""
    base: Any = None
    endings: Annotated[
        tuple[Literal[".csv", ".tsv", ".txt", ".jsonl"], ...],
        Meta(min_length=1, description="a list of .csv, .tsv, .txt, .jsonl"),
    ] = (".csv", ".jsonl")
    header: Annotated[bool | Literal["auto"], Meta(description='true or false or "auto"')] = True
    delimiter: Annotated[
        Literal[",", ";", "tab", "auto"], Meta(description='"," or ";" or "tab" or "auto"')
    ] = "auto"
    values: dict[
        str, dict[str, Annotated[str, Meta(description="a text; an empty one drops it")]]
    ] = {}
    unlisted: dict[
        str,
        Annotated[
            Literal["refuse", "keep", "drop"], Meta(description='"refuse", "keep" or "drop"')
        ],
    ] = {}
    constants: dict[str, Any] = {}
    normalize: Annotated[bool, Meta(description="true or false")] = False
    id: Annotated[tuple[str, ...], Meta(min_length=1, description="a list of fields")] = (
        "list_id",
        "plate",
    )
    json: Annotated[
        Literal["columns", "documents"], Meta(description='"columns" or "documents"')
    ] = "columns"
    dates: _Dates | None = None


class _Reader:
    """Makes a profile of a file's content; checks that what it names is there."""

    def __init__(self, where: str, file: _File, time_zone: str | None) -> None:
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
            delimiter=_DELIMITERS[file.delimiter],
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

    def _forms(self, dates: _Dates) -> DateForms:
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
            return ZoneInfo(name)  # type: ignore[arg-type]
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
            raise ConfigError(
                f"{name!r} is no time zone such as America/Chicago", where=where
            ) from None


def caseless(text: str) -> str:
    """Return a column's name or a value without the case and space that make no difference."""
    return text.strip().casefold()


def shipped() -> list[str]:
    """The names of the profiles that we ship, but for those that are only a base of others."""
    names = (path.name for path in (files("engine") / "data" / "profiles").iterdir())
    found = sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))
    return [name for name in found if "columns" in _table(name, None)[1]]


def _table(name: str, beside: Path | None) -> tuple[Path | None, dict[str, Any]]:
    """Path (None if it is ours) and content of a profile's file."""
    path: Path | None = None
    shipped_as = f"profiles/{name}.toml"
    if name.endswith(".toml") or "/" in name or "\\" in name:
        path = Path(name).expanduser()
        path = path if beside is None else beside.parent / path
    try:
        table, where = read_toml(shipped_as, path)
    except ConfigError as error:
        if not isinstance(error.__cause__, FileNotFoundError) or path is not None:
            raise
        raise ConfigError(
            f"there is no profile {name!r}",
            hint=f"there are {', '.join(shipped())}, and files whose names end in .toml",
        ) from error
    whole: dict[str, Any] = {"columns": {}, **table}
    if isinstance(table.get("dates"), dict):
        whole["dates"] = {"forms": ["%Y"], **table["dates"]}
    as_struct(_File, whole, where)  # each file by itself, so that an error names the right one
    return path, table


def merged(name: str) -> tuple[str, dict[str, Any]]:
    """The profile's content with that of its bases, and what to call it in errors."""
    path, table = _table(name, None)
    where = str(path) if path is not None else f"{name}.toml"
    base = table.pop("base", None)
    for _ in range(_BASES):
        if base is None:
            return where, table
        if not isinstance(base, str):
            raise ConfigError("must be the name of a profile, or a path", where=f"{where}: base")
        path, below = _table(base, path)
        base = below.pop("base", None)
        table = _over(below, table)
    raise ConfigError(f"more than {_BASES} profiles on top of each other", where=f"{where}: base")


def _over(below: Any, above: Any) -> Any:
    """`above` laid over `below`. Names that differ only by case are the same."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    names = {caseless(name): name for name in above}
    merged = {names.get(caseless(name), name): value for name, value in below.items()}
    for name, value in above.items():
        merged[name] = _over(merged.get(name), value)
    return merged
