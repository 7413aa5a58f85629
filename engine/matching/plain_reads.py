"""The plain reads that may match, checked and written again by compiled code.

`documents.read_scan` has the rules. What is not plain is decoded in Python, which decides. So is a
read in the sample of those that are looked at.

Belongs to one thread, because its buffers are reused; `scrub` wipes them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from engine import limits
from engine.arrays import Bytes
from engine.compiled import compiled
from engine.documents.read_scan import (
    CAMERA_AT,
    CAMERA_END,
    CAPTURED_MS,
    COLUMNS,
    CONFIDENCE,
    DECIMALS,
    IS_KEY,
    IS_PLAIN,
    PLATE_AT,
    PLATE_END,
    REGION_AT,
    REGION_END,
    ROOM_BYTES,
    SOURCE_AT,
    SOURCE_END,
    SPANS,
    VEHICLE_AT,
    VEHICLE_END,
    Column,
    scan_read,
)
from engine.matching.opening import Read
from engine.matching.scanner import in_sample
from engine.plates.compiled_confidence import Numbers, ScaleTables, exact_parts
from engine.plates.confidence import PARTS
from engine.plates.misreads import Misreads
from engine.plates.normal_form import normalize
from engine.wire.record_decoder import (
    COLUMNS as RECORD_COLUMNS,
)
from engine.wire.record_decoder import (
    HIT,
    KEY_AT,
    KEY_LENGTH,
    KIND,
    LIKE,
    NO_ALTERNATES,
    NO_DATA,
    OFFSET,
    SLOT,
    TIMESTAMP_MS,
    VALUE_AT,
    VALUE_LENGTH,
    Rows,
)

#: The columns after those of `read_scan`: the confidence of an exact match in ten-thousandths, and
#: those of the scan's row that a plain read needs.
EXACT_PARTS, _SLOT, _OFFSET, _TIMESTAMP_MS, _VALUE_AT, _VALUE_BYTES = range(COLUMNS, COLUMNS + 6)
FOUND_COLUMNS: Final = COLUMNS + 6
_FOUND: Final = struct.Struct(f"{FOUND_COLUMNS}q")
_SCANNED: Final = struct.Struct(f"{RECORD_COLUMNS}q")


class PlainRead(msgspec.Struct, frozen=True, gc=False):
    """A plain read of a listed plate or of one like it, and its position.

    `slot` is that of the first entry under its plate's hash, NO_ALTERNATES if its plate is like one
    that is listed. `plate` is the read's, and `key` its
    normal form. `text` is what is written of many reads, and `columns` say where this one's parts
    are in it; `text_bytes` is the same text. The value and what follows it are in `data`, which is
    valid while the batch is processed.
    """

    slot: int
    offset: int
    plate: str
    key: str
    source: str
    region: str | None
    columns: Sequence[int]
    text: str
    text_bytes: bytes
    data: memoryview

    @property
    def timestamp_ms(self) -> int:
        """The Kafka timestamp."""
        return self.columns[_TIMESTAMP_MS]

    @property
    def camera(self) -> str:
        return self.text[self.columns[CAMERA_AT] : self.columns[CAMERA_END]]

    @property
    def vehicle(self) -> bytes | None:
        """The vehicle's JSON."""
        at = self.columns[VEHICLE_AT]
        return None if at < 0 else self.text_bytes[at : self.columns[VEHICLE_END]]

    @property
    def captured_ms(self) -> int:
        """The read's own time."""
        return self.columns[CAPTURED_MS]

    @property
    def confidence(self) -> float | None:
        """The confidence that the read states."""
        number = self.columns[CONFIDENCE]
        # The nearest float, because both numbers are floats without rounding.
        return None if number < 0 else number / 10 ** self.columns[DECIMALS]

    @property
    def exact_confidence(self) -> float:
        """The confidence of an exact match; negative if it is not known yet."""
        return self.columns[EXACT_PARTS] / PARTS

    @property
    def size_bytes(self) -> int:
        """The size of the value."""
        return self.columns[_VALUE_BYTES]

    @property
    def value(self) -> bytes:
        at = self.columns[_VALUE_AT]
        return bytes(self.data[at : at + self.columns[_VALUE_BYTES]])

    @property
    def headers(self) -> memoryview | None:
        """The data from the read's headers on; None if it has none."""
        columns, data = self.columns, self.data
        at = columns[_VALUE_AT] + columns[_VALUE_BYTES]
        return data[at:] if data[at] else None

    def whole(self) -> Read:
        """Return the same read for what needs all of it."""
        headers = self.headers
        return Read(
            *(self.offset, self.timestamp_ms, self.key.encode(), self.value),
            headers=() if headers is None else headers,
        )


