"""What stands for the zone or the camera that a regular message lacks.

One Fallbacks serves one message. It remembers which kinds of fallback the message's reads have, so
that the caller can name each kind once.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from engine.documents.model import Detection
from engine.ingest.adapters.message import (
    Adapted,
    AdapterError,
    Car,
    Fallback,
    Node,
    Site,
    each,
    moment,
)

_TIME_RULE: Final = "must be a time such as 2026-01-31T12:00:00Z"


class Fallbacks:
    """The fallbacks of one message; see the module."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._used: set[Fallback] = set()

    def camera(self, at: Node, *devices: Node) -> str:
        """Return the camera's name, or that of the site, or the first of the sender's own ids.

        Raises AdapterError if there is none.
        """
        named = at.text()
        if named is not None:
            return named
        if self._site.camera is not None:
            self._used.add("camera")
            return self._site.camera
        for device in devices:
            name = device.text()
            if name is not None:
                self._used.add("device")
                return name
        raise at.error("is required, or --camera", "missing_field")

    def time(self, at: Node) -> str:
        """Convert a written time, with its zone or without, to the documents' form."""
        try:
            when = datetime.fromisoformat(at.needed().upper())
        except ValueError:
            raise at.error(_TIME_RULE) from None
        return self.moment(when, at)

    def moment(self, when: datetime, at: Node) -> str:
        """Convert a time to the documents' form; it may lack its zone, and was found at `at`."""
        kind: Fallback | None = None
        if when.tzinfo is None:
            zone = self._site.zone
            kind = "utc" if zone is None else "time_zone"
            when = when.replace(tzinfo=zone or UTC)
        try:
            found = moment(when)
        except (ValueError, OverflowError):
            raise at.error(_TIME_RULE) from None
        if kind is not None:
            self._used.add(kind)
        return found

    def note(self, kind: Fallback) -> None:
        """Remember that a read has this fallback."""
        self._used.add(kind)

    def each(self, found: Iterable[Node], make: Callable[[Node], Detection | None]) -> Adapted:
        """Return the message's result with a read of each of these; see `message.each`."""
        adapted = each(found, make)
        return self.adapted(adapted.reads, adapted.problems)

    def adapted(
        self,
        reads: Iterable[Detection] = (),
        problems: Iterable[AdapterError] = (),
        car: Car | None = None,
    ) -> Adapted:
        """Return the message's result with the fallbacks that it needed."""
        return Adapted(tuple(reads), tuple(problems), car, frozenset(self._used))
