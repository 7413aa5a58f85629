"""Likeness: whether a plate as read may be a plate as listed, and where the two differ.

The index, the scanner and the library are held to this definition. Their shortcuts may be faster
than `compare`, but they give the same answers. Both plates are in normal form. Positions count
characters, from 0, in the listed plate. The table of misreads defines the look-alikes.

Pure. How probable it is that the plate is the listed one is computed in `confidence`.
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
    character at `position`. `added`: the read has one more, before the one at `position`, or after
    the last one if `position` is the listed plate's length. A read has at most 16 characters, so
    in that case the listed plate has at most 15, and every position is from 0 to 15.
    """

    kind: MisreadKind
    position: int


class Likeness(NamedTuple):
    """How a read plate is like a listed one.

    `look_alikes` are the positions at which the read has another character of the same group, in
    ascending order. Only `distance` has a `misread`.
    """

    match_type: MatchType
    look_alikes: tuple[int, ...] = ()
    misread: Misread | None = None

    @property
    def positions(self) -> tuple[int, ...]:
        """All positions at which the two differ, in ascending order.

        An unknown character (`?`) of the listed plate differs from nothing.
        """
        if self.misread is None:
            return self.look_alikes
        return tuple(sorted({*self.look_alikes, self.misread.position}))


EXACT = Likeness("exact")


def compare(
    plate: str, listed: str, *, confusables: bool, distance: int, misreads: Misreads
) -> Likeness | None:
    """Return how `plate`, as read, is like `listed`; None if the entry does not ask for so much.

    Two characters are the same if they are identical or, with `confusables`, in one group.

    - `exact`: the plates are identical.
    - `confusable`: the plates have the same length and are the same at each position.
    - `distance`, with `distance` 1: the plates are the same except for one character that is
      substituted, missing or added. If several explanations fit, the one with the fewest
      look-alikes counts, then the one with the smallest position.
    - `partial`, the only one for a listed plate with `?`: the plates have the same length and are
      the same at each known position.
    """
    if plate == listed:
        return EXACT
    if WILDCARD in listed:
        return _partial(plate, listed, misreads if confusables else None)
    longer = len(listed) - len(plate)
    if not -distance <= longer <= distance:
        return None
    if confusables:
        skeleton, listed_skeleton = misreads.skeleton(plate), misreads.skeleton(listed)
        if skeleton == listed_skeleton:
            return Likeness("confusable", _unlike(plate, listed))
    else:
        skeleton, listed_skeleton = plate, listed
    if distance == 0:
        return None
    # They must be the same before the first difference and again after it. If one is longer, its
    # extra character may be anywhere in the stretch that both ends have in common.
    first = _common(skeleton, listed_skeleton)
    if longer == 0:
        if skeleton[first + 1 :] != listed_skeleton[first + 1 :]:
            return None
        found = [(_unlike(plate[:first], listed) + _unlike(plate, listed, first + 1), first)]
        return _nearest("substituted", found)
    shorter = min(len(plate), len(listed))
    last = shorter - _common(skeleton[::-1], listed_skeleton[::-1])
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
            if misreads is None or misreads.skeleton(char) != misreads.skeleton(one):
                return None
            look_alikes.append(at)
    return Likeness("partial", tuple(look_alikes))


def _nearest(kind: MisreadKind, found: list[tuple[tuple[int, ...], int]]) -> Likeness:
    """Return the best of `found`: pairs of look-alike positions and the misread's position."""
    look_alikes, at = min(found, key=lambda each: (len(each[0]), each[1]))
    return Likeness("distance", look_alikes, Misread(kind, at))


def _common(one: str, other: str) -> int:
    """Return the length of the common prefix."""
    count = 0
    for char, another in zip(one, other, strict=False):
        if char != another:
            break
        count += 1
    return count


def _unlike(plate: str, listed: str, start: int = 0) -> tuple[int, ...]:
    """Return the positions at which the two differ, from `start` to the end of the shorter."""
    return tuple(at for at in range(start, min(len(plate), len(listed))) if plate[at] != listed[at])
