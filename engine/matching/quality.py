"""How good a match is, and when a read is a better match than one that was reported before.

A match is better than another one of the same entry if its likeness is closer (`CLOSENESS`) or its
confidence is at least ten times as high. A better match is reported even while the other one
suppresses repeats; so the read of the very plate is not lost behind a doubtful one.

Confidences are compared as reported, in ten-thousandths, so that everyone who sees two matches can
tell which one is better. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.plates.confidence import PARTS
from engine.plates.likeness import MatchType

#: The closer a likeness, the higher.
CLOSENESS: Final[dict[MatchType, int]] = {"partial": 0, "distance": 1, "confusable": 2, "exact": 3}
#: A match whose quality is not known, because an older version wrote it: any other one is better.
UNKNOWN: Final = -1

_BY_CLOSENESS: Final[dict[int, MatchType]] = {close: kind for kind, close in CLOSENESS.items()}
_TIMES: Final = 10
#: A quality as one number: closeness and ten-thousandths of confidence.
QUALITY_WIDTH: Final = 1 << 14


class Quality:
    """The quality of a match; `compute` gives its confidence, and is called once at most. It is not
    called if the confidence is known already."""

    __slots__ = ("_closeness", "_compute", "_confidence")

    def __init__(
        self, match_type: MatchType, compute: Callable[[], float], confidence: float = -1.0
    ) -> None:
        self._closeness = CLOSENESS[match_type]
        self._compute = compute
        self._confidence = confidence

    @property
    def confidence(self) -> float:
        """The confidence, from 0 to 1 with four digits."""
        if self._confidence < 0:
            self._confidence = self._compute()
        return self._confidence

    @property
    def packed(self) -> int:
        """The quality as one number, for `is_better_than` and `unpacked`."""
        return self._closeness * QUALITY_WIDTH + round(self.confidence * PARTS)

    def is_better_than(self, packed: int) -> bool:
        """Return whether this match is better than the one with that quality.

        The confidence is computed only if it can decide.
        """
        if (
            self._closeness * QUALITY_WIDTH + PARTS // _TIMES
            < packed
            < (self._closeness + 1) * QUALITY_WIDTH
        ):
            return False  # the usual case: as close, and no confidence is ten times as high
        if packed < 0:
            return True
        closeness, parts = divmod(packed, QUALITY_WIDTH)
        if self._closeness > closeness:
            return True
        if _TIMES * parts > PARTS:
            return False
        own = round(self.confidence * PARTS)
        return own >= _TIMES * parts and own > parts


def packed(match_type: MatchType | None, confidence: float | None) -> int:
    """Return a quality as one number; UNKNOWN if a part of it is absent."""
    if match_type is None or confidence is None:
        return UNKNOWN
    return CLOSENESS[match_type] * QUALITY_WIDTH + round(confidence * PARTS)


def unpacked(packed: int) -> tuple[MatchType | None, float | None]:
    """Return the match type and the confidence of a quality, None if they are not known."""
    if packed < 0:
        return None, None
    closeness, parts = divmod(packed, QUALITY_WIDTH)
    return _BY_CLOSENESS[closeness], parts / PARTS
