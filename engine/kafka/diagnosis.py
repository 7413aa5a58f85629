"""What the broker does not let us do, in words that say what somebody has to allow.

Kafka answers a client that lacks a right with an error that names the resource and not the
operation; which one it was is known to whoever asked. Topics that a client may not even see are
left out of what the broker lists, as if they were not there: `engine.kafka.security.hidden` tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from engine.errors import BrokerError

_KINDS: Final[dict[type[BaseException], str]] = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "group",
    TransactionalIdAuthorizationFailed: "transactional-id",
    ClusterAuthorizationFailedError: "cluster",
}
_WORDS: Final = {
    "topic": "topic",
    "group": "consumer group",
    "transactional-id": "transactional id",
    "cluster": "cluster",
}


class Refusal(NamedTuple):
    """Resources that the broker keeps from us: their kind, as `engine.kafka.acls` calls it, and
    names.

    A `cluster` has none.
    """

    kind: str
    names: tuple[str, ...]

    @classmethod
    def of_topics(cls, names: Iterable[str]) -> Refusal:
        """A refusal of topics."""
        return cls("topic", tuple(sorted(names)))


class NotAllowedError(BrokerError):
    """The broker refuses us something; `refused` is what."""

    def __init__(self, refused: Refusal, what: str, *, where: str, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.refused = refused


def refusal(error: BaseException | None) -> Refusal | None:
    """What the broker refuses, where an error or one that it came from says so; else None."""
    while error is not None:
        if isinstance(error, NotAllowedError):
            return error.refused
        kind = _KINDS.get(type(error))
        if kind is not None:
            return Refusal(kind, _names(error.args))
        error = error.__cause__
    return None


def not_allowed(refused: Refusal, operations: str) -> NotAllowedError:
    """The error that says which operations somebody has to allow us there."""
    if refused.kind == "cluster":
        # A producer gets its number from anybody who may write to some topic.
        where, it, operations = "", "our topics", "Write"
    else:
        several = len(refused.names) > 1
        where = f"{_WORDS[refused.kind]}{'s' if several else ''} {', '.join(refused.names)}"
        it = "them" if several else "it"
    return NotAllowedError(
        refused,
        "the broker does not allow this user what is needed",
        where=where.rstrip(),
        hint=f"ask the cluster's operator for {operations} on {it}; "
        "`hotlist topics acls` shows what each role has",
    )


def _names(arguments: tuple[object, ...]) -> tuple[str, ...]:
    """The resources in an error's arguments: a name, or a collection of names, or nothing."""
    first = arguments[0] if arguments else ()
    if isinstance(first, Iterable) and not isinstance(first, str):
        return tuple(sorted(map(str, first)))
    return (str(first),)
