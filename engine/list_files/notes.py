"""What was left out of a file, and which values were left empty, for one line each to the user.

A profile may leave out whole rows (records of a kind that is no purpose of ours, rows without a
plate) and drop values that it does not know. Neither is an error, and neither is silent. Values are
counted by column, with the line of the first. Only so many different ones are kept, so memory is
bounded whatever a file holds.

A row may be left out because its cell is damaged. So a sync does not remove the entries of its list
that have the authority reference of such a row; without one, it removes nothing.

Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from engine.list_files.digests import id_hash
from engine.list_files.entry_fields import quoted

#: Different values that are counted each by itself.
_VALUES: Final = 1000
#: Lines of notes for one column.
_SHOWN: Final = 10
_OTHERS: Final = "other values"

What = Literal["left out", "left empty"]


class _Kind(NamedTuple):
    what: What
    column: str
    value: str


class Notes:
    """The counts of one file."""

    def __init__(self) -> None:
        self.left_out = 0
        self.without_reference = 0
        #: The hashed authority references of rows that were left out.
        self.references = array("Q")
        self._counts: dict[_Kind, list[int]] = {}

    def leave_out(self, line: int, column: str, value: str, reference: str | None) -> None:
        """Count a row that is left out because of this value; an empty one is no plate."""
        self.left_out += 1
        if reference is None:
            self.without_reference += 1
        else:
            self.references.append(id_hash(reference.encode(errors="replace")))
        self._count(line, _Kind("left out", column, value))

    def leave_empty(self, line: int, column: str, value: str) -> None:
        """Count a value that is not known and therefore left empty."""
        self._count(line, _Kind("left empty", column, value))

    def _count(self, line: int, kind: _Kind) -> None:
        if kind not in self._counts and len(self._counts) >= _VALUES:
            kind = kind._replace(value=_OTHERS)
        found = self._counts.setdefault(kind, [0, line])
        found[0] += 1

    def lines(self) -> Iterator[str]:
        """Yield one line for each kind, and for each column how many more kinds there were."""
        shown: dict[tuple[str, str], int] = {}
        more: dict[tuple[str, str], int] = {}
        for kind, (count, line) in self._counts.items():
            group = (kind.what, kind.column)
            shown[group] = shown.get(group, 0) + 1
            if shown[group] > _SHOWN:
                more[group] = more.get(group, 0) + count
                continue
            yield _line(kind, count, line)
        for (what, column), count in more.items():
            yield f"{what}: {_rows(count)} with other values of {column}"


def _line(kind: _Kind, count: int, line: int) -> str:
    value = kind.value if kind.value == _OTHERS else quoted(kind.value)
    where = f"{_rows(count)} (line {line}{' first' if count > 1 else ''})"
    if kind.what == "left empty":
        return f"left empty: {kind.column} {value} in {where}, not known to the profile"
    if not kind.value:
        return f"left out: {where} without a plate"
    return f"left out: {where} with {kind.column} {value}, no purpose of the profile"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
