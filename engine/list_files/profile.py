"""Column profiles: what the columns of a file are, and what becomes of them.

A profile is a TOML file; those that we ship lie in `engine/data/profiles/`, a user's own is named
by its path. Nothing in one is guessed: a key or a field that nobody knows, a date form that cannot
be read or a value of the wrong type is a ConfigError that names the file, the key and the rule.

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
    id          the fields that make the id of an entry without one
    json        "columns": a line of JSON is an object by column; "documents": an entry

What we ship is named without its ending.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.errors import ConfigError
from engine.list_files.date_formats import DateForms
from engine.list_files.entry_fields import FIELDS, TIMES

DEFAULT: Final = "hotlist"
#: Any other column.
OTHERS: Final = "*"

_DELIMITERS: Final = {",": ",", ";": ";", "tab": "\t", "auto": None}
_UNLISTED: Final = ("refuse", "keep", "drop")
_ENDINGS: Final = (".csv", ".tsv", ".txt", ".jsonl")
_JSON: Final = ("columns", "documents")
_DATES: Final = ("forms", "time_zone", "through")


_FILE_BYTES: Final = 1024 * 1024
_BASES: Final = 5


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile, as the module says; `delimiter` None is found by the header.

    `columns` maps a folded name to a field, or to None for a column that is read past, in the
    profile's order. `values` holds folded values by field.
    """

    name: str
    columns: dict[str, str | None]
    title: str = ""
    endings: tuple[str, ...] = (".csv", ".jsonl")
    header: bool | None = True
    delimiter: str | None = None
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    unlisted: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    dates: DateForms | None = None
    through: frozenset[str] = frozenset()
    normalize: bool = False
    id_fields: tuple[str, ...] = ("list_id", "plate")
    json_documents: bool = False


def load(name: str = DEFAULT, time_zone: str | None = None) -> Profile:
    """The profile that is shipped under this name, or else the file at this path.

    `time_zone` takes the place of the profile's own. Raises ConfigError.
    """
    where, table = merged(name)
    return _Reader(where, table, time_zone).profile(name)


