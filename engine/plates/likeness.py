"""Likeness: whether a plate as read may be a plate as listed, and where the two differ.

This is the definition that the index, the scanner and the library are held to; whatever they do
to be fast, they give what `compare` gives. Both plates are in normal form and positions count
characters, from 0, in the listed plate. Which characters are look-alikes says the table of
misreads.

Pure, and no judge: how probable it is that the plate is the listed one says `confidence`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from engine.plates.misreads import Misreads
from engine.plates.normal_form import WILDCARD

MatchType = Literal["exact", "confusable", "distance", "partial"]
MisreadKind = Literal["substituted", "missing", "added"]


class Misread(NamedTuple):
    """The one character that is wrong beyond the look-alikes.

    `substituted`: the read has another character at `position`. `missing`: the read lacks the
    character at `position`. `added`: the read has one more, before the one at `position`; after
    the last, `position` is the listed plate's length. A read has at most 16 characters, so a
    listed plate with one less, and every position lies from 0 to 15.
    """

    kind: MisreadKind
    position: int


class Likeness(NamedTuple):
    """How a read plate is like a listed one.

    `look_alikes` are the positions where the read has another character of the same group, in
    ascending order; `misread` is there for `distance` alone.
    """

    match_type: MatchType
    look_alikes: tuple[int, ...] = ()
    misread: Misread | None = None

    @property
    def positions(self) -> tuple[int, ...]:
        """All positions where the two differ, in ascending order. An unknown character (`?`)
        of the listed plate differs from nothing."""
        if self.misread is None:
            return self.look_alikes
        return tuple(sorted({*self.look_alikes, self.misread.position}))


_EXACT = Likeness("exact")


def compare(
    plate: str, listed: str, *, confusables: bool, distance: int, misreads: Misreads
) -> Likeness | None:
    """How `plate`, as read, is like `listed`, where an entry asks for so much; else None.

    Two characters are the same where they are identical or, with `confusables`, of one group.

    - `exact`: the plates are identical.
    - `confusable`: as long as each other, and the same at each position.
    - `distance`, with `distance` 1: the same but for one character substituted, missing or
      added. Where that can be read in several ways, it is the one with the fewest look-alikes,
      and of these the one with the smallest position.
    - `partial`, the only one for a listed plate with `?`: as long as each other, and the same at
      each known position.
    """
    if plate == listed:
        return _EXACT
    if WILDCARD in listed:
        return _partial(plate, listed, misreads if confusables else None)
    longer = len(listed) - len(plate)
    if not -distance <= longer <= distance:
        return None
    if confusables:
        folded, listed_folded = misreads.fold(plate), misreads.fold(listed)
        if folded == listed_folded:
            return Likeness("confusable", _unlike(plate, listed))
    else:
        folded, listed_folded = plate, listed
    if distance == 0:
        return None
    # The same up to the first place where they differ, and again from behind it: where one is
    # longer, its further character may stand anywhere in what both ends have in common.
    first = _common(folded, listed_folded)
    if longer == 0:
        if folded[first + 1 :] != listed_folded[first + 1 :]:
            return None
        found = [(_unlike(plate[:first], listed) + _unlike(plate, listed, first + 1), first)]
        return _nearest("substituted", found)
    shorter = min(len(plate), len(listed))
    last = shorter - _common(folded[::-1], listed_folded[::-1])
    if last > first:
        return None
    if longer == 1:
        without = [(listed[:at] + listed[at + 1 :], at) for at in range(last, first + 1)]
        found = [(tuple(n + (n >= at) for n in _unlike(plate, rest)), at) for rest, at in without]
        return _nearest("missing", found)
    without = [(plate[:at] + plate[at + 1 :], at) for at in range(last, first + 1)]
    return _nearest("added", [(_unlike(rest, listed), at) for rest, at in without])


def _partial(plate: str, listed: str, misreads: Misreads | None) -> Likeness | None:
    if len(plate) != len(listed):
        return None
    look_alikes = []
    for at, (char, one) in enumerate(zip(plate, listed, strict=True)):
        if char != one and one != WILDCARD:
            if misreads is None or misreads.fold(char) != misreads.fold(one):
                return None
            look_alikes.append(at)
    return Likeness("partial", tuple(look_alikes))


def _nearest(kind: MisreadKind, found: list[tuple[tuple[int, ...], int]]) -> Likeness:
    """The likeness of the best of `found`: look-alike positions, and the misread's position."""
    look_alikes, at = min(found, key=lambda each: (len(each[0]), each[1]))
    return Likeness("distance", look_alikes, Misread(kind, at))


def _common(one: str, other: str) -> int:
    """How many characters the two have in common at their beginning."""
    count = 0
    for char, another in zip(one, other, strict=False):
        if char != another:
            break
        count += 1
    return count


def _unlike(plate: str, listed: str, start: int = 0) -> tuple[int, ...]:
    """The positions, from `start` on and as far as both reach, where the two differ."""
    return tuple(at for at in range(start, min(len(plate), len(listed))) if plate[at] != listed[at])
