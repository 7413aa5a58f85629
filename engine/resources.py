"""Shipped files that an operator's own may replace.

The module that reads a file declares its content as a msgspec Struct, in which the description of a
field is its rule in words. An unknown field, a missing one, or a value that breaks its rule is a
ConfigError that names the file, the field and the rule.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from engine.errors import ConfigError, toml_fault
from engine.limits import MIB, size_text

FILE_BYTES: Final = MIB
#: The directory of the shipped files, in the package that this module is imported in.
SHIPPED: Final[Traversable] = files(__name__.rpartition(".")[0]) / "data"

S = TypeVar("S", bound=msgspec.Struct)


def read(name: str, path: Path | None) -> tuple[bytes, str]:
    """Return the file at `path`, or the shipped one, and its name for errors.

    Raises ConfigError if it cannot be read or is larger than FILE_BYTES.
    """
    where = name if path is None else str(path)
    try:
        if path is None:
            data = (SHIPPED / name).read_bytes()
        else:
            with path.open("rb") as file:  # only enough of a large file to see that it is too large
                data = file.read(FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"cannot be read: {reason}", where=where) from error
    if len(data) > FILE_BYTES:
        raise ConfigError(f"is larger than {size_text(FILE_BYTES)}", where=where)
    return data, where


def read_toml(name: str, path: Path | None = None) -> tuple[dict[str, Any], str]:
    """Return the content of a TOML file, and its name for errors; see `read`."""
    data, where = read(name, path)
    try:
        return tomllib.loads(data.decode("utf-8-sig")), where
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"is not TOML in UTF-8: see line {line}", where=where) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not TOML in UTF-8: {toml_fault(error)}", where=where) from error


def load_toml(kind: type[S], name: str, path: Path | None = None) -> tuple[S, str]:
    """Return a TOML file as this Struct, and its name for errors; see `read`."""
    table, where = read_toml(name, path)
    return as_struct(kind, table, where), where


def as_struct(kind: type[S], table: object, where: str) -> S:
    """Return a table of a file as this Struct. Raises ConfigError."""
    found: S = _as(kind, table, where, "")
    return found


def _as(kind: Any, value: Any, where: str, at: str) -> Any:
    rule = "must be a table"
    metas: Sequence[Meta] = ()
    if NoneType in get_args(kind):  # TOML has no null
        kind = next(each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is Annotated:
        kind, *metas = get_args(kind)
        rule = next((f"must be {meta.description}" for meta in metas if meta.description), rule)
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    if not is_struct and get_origin(kind) is not dict:
        return _converted(value, _annotated(kind, metas), rule, where, at)
    if not isinstance(value, dict):
        raise _refused(rule, where, at)
    inside = f"{at}." if at else ""
    if is_struct:
        return kind(**_fields(kind, value, where, inside))
    _converted(value, _annotated(dict[str, Any], metas), rule, where, at)
    of_value = get_args(kind)[1]
    return {name: _as(of_value, each, where, inside + name) for name, each in value.items()}


def _annotated(kind: Any, metas: Sequence[Meta]) -> Any:
    return Annotated[(kind, *metas)] if metas else kind


def _fields(kind: Any, table: dict[str, Any], where: str, inside: str) -> dict[str, Any]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in table:
        if name not in fields:
            known = ", ".join(fields)
            raise _refused(f"unknown field; there are {known}", where, inside + name)
    for name, field in fields.items():
        if field.required and name not in table:
            raise _refused("is required", where, inside + name)
    return {
        fields[name].name: _as(fields[name].type, value, where, inside + name)
        for name, value in table.items()
    }


def _converted(value: Any, kind: Any, rule: str, where: str, at: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter: half of a surrogate pair
        raise _refused(rule, where, at) from None


def _refused(rule: str, where: str, at: str) -> ConfigError:
    return ConfigError(rule, where=f"{where}: {at}" if at else where)
