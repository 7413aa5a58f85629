"""Why no broker answers, and what the broker denies, in words that say what to do.

`unreachable()` finds out why no broker answers, `hidden()` which topics the broker hides from us.

If a client lacks a right, Kafka's error names the resource but not the operation; only the caller
knows which operation it was. A broker leaves topics that a client may not even see out of its
list, as if they did not exist: `hidden` finds these.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

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
from engine.kafka.connections import connect
from engine.kafka.oauth import TokenError
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


#: How an attempt fails if the broker closes the connection, and what among it says why.
_HUNG_UP: Final = (ssl.SSLError, ConnectionResetError, KafkaError)
_REFUSED: Final = (
    AuthenticationFailedError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    TokenError,
    ssl.SSLCertVerificationError,
)
#: OpenSSL's numbers for a certificate that is valid, but for another name.
_OTHER_NAME: Final = (62, 64)


class Refusal(NamedTuple):
    """Resources that the broker denies: their kind, as in `engine.kafka.acls`, and their names.

    A `cluster` has no names.
    """

    kind: str
    names: tuple[str, ...]

    @classmethod
    def of_topics(cls, names: Iterable[str]) -> Refusal:
        """Make one for topics."""
        return cls("topic", tuple(sorted(names)))


class NotAllowedError(BrokerError):
    """The broker denies something; `refused` says what."""

    def __init__(self, refused: Refusal, what: str, *, where: str, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.refused = refused


def refusal(error: BaseException | None) -> Refusal | None:
    """Return what the broker denies, if an error or one of its causes says so; else None."""
    while error is not None:
        if isinstance(error, NotAllowedError):
            return error.refused
        kind = _KINDS.get(type(error))
        if kind is not None:
            return Refusal(kind, _names(error.args))
        error = error.__cause__
    return None


def not_allowed(refused: Refusal, operations: str) -> NotAllowedError:
    """Return the error that says which operations must be allowed on these resources."""
    if refused.kind == "cluster":
        # A broker gives a producer its id if it may write to any topic.
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
    """Return the resources in an error's arguments: a name, a collection of names, or nothing."""
    first = arguments[0] if arguments else ()
    if isinstance(first, Iterable) and not isinstance(first, str):
        return tuple(sorted(map(str, first)))
    return (str(first),)


async def unreachable(bootstrap: str, security: Security = PLAINTEXT) -> BrokerError:
    """Find out why no broker answers, by one more attempt at each address.

    The clients only log that none did.
    """
    failures = [await _last_failure(address, security) for address in bootstrap.split(",")]
    for error in failures:
        explained = _explained(error, bootstrap, security)
        if explained is not None:
            return explained
    return BrokerError(
        "no Kafka broker answers",
        where=bootstrap,
        hint="start one, or set --bootstrap (HOTLIST_BOOTSTRAP) to its address",
    )


async def hidden(
    bootstrap: str, topics: Collection[str], security: Security = PLAINTEXT
) -> frozenset[str]:
    """Return the topics that the broker hides from us, whether or not they exist.

    The broker's list of topics leaves them out like topics that do not exist. This asks for them by
    name, without creating them. Raises OSError, TimeoutError or KafkaError if no broker answers.
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
    return await connect(host.strip("[]"), int(port), **security)


async def _last_failure(address: str, security: Security) -> BaseException | None:
    """Return the error of an attempt, or of the second one if the broker closes the first.

    A broker that is going down closes a connection, and refuses the next. A listener with another
    protocol closes both.
    """
    error = await _failure(address, security)
    if _is_hung_up(error):
        await asyncio.sleep(limits.PROBE_AGAIN_S)
        error = await _failure(address, security)
    return error


def _is_hung_up(error: BaseException | None) -> bool:
    return isinstance(error, _HUNG_UP) and not isinstance(error, _REFUSED)


async def _failure(address: str, security: Security) -> BaseException | None:
    """Return the error of an attempt at one address; None if it answers after all."""
    connection = None
    try:
        async with asyncio.timeout(limits.PROBE_S):
            connection = await _connected(address, security)
            found = await connection.send(MetadataRequest([]))
            if not found.brokers:
                # aiokafka does not read the broker's refusal of a token, and takes the next
                # response for one to its request.
                return SaslAuthenticationFailed()  # type: ignore[no-any-return]  # no types
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
        case TokenError():
            return error.explained
        case AuthenticationFailedError() | SaslAuthenticationFailed() if _has_token(security):
            return BrokerError(
                "the broker does not accept this client's token",
                where=bootstrap,
                hint="the token endpoint gave it; do the brokers trust its issuer and audience?",
            )
        case AuthenticationFailedError() | SaslAuthenticationFailed():
            return BrokerError(
                f"the broker does not accept the user {security.get('sasl_plain_username')!r} "
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
                hint="set --bootstrap (HOTLIST_BOOTSTRAP) to a name that is in it",
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


def _has_token(security: Security) -> bool:
    return "sasl_oauth_token_provider" in security


def _hung_up(protocol: str, bootstrap: str) -> BrokerError:
    own = ", or it asks for a certificate (--ssl-certfile)" if protocol.endswith("SSL") else ""
    return BrokerError(
        f"the broker closes the {protocol} connection",
        where=bootstrap,
        hint="set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to its listener's protocol"
        + own
        + "; behind a proxy, the broker itself may be down",
    )
