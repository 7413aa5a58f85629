"""Assignments of partitions, without a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from engine.transport.assignment import Assignment


async def _nothing(partition: int) -> None: ...


def an_assignment(
    generation: int = 1,
    rejoin: Callable[[int], Awaitable[None]] = _nothing,
    on_ready: Callable[[], None] = lambda: None,
) -> Assignment:
    """One that is ours until a test ends it."""
    return Assignment(generation, rejoin, on_ready)


async def by_no_group() -> bool:
    """In the place of a commit by the group's consumer that must not happen."""
    raise AssertionError("committed by the group's consumer")
