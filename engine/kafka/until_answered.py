"""A request repeated until a deadline: a coordinator or a broker may take a while to come up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError

from engine import limits
from engine.errors import BrokerError
from engine.kafka.diagnosis import refusal

T = TypeVar("T")


async def until_answered(
    ask: Callable[[], Awaitable[T]],
    failed: Callable[[Exception], BrokerError],
    *,
    within_s: float = limits.CONNECT_S,
    pause_s: float = limits.COORDINATOR_PAUSE_S,
) -> T:
    """Repeat a request until it succeeds, each time for at most CONNECT_S.

    Raises what `failed` makes of the last error if `within_s` is over. The error of a broker that
    denies the request is raised at once.
    """
    now_s = asyncio.get_running_loop().time
    deadline_s = now_s() + within_s
    while True:
        try:
            async with asyncio.timeout(min(limits.CONNECT_S, deadline_s - now_s())):
                return await ask()
        except (KafkaError, TimeoutError, OSError, KeyError) as error:  # or it lacks what was asked
            if refusal(error) is not None:
                raise
            if deadline_s - now_s() < pause_s:
                raise failed(error) from error
        await asyncio.sleep(pause_s)
