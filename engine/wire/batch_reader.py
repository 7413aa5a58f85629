"""All records of a fetched batch, read by the compiled walk if possible, else by a parser.

For the control topics, whose records are all needed. It is several times faster than aiokafka,
which creates an object for each record. One `BatchReader` serves one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from engine import limits
from engine.arrays import Bytes
from engine.documents.fields import OPERATOR_HEADER
from engine.errors import BrokerError
from engine.wire.decompress import CodecError, Decompressor
from engine.wire.record_batch import BatchError, Headers, Parse, RawBatch, Record
from engine.wire.record_decoder import (
    COLUMNS,
    KEY_LENGTH,
    MALFORMED,
    NO_DATA,
    VALUE_LENGTH,
    Malformed,
    Rows,
    TooManyRecords,
    headers_of,
    walk,
)
from engine.wire.record_rows import RecordRows, joined

#: A value of `headers_from`: no record's headers are read.
NO_HEADERS: Final = 1 << 63


class BatchReader:
    """A reader of batches. `parse` returns the records of a batch that the walk cannot read."""

    def __init__(self, parse: Parse) -> None:
        self._parse = parse
        self._decompressor = Decompressor()
        self._rows: Rows = np.empty((1024, COLUMNS), dtype=np.int64)
        # If the walk is not in numba's cache, compile it now, not when the first record waits.
        walk(NO_DATA, 0, np.zeros(5, dtype=np.int64), self._rows, 0)

    def records(self, batch: RawBatch, headers_from: int = NO_HEADERS) -> list[Record]:
        """Return all records of a batch; see `each`."""
        return list(self.each(batch, headers_from))

    def each(self, batch: RawBatch, headers_from: int = NO_HEADERS) -> Iterator[Record]:
        """Yield the records of a batch. Finish one batch before you begin the next.

        Records from the offset `headers_from` on have their headers, at most CONTROL_HEADERS each;
        few callers need them. Raises BatchError if a record cannot be read.
        """
        rows = self._rows_of(batch, headers_from)
        yield from self._parse(batch) if rows is None else rows.records()

    def steps(
        self, batches: Iterable[RawBatch], headers_from: int, most: int, most_bytes: int
    ) -> Iterator[RecordRows | list[Record]]:
        """Yield all records of batches of one partition, in steps of at most so many.

        A step ends with the record that reaches so many bytes of keys and values. It is valid until
        the next one. The records of batches that the walk cannot read come in lists. Raises
        BatchError as `each` does.
        """
        waiting: list[RecordRows] = []  # small batches, copied
        count = 0
        for batch in batches:
            found = self._rows_of(batch, headers_from)
            is_small = (
                found is not None
                and 2 * len(found) <= most
                and 2 * len(found.data) <= most_bytes
                and len(found) <= most - count
            )
            if waiting and not is_small:
                yield from _cut(joined(waiting, headers_from), headers_from, most, most_bytes)
                waiting, count = [], 0
            if found is None:
                parsed = self._parse(batch)
                while some := _first_of(parsed, most, most_bytes):
                    yield some
            elif 2 * len(found) > most or 2 * len(found.data) > most_bytes:
                yield from _cut(found, headers_from, most, most_bytes)
            else:
                waiting.append(RecordRows(found.data.copy(), found.rows.copy(), headers_from))
                count += len(found)
        if waiting:
            yield from _cut(joined(waiting, headers_from), headers_from, most, most_bytes)

    def _rows_of(self, batch: RawBatch, headers_from: int) -> RecordRows | None:
        """Return the rows of a batch, or None if the walk cannot read it."""
        if not batch.intact:
            raise BatchError("corrupt_batch", batch.first_offset)
        try:
            if batch.magic < 2:
                self._decompressor.check_wrapped(batch)
                return None
            data = self._decompressor.decompress(batch.codec, batch.records)
            return RecordRows(data, self._walked(batch, data), headers_from)
        except CodecError as error:
            raise BatchError(error.reason, batch.first_offset) from error
        except TooManyRecords as error:
            raise BatchError("batch_too_large", batch.first_offset) from error
        except Malformed:
            return None

    def _walked(self, batch: RawBatch, data: Bytes) -> Rows:
        """Return a row for each record, valid until the next batch."""
        [header] = headers_of([batch], len(data))
        if len(self._rows) < batch.record_count:
            self._rows = np.empty((batch.record_count, COLUMNS), dtype=np.int64)
        at, filled = walk(data, 0, header, self._rows, 0)
        if at == MALFORMED or at != len(data):
            raise Malformed
        return self._rows[:filled]


def operator_of(headers: Headers) -> str | None:
    """Return the operator that a record names: the last such header that has a value."""
    for name, value in reversed(headers):
        if name == OPERATOR_HEADER and value:
            return value[: limits.OPERATOR_BYTES].decode(errors="replace")
    return None


def _cut(found: RecordRows, headers_from: int, most: int, most_bytes: int) -> Iterator[RecordRows]:
    sizes = np.maximum(found.rows[:, (KEY_LENGTH, VALUE_LENGTH)], 0).sum(axis=1).cumsum()
    begin = size_before = 0
    while begin < len(found):
        reaches = int(np.searchsorted(sizes, size_before + most_bytes)) + 1
        end = min(begin + most, reaches, len(found))
        yield RecordRows(found.data, found.rows[begin:end], headers_from)
        begin, size_before = end, int(sizes[end - 1])


def _first_of(records: Iterator[Record], most: int, most_bytes: int) -> list[Record]:
    some: list[Record] = []
    size_bytes = 0
    for record in records:
        some.append(record)
        size_bytes += len(record.key or b"") + len(record.value or b"")
        if len(some) == most or size_bytes >= most_bytes:
            break
    return some


def every_step(
    reader: BatchReader,
    where: str,
    batches: Iterable[RawBatch],
    headers_from: int,
    most: int,
    most_bytes: int,
) -> Iterator[RecordRows | list[Record]]:
    """Yield the steps of control batches of the partition `where`, as `BatchReader.steps` does.

    Raises BrokerError as `every_record` does.
    """
    try:
        yield from reader.steps(batches, headers_from, most, most_bytes)
    except BatchError as error:
        raise unreadable_record(error.reason, f"{where}/{error.next_offset}") from error


def every_record(
    reader: BatchReader,
    where: str,
    batches: Iterable[RawBatch],
    headers_from: int = NO_HEADERS,
) -> Iterator[Record]:
    """Yield the records of control batches of the partition `where`, as `BatchReader.each` does.

    Raises BrokerError if one cannot be read, because no change of the lists may be skipped.
    """
    try:
        for batch in batches:
            yield from reader.each(batch, headers_from)
    except BatchError as error:
        raise unreadable_record(error.reason, f"{where}/{error.next_offset}") from error


def unreadable_record(reason: str, where: str) -> BrokerError:
    """Return the error for a control record that cannot be read."""
    return BrokerError(
        f"a control record cannot be read ({reason})",
        where=where,
        hint="repair the topic, or delete it and write the lists again",
    )
