"""A queue of items to be sent: added in order, sent in rounds by one task, acknowledged.

Each item comes with a future that is done when the broker has the item. One round is under way at
a time; what comes meanwhile goes with the next one. So nothing that has to be sent again can come
to stand behind what follows it. What a round takes, and what becomes of it, is for the owner.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Generic, NamedTuple, TypeVar

from engine.tasks import retrieve

T = TypeVar("T")


class Abandoned(Exception):
    """This worker will not deliver the item: the partition was revoked, another worker owns it, or
    this worker ends. The next owner of the partition repeats the work."""


class _Handed(NamedTuple, Generic[T]):
    item: T
    acknowledged: asyncio.Future[None]


class SendQueue(Generic[T]):
    """See the module. Items are sent only while `run` runs.

    `failure` is the reason why no item is accepted any more, or None.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self._waiting: deque[_Handed[T]] = deque()
        self._under_way: list[_Handed[T]] = []
        self._wake = asyncio.Event()
        self._is_closing = False

    def add(self, item: T) -> asyncio.Future[None]:
        """Add an item; the future is done when the broker has it.

        It fails with what ends `run`, and then so does all that is handed over later. Whoever stops
        waiting for it stops nothing.
        """
        if self.failure is not None:
            return self.nothing()
        self._waiting.append(_Handed(item, acknowledgement()))
        self._wake.set()
        return self._waiting[-1].acknowledged

    def nothing(self) -> asyncio.Future[None]:
        """Return the future of an empty item, which need not be sent."""
        acknowledged = acknowledgement()
        if self.failure is not None:
            acknowledged.set_exception(self.failure)
        else:
            acknowledged.set_result(None)
        return acknowledged

    async def flushed(self) -> None:
        """Wait until every item is acknowledged. Raises the same errors as the futures of `add`."""
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
        """End `run` once every item is sent."""
        self._is_closing = True
        self._wake.set()

    async def gather(self, most: int, within_s: float, has_next: Callable[[T], bool]) -> None:
        """Wait for so many items, as long as the last one has a next one; not after `close`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while len(self._waiting) < most and has_next(self._waiting[-1].item):
                    if self._is_closing:
                        return
                    self._wake.clear()
                    await self._wake.wait()

    @property
    def is_empty(self) -> bool:
        """Return whether no item waits."""
        return not self._waiting

    def take(self) -> T:
        """Take the first item that waits; it is in flight from now on."""
        handed = self._waiting.popleft()
        self._under_way.append(handed)
        return handed.item

    def take_all(self) -> list[T]:
        """Take all items that wait."""
        return [self.take() for _ in range(len(self._waiting))]

    def acknowledge(self, unfinished: int = 0) -> list[T]:
        """Resolve the items in flight except the last ones; return those that the broker has."""
        finished = len(self._under_way) - unfinished
        acknowledged = self._under_way[:finished]
        del self._under_way[:finished]
        resolve_all(each.acknowledged for each in acknowledged)
        return [each.item for each in acknowledged]

    def reject(self, error: Exception) -> None:
        """Fail every item that is not acknowledged, and every later one."""
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
    acknowledged.add_done_callback(retrieve)
    return acknowledged


def resolve_all(acknowledgements: Iterable[asyncio.Future[None]]) -> None:
    """Mark the item as acknowledged."""
    for each in acknowledgements:
        if not each.done():
            each.set_result(None)


def reject_all(acknowledgements: Iterable[asyncio.Future[None]], error: Exception) -> None:
    """Mark the item as failed, with the reason."""
    for each in acknowledgements:
        if not each.done():
            each.set_exception(error)


async def wait_all(acknowledgements: Collection[asyncio.Future[None]]) -> None:
    """Wait until all are done; raise the error of the first that failed."""
    if acknowledgements:
        await asyncio.wait(acknowledgements)
    for each in acknowledgements:
        each.result()
