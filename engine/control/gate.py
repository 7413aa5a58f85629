"""The gate before the reads: a worker takes them only while it is open.

It is made before every part that opens, closes or passes it.
"""

from __future__ import annotations

import asyncio


class Gate:
    """Whether reads may be taken, and if not, why."""

    def __init__(self, reason: str) -> None:
        self._open = asyncio.Event()
        self.reason = reason

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def open(self) -> None:
        self.reason = ""
        self._open.set()

    def close(self, reason: str) -> None:
        self.reason = reason
        self._open.clear()

    async def passed(self) -> None:
        """Wait until the gate is open."""
        await self._open.wait()
