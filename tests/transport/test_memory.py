"""When what reads leave in memory is wiped, and that wiping wipes."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest

from engine import limits
from engine.transport import memory
from engine.transport.memory import (
    return_free_memory,
    scrub_reads,
    settle_memory,
)


class _Over(Exception):
    """The counts that a test gives are used up."""


async def steps(counts: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done at each of these counts of fetches, a second apart: a string a second."""
    done: list[str] = []
    given: Iterator[int] = iter(counts)
    seconds = itertools.count(1)

    def processed() -> int:
        done.append("")
        try:
            return next(given)
        except StopIteration:
            raise _Over from None

    async def wipe() -> None:
        done[-1] += "wipe "

    def give_back() -> None:
        done[-1] += "return "

    monkeypatch.setattr(limits, "SCRUB_INTERVAL_S", 0)
    monkeypatch.setattr(memory, "return_free_memory", give_back)
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)))
    monkeypatch.setattr(memory, "time", clock)  # the event loop keeps the real one
    with pytest.raises(_Over):
        await scrub_reads(processed, wipe)
    return [each.strip() for each in done[:-1]]


async def test_without_reads_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await steps([0] * 30, monkeypatch) == [""] * 30


async def test_after_reads_buffers_first_and_the_rest_when_they_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await steps([3, 3, 4, 9, 9], monkeypatch) == [
        "wipe",
        "return",
        "wipe",
        "wipe",
        "return",
    ]


async def test_in_a_pause_freed_memory_is_scrubbed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds the last fetch may release it after the first scrub, on a slow machine."""
    monkeypatch.setattr(limits, "SCRUB_FREED_S", 6)
    done = await steps([1] * 28, monkeypatch)
    assert [second for second, what in enumerate(done) if what == "return"] == [
        *(1, 2, 4, 8),
        *(14, 20, 26),
    ]


async def test_while_reads_do_not_pause_the_rest_comes_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SCRUB_FREED_S", 5)
    done = await steps(range(1, 16), monkeypatch)
    often = ["wipe"] * 4 + ["wipe return"]
    assert done == often * 3


def test_a_c_library_that_has_no_such_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    settle_memory()
    return_free_memory()
