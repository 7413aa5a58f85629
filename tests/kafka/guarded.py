"""A broker that asks who one is, refuses what nothing allows, and speaks TLS; and ways to it.

One broker with a listener for each way: `USERS` (SASL without encryption), `TLS` (certificates
on both sides) and `BOTH` (SASL over TLS). Who comes to its plain listener, `JO` and the holder
of `records.unit`'s certificate may do everything there; the users of the roles, and the
`TRAINEES`, what a test allows them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from click.testing import CliRunner, Result
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from engine.cli import main
from engine.config import CONNECTION, SETTINGS
from engine.kafka.acls import Role, roles
from engine.kafka.topics import Topics
from tests.fakes.certificates import Authority
from tests.kafka import jars
from tests.kafka.broker import RealBroker

JO: Final = "jo"
PASSWORD: Final = "correct-horse-9f2c"
ROLES: Final = tuple(roles(Topics(""), ""))
TRAINEES: Final = tuple(f"trainee-{number}" for number in range(24))
_USERS: Final = (JO, *ROLES, *TRAINEES)
#: KRaft keeps users of SCRAM since 3.5 (KIP-900). All log in by PLAIN before.
HAS_SCRAM: Final = jars.release() >= (3, 5)
MECHANISM: Final = "SCRAM-SHA-256" if HAS_SCRAM else "PLAIN"

_PAUSE_S: Final = 0.02
_LOGIN: Final = "org.apache.kafka.common.security"
_RESOURCES: Final = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS: Final = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
}


def guarded_broker(authority: Authority) -> RealBroker:
    """The broker, not started; its certificate is of this authority."""
    certfile, keyfile = authority.issue("broker")
    keystore = certfile.with_name("keystore.pem")
    keystore.write_bytes(keyfile.read_bytes() + certfile.read_bytes())
    tls = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": keystore.as_posix(),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": authority.cafile.as_posix(),
    }
    of_users = " ".join(f'user_{name}="{PASSWORD}"' for name in _USERS)
    plain = f"{_LOGIN}.plain.PlainLoginModule required {of_users};"
    scram = f"{_LOGIN}.scram.ScramLoginModule required;"
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:ANONYMOUS;User:{JO};User:CN=records.unit",
        "listener.name.users.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,OAUTHBEARER",
        # Kafka's own validator of tokens without a signature.
        "listener.name.users.oauthbearer.sasl.jaas.config": (
            f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule required;"
        ),
        "listener.name.users.plain.sasl.jaas.config": plain,
        "listener.name.users.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.both.sasl.enabled.mechanisms": MECHANISM,
        "listener.name.both.plain.sasl.jaas.config": plain,
        "listener.name.both.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.tls.ssl.client.auth": "required",
        **{f"listener.name.tls.{name}": value for name, value in tls.items()},
        **{f"listener.name.both.{name}": value for name, value in tls.items()},
    }
    return RealBroker(
        light=True,
        properties=properties,
        listeners={"USERS": "SASL_PLAINTEXT", "TLS": "SSL", "BOTH": "SASL_SSL"},
        scram=dict.fromkeys(_USERS, PASSWORD) if HAS_SCRAM else None,
    )


class Way:
    """One way to connect: the variables that say so, and the name that the broker sees."""

    def __init__(self, bootstrap: str, principal: str, **variables: object) -> None:
        self.bootstrap = bootstrap
        self.principal = principal
        self.variables = {
            "HOTLIST_BOOTSTRAP": bootstrap,
            **{f"HOTLIST_{name.upper()}": str(value) for name, value in variables.items()},
        }

    def run(self, prefix: str, *arguments: str, **more: str) -> Result:
        environment: dict[str, str | None] = dict.fromkeys(
            [SETTINGS[name].variable for name in (*CONNECTION, "operator")]
        )
        environment |= {**self.variables, "HOTLIST_PREFIX": prefix, **more}
        return CliRunner().invoke(main, arguments, env=environment)

    def good(self, prefix: str, *arguments: str) -> str:
        result = self.run(prefix, *arguments)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    def line(self, prefix: str, *arguments: str, **more: str) -> str:
        """The one line of a command that cannot connect, or may not."""
        result = self.run(prefix, *arguments, **more)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert PASSWORD not in result.stderr
        return result.stderr.rstrip("\n")


def user(guarded: RealBroker, name: str) -> Way:
    """The way of a user of the broker."""
    return Way(
        guarded.at("USERS"),
        name,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=MECHANISM,
        sasl_username=name,
        sasl_password=PASSWORD,
    )


class Right(NamedTuple):
    """One operation on one resource; `is_prefix`: on all whose names begin so."""

    kind: str
    name: str
    is_prefix: bool
    operation: str

    def binding(self, user: str) -> AclBinding:
        """The right as Kafka's own, for a user."""
        return AclBinding(
            _RESOURCES[self.kind],
            self.name,
            ResourcePatternType.PREFIXED if self.is_prefix else ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            _OPERATIONS[self.operation],
            AclPermissionType.ALLOW,
        )


def rights_of(role: Role) -> list[Right]:
    """All rights of a role."""
    return [
        Right(grant.kind, name, grant.is_prefix, operation)
        for grant in role.grants
        for name in grant.names
        for operation in grant.operations
    ]


def with_one_less(rights: Sequence[Right]) -> Iterator[tuple[Right, list[Right]]]:
    """Each right, and the others."""
    for number, missing in enumerate(rights):
        yield missing, [*rights[:number], *rights[number + 1 :]]


class Rights:
    """Gives and takes the rights of the broker's users, and waits until they count."""

    def __init__(self, guarded: RealBroker) -> None:
        self._admin = AdminClient({"bootstrap.servers": guarded.bootstrap})

    def give(self, user: str, rights: Iterable[Right]) -> None:
        wanted = {right.binding(user) for right in rights}
        if wanted:
            for done in self._admin.create_acls(list(wanted)).values():
                done.result()
        while not wanted <= self.of(user):
            time.sleep(_PAUSE_S)

    def take(self, user: str) -> None:
        """Take all rights of a user."""
        for done in self._admin.delete_acls([all_of(user)]).values():
            done.result()
        while self.of(user):
            time.sleep(_PAUSE_S)

    def of(self, user: str) -> set[AclBinding]:
        return set(self._admin.describe_acls(all_of(user)).result())


def all_of(user: str) -> AclBindingFilter:
    """All rights of a user."""
    anything: Any = None  # which the filter takes, other than its signature says
    return AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        f"User:{user}",
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def connecting_as(name: str) -> Mapping[str, str]:
    """What aiokafka's clients need to connect as a user."""
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": MECHANISM,
        "sasl_plain_username": name,
        "sasl_plain_password": PASSWORD,
    }
