"""Log lines by kind: how many may be written, and which faults occurred.

A kind is what the lines of one place in the code have in common: their text without its values.
So neither count holds anything of what was logged, and both are bounded, by time and by number.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from engine import limits


class Kind(NamedTuple):
    """The key under which lines are counted together."""

    logger: str
    level: int
    text: str


#: For the lines of all kinds beyond the limit.
OTHER: Final = Kind("engine.observability.log_sampling", logging.WARNING, "lines of further kinds")


@dataclass(slots=True)
class _Window:
    """A kind's lines since `began_s`: how many were written, and how many were held back."""

    began_s: float
    written: int = 0
    held: int = 0


class Allowance:
    """The number of lines that may be written of a kind: `lines` in `window_s` seconds from the
    first.

    Distinguishes at most `kinds` kinds.
    """

    def __init__(
        self,
        lines: int = limits.LOG_LINES,
        window_s: float = limits.LOG_WINDOW_S,
        kinds: int = limits.LOG_KINDS,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines = lines
        self._window_s = window_s
        self._kinds = kinds
        self._now_s = now_s
        self._windows: dict[Kind, _Window] = {}

    def admits(self, which: Kind) -> bool:
        """Return whether one more line of the kind may be written; if not, count it."""
        window = self._windows.get(which)
        if window is None:
            if len(self._windows) >= self._kinds:
                which = OTHER
            window = self._windows.setdefault(which, _Window(self._now_s()))
        if window.written < self._lines:
            window.written += 1
            return True
        window.held += 1
        return False

    def ended(self, *, now: bool = False) -> list[tuple[Kind, int]]:
        """End the windows whose time is over, or all with `now`; return what they held back."""
        until_s = self._now_s() - self._window_s
        over = [
            (which, window)
            for which, window in self._windows.items()
            if now or window.began_s <= until_s
        ]
        for which, _ in over:
            del self._windows[which]
        return [(which, window.held) for which, window in over if window.held]


@dataclass(slots=True)
class Fault:
    """A kind of line logged at `warning` or above: since when, and how often.

    Times in ms since 1970. `text` has no values in it.
    """

    level: str
    logger: str
    text: str
    first_ms: int
    last_ms: int
    count: int = 1


@dataclass(slots=True)
class Faults:
    """The kinds of faults since the start; if there are too many, the latest of them."""

    _found: dict[Kind, Fault] = field(default_factory=dict)

    def note(self, which: Kind, at_ms: int) -> None:
        """Count one more."""
        fault = self._found.pop(which, None)
        if fault is None:
            if len(self._found) >= limits.LOG_FAULTS:
                del self._found[next(iter(self._found))]
            level = logging.getLevelName(which.level).lower()
            fault = Fault(level, which.logger, which.text, at_ms, at_ms)
        else:
            fault.last_ms = at_ms
            fault.count += 1
        self._found[which] = fault  # behind all others

    def latest(self) -> list[Fault]:
        """Return copies of the faults, the latest first."""
        return [replace(fault) for fault in reversed(self._found.values())]
