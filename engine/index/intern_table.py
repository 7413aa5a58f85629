"""Values that many entries share, kept once each, by number.

A table takes a bounded number of values. One that finds it full stands for itself in the entry
that has it. What no entry shares any more is forgotten with the last of them, and its number is
given out again.

Belongs to one thread. Knows values, not whose they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any, Final, Generic, Self, TypeVar

from engine.clock import CANONICAL_TIME_CHARACTERS, format_time
from engine.documents.model import entry_time_ms

#: The most numbers that a table gives out. What is kept of times depends on it, in files too.
SHARED_VALUES: Final = 1 << 13

T = TypeVar("T", bound=Hashable)


class SharedValues(Generic[T]):
    """Values by number. A value that found the table full stands for itself."""

    __slots__ = ("_counts", "_free", "_numbers", "_values")

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}
        self._values: list[T | None] = []
        self._counts: list[int] = []
        self._free: list[int] = []

    def copy(self) -> Self:
        """A table of its own with the same values."""
        copied = type(self)()
        copied._numbers, copied._values = self._numbers.copy(), self._values.copy()
        copied._counts, copied._free = self._counts.copy(), self._free.copy()
        return copied

    @property
    def values(self) -> list[T | None]:
        """The values by number, None for a number that is free; not to be changed."""
        return self._values

    def restore(self, values: list[T | None], packed: Counter[Any]) -> bool:
        """Make an empty table into the one that gave out `packed`, each so many times; False
        where no table with these values by number can have done so. None is a free number."""
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
        """One entry more has this value: the number that stands for it, or what else does."""
        number = self._numbers.get(value)
        if number is None:
            number = self._new_number(value)
            if number is None:
                return self._alone(value)
        self._counts[number] += 1
        return number

    def unpack(self, packed: Any) -> Any:
        """The value that `pack` was given."""
        return self._values[packed] if isinstance(packed, int) else packed

    def release(self, packed: Any) -> None:
        """One entry less has what `pack` gave."""
        if not self._is_number(packed):
            return
        self._counts[packed] -= 1
        if not self._counts[packed]:
            value = self._values[packed]
            assert value is not None, "what is counted is there"
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
    """Times by number; one that found the table full is a number too: its milliseconds.

    Entries that came in one import share their times; those made one by one do not.
    """

    __slots__ = ()

    def unpack(self, packed: Any) -> Any:
        if isinstance(packed, int) and packed >= SHARED_VALUES:
            return format_time(packed)
        return super().unpack(packed)

    def time_ms(self, packed: Any) -> int:
        """What `unpack` gives, in milliseconds since 1970."""
        if isinstance(packed, int) and packed >= SHARED_VALUES:
            return packed
        return entry_time_ms(super().unpack(packed))

    def _is_number(self, packed: Any) -> bool:
        return isinstance(packed, int) and packed < SHARED_VALUES

    def _alone(self, value: str) -> int | str:
        # Only where that gives back the text as it was written.
        if len(value) != CANONICAL_TIME_CHARACTERS:
            return value
        ms = entry_time_ms(value)
        return value if ms < SHARED_VALUES else ms
