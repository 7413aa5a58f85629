"""`engine.cli.ingest`: messages that a thread reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from engine.cli.ingest import _in_thread


@pytest.mark.parametrize("error", [OSError, MemoryError, RuntimeError, ValueError])
async def test_an_error_of_the_thread_is_raised_in_the_loop(error: type[Exception]) -> None:
    """The command would otherwise wait for ever for the next message."""

    def messages() -> Iterator[tuple[str, bytes]]:
        yield "a", b"1"
        raise error("it")

    taken = []

    async def take() -> None:
        async for message in _in_thread(messages()):
            taken.append(message)  # noqa: PERF401 - those before the error count

    async with asyncio.timeout(60):
        with pytest.raises(error, match="it"):
            await take()
    assert taken == [("a", b"1")]
