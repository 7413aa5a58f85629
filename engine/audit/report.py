"""A summary of the audit for a period, by agency, purpose, list, source and more.

After a crash a match or a change may be in two chains. Each is counted once: a match is identified
by its id, a change by its event, the revision and the time of the record that made it and the entry
or source that it concerns, an expiry by its own time too, suppressed reads by their entry, agency
and purpose and the last of them.
For every counted event, eight bytes of a hash are kept (in sorted runs, merged as they grow), so a
hundred million events take less than a gigabyte. Among ten million events, the chance that two are
mistaken for one is three in a million.

A record that is not an audit record, or does not match its own hash, is not counted but reported.
Whether the chains are intact is not checked here. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from engine import limits
from engine.audit.chain import Opener, SealedRecord
from engine.clock import parse_time
from engine.documents.fields import CHAIN_ENDED
from engine.errors import DocumentError, HotlistError
from engine.wire.record_batch import Record

#: The fields for grouping: the name here, and that of a record's field.
FIELDS: Final = {
    "agency": "agency",
    "purpose": "purpose",
    "list": "list_id",
    "source": "source",
    "event": "event",
    "operator": "operator",
}
#: The number of events that are compared together.
_CHUNK: Final = 1 << 16

Hashes = npt.NDArray[np.uint64]


class ReportLine(NamedTuple):
    """One line: the values of its group, None if the records have none, and the counts."""

    values: tuple[str | None, ...]
    counts: Counter[str]


class ReportError(HotlistError):
    """The report would be too large."""


class AuditReport:
    """The events from `from_ms` to before `to_ms`, grouped by the names `by` (of FIELDS)."""

    def __init__(self, by: Sequence[str], from_ms: int, to_ms: int) -> None:
        self.from_ms = from_ms
        self.to_ms = to_ms
        self.by = tuple(by)
        #: Records of an event that another record has already described.
        self.repeats = 0
        #: Records that could not be read, are not audit records, or do not match their hash.
        self.unsound = 0
        self._fields = [FIELDS[name] for name in by if name != "event"]
        self._opener = Opener()
        self._at_text = ""
        self._is_inside = False
        self._distinct = _Distinct()
        self._groups: dict[tuple[str | None, ...], int] = {}
        self._counts: Hashes = np.zeros(0, dtype=np.uint64)
        self._hashes: list[int] = []
        self._of_group: list[int] = []

    def take(self, partition: int, records: Iterable[Record]) -> None:
        """Add records in any order. Raises ReportError if the report becomes too large."""
        for record in records:
            try:
                sealed, true_hash = self._opener.open(record.value or b"")
            except DocumentError:
                self.unsound += 1
                continue
            if sealed.event == CHAIN_ENDED or not self._is_of_period(sealed):
                continue
            if sealed.hash != true_hash:
                self.unsound += 1
                continue
            self._hashes.append(_identity(sealed))
            self._of_group.append(self._group(sealed))
            if len(self._hashes) == _CHUNK:
                self._count()

    def unreadable(self, partition: int, offset: int, reason: str) -> None:
        """Count a batch of records that could not be read."""
        self.unsound += 1

    def rows(self) -> list[ReportLine]:
        """Return the lines, by their values; counts are by event."""
        self._count()
        has_event = "event" in self.by
        rows: dict[tuple[str | None, ...], Counter[str]] = {}
        for group, number in self._groups.items():
            if not self._counts[number]:
                continue  # all of its events were already counted in another group
            event = group[0]
            assert event is not None
            values = list(group[1:])
            if has_event:
                values.insert(self.by.index("event"), event)
            rows.setdefault(tuple(values), Counter())[event] += int(self._counts[number])
        return sorted(
            (ReportLine(values, counts) for values, counts in rows.items()),
            key=lambda row: [(value is not None, value or "") for value in row.values],
        )

    def _is_of_period(self, sealed: SealedRecord) -> bool:
        if sealed.recorded_at != self._at_text:  # the records of a batch share their time
            self._at_text = sealed.recorded_at
            self._is_inside = self.from_ms <= parse_time(sealed.recorded_at) < self.to_ms
        return self._is_inside

    def _group(self, sealed: SealedRecord) -> int:
        values = [sealed.fields.get(name) for name in self._fields]
        group = (sealed.event, *(None if value is None else str(value) for value in values))
        number = self._groups.get(group)
        if number is None:
            number = self._groups[group] = len(self._groups)
            if number >= limits.REPORT_GROUPS:
                raise ReportError(
                    f"more than {limits.REPORT_GROUPS:,} lines", hint="sum up by less: --by"
                )
        return number

    def _count(self) -> None:
        fresh = self._distinct.add(np.array(self._hashes, dtype=np.uint64))
        self.repeats += len(self._hashes) - len(fresh)
        groups = np.array(self._of_group, dtype=np.int64)[fresh]
        counts = np.bincount(groups, minlength=len(self._groups)).astype(np.uint64)
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        self._hashes.clear()
        self._of_group.clear()


def _identity(sealed: SealedRecord) -> int:
    """Return a hash that is the same for two records of one event."""
    fields = sealed.fields
    if sealed.event == "match":
        identity = str(fields.get("match_id", ""))
    else:
        about = fields.get("entry_id", fields.get("source", ""))
        identity = f"{sealed.event}\x1f{fields.get('revision', '')}\x1f{about}"
        # A topic that was recreated has its revisions once more, at other times.
        identity += f"\x1f{fields.get('stamped_at', '')}"
        if sealed.event == "entry_expired":
            identity += f"\x1f{fields.get('expires_at', '')}"
        if sealed.event == "suppressed":  # identified by the last read that it counts
            identity += f"\x1f{fields.get('partition', '')}\x1f{fields.get('offset', '')}"
            identity += f"\x1f{fields.get('agency', '')}\x1f{fields.get('purpose', '')}"
    return xxhash.xxh3_64_intdigest(identity.encode())


class _Distinct:
    """A set of 64-bit hashes, eight bytes each."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        """Add hashes; return the positions of the new ones, each once."""
        sought, first = np.unique(hashes, return_index=True)
        is_known = np.zeros(len(sought), dtype=bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, sought), len(run) - 1)
            is_known |= run[at] == sought
        fresh = sought[~is_known]
        if len(fresh):
            self._runs.append(fresh)
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            self._runs[-2:] = [np.sort(np.concatenate(self._runs[-2:]))]
        if sum(map(len, self._runs)) > limits.REPORT_EVENTS:
            raise ReportError(
                f"more than {limits.REPORT_EVENTS:,} events", hint="choose a shorter period"
            )
        return first[~is_known]
