"""Whose entries a file may change: those of its own lists and agencies.

A list is known by its name alone, so two agencies may have one of the same name. A sync leaves the
entries of agencies that neither its rows nor its flags name alone; a row may not replace the entry
of another list or agency. Both change with `--take-over`, except that a sync never touches another
list.

Pure.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.list_files.digests import DigestColumns, Names
from engine.list_files.parsed_file import FileEntries


class Synced(NamedTuple):
    """The list that a sync makes equal to a file, and the agency that its flags name, if any."""

    list_id: str
    agency: str | None = None
    renew: bool = False


def named_agencies(file: FileEntries, rows: DigestColumns, synced: Synced) -> NDArray[np.int32]:
    """Return the numbers of the agencies that a sync names, by its rows or by its flags."""
    named = np.unique(rows.agencies)
    if synced.agency is None:
        return named
    return np.append(named, np.int32(file.names.number(synced.agency)))


def split(
    on_list: NDArray[np.bool_], standing: DigestColumns, named: NDArray[np.int32], names: Names
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Split a list's entries: which belong to the named agencies, and how many other ones have."""
    ours = on_list & np.isin(standing.agencies, named)
    numbers, counts = np.unique(standing.agencies[on_list & ~ours], return_counts=True)
    pairs = zip(numbers.tolist(), counts.tolist(), strict=True)
    return ours, {names.text(number): count for number, count in pairs}


def check_lists(
    file: FileEntries,
    list_id: str,
    rows: DigestColumns,
    there: DigestColumns,
    listed: NDArray[np.bool_],
    problems: dict[int, str],
) -> None:
    """Report rows of another list, and rows whose id belongs to another list."""
    number = file.names.number(list_id)
    for place in np.flatnonzero(rows.lists != number).tolist():
        own = file.names.text(int(rows.lists[place]))
        problems.setdefault(place, f"list_id {own!r}: must be {list_id}, the list that is synced")
    for place in np.flatnonzero(listed & (there.lists != number)).tolist():
        other = file.names.text(int(there.lists[place]))
        problems.setdefault(
            place, f"entry_id is on list {other!r}, which is not the list that is synced"
        )


def check_owners(
    file: FileEntries,
    rows: DigestColumns,
    there: DigestColumns,
    listed: NDArray[np.bool_],
    problems: dict[int, str],
) -> None:
    """Report rows whose id belongs to another list or agency."""
    is_other = (rows.lists != there.lists) | (rows.agencies != there.agencies)
    for place in np.flatnonzero(listed & is_other).tolist():
        list_id = file.names.text(int(there.lists[place]))
        agency = file.names.text(int(there.agencies[place]))
        problems.setdefault(
            place,
            f"entry_id belongs to list {list_id!r} of agency {agency!r}; --take-over replaces it",
        )
