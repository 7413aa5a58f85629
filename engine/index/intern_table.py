"""Intern tables: values that many entries share, stored once each, by number.

A table holds a bounded number of values. If it is full, a further value is stored in the entry
itself. A value is dropped with the last entry that has it, and its number is reused.

Belongs to one thread. Holds values, not the entries that have them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any, Final, Generic, Self, TypeVar

from engine.clock import CANONICAL_TIME_CHARACTERS, format_time
from engine.documents.model import entry_time_ms

#: The most numbers that a table assigns. How times are packed depends on it, in files too.
SHARED_VALUES: Final = 1 << 13

T = TypeVar("T", bound=Hashable)


class SharedValues(Generic[T]):
    """Values by number. If the table is full, `pack` returns a further value itself."""

    __slots__ = ("_counts", "_free", "_numbers", "_values")

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}
        self._values: list[T | None] = []
        self._counts: list[int] = []
        self._free: list[int] = []

    def copy(self) -> Self:
        """Return an independent copy."""
        copied = type(self)()
        copied._numbers, copied._values = self._numbers.copy(), self._values.copy()
        copied._counts, copied._free = self._counts.copy(), self._free.copy()
        return copied

    @property
    def values(self) -> list[T | None]:
        """The values by number, None for a free number. Callers must not change it."""
        return self._values

    def restore(self, values: list[T | None], packed: Counter[Any]) -> bool:
        """Fill an empty table with values by number; None is a free number.

        `packed` counts what the table's `pack` has returned. Returns False if no table with these
        values can have returned that.
        """
        self._values, self._counts = values, [0] * len(values)
        self._numbers = {v: number for number, v in enumerate(values) if v is not None}
        self._free = [number for number, value in enumerate(values) if value is None]
        for one, count in packed.items():
            if not self._is_number(one):
                continue
            if one >= len(values) or values[one] is None:
                return False
            self._counts[one] = count
        shared = len(values) - self._counts.count(0)
        return len(self._numbers) == len(values) - len(self._free) == shared <= SHARED_VALUES

    def pack(self, value: T) -> int | T:
        """Count one more entry with this value; return its number, or what stands for it."""
        number = self._numbers.get(value)
        if number is None:
            number = self._new_number(value)
            if number is None:
                return self._alone(value)
        self._counts[number] += 1
        return number

    def pack_many(self, value: T, count: int) -> int | T:
        """Count so many more entries with this value; return what `pack` returns."""
        packed = self.pack(value)
        if self._is_number(packed):
            assert isinstance(packed, int)
            self._counts[packed] += count - 1
        return packed

    def unpack(self, packed: Any) -> Any:
        """Return the value that was given to `pack`."""
        return self._values[packed] if isinstance(packed, int) else packed

    def release(self, packed: Any) -> None:
        """Count one entry fewer with what `pack` returned."""
        if not self._is_number(packed):
            return
        self._counts[packed] -= 1
        if not self._counts[packed]:
            value = self._values[packed]
            assert value is not None, "a value with a count is in the table"
            del self._numbers[value]
            self._values[packed] = None
            self._free.append(packed)

    def _new_number(self, value: T) -> int | None:
        if self._free:
            number = self._free.pop()
            self._values[number] = value
        elif len(self._values) < SHARED_VALUES:
            number = len(self._values)
            self._values.append(value)
            self._counts.append(0)
        else:
            return None
        self._numbers[value] = number
        return number

    def _alone(self, value: T) -> int | T:
        return value

    def _is_number(self, packed: Any) -> bool:
        return isinstance(packed, int)


class SharedTimes(SharedValues[str]):
    """Times by number. If the table is full, a time is packed as its milliseconds.

    Entries of one import share their times; entries made one by one do not.
    """

    __slots__ = ()

    def unpack(self, packed: Any) -> Any:
        if isinstance(packed, int):
            return self._values[packed] if packed < SHARED_VALUES else format_time(packed)
        return packed

    def time_ms(self, packed: Any) -> int:
        """Return the time that `unpack` gives, in milliseconds since 1970."""
        if isinstance(packed, int) and packed >= SHARED_VALUES:
            return packed
        return entry_time_ms(super().unpack(packed))

    def _is_number(self, packed: Any) -> bool:
        return isinstance(packed, int) and packed < SHARED_VALUES

    def _alone(self, value: str) -> int | str:
        # Only if unpacking gives back the text as it was written.
        if len(value) != CANONICAL_TIME_CHARACTERS:
            return value
        ms = entry_time_ms(value)
        return value if ms < SHARED_VALUES else ms