@compiled
def _scan_hits(
    data: Bytes,
    rows: Rows,
    look_every: int,
    spans: Column,
    out: Bytes,
    found: Rows,
    row_of: Rows,
    scales: Numbers,
    losses: Numbers,
    numbers: Numbers,
) -> int:
    """Write the plain reads among the hits one after the other, and a row of `found` for each of
    `rows`; return how many bytes are written. The last arrays are those of `ScaleTables`."""
    to = 0
    for index in range(len(rows)):
        found[index, IS_PLAIN] = 0
        # The alternates of a read are left to Python.
        is_hit = rows[index, KIND] == HIT or (
            rows[index, KIND] == LIKE and rows[index, SLOT] == NO_ALTERNATES
        )
        if is_hit and not in_sample(rows[index, OFFSET], look_every):
            to = scan_read(
                data,
                rows[index, KEY_AT],
                rows[index, KEY_LENGTH],
                rows[index, VALUE_AT],
                rows[index, VALUE_LENGTH],
                spans,
                out,
                to,
                found[index],
            )
            if found[index, IS_PLAIN] != 0:
                found[index, _SLOT] = rows[index, SLOT]
                found[index, _OFFSET] = rows[index, OFFSET]
                found[index, _TIMESTAMP_MS] = rows[index, TIMESTAMP_MS]
                found[index, _VALUE_AT] = rows[index, VALUE_AT]
                found[index, _VALUE_BYTES] = rows[index, VALUE_LENGTH]
                found[index, EXACT_PARTS] = exact_parts(
                    data,
                    rows[index, KEY_AT],
                    rows[index, KEY_LENGTH],
                    found[index, CONFIDENCE],
                    found[index, DECIMALS],
                    row_of,
                    scales,
                    losses,
                    numbers,
                )
    return to


class PlainStep:
    """Some of a scan's rows. `written` are the plain reads among them, all of it ASCII, and a row
    of `found` says for each of `rows` where its parts are."""

    def __init__(self, view: memoryview, rows: Rows, found: Rows, written: Bytes) -> None:
        self.rows: Final = rows
        self.found: Final = found
        self.written: Final = written
        self._view = view
        self._scanned = rows.data.cast("B")
        self._columns = found.data.cast("B")
        self._are_plain: list[int] = found[:, IS_PLAIN].tolist()
        self._text: str | None = None  # made when the first read is asked for
        self._text_bytes = b""

    def row(self, number: int) -> Sequence[int]:
        """Return a row as Python's integers."""
        return _SCANNED.unpack_from(self._scanned, number * _SCANNED.size)

    def read(self, number: int) -> PlainRead | None:
        """Return the plain read of a row; None if it has none."""
        is_plain = self._are_plain[number]
        if not is_plain:
            return None
        columns = _FOUND.unpack_from(self._columns, number * _FOUND.size)
        region_at = columns[REGION_AT]
        text = self._text
        if text is None:
            self._text_bytes = self.written.tobytes()
            text = self._text = self._text_bytes.decode("ascii")
        plate = text[columns[PLATE_AT] : columns[PLATE_END]]
        return PlainRead(
            columns[_SLOT],
            columns[_OFFSET],
            plate,
            plate if is_plain == IS_KEY else normalize(plate),
            text[columns[SOURCE_AT] : columns[SOURCE_END]],
            None if region_at < 0 else text[region_at : columns[REGION_END]],
            columns,
            text,
            self._text_bytes,
            self._view,
        )


class PlainReads:
    """See the module."""

    def __init__(self, misreads: Misreads) -> None:
        self._scales = ScaleTables(misreads)
        self._spans: Column = np.zeros(SPANS, dtype=np.int64)
        self._found: Rows = np.zeros((0, FOUND_COLUMNS), dtype=np.int64)
        self._out: Bytes = np.zeros(0, dtype=np.uint8)
        # Compile what is not in numba's cache now, and not when the first hit waits.
        self._step(NO_DATA, np.zeros((1, RECORD_COLUMNS), dtype=np.int64), 0)

    def steps(self, data: Bytes, rows: Rows, look_every: int) -> Iterator[PlainStep]:
        """Yield a scan's rows in steps; each is valid until the next one is asked for."""
        for at in range(0, len(rows), limits.ROWS_A_STEP):
            yield self._step(data, rows[at : at + limits.ROWS_A_STEP], look_every)

    def scrub(self) -> None:
        """Wipe the buffers, which hold the last reads."""
        self._spans.fill(0)
        self._found.fill(0)
        self._out.fill(0)

    def _step(self, data: Bytes, rows: Rows, look_every: int) -> PlainStep:
        hits = rows[(rows[:, KIND] == HIT) | (rows[:, KIND] == LIKE)]
        room_bytes = int(hits[:, VALUE_LENGTH].sum()) + ROOM_BYTES * len(hits)
        if len(self._out) < room_bytes:
            self._out = np.zeros(room_bytes, dtype=np.uint8)
        if len(self._found) < len(rows):
            self._found = np.zeros((len(rows), FOUND_COLUMNS), dtype=np.int64)
        self._scales.take_over()
        scales = self._scales.tables
        size = _scan_hits(data, rows, look_every, self._spans, self._out, self._found, *scales)
        return PlainStep(data.data, rows, self._found[: len(rows)], self._out[:size])
