"""What a file of entries would change: the difference between its rows and the topic's state.

`compare_to_state` compares a file's rows (`FileEntries`) with a `ListState`. An import leaves
entries that the file does not name as they are. A sync (`Synced`) treats the file as the complete
new state of one list: it removes entries of that list that the file does not name, and it may not
touch any other list. A list is known by its name alone, so two agencies may have one of the same
name: a sync leaves the entries of agencies that neither its rows nor its flags name alone, and
counts them, unless it takes them over. A bad row names its entry too. If the entry of a bad row
cannot be known, nothing is removed.

The term of an entry belongs to its authority. While the authority reference stays the same, an
entry keeps its `created_at` if its row gives none; so does one that is listed again after its
removal, for as long as the topic knows of that. In a sync it also keeps `expires_at` and
`requested_by`, so that sending the same file again changes and extends nothing; with `renew`, and
in an import, these two are set again. `admission.check_extension` decides in the end.

The work is done on whole columns; only changed rows are examined one by one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import limits
from engine.arrays import Bytes
from engine.clock import format_time
from engine.documents.admission import Purposes, check_created, check_entry, check_extension
from engine.documents.codec import decode_entry, encode
from engine.errors import RuleError
from engine.list_files.digests import DigestColumns
from engine.list_files.list_state import ListState
from engine.list_files.ownership import (
    Synced,
    check_lists,
    check_owners,
    named_agencies,
    split,
)
from engine.list_files.parsed_file import FileEntries, Spool
from engine.list_files.removed_terms import RemovedTerms
from engine.list_files.rows import CREATED, EXPIRES, REQUESTED, UNCHECKED


class _Id(msgspec.Struct, frozen=True, gc=False):
    entry_id: str


_id_of = msgspec.json.Decoder(_Id).decode


@dataclass(slots=True)
class Difference:
    """What must be sent, and what cannot be.

    `added` and `changed` have a flag for each row: whether it is sent. `replaced` has the
    positions of the rows whose entry is in `replacements`, in order. `removed` has positions in
    the state. `problems` maps the position of a row to the reason why it is bad after all.
    """

    added: NDArray[np.bool_]
    changed: NDArray[np.bool_]
    removed: NDArray[np.int64]
    #: Where in the state each row's entry is, -1 if it is new.
    places: NDArray[np.int64]
    unchanged: int = 0
    #: Rows whose entry is listed and has expired.
    expired: int = 0
    #: Entries that the list held before, without those that are left alone.
    standing: int = 0
    #: How many entries of the list each agency has that the sync does not name: they stay.
    left_alone: dict[str, int] = field(default_factory=dict)
    #: Entries that no good row names, but a bad row may: they are not removed.
    not_removed: int = 0
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
    def count(self) -> int:
        """How many entries are added, changed and removed."""
        return self.added_count + self.changed_count + len(self.removed)

    def records(self, file: FileEntries) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield the kind (`added` or `changed`), id and new value of each entry to be sent."""
        new = iter(self.replacements)
        added, changed = self.added.tolist(), self.changed.tolist()
        for place, data in enumerate(file.spool):
            if added[place] or changed[place]:
                value = next(new) if place in self.replaced else data
                what = "added" if added[place] else "changed"
                yield what, _id_of(value).entry_id.encode(), value


