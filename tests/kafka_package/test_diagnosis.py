"""`engine.kafka.diagnosis`: errors that name what is refused, and what somebody must allow."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from engine import limits
from engine.errors import BrokerError
from engine.kafka.diagnosis import Refusal, not_allowed, refusal, unreachable


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (TopicAuthorizationFailedError("t"), Refusal("topic", ("t",))),
        (TopicAuthorizationFailedError({"b", "a"}), Refusal("topic", ("a", "b"))),
        (GroupAuthorizationFailedError("g"), Refusal("group", ("g",))),
        (TransactionalIdAuthorizationFailed("x"), Refusal("transactional-id", ("x",))),
        (ClusterAuthorizationFailedError(), Refusal("cluster", ())),
        (not_allowed(Refusal("topic", ("t",)), "Read"), Refusal("topic", ("t",))),
        (NotLeaderForPartitionError(), None),
        (TimeoutError(), None),
        (None, None),
    ],
)
def test_a_refusal_is_told_from_other_errors(
    error: BaseException | None, found: Refusal | None
) -> None:
    assert refusal(error) == found
    outer = BrokerError("the broker answers with an error")
    outer.__cause__ = error
    assert refusal(outer) == found


def test_of_a_chain_the_outermost_counts() -> None:
    inner = GroupAuthorizationFailedError("g")
    outer = TopicAuthorizationFailedError("t")
    outer.__cause__ = KafkaError("between")
    outer.__cause__.__cause__ = inner
    assert refusal(outer) == Refusal("topic", ("t",))


@pytest.mark.parametrize(
    ("refused", "where", "it"),
    [
        (Refusal.of_topics(["t"]), "topic t: ", "it"),
        (Refusal.of_topics({"u", "t"}), "topics t, u: ", "them"),
        (Refusal("group", ("g",)), "consumer group g: ", "it"),
        (Refusal("transactional-id", ("x/y",)), "transactional id x/y: ", "it"),
        (Refusal("cluster", ()), "", "our topics"),
    ],
)
def test_what_is_missing_is_named(refused: Refusal, where: str, it: str) -> None:
    assert str(not_allowed(refused, "Write")) == (
        f"{where}the broker does not allow this user what is needed; ask the cluster's operator "
        f"for Write on {it}; `hotlist topics acls` shows what each role has"
    )


@pytest.mark.parametrize(
    ("closes", "why"),
    [(1, "no Kafka broker answers"), (2, "the broker closes the PLAINTEXT connection")],
)
async def test_a_broker_that_goes_down_is_not_taken_for_one_with_another_protocol(
    closes: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROBE_AGAIN_S", 0.01)
    left = closes

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        left -= 1
        if not left:
            server.close()
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    error = await unreachable(f"{host}:{port}")
    assert why in str(error)
    assert ("--security-protocol" in str(error)) == (closes > 1)
    assert left == 0