class _Reader:
    """Checks a profile's content, key by key."""

    def __init__(self, where: str, table: Mapping[str, Any], time_zone: str | None) -> None:
        self._where = where
        self._table = table
        self._time_zone = time_zone

    def profile(self, name: str) -> Profile:
        known: dict[str, Callable[[], Any]] = {
            "title": lambda: self._text("title", self._table["title"]),
            "endings": self._endings,
            "columns": self._columns,
            "header": lambda: {True: True, False: False, "auto": None}[
                self._one_of("header", (True, False, "auto"))
            ],
            "delimiter": lambda: _DELIMITERS[self._one_of("delimiter", tuple(_DELIMITERS))],
            "values": self._values,
            "unlisted": self._unlisted,
            "constants": self._constants,
            "normalize": lambda: self._one_of("normalize", (True, False)),
            "id": self._id,
            "json": lambda: self._one_of("json", _JSON) == "documents",
            "dates": self._dates,
        }
        for key in self._table:
            if key not in known:
                raise self._refused(key, f"unknown key; known keys: base, {', '.join(known)}")
        if "columns" not in self._table:
            raise self._refused("columns", "is required")
        found = {key: read() for key, read in known.items() if key in self._table}
        if "id" in found:
            found["id_fields"] = found.pop("id")
        if "json" in found:
            found["json_documents"] = found.pop("json")
        if "dates" in found:
            found["dates"], found["through"] = found["dates"]
        elif self._time_zone is not None:
            raise ConfigError(f"profile {name} has no dates without a zone", where="--time-zone")
        return Profile(name=name, **found)

    def _refused(self, key: str, rule: str) -> ConfigError:
        return ConfigError(rule, where=f"{self._where}: {key}")

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._refused(key, "must be a text that is not empty")
        return value

    def _one_of(self, key: str, allowed: tuple[Any, ...]) -> Any:
        value = self._table[key]
        for one in allowed:
            if type(value) is type(one) and value == one:
                return value
        names = [str(one).lower() if isinstance(one, bool) else f'"{one}"' for one in allowed]
        raise self._refused(key, f"must be {' or '.join(names)}")

    def _by_name(self, key: str, value: object = None) -> dict[str, Any]:
        table = self._table[key] if value is None else value
        if not isinstance(table, dict):
            raise self._refused(key, "must be a table")
        return table

    def _field(self, key: str, name: object) -> str:
        if not isinstance(name, str) or name not in FIELDS:
            raise self._refused(key, f"{name!r} is no field; fields are {', '.join(FIELDS)}")
        return name

    def _columns(self) -> dict[str, str | None]:
        columns: dict[str, str | None] = {}
        for name, becomes in self._by_name("columns").items():
            key = f"columns.{name}"
            folded = fold(name)
            if not folded:
                raise self._refused(key, "a column must have a name")
            if folded in columns:
                raise self._refused(key, "the same column twice, in other letters")
            if becomes is False:
                columns[folded] = None
            elif folded == OTHERS:
                raise self._refused(key, "must be false: all other columns are read past")
            else:
                columns[folded] = self._field(key, becomes)
        if not any(columns.values()):
            raise self._refused("columns", "must name a column that fills a field")
        return columns

    def _values(self) -> dict[str, dict[str, str]]:
        values: dict[str, dict[str, str]] = {}
        for name, table in self._by_name("values").items():
            key = f"values.{name}"
            made = values[self._field(key, name)] = {}
            for value, becomes in self._by_name(key, table).items():
                if not isinstance(becomes, str):
                    raise self._refused(f"{key}.{value}", "must be a text; an empty one drops it")
                if made.get(fold(value), becomes) != becomes:
                    raise self._refused(f"{key}.{value}", "the same value twice")
                made[fold(value)] = becomes
        return values

    def _unlisted(self) -> dict[str, str]:
        table = self._by_name("unlisted")
        for name, what in table.items():
            key = f"unlisted.{name}"
            self._field(key, name)
            if what not in _UNLISTED:
                raise self._refused(key, 'must be "refuse", "keep" or "drop"')
        return table

    def _constants(self) -> dict[str, Any]:
        constants: dict[str, Any] = {}
        for name, value in self._by_name("constants").items():
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

    def _endings(self) -> tuple[str, ...]:
        names = self._table["endings"]
        if not isinstance(names, list) or not names or not set(map(str, names)) <= set(_ENDINGS):
            raise self._refused("endings", f"must be a list of {', '.join(_ENDINGS)}")
        return tuple(names)

    def _id(self) -> tuple[str, ...]:
        names = self._table["id"]
        if not isinstance(names, list) or not names:
            raise self._refused("id", "must be a list of fields")
        return tuple(self._field("id", name) for name in names)

    def _dates(self) -> tuple[DateForms, frozenset[str]]:
        table = self._by_name("dates")
        for key in table:
            if key not in _DATES:
                raise self._refused(f"dates.{key}", f"unknown key; known keys: {', '.join(_DATES)}")
        forms = table.get("forms")
        if not isinstance(forms, list) or not forms or not all(isinstance(f, str) for f in forms):
            raise self._refused("dates.forms", "must be a list of forms such as %Y-%m-%d")
        through = table.get("through", [])
        if not isinstance(through, list) or not set(map(str, through)) <= set(TIMES):
            raise self._refused("dates.through", f"must be a list of {', '.join(TIMES)}")
        zone = self._zone(table.get("time_zone", "UTC"))
        try:
            return DateForms(forms, zone), frozenset(through)
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


def fold(text: str) -> str:
    """A column's name or a value, with what makes no difference taken away."""
    return text.strip().casefold()


def shipped() -> list[str]:
    """The names of the profiles that we ship, but for those that are only a base of others."""
    names = (path.name for path in (files("engine") / "data" / "profiles").iterdir())
    found = sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))
    return [name for name in found if "columns" in _table(name, None)[1]]


def _table(name: str, beside: Path | None) -> tuple[Path | None, dict[str, Any]]:
    """Path (None where it is ours) and content of a profile's file."""
    path: Path | None = None
    if name.endswith(".toml") or "/" in name or "\\" in name:
        path = Path(name).expanduser()
        path = path if beside is None else beside.parent / path
        where = str(path)
    else:
        where = f"{name}.toml"
    try:
        if path is None:
            data = (files("engine") / "data" / "profiles" / where).read_bytes()
        else:
            with path.open("rb") as file:
                data = file.read(_FILE_BYTES + 1)
    except FileNotFoundError as error:
        if path is not None:
            raise ConfigError("there is no such file", where=where) from error
        raise ConfigError(
            f"there is no profile {name!r}",
            hint=f"there are {', '.join(shipped())}, and files whose names end in .toml",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror or type(error).__name__}", where=where
        ) from error
    if len(data) > _FILE_BYTES:
        raise ConfigError(f"is larger than {_FILE_BYTES} bytes", where=where)
    try:
        return path, tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8 text", where=f"{where}: line {line}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not valid TOML: {error}", where=where) from error


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
    names = {fold(name): name for name in above}
    merged = {names.get(fold(name), name): value for name, value in below.items()}
    for name, value in above.items():
        merged[name] = _over(merged.get(name), value)
    return merged
