"""Matches that compiled code has written, one after the other in an array.

An object is made of one only where one is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, overload

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import compiled
from engine.matching.outcome import FoundMatch
from engine.wire.record_columns import put_text

#: The columns of a match: where its value begins, its id in it, and where the value ends, what the
#: audit records of it, and its key, one behind the other; its Kafka timestamp; and the number of
#: its purpose.
VALUE_AT, ID_AT, VALUE_END, AUDIT_END, KEY_END, TIMESTAMP_MS, PURPOSE, COLUMNS = range(8)
ID_BYTES: Final = 32
_TYPE: Final = "exact"


@compiled
def _gather(data: Bytes, rows: npt.NDArray[np.int64], out: Bytes) -> None:
    """Copy matches one behind the other, and say in their rows where they are."""
    to = np.uint64(0)
    for number in range(len(rows)):
        row = rows[number]
        begin, moved = row[VALUE_AT], np.int64(to) - row[VALUE_AT]
        to = put_text(data, begin, row[KEY_END] - begin, out, to)
        for column in range(KEY_END + 1):
            row[column] += moved


class WrittenMatches(Sequence[FoundMatch]):
    """See the module: `data`, and a row for each match. `purposes` has their names by number."""

    def __init__(
        self,
        data: Bytes,
        rows: npt.NDArray[np.int64],
        matched_at: str,
        purposes: Mapping[int, str],
    ) -> None:
        self.data: Final = data
        self.rows: Final = rows
        self.matched_at: Final = matched_at
        self._purposes = purposes

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> FoundMatch: ...
    @overload
    def __getitem__(self, at: slice) -> WrittenMatches: ...
    def __getitem__(self, at: int | slice) -> FoundMatch | WrittenMatches:
        if isinstance(at, slice):
            return WrittenMatches(self.data, self.rows[at], self.matched_at, self._purposes)
        value_at, id_at, value_end, audit_end, key_end, timestamp_ms, purpose = self.rows[
            at
        ].tolist()
        written = self.data[value_at:key_end].tobytes()
        return FoundMatch(
            written[: value_end - value_at],
            written[id_at - value_at :][:ID_BYTES].decode(),
            self.matched_at,
            _TYPE,
            written[audit_end - value_at :],
            self._purposes[purpose],
            written[value_end - value_at : audit_end - value_at],
            timestamp_ms,
        )

    def copy(self) -> WrittenMatches:
        """Return the same matches in an array of their own."""
        rows = self.rows.copy()
        if not len(rows):
            return WrittenMatches(self.data[:0], rows, self.matched_at, {})
        begin, end = int(rows[0, VALUE_AT]), int(rows[-1, KEY_END])
        rows[:, : KEY_END + 1] -= begin
        return WrittenMatches(self.data[begin:end].copy(), rows, self.matched_at, self._purposes)

    def some(self, are_some: npt.NDArray[np.bool_]) -> WrittenMatches:
        """Return some of these matches in an array of their own, which has nothing of the
        others."""
        if are_some.all():
            return self.copy()
        rows = self.rows[are_some]
        data = np.empty(int((rows[:, KEY_END] - rows[:, VALUE_AT]).sum()), dtype=np.uint8)
        _gather(self.data, rows, data)
        return WrittenMatches(data, rows, self.matched_at, self._purposes)

    def goes_with(self, other: WrittenMatches) -> bool:
        """Return whether these and others can be one: they were written at one time."""
        return self.matched_at == other.matched_at and self._purposes is other._purposes

    @classmethod
    def joined(cls, some: Sequence[WrittenMatches]) -> WrittenMatches:
        """Return as one those that go with each other; each is a copy."""
        first = some[0]
        if len(some) == 1:
            return first
        data = np.concatenate([each.data for each in some])
        rows = np.concatenate([each.rows for each in some])
        begins = np.cumsum([0, *(len(each.data) for each in some[:-1])])
        rows[:, : KEY_END + 1] += np.repeat(begins, [*map(len, some)])[:, np.newaxis]
        return cls(data, rows, first.matched_at, first._purposes)

    @property
    def kinds(self) -> Counter[tuple[str, str]]:
        """How many there are, by type and purpose."""
        numbers, counts = np.unique(self.rows[:, PURPOSE], return_counts=True)
        kinds = ((_TYPE, self._purposes[number]) for number in numbers.tolist())
        found: Counter[tuple[str, str]] = Counter()
        for kind, count in zip(kinds, counts.tolist(), strict=True):
            found[kind] += count
        return found


def joined_parts(parts: Iterable[Sequence[FoundMatch]]) -> Iterator[Sequence[FoundMatch]]:
    """Yield parts with those as one that follow each other and go with each other: for each part,
    delivery calls compiled functions, whatever it holds."""
    run: list[WrittenMatches] = []
    for part in parts:
        written = part if isinstance(part, WrittenMatches) else None
        if run and (written is None or not written.goes_with(run[-1])):
            yield WrittenMatches.joined(run)
            run = []
        if written is None:
            yield part
        else:
            run.append(written)
    if run:
        yield WrittenMatches.joined(run)


def _compile() -> None:
    """Compile what is not in numba's cache now, and not when the first match waits."""
    nothing = np.zeros(0, dtype=np.uint8)
    _gather(nothing, np.zeros((0, COLUMNS), dtype=np.int64), nothing)


_compile()
