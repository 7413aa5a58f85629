"""Tables of numbers and of texts that Python fills and compiled code reads."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes

Rows = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]

#: No row, or no text.
NONE: Final = -1
#: How many places are tried for a row, so that texts made to collide cost little.
TRIES: Final = 8


class Texts:
    """Texts one after the other, in an array that grows up to a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._used = 0
        self._set(np.zeros(1 << 16, dtype=np.uint8))

    def _set(self, data: Bytes) -> None:
        self.data = data
        self._view = data.data

    def has_room(self, size_bytes: int) -> bool:
        return self._used + size_bytes <= self._limit_bytes

    def add(self, text: bytes) -> tuple[int, int]:
        """Add a text, for which there must be room; return where it is, and how long."""
        at, self._used = self._used, self._used + len(text)
        if self._used > len(self.data):
            self._set(
                np.concatenate([self.data, np.zeros(max(len(self.data), len(text)), np.uint8)])
            )
        self._view[at : self._used] = text
        return at, len(text)

    def wipe(self) -> None:
        self.data[: self._used] = 0
        self._used = 0


class RowTable:
    """Rows of numbers, and the places that lead to them; their number is a power of two."""

    def __init__(self, most: int, columns: int, places: int = 0) -> None:
        self.rows: Rows = np.zeros((most, columns), dtype=np.int64)
        self.places: Places = np.full(places, NONE, dtype=np.int32)
        self.count = 0
        # A row is set twice as fast as by numpy.
        self._set = struct.Struct(f"{columns}q").pack_into
        self._row_bytes = 8 * columns
        self._view = self.places.data

    @property
    def is_full(self) -> bool:
        return self.count == len(self.rows)

    def add(self, *numbers: int) -> int:
        """Add a row, for which there must be room, and return its number."""
        row, self.count = self.count, self.count + 1
        self._set(self.rows.data, row * self._row_bytes, *numbers)
        return row

    def place(self, row: int, first: int) -> None:
        """Let the first free place lead to a row. If none of those that are tried is free, the row
        is not found, and Python does its work."""
        mask = len(self._view) - 1
        for step in range(TRIES):
            at = (first + step) & mask
            if self._view[at] == NONE:
                self._view[at] = row
                return

    def clear(self) -> None:
        if self.count:
            self.rows[: self.count] = 0
            self.places.fill(NONE)
            self.count = 0
