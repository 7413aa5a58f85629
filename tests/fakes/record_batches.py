"""Record batches as a broker sends them, made from plain lists of records.

The records are written by aiokafka's own builder; the header is written here, so that a test
can say what stands in it: any codec even where it does not pay, the broker's timestamp,
transactions, and lies.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from aiokafka import codec as codecs
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from engine.wire.record_batch import RawBatch, RawFetch

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = (NONE, GZIP, SNAPPY, LZ4, ZSTD)

TOPIC = "lpr.detections.v1"
FIRST_MS = 1_790_000_000_000

_HEADER = struct.Struct(">qiibIhiqqqhii")
_CRC_AT, _CHECKED_FROM = 17, 21


class Sent(NamedTuple):
    """A record as a producer sends it. `delta` is its place in the batch where others are
    missing; None: the place after the one before."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = FIRST_MS
    delta: int | None = None


def compress(codec: int, data: bytes) -> bytes:
    """`data` as a Java or Python producer compresses it."""
    match codec:
        case 1:
            return bytes(codecs.gzip_encode(data))
        case 2:
            return bytes(codecs.snappy_encode(data))
        case 3:
            return bytes(codecs.lz4_encode(data))
        case 4:
            return bytes(codecs.zstd_encode(data))
    return data


def deltas_of(records: Sequence[Sent]) -> list[int]:
    """Each record's offset less the batch's."""
    deltas: list[int] = []
    for record in records:
        following = deltas[-1] + 1 if deltas else 0
        deltas.append(following if record.delta is None else record.delta)
    return deltas


def encoded_records(records: Sequence[Sent]) -> bytes:
    """What stands behind the header of an uncompressed batch."""
    builder: Any = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    for record, delta in zip(records, deltas_of(records), strict=True):
        builder.append(delta, record.timestamp_ms, record.key, record.value, list(record.headers))
    return bytes(builder.build())[_HEADER.size :] if records else b""


def batch_bytes(
    records: Sequence[Sent] = (),
    *,
    base_offset: int = 0,
    codec: int = NONE,
    append_ms: int | None = None,
    transactional: bool = False,
    control: bool = False,
    producer_id: int = -1,
    body: bytes | None = None,
    record_count: int | None = None,
    last_delta: int | None = None,
    first_ms: int | None = None,
) -> bytes:
    """A batch of format v2 with a right checksum.

    `body` (what stands behind the header, as compressed) and `record_count` take the place of
    what follows from `records`; `last_delta` is larger than the last record's where compaction
    took records away.
    """
    deltas = deltas_of(records)
    if body is None:
        body = compress(codec, encoded_records(records))
    if first_ms is None:
        first_ms = records[0].timestamp_ms if records else FIRST_MS
    max_ms = max((record.timestamp_ms for record in records), default=FIRST_MS)
    attributes = codec | (append_ms is not None) << 3 | transactional << 4 | control << 5
    header = _HEADER.pack(
        base_offset,
        _HEADER.size - 12 + len(body),
        0,
        2,
        0,
        attributes,
        (deltas[-1] if deltas else 0) if last_delta is None else last_delta,
        first_ms,
        max_ms if append_ms is None else append_ms,
        producer_id,
        0,
        0,
        len(records) if record_count is None else record_count,
    )
    return with_checksum(header + body)


def sent_in(batch: bytes) -> list[Sent]:
    """The records of a batch of format v2, read by aiokafka, which checks the checksum."""
    opened = DefaultRecordBatch(batch)
    assert opened.validate_crc()
    return [
        Sent(each.key, each.value, tuple(each.headers), each.timestamp, each.offset)
        for each in opened
    ]


def with_checksum(data: bytes) -> bytes:
    """A batch of format v2 with its checksum put right."""
    checksum: int = calc_crc32c(data[_CHECKED_FROM:])
    return data[:_CRC_AT] + struct.pack(">I", checksum) + data[_CHECKED_FROM:]


def control_batch(base_offset: int, producer_id: int, *, commit: bool) -> bytes:
    """The marker that ends a transaction."""
    marker = Sent(struct.pack(">HH", 0, int(commit)), struct.pack(">hi", 0, 0))
    return batch_bytes(
        [marker],
        base_offset=base_offset,
        transactional=True,
        control=True,
        producer_id=producer_id,
    )


def legacy_bytes(
    records: Sequence[Sent], magic: Literal[0, 1], *, codec: int = NONE, base_offset: int = 0
) -> bytes:
    """Messages as brokers kept them before format v2. Compressed: one message for them all."""
    builder: Any = LegacyRecordBatchBuilder(magic, codec, 1 << 30)
    for number, record in enumerate(records):
        # A message of magic 1 that wraps others counts their offsets from 0.
        offset = number if codec and magic else base_offset + number
        builder.append(offset, record.timestamp_ms, record.key, record.value)
    data = bytearray(builder.build())
    if codec:
        struct.pack_into(">q", data, 0, base_offset + len(records) - 1)
    return bytes(data)


def raw_batch(data: bytes, *, from_offset: int = 0, intact: bool = True) -> RawBatch:
    """The batch as the seam delivers it, with its header read by aiokafka."""
    header: Any = DefaultRecordBatch(data)
    return RawBatch(
        data=memoryview(data),
        magic=2,
        codec=header.compression_type,
        record_count=_HEADER.unpack_from(data)[12],
        base_offset=header.base_offset,
        next_offset=header.next_offset,
        from_offset=from_offset,
        first_ms=header.first_timestamp,
        append_ms=header.max_timestamp if header.timestamp_type else None,
        intact=intact,
        is_transactional=header.is_transactional,
    )


def raw_fetch(*batches: RawBatch, partition: int = 0) -> RawFetch:
    """Batches of one fetch."""
    return RawFetch(TOPIC, partition, batches)


def as_array(data: bytes) -> npt.NDArray[np.uint8]:
    """Bytes as the scanner takes them."""
    return np.frombuffer(data, dtype=np.uint8)
