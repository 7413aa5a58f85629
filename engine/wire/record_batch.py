"""Fetched batches, unopened: the types that the seam, the scanner and the matcher share.

Plain data, independent of its origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from engine.errors import RejectReason

#: The size of a batch's header in record format v2; the records follow.
V2_HEADER_BYTES = 61


@dataclass(slots=True, frozen=True)
class RawBatch:
    """One record batch as received, with the fields of its header that scanning needs.

    `data` is the whole batch, header included. Records with an offset below `from_offset` were
    delivered before and must be skipped. `covered_from` is the first offset that this batch
    accounts for, because aborted and control batches before it are not delivered and count with it;
    None means `from_offset`. `append_ms` is the broker's timestamp if the topic uses log-append
    time, else None. `intact` is False if the checksum is wrong. Then only the offsets are valid:
    those that the batch took up. `is_transactional` says that the batch is part of a transaction,
    which is for the reader to handle.
    """

    data: memoryview
    magic: int
    codec: int
    record_count: int
    base_offset: int
    next_offset: int
    from_offset: int
    first_ms: int
    append_ms: int | None
    intact: bool
    is_transactional: bool = False
    covered_from: int | None = None

    @property
    def first_offset(self) -> int:
        """Offset of the first record that may be processed."""
        return max(self.base_offset, self.from_offset)

    @property
    def is_scannable(self) -> bool:
        """Whether it is undamaged and of format v2, so that the scanner may read it."""
        return self.intact and self.magic >= 2

    @classmethod
    def unreadable(cls, offset: int) -> RawBatch:
        """Return a placeholder for a record whose batch cannot be delimited; it is rejected."""
        return cls(
            data=memoryview(b""),
            magic=-1,
            codec=-1,
            record_count=-1,
            base_offset=offset,
            next_offset=offset + 1,
            from_offset=offset,
            first_ms=-1,
            append_ms=None,
            intact=False,
        )

    @property
    def records(self) -> memoryview:
        """The records after the header, compressed by `codec` (magic 2 only)."""
        return self.data[V2_HEADER_BYTES:]


@dataclass(slots=True, frozen=True)
class RawFetch:
    """The batches that one fetch returned for one partition, in order; at least one.

    `partition_count` is how many partitions the topic has, 0 if that is not known.
    """

    topic: str
    partition: int
    batches: tuple[RawBatch, ...]
    partition_count: int = 0

    @property
    def first_offset(self) -> int:
        """Offset of the first record that may be processed."""
        return self.batches[0].first_offset

    @property
    def covered_from(self) -> int:
        """The first offset that the fetch accounts for; see `RawBatch`."""
        first = self.batches[0]
        return first.from_offset if first.covered_from is None else first.covered_from

    @property
    def last_offset(self) -> int:
        """Offset of the last record; the position after it is this plus one."""
        return self.batches[-1].next_offset - 1

    def since(self, offset: int) -> RawFetch:
        """Return the part from an offset on, which must not be after the last record."""
        batches = tuple(
            replace(batch, from_offset=max(batch.from_offset, offset))
            for batch in self.batches
            if batch.next_offset > offset
        )
        return replace(self, batches=batches)

    @property
    def size_bytes(self) -> int:
        """The size as fetched."""
        return sum(len(batch.data) for batch in self.batches)


Headers = tuple[tuple[str, bytes | None], ...]


class Record(NamedTuple):
    """One record of a batch."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class BatchError(Exception):
    """The error for a batch, or the rest of one, that cannot be read; with a reject reason."""

    def __init__(self, reason: RejectReason, next_offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_offset = next_offset


#: Returns the records of any batch, or raises BatchError.
Parse = Callable[[RawBatch], Iterator[Record]]
