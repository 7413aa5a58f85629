"""Decompression of record batches into a reused buffer.

A `Decompressor` belongs to one thread. Its buffer grows to the size of the largest batch, up to a
limit, because a few kilobytes on the wire can claim to be gigabytes. Kafka's five codecs are gzip
(1), snappy (2), lz4 (3), zstd (4) and none (0).

It releases the GIL while it works. It must not inspect what it has decompressed.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import cramjam
import deflate
import numpy as np
from typing_extensions import Buffer

from engine import limits
from engine.arrays import Bytes
from engine.errors import RejectReason
from engine.wire.record_batch import RawBatch

#: The beginning of Java's snappy streams: magic, version, lowest compatible version.
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
#: zlib's code for the largest window and a gzip header.
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b\x08"
_GZIP_END = struct.Struct("<II")
#: The most members of a gzip stream. Producers write one, and each further one costs a copy of the
#: rest.
_GZIP_MEMBERS = 64
#: Java's streams have a block for each 32 KiB, which takes at least about a hundred bytes. A block
#: costs some microseconds, however small it is, so only so many may be smaller than this.
_SNAPPY_BLOCK_BYTES = 32
_SNAPPY_SMALL_BLOCKS = 64

#: The positions, in a message of the formats before v2, of its attributes and of the sizes of its
#: key and value. The sizes take four bytes each; in magic 1 a time of eight bytes precedes them.
_LEGACY_ATTRIBUTES_AT = 17
_LEGACY_KEY_AT = (18, 26)
_SMALLEST_BUFFER = 256 * limits.KIB


_ZEROS = bytes(64 * limits.KIB)
#: Compressed zeros by codec, to be decompressed over earlier data.
_PACKED_ZEROS = {
    1: memoryview(gzip.compress(_ZEROS)),
    2: memoryview(bytes(cramjam.snappy.compress_raw(_ZEROS))),
    3: memoryview(bytes(cramjam.lz4.compress(_ZEROS))),
    4: memoryview(bytes(cramjam.zstd.compress(_ZEROS))),
}


class CodecError(Exception):
    """The error for a batch that cannot be decompressed; `reason` is a reject reason."""

    def __init__(self, reason: RejectReason) -> None:
        super().__init__(reason)
        self.reason = reason


class Decompressor:
    """A decompressor that uses the same buffer for one batch after the other."""

    def __init__(self, limit_bytes: int = limits.BATCH_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer: Bytes = np.empty(min(_SMALLEST_BUFFER, limit_bytes), dtype=np.uint8)

    def decompress(self, codec: int, *batches: memoryview) -> Bytes:
        """Return the records of batches, one after the other, as a read-only array of bytes.

        It is valid until the next call. `codec` is the number in the batches' attributes. Raises
        CodecError for a codec that Kafka does not have (`unknown_codec`), for data that the codec
        cannot read (`corrupt_batch`) and for a result above the limit (`batch_too_large`).
        """
        if codec == 1:
            plain = self._gzip(batches)
        elif codec == 2:
            plain = self._snappy(batches)
        else:  # their frames can follow each other
            joined = batches[0] if len(batches) == 1 else memoryview(b"".join(batches))
            plain = self._decompressed(codec, joined)
        # As those of batches that are not compressed: numba would compile every loop once more for
        # arrays that can be written to, when the first one comes.
        plain.setflags(write=False)
        return plain

    def _decompressed(self, codec: int, data: memoryview) -> Bytes:
        if codec == 0:
            return np.frombuffer(data, dtype=np.uint8)
        if codec == 3:
            return self._grow_until_it_fits(cramjam.lz4.decompress_into, data)
        if codec == 4:
            return self._grow_until_it_fits(cramjam.zstd.decompress_into, data)
        raise CodecError("unknown_codec")

    def check_wrapped(self, batch: RawBatch) -> None:
        """Check the size of a message of the formats before v2, which may wrap others.

        Their parser has no limit. Raises CodecError as `decompress` does. Other faults are left to
        that parser.
        """
        data = batch.data
        codec = data[_LEGACY_ATTRIBUTES_AT] & 7
        if codec not in (1, 2, 3) or (batch.magic, codec) == (0, 3):  # which is invalid
            return
        at = _LEGACY_KEY_AT[batch.magic]
        for _ in range(2):  # to the value, and to its end
            begin = at + 4
            size = int.from_bytes(data[at:begin], "big", signed=True)
            at = begin + max(size, 0)
            if size < -1 or at > len(data):
                raise CodecError("corrupt_batch")
        self.decompress(codec, data[begin:at])

    def scrub(self) -> None:
        """Wipe what was decompressed last, which is no longer valid afterwards.

        The codecs leave parts of it on the stack and in freed memory, so they decompress zeros too.
        """
        for codec, zeros in _PACKED_ZEROS.items():
            self.decompress(codec, zeros)
        self._buffer.fill(0)

    def _room(self, size_bytes: int, filled: int = 0) -> Bytes:
        """Return the buffer with so much room; the filled part is kept."""
        if size_bytes > self._limit_bytes:
            raise CodecError("batch_too_large")
        if len(self._buffer) < size_bytes:
            small = self._buffer
            grown = max(size_bytes, min(2 * len(small), self._limit_bytes))
            self._buffer = np.empty(grown, dtype=np.uint8)
            self._buffer[:filled] = small[:filled]
            small.fill(0)
        return self._buffer

    def _grow_until_it_fits(self, decompress_into: Any, data: Buffer) -> Bytes:
        # The frame formats need not contain the length of the result, and the library reports a
        # full buffer and broken data in the same way. So a failure is retried with more room. If
        # the room was not used up, the data is broken.
        while True:
            try:
                return self._buffer[: decompress_into(data, self._buffer)]
            except cramjam.DecompressionError as error:
                if "whole buffer" not in str(error):
                    raise CodecError("corrupt_batch") from error
            size = len(self._buffer)
            self._room(min(2 * size, self._limit_bytes) if size < self._limit_bytes else size + 1)

    def _gzip(self, batches: Iterable[memoryview]) -> Bytes:
        parts: list[bytearray] = []
        room_bytes = self._limit_bytes
        for batch in batches:
            part = _gzip_member(bytes(batch), room_bytes)
            if part is None:
                part = _gzip_members(batch, room_bytes)
            room_bytes -= len(part)
            parts.append(part)
        return np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), dtype=np.uint8)

    def _snappy(self, batches: Iterable[memoryview]) -> Bytes:
        filled = 0
        for batch in batches:
            if bytes(batch[:8]) == _XERIAL_MAGIC:
                filled = self._snappy_stream(batch, filled)
            else:
                filled = self._snappy_block(batch, filled)
        return self._buffer[:filled]

    def _snappy_stream(self, data: memoryview, filled: int) -> int:
        """Decompress the blocks of Java's stream after the first `filled` bytes; return the end."""
        if len(data) < _XERIAL_HEADER_BYTES:
            raise CodecError("corrupt_batch")
        rest = data[_XERIAL_HEADER_BYTES:]
        blocks_left = _SNAPPY_SMALL_BLOCKS + len(rest) // _SNAPPY_BLOCK_BYTES
        while len(rest):
            blocks_left -= 1
            if blocks_left < 0:
                raise CodecError("corrupt_batch")
            size = int.from_bytes(rest[:4], "big")
            if len(rest) < 4 + size or size == 0:
                raise CodecError("corrupt_batch")
            filled = self._snappy_block(rest[4 : 4 + size], filled)
            rest = rest[4 + size :]
        return filled

    def _snappy_block(self, block: memoryview, filled: int) -> int:
        """Decompress one raw block after the first `filled` bytes; return the end."""
        packed = bytes(block)
        try:
            size = cramjam.snappy.decompress_raw_len(packed)
            room = self._room(filled + size, filled)
            written: int = cramjam.snappy.decompress_raw_into(
                packed,
                memoryview(room)[filled : filled + size],  # type: ignore[arg-type]
            )
        except cramjam.DecompressionError as error:
            raise CodecError("corrupt_batch") from error
        return filled + written


