"""The time of the demo's city, which runs fast, and its traffic by the hour.

It only decides the number of reads, and is shown: a read's own time is the real one, because the
ends of entries, suppression and the delay depend on it. Pure.
"""

from __future__ import annotations

from typing import Final

#: The length of the city's day, in seconds, and the hour at which the demo begins.
DAY_S: Final = 120.0
_FIRST_HOUR: Final = 6.5
#: Reads a second in the densest traffic, and the share of that at each full hour. As many as a
#: large city has, and few enough that a slow machine can take them: their delays are not those of a
#: queue.
PEAK: Final = 2000.0
_TRAFFIC: Final = (
    *(0.10, 0.08, 0.06, 0.06, 0.08, 0.15, 0.35, 0.75, 1.00, 0.70, 0.50, 0.50),
    *(0.55, 0.55, 0.55, 0.65, 0.85, 1.00, 0.80, 0.50, 0.35, 0.25, 0.20, 0.15),
)
_PERIODS: Final[tuple[tuple[float, str], ...]] = (
    *((5, "night"), (7, "early"), (9.5, "morning rush"), (15.5, "midday")),
    *((18.5, "evening rush"), (22, "evening"), (24, "night")),
)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class CityClock:
    """The time of the city, `elapsed_s` real seconds after the demo began."""

    def hour(self, elapsed_s: float) -> float:
        """Return the hours since the first midnight."""
        return _FIRST_HOUR + 24 * elapsed_s / DAY_S

    def text(self, elapsed_s: float) -> str:
        """Return the day and the time in steps of five minutes, as `Mon 07:45`."""
        minutes = int(60 * self.hour(elapsed_s)) // 5 * 5
        day, minute = divmod(minutes, 1440)
        return f"{_DAYS[day % 7]} {minute // 60:02d}:{minute % 60:02d}"

    def period(self, elapsed_s: float) -> str:
        """Return the name of that period of the day."""
        hour = self.hour(elapsed_s) % 24
        return next(name for end, name in _PERIODS if hour < end)

    def rate(self, elapsed_s: float) -> float:
        """Return the reads a second."""
        hour, part = divmod(self.hour(elapsed_s) % 24, 1)
        before, after = _TRAFFIC[int(hour)], _TRAFFIC[(int(hour) + 1) % 24]
        return PEAK * (before + part * (after - before))
