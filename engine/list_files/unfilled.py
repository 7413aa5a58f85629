"""The fields that every entry must have and no row of a table can have: one error, before the rows.

Otherwise each row would be bad for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from engine.list_files.entry_fields import FIELDS, Field
from engine.list_files.text import EntryFileError

T = TypeVar("T")

#: An id is derived, and the clock gives `created_at`.
_NEEDED: Final = tuple(
    FIELDS[name]
    for name in (
        *("list_id", "plate", "agency", "purpose"),
        *("authority_kind", "authority_reference", "requested_by", "expires_at"),
    )
)


def listed(names: Collection[str], last: str) -> str:
    """Return names as a sentence has them, with a word such as `or` before the last."""
    *others, end = names
    return f"{', '.join(others)} {last} {end}" if others else end


class UnfilledError(EntryFileError):
    """No column of the file and nothing beside it gives these fields (`paths`)."""

    def __init__(self, paths: Collection[str], where: str) -> None:
        super().__init__(f"no column gives {listed(paths, 'or')}", where=where)
        self.paths = tuple(paths)


def if_filled(
    rows: Iterable[T], path: Path, columns: Collection[Field], given: Callable[[Field], bool]
) -> Iterator[T]:
    """Yield the rows of a table; before the first, raise UnfilledError if a field stays empty.

    A table without rows is right without the columns too.
    """
    each = iter(rows)
    for first in each:
        missing = [field.path for field in _NEEDED if field not in columns and not given(field)]
        if missing:
            raise UnfilledError(missing, str(path))
        yield first
        yield from each
