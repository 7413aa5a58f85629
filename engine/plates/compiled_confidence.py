"""The confidence of an exact match by compiled code, for plates of A-Z and 0-9.

`exact_parts` gives the same number as `confidence.exact_confidence`. The values of a scale are
those of `misread_model.Scaled`: `ScaleTables` takes each over when Python has computed it for the
first time. What is not known, or so close to a limit that a last bit may decide, is left to Python.

`ScaleTables` belongs to one thread.
"""

from __future__ import annotations

import math
from string import ascii_uppercase, digits
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import compiled
from engine.plates.confidence import LEAST, MOST, NEARLY_HALF, PARTS
from engine.plates.misread_model import (
    LEAST_CONFIDENCE,
    MOST_CONFIDENCE,
    STEPS_AN_E,
    Rates,
    Scaled,
)
from engine.plates.misreads import Misreads

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

#: `exact_parts` leaves the confidence to Python.
NOT_KNOWN: Final = -1
#: Scales from e to the power of -30 to that of 30: beyond all that plates of 16 characters give.
_STEPS: Final = 1024
_CHARACTERS: Final = ascii_uppercase + digits
_BYTES: Final = 128
#: The columns of a scale after those of the bytes.
_MISSING: Final = _BYTES
_ADDED: Final = _BYTES + 1
_COLUMNS: Final = _BYTES + 2
#: The numbers of a table of misreads.
_OTHER_LENGTH, _DENSITY, _CHARACTER_COUNT, _MISSING_LOSS, _ADDED_LOSS = range(5)


class Tables(NamedTuple):
    """What `exact_parts` needs: which row each scale has, -1 for none; the rows, with the sum over
    the true characters of each read one; the loss of each character; and other numbers."""

    row_of: Rows
    rows: Numbers
    losses: Numbers
    numbers: Numbers


class ScaleTables:
    """The tables of one table of misreads, and the scales that they have so far."""

    def __init__(self, misreads: Misreads) -> None:
        self._rates: Rates = misreads.rates
        table = misreads.table
        losses = np.zeros(_BYTES)
        for char in _CHARACTERS:
            losses[ord(char)] = self._rates.losses[char]
        numbers = np.zeros(5)
        numbers[_OTHER_LENGTH] = table.other_length_share
        numbers[_DENSITY] = table.plate_density
        numbers[_CHARACTER_COUNT] = self._rates.characters
        numbers[_MISSING_LOSS] = self._rates.missing_loss
        numbers[_ADDED_LOSS] = self._rates.added_loss
        self.tables: Tables = Tables(
            np.full(2 * _STEPS + 1, -1, dtype=np.int64), np.zeros((0, _COLUMNS)), losses, numbers
        )

    def take_over(self) -> None:
        """Take over the scales that have been computed since the last call."""
        row_of, rows, losses, numbers = self.tables
        count = self._rates.scale_count
        if count == len(rows):
            return
        scales = self._rates.scales[len(rows) :]
        added = np.array([_row(scaled) for _, scaled in scales])
        for number, (step, _) in enumerate(scales, len(rows)):
            if -_STEPS <= step <= _STEPS:
                row_of[step + _STEPS] = number
        self.tables = Tables(row_of, np.concatenate([rows, added]), losses, numbers)


def _row(scaled: Scaled) -> list[float]:
    of_bytes = [0.0] * _BYTES
    for char in _CHARACTERS:
        of_bytes[ord(char)] = scaled.alike[char]
    return [*of_bytes, scaled.missing, scaled.added]


@compiled
def exact_parts(
    data: Bytes,
    at: int,
    length: int,
    stated: int,
    decimals: int,
    row_of: Rows,
    rows: Numbers,
    losses: Numbers,
    numbers: Numbers,
) -> int:
    """Return the confidence in ten-thousandths, or NOT_KNOWN.

    The plate has 1 to 16 bytes of A-Z and 0-9. The reader states `stated` divided by ten to the
    power of `decimals`, or nothing if that is negative. The order of all operations is that of
    Python's, so that the results are the same to the last bit.
    """
    step = 0
    if stated >= 0:
        confidence = stated / 10**decimals
        if confidence < LEAST_CONFIDENCE:
            confidence = LEAST_CONFIDENCE
        elif confidence > MOST_CONFIDENCE:
            confidence = MOST_CONFIDENCE
        loss = 0.0
        for index in range(at, at + length):
            loss += losses[data[index]]
        loss += length * numbers[_MISSING_LOSS] + (length + 1) * numbers[_ADDED_LOSS]
        exact = STEPS_AN_E * math.log(-math.log(confidence) / loss)
        # A logarithm may differ in its last bit from Python's.
        if abs(exact - math.floor(exact) - 0.5) < 1e-9:
            return NOT_KNOWN
        step = math.floor(exact + 0.5)
        if step < -_STEPS or step > _STEPS:
            return NOT_KNOWN
    row = row_of[step + _STEPS]
    if row < 0:
        return NOT_KNOWN
    scale = rows[row]
    pattern = 1.0
    for index in range(at, at + length):
        pattern *= scale[data[index]]
    longer = (length + 1) * scale[_MISSING] * numbers[_CHARACTER_COUNT] / 2
    beyond = pattern * (longer + length * scale[_ADDED])
    others = pattern - 1.0 + numbers[_OTHER_LENGTH] * beyond
    found = 1.0 / (1.0 + numbers[_DENSITY] * others)
    if found < LEAST:
        found = LEAST
    elif found > MOST:
        found = MOST
    parts = found * PARTS
    whole = int(parts + 0.5)
    return whole if abs(parts - whole) < NEARLY_HALF else NOT_KNOWN
