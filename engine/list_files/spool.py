"""Byte strings kept in order and small: for records that wait until all of them are checked.

They are compressed some thousands at a time. Entries of one file have most of their text in
common, so that one takes a few dozen bytes. In memory and nowhere else: plates leave no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cramjam
import msgspec

#: Bytes that are compressed together.
_BLOCK_BYTES: Final = 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


class Spool:
    """See the module."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._open: list[bytes] = []
        self._open_bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, data: bytes) -> None:
        """Keep one more."""
        self._open.append(data)
        self._open_bytes += len(data)
        self._count += 1
        if self._open_bytes >= _BLOCK_BYTES:
            self._blocks.append(bytes(cramjam.lz4.compress_block(_encode(self._open))))
            self._open, self._open_bytes = [], 0

    def __iter__(self) -> Iterator[bytes]:
        """All of them in order."""
        for block in self._blocks:
            yield from _decode(bytes(cramjam.lz4.decompress_block(block)))
        yield from self._open
