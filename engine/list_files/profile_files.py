"""The files of column profiles: what they may say, and how one is laid over another.

`profile` explains each key. What names a field or a column is checked there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from engine.errors import ConfigError, did_you_mean
from engine.list_files.entry_fields import TIMES
from engine.resources import SHIPPED, as_struct, read_toml

_BASES: Final = 5


#: The characters of a fixed column: where it starts, from 0, and its length.
FixedColumn = Annotated[
    tuple[Annotated[int, Meta(ge=0, le=4096)], Annotated[int, Meta(ge=1, le=4096)]],
    Meta(description="[start, length] in characters, the first character being 0"),
]


class ProfileDates(msgspec.Struct):
    """The dates of a profile; see the module."""

    forms: Annotated[list[str], Meta(min_length=1, description="a list of forms such as %Y-%m-%d")]
    time_zone: Any = "UTC"
    through: Annotated[
        list[Literal["created_at", "expires_at", "starts_at"]],
        Meta(description=f"a list of {', '.join(TIMES)}"),
    ] = []


class ProfileFile(msgspec.Struct):
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
        Literal[",", ";", ":", "|", "tab", "auto"],
        Meta(description='"," or ";" or ":" or "|" or "tab" or "auto"'),
    ] = "auto"
    fixed: dict[str, FixedColumn] = {}
    skip_lines: Annotated[int, Meta(ge=0, le=100, description="a number from 0 to 100")] = 0
    no_plate: Annotated[
        Literal["refuse", "leave_out"], Meta(description='"refuse" or "leave_out"')
    ] = "refuse"
    values: dict[
        str, dict[str, Annotated[str, Meta(description="a text; an empty one drops it")]]
    ] = {}
    unlisted: dict[
        str,
        Annotated[
            Literal["refuse", "keep", "drop", "leave_out"],
            Meta(description='"refuse", "keep", "drop" or "leave_out"'),
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
    dates: ProfileDates | None = None


def caseless(text: str) -> str:
    """Return a column's name or a value without the case and space that make no difference."""
    return text.strip().casefold()


def shipped() -> list[str]:
    """The names of the profiles that we ship, but for those that are only a base of others."""
    names = (path.name for path in (SHIPPED / "profiles").iterdir())
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
            hint=f"{did_you_mean(name, shipped())} there are {', '.join(shipped())}, and files "
            "whose names end in .toml",
        ) from error
    whole: dict[str, Any] = {"columns": {}, **table}
    if isinstance(table.get("dates"), dict):
        whole["dates"] = {"forms": ["%Y"], **table["dates"]}
    as_struct(
        ProfileFile, whole, where
    )  # each file by itself, so that an error names the right one
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
