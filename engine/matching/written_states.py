"""What is reported of the suppression's changes: the latest states of keys, as JSON.

States that compiled code has written lie one after the other in an array. An object is made of one
only where one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Final, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes


class SuppressionRecord(NamedTuple):
    """A key's latest state as JSON, for the changelog; None if it was evicted."""

    partition: int
    key: bytes
    value: bytes | None


class WrittenStates(Sequence[SuppressionRecord]):
    """States of one partition that compiled code has written one after the other in `text`, where
    they end, their keys, and their rows at that time."""

    def __init__(
        self,
        partition: int,
        rows: npt.NDArray[np.int64],
        keys: Bytes,
        text: Bytes,
        ends: npt.NDArray[np.int64],
    ) -> None:
        self.partition: Final = partition
        self.rows: Final = rows
        self.keys: Final = keys
        self.text: Final = text
        self.ends: Final = ends

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, at: int) -> SuppressionRecord: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[SuppressionRecord]: ...
    def __getitem__(self, at: int | slice) -> SuppressionRecord | Sequence[SuppressionRecord]:
        if isinstance(at, slice):
            return [*self][at]
        begin = self.ends[at - 1] if at else 0
        value = self.text[begin : self.ends[at]].tobytes()
        return SuppressionRecord(self.partition, self.keys[at].tobytes(), value)


def partition_of_each(part: Sequence[SuppressionRecord]) -> Iterable[int]:
    """Return the partition of each of the records, which are part of what has changed."""
    if isinstance(part, WrittenStates):
        return repeat(part.partition, len(part))
    return map(attrgetter("partition"), part)
