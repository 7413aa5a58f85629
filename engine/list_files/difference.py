"""What a file of entries would change: the difference between its rows and the topic's state.

`compare` holds a file's rows (`FileEntries`) against a `ListState`. An import leaves
alone what the file does not name; a sync (`list_id`) takes the file for the complete new state
of one list: entries of that list that it does not name are removed, and it may touch no other.

The term of an entry belongs to its authority. While an entry's authority reference stays the
same it keeps its `created_at` where its row gives none. In a sync it keeps `expires_at` and
`requested_by` too, so that the same file sent again changes nothing, and extends nothing; with
`renew`, and in an import, these two are given anew. `rules.check_extension` has the last word.

Work is done on whole columns; only changed rows are looked at one by one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.clock import format_time
from engine.documents.admission import Purposes, check_entry, check_extension
from engine.documents.codec import decode_entry, encode
from engine.errors import RuleError
from engine.list_files.digests import Columns
from engine.list_files.list_state import ListState
from engine.list_files.parsed_file import FileEntries, Spool
from engine.list_files.rows import CREATED, EXPIRES, REQUESTED, UNCHECKED


class _Id(msgspec.Struct, frozen=True, gc=False):
    entry_id: str


_id_of = msgspec.json.Decoder(_Id).decode


@dataclass(slots=True)
class Difference:
    """What is to be done, and what cannot be.

    `added` and `changed` say of each row whether it is sent, `replaced` has the places of those
    whose entry is in `replacements`, in order. `removed` has places of the state. `problems` has
    by place of a row why it is bad after all.
    """

    added: NDArray[np.bool_]
    changed: NDArray[np.bool_]
    removed: NDArray[np.int64]
    unchanged: int = 0
    #: Rows whose entry stands, and is over.
    expired: int = 0
    #: Entries that stood on the list before.
    standing: int = 0
    replaced: set[int] = field(default_factory=set)
    replacements: Spool = field(default_factory=Spool)
    problems: dict[int, str] = field(default_factory=dict)

    @property
    def added_count(self) -> int:
        return int(np.count_nonzero(self.added))

    @property
    def changed_count(self) -> int:
        return int(np.count_nonzero(self.changed))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not (self.added.any() or self.changed.any() or len(self.removed))

    def records(self, file: FileEntries) -> Iterator[tuple[str, bytes, bytes]]:
        """What happens (`added` or `changed`), id and new value of each entry to be sent."""
        new = iter(self.replacements)
        added, changed = self.added.tolist(), self.changed.tolist()
        for place, data in enumerate(file.spool):
            if added[place] or changed[place]:
                value = next(new) if place in self.replaced else data
                what = "added" if added[place] else "changed"
                yield what, _id_of(value).entry_id.encode(), value


def compare(
    file: FileEntries,
    state: ListState,
    purposes: Purposes,
    now_ms: int,
    *,
    list_id: str | None = None,
    renew: bool = False,
) -> Difference:
    """The difference; with `list_id` a sync of that list, else an import.

    `renew` is for a sync: an import always does it.
    """
    rows = file.columns()
    places = state.places(rows.ids)
    there = state.columns.at(places)
    listed = (places >= 0) & (there.lists >= 0)
    problems = {
        place: f"the same entry_id as in line {line}" for place, line in file.repeats().items()
    }
    if list_id is not None:
        _check_lists(file, list_id, rows, there, listed, problems)
    good = np.ones(len(file), dtype=bool)
    good[list(problems)] = False

    kept = _keep(rows, there, listed, file.fresh, renew=renew or list_id is None)
    found = Difference(
        added=good & (places < 0),
        changed=good & (places >= 0) & ~kept.is_same,
        removed=np.empty(0, dtype=np.int64),
        unchanged=int(np.count_nonzero(good & kept.is_same)),
        expired=int(np.count_nonzero(good & listed & (kept.expires_ms <= now_ms))),
        problems=problems,
    )
    _look_at_rows(found, file, there, listed, kept, purposes)
    if list_id is not None:
        on_list = state.columns.lists == file.names.number(list_id)
        found.standing = int(np.count_nonzero(on_list))
        named = np.concatenate([rows.ids, file.bad_ids])
        found.removed = np.flatnonzero(on_list & ~np.isin(state.columns.ids, named))
    return found


class _Kept(NamedTuple):
    """What each row's entry has once it has kept what it keeps of the one that stands.

    `differs` where that is not what the row has, `is_same` where it is what stands.
    """

    created_ms: NDArray[np.int64]
    expires_ms: NDArray[np.int64]
    requested_by: NDArray[np.int32]
    same_reference: NDArray[np.bool_]
    differs: NDArray[np.bool_]
    is_same: NDArray[np.bool_]


def _keep(
    rows: Columns,
    there: Columns,
    listed: NDArray[np.bool_],
    fresh: NDArray[np.uint8],
    *,
    renew: bool,
) -> _Kept:
    same_reference = listed & (rows.references == there.references)
    keeps = same_reference & (not renew)
    created_ms = np.where(same_reference & (fresh & CREATED > 0), there.created_ms, rows.created_ms)
    expires_ms = np.where(keeps & (fresh & EXPIRES > 0), there.expires_ms, rows.expires_ms)
    requested = np.where(keeps & (fresh & REQUESTED > 0), there.requested_by, rows.requested_by)
    return _Kept(
        created_ms,
        expires_ms,
        requested,
        same_reference,
        (created_ms != rows.created_ms)
        | (expires_ms != rows.expires_ms)
        | (requested != rows.requested_by),
        same_reference
        & (rows.contents == there.contents)
        & (created_ms == there.created_ms)
        & (expires_ms == there.expires_ms)
        & (requested == there.requested_by),
    )


def _look_at_rows(
    found: Difference,
    file: FileEntries,
    there: Columns,
    listed: NDArray[np.bool_],
    kept: _Kept,
    purposes: Purposes,
) -> None:
    """Make the entry of each row that changes one, and check what it has become."""
    look = found.changed | (found.added & (file.fresh & UNCHECKED > 0))
    places = iter(np.flatnonzero(look).tolist())
    place = next(places, -1)
    for at, data in enumerate(file.spool) if place >= 0 else ():
        if at != place:
            continue
        entry = decode_entry(data)
        if kept.differs[at]:
            entry = msgspec.structs.replace(
                entry,
                created_at=_time(entry.created_at, entry.created_ms, int(kept.created_ms[at])),
                expires_at=_time(entry.expires_at, entry.expires_ms, int(kept.expires_ms[at])),
                requested_by=file.names.text(int(kept.requested_by[at])),
            )
        try:
            if listed[at]:  # first, because it says what would help
                check_extension(
                    entry,
                    purposes,
                    created_ms=int(there.created_ms[at]),
                    same_reference=bool(kept.same_reference[at]),
                )
            check_entry(entry, purposes)
        except RuleError as error:
            found.problems[at] = str(error)
            found.added[at] = found.changed[at] = False
        else:
            if kept.differs[at]:
                found.replaced.add(at)
                found.replacements.append(encode(entry))
        place = next(places, -1)
        if place < 0:
            return


def _time(text: str, own_ms: int, wanted_ms: int) -> str:
    return text if own_ms == wanted_ms else format_time(wanted_ms)


def _check_lists(
    file: FileEntries,
    list_id: str,
    rows: Columns,
    there: Columns,
    listed: NDArray[np.bool_],
    problems: dict[int, str],
) -> None:
    """Note rows of another list, and rows whose id stands on another."""
    number = file.names.number(list_id)
    for place in np.flatnonzero(rows.lists != number).tolist():
        own = file.names.text(int(rows.lists[place]))
        problems.setdefault(place, f"list_id {own!r}: must be {list_id}, the list that is synced")
    for place in np.flatnonzero(listed & (there.lists != number)).tolist():
        other = file.names.text(int(there.lists[place]))
        problems.setdefault(
            place, f"entry_id stands on list {other!r}, which is not the one that is synced"
        )