def _gzip_member(data: bytes, room_bytes: int) -> bytearray | None:
    """Return what a gzip stream of one member holds, by libdeflate, which takes two fifths of
    the time of zlib; None if it may be any other stream, or is damaged."""
    if data.find(_GZIP_MAGIC, 1) > 0:
        return None  # perhaps a further member
    # The stream ends with a checksum and the size of what it holds.
    end = data[-_GZIP_END.size :]
    if len(end) < _GZIP_END.size or data.find(end) < len(data) - _GZIP_END.size:
        return None  # they stand there twice
    checksum, size_bytes = _GZIP_END.unpack(end)
    if not 0 < size_bytes <= room_bytes:
        return None
    try:
        member: bytearray = deflate.gzip_decompress(data, size_bytes)
    except deflate.DeflateError:
        return None
    # libdeflate ignores what follows the member, which then does not end like this.
    is_whole = len(member) == size_bytes and deflate.crc32(member) == checksum
    return member if is_whole else None


def _gzip_members(data: memoryview, room_bytes: int) -> bytearray:
    """Decompress a gzip stream of one member or several ones, by zlib. Raises CodecError."""
    plain = bytearray()
    rest: Buffer = data
    members = 0
    while len(rest := memoryview(rest)):
        members += 1
        if members > _GZIP_MEMBERS:
            raise CodecError("corrupt_batch")
        member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        try:
            plain += member.decompress(rest, room_bytes + 1 - len(plain))
        except zlib.error as error:
            raise CodecError("corrupt_batch") from error
        if len(plain) > room_bytes:
            raise CodecError("batch_too_large")
        if not member.eof:
            raise CodecError("corrupt_batch")
        rest = member.unused_data
    return plain
