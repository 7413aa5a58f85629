"""Several sequences as one: most of what comes of a fetch is columns of numbers, some is objects.

Code that knows the kinds of the parts takes them one by one, and makes no object of a row. For all
other code it is a sequence of objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar, overload

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class InParts(Sequence[T_co]):
    """See the module. No part is empty."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Iterable[Sequence[T_co]] = ()) -> None:
        self._parts = [part for part in parts if part]

    @property
    def parts(self) -> Sequence[Sequence[T_co]]:
        return self._parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[T_co]:
        return chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, at: int) -> T_co: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T_co]: ...
    def __getitem__(self, at: int | slice) -> T_co | Sequence[T_co]:
        if isinstance(at, int) and at >= 0:
            for part in self._parts:
                if at < len(part):
                    return part[at]
                at -= len(part)
        return [*self][at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr([*self])


class PartsList(InParts[T]):
    """One that grows: single objects come to the last part, or to a new one."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        super().__init__()
        #: The last part, if single objects can come to it.
        self._last: list[T] | None = None

    def append(self, one: T) -> None:
        """Add an object."""
        if self._last is not None:
            self._last.append(one)
        else:
            self._last = [one]
            self._parts.append(self._last)

    def add(self, part: Sequence[T]) -> None:
        """Add a part."""
        if part:
            self._parts.append(part)
            self._last = None


def parts_of(whole: Sequence[T]) -> Sequence[Sequence[T]]:
    """Return the parts of a sequence; one that has none is its only part."""
    return whole.parts if isinstance(whole, InParts) else (whole,)
