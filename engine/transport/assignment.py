"""An assignment of partitions of the reads, from "assigned" to "revoked".

In each rebalance the group revokes all partitions and then assigns partitions again, perhaps the
same ones. So the assignment holds whatever belongs to a partition only while this worker owns it. A
new assignment starts empty. Each fetch carries the assignment under which it was fetched, and only
that decides whether the fetch is still ours.

Belongs to the event loop of the Faust app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

log = logging.getLogger(__name__)

H = TypeVar("H")


class Assignment:
    """See the module. `generation` is the group's; `rejoin` asks the group to rebalance. `on_ready`
    is called after each `set_ready`."""

    def __init__(
        self,
        generation: int,
        rejoin: Callable[[], Awaitable[None]],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.generation = generation
        #: The partitions whose reads may be fetched. Replaced whole, because the consumer thread
        #: reads it too.
        self.ready: frozenset[int] = frozenset()
        self._rejoin = rejoin
        self._on_ready = on_ready
        self._is_ours = True
        self._held: dict[type, dict[int, Any]] = {}
        self._asking: asyncio.Future[None] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether its partitions are still assigned to this worker."""
        return self._is_ours

    def is_of(self, generation: int) -> bool:
        """Return whether it is ours and has this generation of the group."""
        return self._is_ours and generation == self.generation

    def end(self) -> None:
        """Mark its partitions as revoked. Their state stays until its owner drops it."""
        self._is_ours = False

    def set_ready(self, partition: int) -> None:
        """Let the reads of a partition be fetched. Until then they stay with the broker, so that
        they hold up no other partition's."""
        self.ready |= {partition}
        self._on_ready()

    def held(self, partition: int, kind: type[H]) -> H:
        """Return the state of this kind for a partition; create it on first use."""
        by_partition: dict[int, H] = self._held.setdefault(kind, {})
        if partition not in by_partition:
            by_partition[partition] = kind()
        return by_partition[partition]

    def all_held(self, kind: type[H]) -> Mapping[int, H]:
        """Return all state of this kind, by partition."""
        return self._held.get(kind, {})

    def ask_to_rebalance(self) -> None:
        """Ask the group to rebalance, once."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._rejoin())
            self._asking.add_done_callback(_on_asked)


def no_assignment() -> Assignment:
    """Return an assignment that has ended, for a worker that has not been assigned anything."""

    async def rejoin() -> None: ...

    nothing = Assignment(-1, rejoin)
    nothing.end()
    return nothing


def _on_asked(asking: asyncio.Future[None]) -> None:
    if not asking.cancelled() and (error := asking.exception()) is not None:
        log.warning("the group was not asked to rebalance: %s", type(error).__name__)