def compare_to_state(
    file: FileEntries,
    state: ListState,
    purposes: Purposes,
    now_ms: int,
    *,
    synced: Synced | None = None,
    take_over: bool = False,
) -> Difference:
    """Return the difference: with `synced` for a sync, otherwise for an import.

    An import always renews. With `take_over` the rows of an import may replace entries of other
    lists and agencies, and a sync is for the list's entries of all agencies.
    """
    rows = file.columns()
    places = file.places(state)
    there = state.columns.at(places)
    listed = (places >= 0) & (there.lists >= 0)
    problems = {
        place: f"the same entry_id as in line {line}" for place, line in file.repeats().items()
    }
    if synced is not None:
        check_lists(file, synced.list_id, rows, there, listed, problems)
    if not take_over:
        check_owners(file, rows, there, listed, problems)
    for place in np.flatnonzero(rows.created_ms > now_ms + limits.CREATED_AHEAD_MS).tolist():
        problems.setdefault(place, _future(int(rows.created_ms[place]), now_ms))
    # Workers refuse an entry from the future, so nothing is kept of it.
    there, was_removed = _with_removed(rows, there, places, state.removed)
    in_time = there.created_ms <= now_ms + limits.CREATED_AHEAD_MS
    listed &= in_time
    was_removed &= in_time
    good = np.ones(len(file), dtype=bool)
    good[list(problems)] = False

    before = _Before(state, there, listed, was_removed)
    kept = _keep(rows, before, file.fresh, renew=synced is None or synced.renew)
    found = Difference(
        added=good & (places < 0),
        changed=good & (places >= 0) & ~kept.is_same,
        removed=np.empty(0, dtype=np.int64),
        places=places,
        unchanged=int(np.count_nonzero(good & kept.is_same)),
        expired=int(np.count_nonzero(good & listed & (kept.expires_ms <= now_ms))),
        problems=problems,
    )
    _look_at_rows(found, file, before, kept, purposes)
    if synced is not None:
        on_list = state.columns.lists == file.names.number(synced.list_id)
        if not take_over:
            named = named_agencies(file, rows, synced)
            on_list, found.left_alone = split(on_list, state.columns, named, file.names)
        found.standing = int(np.count_nonzero(on_list))
        named = np.concatenate([rows.ids, state.columns.ids[places[places >= 0]], file.spared_ids])
        spared = np.isin(state.columns.references, file.spared_references)
        gone = np.flatnonzero(on_list & ~spared & ~np.isin(state.columns.ids, named))
        if file.bad_unknown(synced.list_id):
            found.not_removed = len(gone)
        else:
            found.removed = gone
    return found


def _future(created_ms: int, now_ms: int) -> str:
    """Return the problem of a row that was created in the future."""
    try:
        check_created(format_time(created_ms), created_ms, now_ms)
    except RuleError as error:
        return str(error)
    raise AssertionError("the row was not created in the future")


class _Before(NamedTuple):
    """The state, what each row's entry is or was in it, and whether it is there or was removed."""

    state: ListState
    there: DigestColumns
    listed: NDArray[np.bool_]
    was_removed: NDArray[np.bool_]


def _with_removed(
    rows: DigestColumns, there: DigestColumns, places: NDArray[np.int64], removed: RemovedTerms
) -> tuple[DigestColumns, NDArray[np.bool_]]:
    """Add what is known of removed entries; return that, and for which rows it is."""
    terms = removed.places(rows.ids)
    was_removed = (places < 0) & (terms >= 0)
    term = removed.columns.at(terms)
    there = there._replace(
        references=np.where(was_removed, term.references, there.references),
        created_ms=np.where(was_removed, term.created_ms, there.created_ms),
    )
    return there, was_removed


class _Kept(NamedTuple):
    """What each row's entry has after it has kept values of the listed entry.

    `differs` is set if this is not what the row has, `is_same` if it equals the listed entry.
    """

    created_ms: NDArray[np.int64]
    expires_ms: NDArray[np.int64]
    requested_by: NDArray[np.int32]
    same_reference: NDArray[np.bool_]
    differs: NDArray[np.bool_]
    is_same: NDArray[np.bool_]


def _keep(
    rows: DigestColumns,
    before: _Before,
    fresh: Bytes,
    *,
    renew: bool,
) -> _Kept:
    _, there, listed, was_removed = before
    same_reference = (listed | was_removed) & (rows.references == there.references)
    keeps = listed & same_reference & (not renew)
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
        listed
        & same_reference
        & (rows.contents == there.contents)
        & (created_ms == there.created_ms)
        & (expires_ms == there.expires_ms)
        & (requested == there.requested_by),
    )


def _look_at_rows(
    found: Difference,
    file: FileEntries,
    before: _Before,
    kept: _Kept,
    purposes: Purposes,
) -> None:
    """Build the entry of each row that changes an entry, and check the result."""
    state, there, listed, was_removed = before
    # Rows whose entry has an id that an earlier version derived.
    former = (found.places >= 0) & (there.ids != file.columns().ids)
    look = found.changed | (found.added & ((file.fresh & UNCHECKED > 0) | was_removed))
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
        if former[at]:
            own_id = state.entry_id(int(found.places[at])).decode()
            entry = msgspec.structs.replace(entry, entry_id=own_id)
        try:
            # Checked first, because its error says what would help.
            if listed[at] or was_removed[at]:
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
            if kept.differs[at] or former[at]:
                found.replaced.add(at)
                found.replacements.append(encode(entry))
        place = next(places, -1)
        if place < 0:
            return


def _time(text: str, own_ms: int, wanted_ms: int) -> str:
    return text if own_ms == wanted_ms else format_time(wanted_ms)
