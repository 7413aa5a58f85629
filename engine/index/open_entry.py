"""An entry that was matched lately, kept as it was decoded."""

from __future__ import annotations

from typing import Any

from engine.documents.model import Entry


class OpenEntry:
    """See the module. `made` is what the matcher made of it for its next match; it ends with the
    entry."""

    __slots__ = ("entry", "made", "plate")

    def __init__(self, entry: Entry) -> None:
        self.entry: Entry = entry
        self.plate: str = entry.plate
        self.made: Any = None
