"""Entries of a load, put into the index many at a time.

A worker that starts reads millions of records, and nearly all are plain: an entry in the JSON that
programs write, of an id that comes once, which is admissible and in force. `BulkLoad.put` takes
those, and returns the places of all others, which the caller applies one by one. What it takes has
the same result as one by one: a test compares the two.

Values that entries share are checked once each. Belongs to the matcher thread.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from engine.audit.added_entries import AddedEntries, Loaded
from engine.documents import entry_scan as scan
from engine.documents.admission import Purposes
from engine.documents.entry_scan import Rows
from engine.index.plate_index import Index
from engine.matching.control_records import ControlRecords
from engine.matching.load_step import LoadStep, Mask, Places, ValueCache
from engine.wire.batch_reader import operator_of
from engine.wire.record_decoder import KEY_AT, OFFSET, TIMESTAMP_MS, VALUE_LENGTH

#: Fewer plain records than this are applied one by one: the arrays cost more.
LEAST_RECORDS: Final = 16


class Taken(NamedTuple):
    """What `BulkLoad.put` has done: with so many records, all of them entries; what it added; and
    the places of the records that it has not taken."""

    changed: int
    added: list[AddedEntries]
    left: list[int]


class Audited(NamedTuple):
    """What has been audited, and what waits to be: changes of records below the offset
    `reported_to`, expiries up to a time, and the ids of entries that have expired since."""

    reported_to: int
    expired_until_ms: int
    expired_ids: Collection[str]


class BulkLoad:
    """See the module. Holds shared values of entries until `close`."""

    def __init__(self, index: Index, purposes: Purposes) -> None:
        self._index = index
        self._purposes = purposes
        self._guess = np.zeros(scan.GUESSES, dtype=np.int64)
        self._values = ValueCache()

    def close(self) -> None:
        """Drop the shared values, at the end of the load."""
        self._values.clear()

    def put(self, records: ControlRecords, now_ms: int, audited: Audited) -> Taken:
        """Put the plain ones of some records into the index."""
        found = records.rows
        every = list(range(len(records)))
        if found is None or len(records) < LEAST_RECORDS:
            return Taken(0, [], every)
        rows = np.empty((len(records), scan.COLUMNS), dtype=np.int64)
        spans = found.rows[:, KEY_AT : VALUE_LENGTH + 1]
        scan.scan(found.data, np.ascontiguousarray(spans), self._guess, rows)
        step = LoadStep(self._values, found.data, rows)
        offsets, sent_ms = found.rows[:, OFFSET], found.rows[:, TIMESTAMP_MS]
        is_taken = step.admissible(self._purposes, sent_ms)
        is_taken &= self._is_new(rows)
        is_over = rows[:, scan.EXPIRES_MS] <= now_ms
        # What had expired before the load, and was reported then, changes nothing.
        is_reported = (offsets < audited.reported_to) & (
            rows[:, scan.EXPIRES_MS] <= audited.expired_until_ms
        )
        is_taken &= ~is_over | is_reported
        if audited.expired_ids:
            view, id_at = found.data.data, scan.at("entry_id")
            for place in np.flatnonzero(is_taken).tolist():
                at, length = rows[place, id_at : id_at + 2].tolist()
                is_taken[place] = bytes(view[at : at + length]).decode() not in audited.expired_ids
        count = int(is_taken.sum())
        if count < LEAST_RECORDS:
            return Taken(0, [], every)
        places = np.flatnonzero(is_taken & ~is_over)
        left = np.flatnonzero(~is_taken).tolist()
        if not len(places):
            return Taken(count, [], left)
        packed, shared = step.packed(self._index, places)
        self._index.put_packed(step.filed(places, packed, offsets[places]), now_ms)
        loaded = Loaded(
            *(records.partition, offsets[places], sent_ms[places], packed, [], shared, now_ms)
        )
        return Taken(count, _unreported(records, places, loaded, audited.reported_to, left), left)

    def _is_new(self, rows: Rows) -> Mask:
        """Return which records have an id that nothing else has, in the step or before."""
        hashes = rows[:, scan.KEY_HASH].view(np.uint64).copy()
        is_new: Mask = ~self._index.has_ids(hashes)
        _, number, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        is_new &= counts[number] == 1
        return is_new


def _unreported(
    records: ControlRecords, places: Places, loaded: Loaded, reported_to: int, left: list[int]
) -> list[AddedEntries]:
    """Return what of the entries of these places is not reported yet, with its operators.

    In pieces, so that the changes of the records between them can be reported in order.
    """
    rows = records.rows
    assert rows is not None
    first = int(np.searchsorted(loaded.offsets, reported_to))
    if first == len(places):
        return []
    before = np.searchsorted(np.array(left, dtype=np.int64), places[first:])
    cuts = [first, *(first + 1 + np.flatnonzero(np.diff(before))).tolist(), len(places)]
    return [
        AddedEntries(
            loaded._replace(
                offsets=loaded.offsets[begin:end],
                stamped_ms=loaded.stamped_ms[begin:end],
                packed=loaded.packed[begin:end],
                operators=[operator_of(rows.headers_of(each)) for each in places[begin:end]],
            )
        )
        for begin, end in pairwise(cuts)
    ]
