"""A queue of what is to be sent: handed over in order, sent in rounds by one task, acknowledged.

Each item comes with a future that is done when the broker has the item. One round is under way at
a time; what comes meanwhile goes with the next one. So nothing that has to be sent again can come
to stand behind what follows it. What a round takes, and what becomes of it, is for the owner.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Abandoned(Exception):
    """This worker does not deliver it: the partition is revoked, or is another worker's, or the
    worker ends. Whoever has the partition next does the work again."""


class _Handed(NamedTuple, Generic[T]):
    item: T
    acknowledged: asyncio.Future[None]


class SendQueue(Generic[T]):
    """See the module. Only while `run` runs is anything sent.

    `failure` is why nothing is taken any more, None while there is no reason.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self._waiting: deque[_Handed[T]] = deque()
        self._under_way: list[_Handed[T]] = []
        self._wake = asyncio.Event()
        self._is_closing = False

    def add(self, item: T) -> asyncio.Future[None]:
        """Hand an item over; the future is done when the broker has it.

        It fails with what ends `run`, and then so does all that is handed over later. Whoever stops
        waiting for it stops nothing.
        """
        if self.failure is not None:
            return self.nothing()
        self._waiting.append(_Handed(item, acknowledgement()))
        self._wake.set()
        return self._waiting[-1].acknowledged

    def nothing(self) -> asyncio.Future[None]:
        """The future of something empty, which need not be sent."""
        acknowledged = acknowledgement()
        if self.failure is not None:
            acknowledged.set_exception(self.failure)
        else:
            acknowledged.set_result(None)
        return acknowledged

    async def flushed(self) -> None:
        """Wait until all that was handed over is acknowledged. Raises what `add` tells of."""
        await wait_all([each.acknowledged for each in (*self._under_way, *self._waiting)])

    async def run(
        self,
        send: Callable[[], Awaitable[None]],
        idle_s: float | None = None,
        on_idle: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Call `send` whenever something waits, until `close`; after `idle_s` without anything
        `on_idle`. What they raise ends it, and all that is not acknowledged fails."""
        try:
            while self._waiting or not self._is_closing:
                if self._waiting:
                    await send()
                elif not await self._is_woken(idle_s) and on_idle is not None:
                    await on_idle()
        except Exception as error:
            self.reject(error)
            raise

    def close(self) -> None:
        """End `run` once everything handed over is sent."""
        self._is_closing = True
        self._wake.set()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be taken."""
        return not self._waiting

    def take(self) -> T:
        """The first item that waits; it is under way from now on."""
        handed = self._waiting.popleft()
        self._under_way.append(handed)
        return handed.item

    def take_all(self) -> list[T]:
        """All items that wait."""
        return [self.take() for _ in range(len(self._waiting))]

    def acknowledge(self, unfinished: int = 0) -> list[T]:
        """The broker has what is under way, but for the last items; those that it has."""
        finished = len(self._under_way) - unfinished
        acknowledged = self._under_way[:finished]
        del self._under_way[:finished]
        resolve_all(each.acknowledged for each in acknowledged)
        return [each.item for each in acknowledged]

    def reject(self, error: Exception) -> None:
        """Let all that is not acknowledged fail, and all that is handed over later."""
        self.failure = error
        reject_all((each.acknowledged for each in (*self._under_way, *self._waiting)), error)
        self._under_way.clear()
        self._waiting.clear()

    async def _is_woken(self, idle_s: float | None) -> bool:
        self._wake.clear()
        try:
            async with asyncio.timeout(idle_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True


def acknowledgement() -> asyncio.Future[None]:
    """A future for an acknowledgement. Its exception counts as retrieved, because no one may be
    awaiting it."""
    acknowledged = asyncio.get_running_loop().create_future()
    acknowledged.add_done_callback(_retrieve)
    return acknowledged


def resolve_all(acknowledgements: Iterable[asyncio.Future[None]]) -> None:
    """The broker has it."""
    for each in acknowledgements:
        if not each.done():
            each.set_result(None)


def reject_all(acknowledgements: Iterable[asyncio.Future[None]], error: Exception) -> None:
    """The broker will not have it, and this is why."""
    for each in acknowledgements:
        if not each.done():
            each.set_exception(error)


async def wait_all(acknowledgements: Collection[asyncio.Future[None]]) -> None:
    """Wait until all are done; raises what the first that failed did."""
    if acknowledgements:
        await asyncio.wait(acknowledgements)
    for each in acknowledgements:
        each.result()


def _retrieve(acknowledged: asyncio.Future[None]) -> None:
    if not acknowledged.cancelled():
        acknowledged.exception()
