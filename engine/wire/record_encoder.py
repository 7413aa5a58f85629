"""Record batches of format v2, written: the records of a batch are joined, once.

A call for each record, and a further one for each of its headers, costs more than what is copied.
A compiled pass over objects was slower too: it copies twice, and lengths have to become an array.
Where records lie in arrays anyway, `record_columns` writes them. Offsets and times are the batch's
own: its records count from 0, and share one time.

Format: KIP-98, https://kafka.apache.org/documentation/#recordbatch.

Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from crc32c import crc32c

#: Everything before the records: offset, length, the leader's term, magic, checksum, attributes,
#: last offset, two times, the three numbers of the producer, the number of records.
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
#: The part of it that the checksum covers, as it covers the records.
_CHECKED: Final = struct.Struct(">hiqqqhii")
_BEFORE_LENGTH_BYTES: Final = 12
BATCH_HEADER_BYTES: Final = _HEADER.size
_NO_LEADER_EPOCH: Final = -1
_MAGIC: Final = 2
#: The bit of the attributes that says so; the codec's number is in the lowest ones.
TRANSACTIONAL: Final = 0x10

#: A record's attributes (none is defined), and how long after the batch it was made.
_NOTHING: Final = b"\0\0"
#: These, and three lengths and an offset of up to five bytes each.
BESIDE_BYTES: Final = 2 + 4 * 5
#: The length of what is not there.
_NONE: Final = b"\1"
#: A record's headers if it has none.
NO_HEADERS: Final = b"\0"


class WritableRecord(Protocol):
    """A record to write. Without a value it is a tombstone. `headers` come written."""

    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> bytes: ...


class Producer(NamedTuple):
    """The producer of a batch, so that the broker recognizes one that it has."""

    producer_id: int
    producer_epoch: int
    base_sequence: int


def _encoded(length: int) -> bytes:
    """Return a number that is not negative: zigzag, seven bits in a byte."""
    left = length << 1
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)


#: Nearly all lengths and offsets.
_LENGTHS: Final = [_encoded(length) for length in range(4096)]


def written_length(length: int) -> bytes:
    """Return a length, an offset within a batch, or the number of headers."""
    return _LENGTHS[length] if length < len(_LENGTHS) else _encoded(length)


def written_text(text: str) -> bytes:
    """Return text with its length before it, as headers have it."""
    encoded = text.encode()
    return written_length(len(encoded)) + encoded


def written_header(name: str, value: bytes) -> bytes:
    """Return a header. A record's headers are their number and they, one after the other."""
    return written_text(name) + written_length(len(value)) + value


def encode_records(
    records: Iterable[WritableRecord], limit_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Yield what follows the header of a batch, uncompressed, and how many records that is.

    No batch is larger than the limit with its header, except for a record that is so by itself.
    """
    parts: list[bytes] = []
    count, size_bytes = 0, _HEADER.size
    known, known_below = _LENGTHS, len(_LENGTHS)  # `written_length`, without a call for each
    for record in records:
        key, value, headers = record.key, record.value, record.headers
        key_bytes = len(key)
        key_length = known[key_bytes] if key_bytes < known_below else _encoded(key_bytes)
        if value is None:
            value_bytes, value_length, value = 0, _NONE, b""
        else:
            value_bytes = len(value)
            value_length = (
                known[value_bytes] if value_bytes < known_below else _encoded(value_bytes)
            )
        body_bytes = key_bytes + value_bytes + len(headers)
        if count and size_bytes + body_bytes + BESIDE_BYTES > limit_bytes:
            yield count, b"".join(parts)
            parts, count, size_bytes = [], 0, _HEADER.size
        offset = written_length(count)
        body_bytes += 2 + len(offset) + len(key_length) + len(value_length)
        length = known[body_bytes] if body_bytes < known_below else _encoded(body_bytes)
        parts += (length, _NOTHING, offset, key_length, key, value_length, value, headers)
        count += 1
        size_bytes += len(length) + body_bytes
    if count:
        yield count, b"".join(parts)


def encode_batch(
    records: bytes, count: int, attributes: int, at_ms: int, producer: Producer
) -> bytes:
    """Return a batch: a header, and records as `encode_records` has them or compressed.

    `attributes` are the number of the codec and TRANSACTIONAL; the records get the time `at_ms`.
    """
    last_offset = count - 1
    checked = _CHECKED.pack(attributes, last_offset, at_ms, at_ms, *producer, count)
    checksum = crc32c(records, crc32c(checked), gil_release_mode=0)
    header = _HEADER.pack(
        0,  # the broker gives the offset
        _HEADER.size - _BEFORE_LENGTH_BYTES + len(records),
        _NO_LEADER_EPOCH,
        _MAGIC,
        checksum,
        attributes,
        last_offset,
        at_ms,
        at_ms,
        *producer,
        count,
    )
    return header + records
