"""All records of a fetched batch, read by the compiled walk if possible, else by a parser.

For the control topics, whose records are all needed. It is several times faster than aiokafka,
which creates an object for each record. One `BatchReader` serves one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from engine import limits
from engine.documents.fields import OPERATOR_HEADER
from engine.errors import BrokerError
from engine.wire.decompress import CodecError, Decompressor
from engine.wire.headers import headers_at
from engine.wire.record_batch import BatchError, Parse, RawBatch, Record
from engine.wire.record_decoder import (
    COLUMNS,
    MALFORMED,
    Bytes,
    Malformed,
    Rows,
    TooManyRecords,
    headers_of,
    in_steps,
    walk,
)

#: A value of `headers_from`: no record's headers are read.
NO_HEADERS: Final = 1 << 63

Headers = tuple[tuple[str, bytes | None], ...]


class BatchReader:
    """A reader of batches. `parse` returns the records of a batch that the walk cannot read."""

    def __init__(self, parse: Parse) -> None:
        self._parse = parse
        self._decompressor = Decompressor()
        self._rows: Rows = np.empty((1024, COLUMNS), dtype=np.int64)
        # If the walk is not in numba's cache, compile it now, not when the first record waits.
        walk(np.empty(0, dtype=np.uint8), 0, np.zeros(5, dtype=np.int64), self._rows, 0)

    def records(self, batch: RawBatch, headers_from: int = NO_HEADERS) -> list[Record]:
        """Return all records of a batch; see `each`."""
        return list(self.each(batch, headers_from))

    def each(self, batch: RawBatch, headers_from: int = NO_HEADERS) -> Iterator[Record]:
        """Yield the records of a batch. Finish one batch before you begin the next.

        Records from the offset `headers_from` on have their headers, at most CONTROL_HEADERS each;
        few callers need them. Raises BatchError if a record cannot be read.
        """
        if not batch.intact:
            raise BatchError("corrupt_batch", batch.first_offset)
        try:
            if batch.magic < 2:
                self._decompressor.check_wrapped(batch)
                yield from self._parse(batch)
                return
            data = self._decompressor.decompress(batch.codec, batch.records)
            rows = self._walked(batch, data)
        except CodecError as error:
            raise BatchError(error.reason, batch.first_offset) from error
        except TooManyRecords as error:
            raise BatchError("batch_too_large", batch.first_offset) from error
        except Malformed:
            yield from self._parse(batch)
            return
        view = data.data
        for _, _, offset, timestamp_ms, key_at, key_length, at, length in in_steps(rows):
            yield Record(
                offset,
                timestamp_ms,
                None if key_length < 0 else bytes(view[key_at : key_at + key_length]),
                None if length < 0 else bytes(view[at : at + length]),
                () if offset < headers_from else _headers(view[at + max(length, 0) :]),
            )

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


def _headers(data: memoryview) -> Headers:
    """Return a record's headers; the walk has already checked that they are well formed."""
    headers = headers_at(data, first=limits.CONTROL_HEADERS)
    assert headers is not None
    return tuple((name, None if value is None else bytes(value)) for name, value in headers)
