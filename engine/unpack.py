"""All records of a fetched batch, by the scanner where it can and the general parser elsewhere.

For the control topics, of which every record counts: several times faster than one record
object after the other out of aiokafka. One `Unpacker` serves one thread.
"""

from __future__ import annotations

from engine.batches import parse
from engine.decompress import CodecError, Decompressor
from engine.raw import BatchError, RawBatch, Record
from engine.scan import Malformed, Scanner
from engine.table import HashTable

#: With nothing listed and every read drawn, the scanner gives a row for each record.
_NOTHING_LISTED = HashTable()


class Unpacker:
    """See the module."""

    def __init__(self) -> None:
        self._decompressor = Decompressor()
        self._scanner = Scanner(sample_every=1)

    def records(self, batch: RawBatch) -> list[Record]:
        """The records of a batch, without their headers.

        Raises BatchError where they cannot be read.
        """
        if not batch.intact:
            raise BatchError("corrupt_batch", batch.first_offset)
        if batch.magic < 2:
            return list(parse(batch))
        try:
            data = self._decompressor.decompress(batch.codec, batch.records)
            rows, _ = self._scanner.scan([batch], data, _NOTHING_LISTED)
        except CodecError as error:
            raise BatchError(error.reason, batch.first_offset) from error
        except Malformed:
            return list(parse(batch))
        view = data.data
        return [
            Record(
                offset,
                timestamp_ms,
                None if key_length < 0 else bytes(view[key_at : key_at + key_length]),
                None if length < 0 else bytes(view[at : at + length]),
                (),
            )
            for _, _, offset, timestamp_ms, key_at, key_length, at, length in rows.tolist()
        ]
