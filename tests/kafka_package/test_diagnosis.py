"""`engine.kafka.diagnosis`: errors that name what is refused, and what somebody must allow."""

from __future__ import annotations

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from engine.errors import BrokerError
from engine.kafka.diagnosis import Refusal, not_allowed, refusal


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
