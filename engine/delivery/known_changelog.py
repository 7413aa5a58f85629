"""Up to where a worker knows the changelog of the suppression, for each partition of the reads.

A worker knows what it has read, and what it has written since and the broker has acknowledged, as
long as nothing else was written in between. So it need not read that again if a partition comes
back: a compacted topic keeps the last record of each key after any offset. Whatever was written by
another worker, or whose outcome is not known, lies behind the known offset, and is read.

What is known counts for little on its own. It belongs to a state that is kept in memory, and only
if each change that this state has reported is acknowledged.

Belongs to the event loop of the worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from engine import limits


class Incarnation(NamedTuple):
    """The changelog as a restore finds it: the topic's id, None if the broker knows none, its
    number of partitions, and where the log of the partition begins."""

    topic_id: bytes | None
    partitions: int
    log_start: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the changelog for a partition of the reads: all records below `offset`.

    Records from there on were written after `since_s`, by the monotonic clock. `marked_by` is the
    partition whose transaction ends with a marker at `offset`, if one does.
    """

    log: Incarnation
    offset: int
    since_s: float
    marked_by: int | None = None

    def is_enough(self, log: Incarnation, end: int, now_s: float) -> bool:
        """Return whether the records from `offset` to `end` are all that is missing.

        The broker may have removed tombstones that were written long ago.
        """
        if log.topic_id is None or log != self.log or end < self.offset:
            return False
        return self.is_all(end) or now_s - self.since_s < limits.SUPPRESSION_KNOWN_S

    def is_all(self, end: int) -> bool:
        """Return whether no record of the partition follows, if the log ends there: nothing, or
        only the marker."""
        return end <= self.offset + (self.marked_by is not None)


class Appended(NamedTuple):
    """Records that the broker has acknowledged: the topic's partition, its number of partitions,
    the offsets of each batch, and a time before the first was sent, by the monotonic clock."""

    partition: int
    partitions: int
    batches: Sequence[range]
    started_s: float


class KnownChangelog:
    """See the module."""

    def __init__(self) -> None:
        self._known: dict[int, Known] = {}
        #: How many changes are acknowledged, by partition of the reads.
        self._acknowledged: Counter[int] = Counter()

    def of(self, source: int) -> Known | None:
        """Return what is known for a partition of the reads, None if that is nothing."""
        return self._known.get(source)

    def is_whole(self, source: int, reported: int) -> bool:
        """Return whether all changes are acknowledged that were reported of a partition."""
        return source in self._known and self._acknowledged[source] == reported

    def restored(self, source: int, known: Known, reported: int | None = None) -> None:
        """Note that a state was restored. `reported` is how many changes were reported before, if
        nothing of an earlier state was kept."""
        self._known[source] = known
        if reported is not None:
            self._acknowledged[source] = reported

    def drop(self, source: int) -> None:
        """Note that the state of a partition is not kept."""
        self._known.pop(source, None)

    def acknowledged(self, sources: Iterable[int]) -> None:
        """Note that the broker has changes, for each the partition of the reads."""
        self._acknowledged.update(sources)

    def appended(self, records: Appended, *, by: int | None = None) -> None:
        """Note the offsets of records that this worker wrote. `by` is the partition of the reads
        whose transaction it was, if it was one: its marker follows."""
        for source, known in self._known.items():
            if (
                known.log.partitions == records.partitions
                and source % records.partitions == records.partition
            ):
                self._known[source] = _further(known, records, by)


def _further(known: Known, records: Appended, by: int | None) -> Known:
    """Return what is known with further records, if they follow what is known."""
    offset, marked_by = known.offset, known.marked_by
    for batch in records.batches:
        # A producer's next transaction begins behind the marker of its last one.
        marker = marked_by is not None and marked_by == by
        if batch.start != offset + marker:
            return known
        offset, marked_by = batch.stop, None
    if offset == known.offset:
        return known
    return replace(known, offset=offset, since_s=records.started_s, marked_by=by)
