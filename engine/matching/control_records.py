"""The control records of one step: as rows over their bytes, or as objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import xxhash

from engine.audit.changes import ControlKind, ControlRecord
from engine.wire.batch_reader import operator_of
from engine.wire.record_batch import Record
from engine.wire.record_decoder import KEY_AT, KEY_LENGTH, OFFSET, TIMESTAMP_MS
from engine.wire.record_rows import RecordRows

_ID_BYTES: Final = 512


class ControlRecords:
    """Some records of one partition of a control topic, at least one, in order.

    `rows` is None if they are held as objects. They are valid until the next step.
    """

    def __init__(
        self, kind: ControlKind, partition: int, found: RecordRows | Sequence[Record]
    ) -> None:
        self.kind: Final = kind
        self.partition: Final = partition
        self.rows: Final = found if isinstance(found, RecordRows) else None
        self._objects: Final = [] if isinstance(found, RecordRows) else found

    def __len__(self) -> int:
        return len(self._objects) if self.rows is None else len(self.rows)

    def __iter__(self) -> Iterator[ControlRecord]:
        return self.at(None)

    def at(self, places: Sequence[int] | None) -> Iterator[ControlRecord]:
        """Yield the records at some places of `rows`, or all of them."""
        records = self._objects if self.rows is None else self.rows.records(places)
        for offset, timestamp_ms, key, value, headers in records:
            operator = operator_of(headers) if headers else None
            yield ControlRecord(
                self.kind, self.partition, offset, timestamp_ms, key, value, operator
            )

    @property
    def has_entries(self) -> bool:
        """Whether these are rows of entries."""
        return self.rows is not None and self.kind is ControlKind.ENTRY

    def keys_beside(self, places: Sequence[int]) -> Iterator[bytes]:
        """Yield the keys of the records that are not at these places of `rows`."""
        assert self.rows is not None
        view, others = self.rows.data.data, set(places)
        spans = self.rows.rows[:, KEY_AT : KEY_LENGTH + 1].tolist()
        for place, (at, length) in enumerate(spans):
            if place not in others:
                yield bytes(view[at : at + max(length, 0)])

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        last = self._objects[-1].offset if self.rows is None else int(self.rows.rows[-1, OFFSET])
        return last + 1

    @property
    def timestamps_ms(self) -> list[int]:
        """The time of each record."""
        if self.rows is None:
            return [record.timestamp_ms for record in self._objects]
        times: list[int] = self.rows.rows[:, TIMESTAMP_MS].tolist()
        return times


def short_key(key: bytes) -> bytes:
    """Return the key itself, or its hash if it is longer than any id."""
    return key if len(key) <= _ID_BYTES else xxhash.xxh3_128_digest(key)


def named_by(key: bytes) -> str:
    """Return the id or source that a key names; "", which is no valid id, if it is not UTF-8."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return ""
