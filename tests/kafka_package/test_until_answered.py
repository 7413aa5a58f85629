"""`engine.kafka.until_answered`, with time that passes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
)

from engine import limits
from engine.errors import BrokerError
from engine.kafka.until_answered import until_answered
from tests.fakes.group_broker import run_fast


class _Broker:
    """Answers with these, the last of them for ever. `asked_at_s` is when it was asked."""

    def __init__(self, *answers: Exception | str | None) -> None:
        self._answers: Iterator[Exception | str | None] = iter(answers)
        self._answer: Exception | str | None = None
        self.asked_at_s: list[float] = []

    async def ask(self) -> str:
        self.asked_at_s.append(asyncio.get_running_loop().time())
        self._answer = next(self._answers, self._answer)
        if isinstance(self._answer, Exception):
            raise self._answer
        if self._answer is None:
            await asyncio.Event().wait()
        return str(self._answer)


def _failed(error: Exception) -> BrokerError:
    return BrokerError(f"no answer ({type(error).__name__})")


def test_it_asks_until_there_is_an_answer() -> None:
    broker = _Broker(KafkaConnectionError(), GroupCoordinatorNotAvailableError(), KeyError(), "yes")
    assert run_fast(until_answered(broker.ask, _failed)) == "yes"
    assert len(broker.asked_at_s) == 4


@pytest.mark.parametrize("within_s", [limits.CONNECT_S, 3 * limits.CONNECT_S])
def test_the_last_error_is_the_reason_when_the_time_is_over(within_s: float) -> None:
    broker = _Broker(OSError(), KafkaConnectionError())
    with pytest.raises(BrokerError, match=r"no answer \(KafkaConnectionError\)") as raised:
        run_fast(until_answered(broker.ask, _failed, within_s=within_s, pause_s=0.5))
    assert isinstance(raised.value.__cause__, KafkaConnectionError)
    assert within_s - 1 < broker.asked_at_s[-1] <= within_s


def test_what_is_not_answered_at_all_is_asked_again() -> None:
    broker = _Broker(None)
    with pytest.raises(BrokerError, match=r"no answer \(TimeoutError\)"):
        run_fast(until_answered(broker.ask, _failed, within_s=3 * limits.CONNECT_S))
    assert len(broker.asked_at_s) == 3


def test_a_broker_that_denies_it_is_not_asked_again() -> None:
    broker = _Broker(KafkaConnectionError(), GroupAuthorizationFailedError("group"))
    with pytest.raises(GroupAuthorizationFailedError):
        run_fast(until_answered(broker.ask, _failed))
    assert len(broker.asked_at_s) == 2
