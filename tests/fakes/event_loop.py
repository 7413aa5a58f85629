"""The event loop, as far as tests drive it."""

from __future__ import annotations

import asyncio


async def settle() -> None:
    """Let tasks go on as far as they can without an answer from outside."""
    for _ in range(50):
        await asyncio.sleep(0)
