"""The files of column profiles: where they lie, and how one is laid over another.

What we ship lies in `engine/data/profiles/` and is named without its ending; a user's own is named
by its path. What a profile may say is the matter of `profile`.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError

_FILE_BYTES: Final = 1024 * 1024
_BASES: Final = 5


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
