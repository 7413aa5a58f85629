"""Decompression of record batches into a buffer that is used again.

One `Decompressor` serves one thread. Its buffer grows to what the largest batch needed, up to
a limit that no batch may pass: a few kilobytes on the wire can claim to be gigabytes. Kafka's
five codecs are gzip (1), snappy (2), lz4 (3), zstd (4) and none (0).

It frees the GIL while it works. It may not look into what it has decompressed.
"""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import cramjam
import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from engine import limits
from engine.errors import RejectReason
from engine.wire.record_batch import RawBatch

Bytes = npt.NDArray[np.uint8]

#: Codecs of which several batches' data in a row decompress to their records in a row: none,
#: gzip, lz4, zstd. (Snappy's blocks say how long they are all together.)
JOINABLE_CODECS = frozenset({0, 1, 3, 4})

#: How Java's snappy streams begin: magic, version, lowest compatible version.
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
#: zlib's way to say: the largest window, and a gzip header.
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
#: Producers write one. Each more costs a copy of the rest.
_GZIP_MEMBERS = 64
#: Java's streams have a block for each 32 KiB, which takes some hundred bytes at the least. Each
#: costs some microseconds, however small it is; so many may be smaller than this.
_SNAPPY_BLOCK_BYTES = 32
_SNAPPY_SMALL_BLOCKS = 64

#: Where, in a message of the formats before v2, its attributes stand, and the sizes of its key
#: and value, which are four bytes each; a time of eight comes before them in magic 1.
_LEGACY_ATTRIBUTES_AT = 17
_LEGACY_KEY_AT = (18, 26)
_SMALLEST_BUFFER = 256 * limits.KIB


_ZEROS = bytes(64 * limits.KIB)
#: By codec, zeros to be decompressed over what was decompressed before.
_PACKED_ZEROS = {
    1: memoryview(gzip.compress(_ZEROS)),
    2: memoryview(bytes(cramjam.snappy.compress_raw(_ZEROS))),
    3: memoryview(bytes(cramjam.lz4.compress(_ZEROS))),
    4: memoryview(bytes(cramjam.zstd.compress(_ZEROS))),
}


class CodecError(Exception):
    """A batch cannot be decompressed. `reason` is a reject reason."""

    def __init__(self, reason: RejectReason) -> None:
        super().__init__(reason)
        self.reason = reason


class Decompressor:
    """Decompresses one batch after the other into the same buffer."""

    def __init__(self, limit_bytes: int = limits.BATCH_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer: Bytes = np.empty(min(_SMALLEST_BUFFER, limit_bytes), dtype=np.uint8)

    def decompress(self, codec: int, data: memoryview) -> Bytes:
        """The records of a batch as an array of bytes, valid until the next call.

        `codec` is the number in the batch's attributes. Raises CodecError for a codec that
        Kafka does not have (`unknown_codec`), for data that is not what the codec says
        (`corrupt_batch`) and for more than the limit (`batch_too_large`).
        """
        if codec == 0:
            return np.frombuffer(data, dtype=np.uint8)
        if codec == 1:
            return self._gzip(data)
        if codec == 2:
            return self._snappy(data)
        if codec == 3:
            return self._grow_until_it_fits(cramjam.lz4.decompress_into, data)
        if codec == 4:
            return self._grow_until_it_fits(cramjam.zstd.decompress_into, data)
        raise CodecError("unknown_codec")

    def check_wrapped(self, batch: RawBatch) -> None:
        """See that a message of the formats before v2, which may wrap others, is within the
        limit: its parser knows none. Raises CodecError as `decompress` does.

        What else may be wrong with it is left to that parser.
        """
        data = batch.data
        codec = data[_LEGACY_ATTRIBUTES_AT] & 7
        if codec not in (1, 2, 3) or (batch.magic, codec) == (0, 3):  # which nobody can read
            return
        at = _LEGACY_KEY_AT[batch.magic]
        for _ in range(2):  # to the value, and to its end
            begin = at + 4
            size = int.from_bytes(data[at:begin], "big", signed=True)
            at = begin + max(size, 0)
            if size < -1 or at > len(data):
                raise CodecError("corrupt_batch")
        self.decompress(codec, data[begin:at])

    def forget(self) -> None:
        """Wipe what was decompressed last; it is not valid any more from here on.

        The codecs leave a piece of it on the stack and in freed memory: they get zeros too.
        """
        for codec, zeros in _PACKED_ZEROS.items():
            self.decompress(codec, zeros)
        self._buffer.fill(0)

    def _room(self, size_bytes: int, filled: int = 0) -> Bytes:
        """The buffer, with so much room; what it is filled with stays."""
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
        # The frame formats need not say how long the result is, and the library reports a
        # full buffer and broken data alike. So a failure is tried again with more room, and
        # the data is known to be broken where the room was not used up.
        while True:
            try:
                return self._buffer[: decompress_into(data, self._buffer)]
            except cramjam.DecompressionError as error:
                if "whole buffer" not in str(error):
                    raise CodecError("corrupt_batch") from error
            size = len(self._buffer)
            self._room(min(2 * size, self._limit_bytes) if size < self._limit_bytes else size + 1)

    def _gzip(self, data: memoryview) -> Bytes:
        plain = bytearray()
        rest: Buffer = data
        members = 0
        while len(rest := memoryview(rest)):  # a gzip stream may have several members
            members += 1
            if members > _GZIP_MEMBERS:
                raise CodecError("corrupt_batch")
            member = zlib.decompressobj(_GZIP_WINDOW_BITS)
            try:
                plain += member.decompress(rest, self._limit_bytes + 1 - len(plain))
            except zlib.error as error:
                raise CodecError("corrupt_batch") from error
            if len(plain) > self._limit_bytes:
                raise CodecError("batch_too_large")
            if not member.eof:
                raise CodecError("corrupt_batch")
            rest = member.unused_data
        return np.frombuffer(plain, dtype=np.uint8)

    def _snappy(self, data: memoryview) -> Bytes:
        if bytes(data[:8]) != _XERIAL_MAGIC:
            size = self._snappy_block(data, 0)  # before the buffer is named: it may change
            return self._buffer[:size]
        if len(data) < _XERIAL_HEADER_BYTES:
            raise CodecError("corrupt_batch")
        filled = 0
        rest = data[_XERIAL_HEADER_BYTES:]
        blocks_left = _SNAPPY_SMALL_BLOCKS + len(rest) // _SNAPPY_BLOCK_BYTES
        while len(rest):
            blocks_left -= 1
            if blocks_left < 0:
                raise CodecError("corrupt_batch")
            size = int.from_bytes(rest[:4], "big")
            if len(rest) < 4 + size or size == 0:
                raise CodecError("corrupt_batch")
            filled += self._snappy_block(rest[4 : 4 + size], filled)
            rest = rest[4 + size :]
        return self._buffer[:filled]

    def _snappy_block(self, block: memoryview, filled: int) -> int:
        """Decompress one raw block behind the first `filled` bytes; its length."""
        try:
            size = cramjam.snappy.decompress_raw_len(bytes(block))
            room = self._room(filled + size, filled)
            written: int = cramjam.snappy.decompress_raw_into(
                bytes(block),
                memoryview(room)[filled : filled + size],  # type: ignore[arg-type]
            )
        except cramjam.DecompressionError as error:
            raise CodecError("corrupt_batch") from error
        return written
