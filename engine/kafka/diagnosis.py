"""Why no broker answers, and what the broker does not let us do, in words that say what to do.

`unreachable()` finds out why no broker answers, `hidden()` which topics the broker keeps from us.

Kafka answers a client that lacks a right with an error that names the resource and not the
operation; which one it was is known to whoever asked. Topics that a client may not even see are
left out of what the broker lists, as if they were not there: `hidden` tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from engine import limits
from engine.errors import BrokerError
from engine.kafka.security import PLAINTEXT, SASL_VARIABLE, Security

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


#: OpenSSL's numbers for a certificate that is good, but somebody else's.
_OTHER_NAME: Final = (62, 64)


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


async def unreachable(bootstrap: str, security: Security = PLAINTEXT) -> BrokerError:
    """Why no broker answers there, found out by one more attempt at each address.

    The clients tell their log only that none did.
    """
    failures = [await _failure(address, security) for address in bootstrap.split(",")]
    for error in failures:
        explained = _explained(error, bootstrap, security)
        if explained is not None:
            return explained
    return BrokerError(
        "no Kafka broker answers",
        where=bootstrap,
        hint="start one, or set --bootstrap (HOTLIST_BOOTSTRAP) to where it listens",
    )


async def hidden(
    bootstrap: str, topics: Collection[str], security: Security = PLAINTEXT
) -> frozenset[str]:
    """Those of the topics that the broker does not let us see, whether or not they are there.

    In its list of topics they are missing like those that nobody has made. Asks by name, makes
    none by asking. Raises OSError, TimeoutError or KafkaError where no broker answers.
    """
    *others, last = bootstrap.split(",")
    for address in others:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            return await _hidden(address, topics, security)
    return await _hidden(last, topics, security)


async def _hidden(address: str, topics: Collection[str], security: Security) -> frozenset[str]:
    connection = None
    try:
        async with asyncio.timeout(limits.PROBE_S):
            connection = await _connected(address, security)
            found = await connection.send(
                MetadataRequest(sorted(topics), allow_auto_topic_creation=False)
            )
    finally:
        if connection is not None:
            connection.close()
    refused = TopicAuthorizationFailedError.errno
    return frozenset(topic for code, topic, *_ in found.topics if code == refused)


async def _connected(address: str, security: Security) -> Any:
    host, _, port = address.rpartition(":")
    return await create_conn(host.strip("[]"), int(port), **security)


async def _failure(address: str, security: Security) -> BaseException | None:
    """What an attempt at one address ends with; None where it answers after all."""
    connection = None
    try:
        async with asyncio.timeout(limits.PROBE_S):
            connection = await _connected(address, security)
            await connection.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError, ValueError) as error:
        return error
    finally:
        if connection is not None:
            connection.close()
    return None


def _explained(
    error: BaseException | None, bootstrap: str, security: Security
) -> BrokerError | None:
    protocol = security["security_protocol"]
    match error:
        case AuthenticationFailedError() | SaslAuthenticationFailed():
            return BrokerError(
                f"the broker does not take the user {security.get('sasl_plain_username')!r} "
                "with this password",
                where=bootstrap,
                hint=f"set --sasl-username (HOTLIST_SASL_USERNAME) and {SASL_VARIABLE}",
            )
        case UnsupportedSaslMechanismError():
            return BrokerError(
                f"the broker does not offer {security.get('sasl_mechanism')}",
                where=bootstrap,
                hint="set --sasl-mechanism (HOTLIST_SASL_MECHANISM) to one that it offers",
            )
        case ssl.SSLCertVerificationError() if error.verify_code in _OTHER_NAME:
            return BrokerError(
                "the broker's certificate is for another name",
                where=bootstrap,
                hint="set --bootstrap (HOTLIST_BOOTSTRAP) to a name that stands in it",
            )
        case ssl.SSLCertVerificationError():
            return BrokerError(
                f"the broker's certificate is not trusted ({error.verify_message})",
                where=bootstrap,
                hint="set --ssl-cafile (HOTLIST_SSL_CAFILE) to the authority that signed it",
            )
        case ssl.SSLError() | ConnectionResetError():
            return _hung_up(protocol, bootstrap)
        case KafkaError():
            return _hung_up(protocol, bootstrap)
    return None


def _hung_up(protocol: str, bootstrap: str) -> BrokerError:
    own = ", or it asks for a certificate (--ssl-certfile)" if protocol.endswith("SSL") else ""
    return BrokerError(
        f"the broker ends the connection, which is {protocol}",
        where=bootstrap,
        hint="set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to what it speaks there"
        + own
        + "; behind a proxy it may be away",
    )
