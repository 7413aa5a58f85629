"""`engine.kafka.group_errors`: what ends a member of a group, and what passes."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    InvalidGroupIdError,
    KafkaError,
)

from engine import limits
from engine.kafka.group_errors import GroupErrors, retrieve_commits

#: As aiokafka raises what SyncGroup answers while the coordinator loads the group: only the text is
#: left of it (aiokafka 0.14, consumer/group_coordinator.py).
LOADING = KafkaError("[Error 14] GroupLoadInProgressError")


def ended() -> KafkaError:
    """What aiokafka raises for ever once a member's task has ended."""
    error = KafkaError("Unexpected error during coordination")
    error.__cause__ = AssertionError()
    return error


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (LOADING, False),
        (GroupCoordinatorNotAvailableError(), False),
        (GroupAuthorizationFailedError("g"), True),
        (InvalidGroupIdError(), True),
        (ended(), True),
    ],
)
def test_what_is_final(error: KafkaError, final: bool) -> None:
    assert GroupErrors().is_final(error) == final


def test_what_does_not_pass_is_final_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = GroupErrors()
    assert not errors.is_final(LOADING)
    monkeypatch.setattr(limits, "DELIVERY_TIMEOUT_S", 0)
    assert errors.is_final(LOADING)


def test_what_passes_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("engine.kafka.group_errors.time.monotonic", lambda: now_s[0])
    errors = GroupErrors()
    assert not errors.is_final(LOADING)
    now_s[0] += limits.DELIVERY_TIMEOUT_S - 1
    errors.passed()
    assert not errors.is_final(LOADING)
    now_s[0] += limits.DELIVERY_TIMEOUT_S
    assert errors.is_final(LOADING)


async def test_a_commit_that_nothing_waits_for_is_not_logged() -> None:
    """aiokafka shields it, so that it goes on; here its coordinator is then not available."""
    is_over = asyncio.Event()

    async def commit(_: Any, __: Any) -> None:
        await is_over.wait()
        raise GroupCoordinatorNotAvailableError

    coordinator = SimpleNamespace(_do_commit_offsets=commit)
    retrieve_commits(SimpleNamespace(_coordinator=coordinator))
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.shield(coordinator._do_commit_offsets({}, {}))
    is_over.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert logged == []
    with pytest.raises(GroupCoordinatorNotAvailableError):
        await coordinator._do_commit_offsets({}, {})
