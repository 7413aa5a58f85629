"""What each role may do on the brokers: Kafka's access control lists, from `acls.toml`.

That file is the only place that defines them. This module fills in the names of a deployment's
topics and groups, and writes the `kafka-acls` commands that give a role to a user. It connects to
no broker, because the cluster's administrator grants rights, not the engine.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from engine.config import Settings
from engine.kafka.diagnosis import Refusal
from engine.kafka.topics import Topics
from engine.resources import SHIPPED

_FILE: Final = "acls.toml"
#: For each key of the file: the resource type of `kafka-acls`, and whether a name is only the
#: prefix of the resources' names.
_RESOURCES: Final = {
    "topics": ("topic", False),
    "groups": ("group", False),
    "groups_from": ("group", True),
    "transactional_ids_from": ("transactional-id", True),
}


class Grant(NamedTuple):
    """Operations on resources of one kind: `topic`, `group` or `transactional-id`.

    `is_prefix`: the names are prefixes of the resources' names.
    """

    kind: str
    names: tuple[str, ...]
    is_prefix: bool
    operations: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Role:
    """A role of those that use the topics; `title` says for what."""

    name: str
    title: str
    grants: tuple[Grant, ...]


def roles(topics: Topics, group: str) -> dict[str, Role]:
    """Return all roles by name, for these topics and this consumer group of the workers."""
    found = tomllib.loads((SHIPPED / _FILE).read_text(encoding="utf-8"))
    return {
        name: Role(name, role["title"], tuple(_grant(each, topics, group) for each in role["may"]))
        for name, role in found.items()
    }


def kafka_acls(role: Role, principal: str, command: str) -> Iterator[str]:
    """Yield the shell commands that give a role to a principal (`User:jo`).

    `command` is how `kafka-acls` is called, with the options that it needs to connect. The rights
    are granted from any host.
    """
    for grant in role.grants:
        words = ["--add", "--allow-principal", principal]
        for operation in grant.operations:
            words += ["--operation", operation]
        for name in grant.names:
            words += [f"--{grant.kind}", name]
        words += ["--resource-pattern-type", "prefixed" if grant.is_prefix else "literal"]
        yield f"{command} {shlex.join(words)}"


def _grant(given: Mapping[str, Any], topics: Topics, group: str) -> Grant:
    (word,) = given.keys() & _RESOURCES.keys()
    kind, is_prefix = _RESOURCES[word]
    names = given[word]
    if kind == "topic":
        full = tuple(topics.name(name) for name in names)
    else:
        full = tuple(name.format(prefix=topics.prefix, group=group) for name in names)
    return Grant(kind, full, is_prefix, tuple(given["operations"]), given["why"])


def worker_needs(settings: Settings, refused: Refusal) -> str:
    """Describe the operations that a worker needs on what the broker denies it."""
    grants = roles(Topics(settings.prefix), settings.group)["engine"].grants
    needed = {
        grant.operations
        for grant in grants
        if grant.kind == refused.kind and any(_is_of(grant, name) for name in refused.names)
    }
    return ", ".join(*needed) if len(needed) == 1 else "what the role engine has"


def _is_of(grant: Grant, name: str) -> bool:
    return name.startswith(grant.names) if grant.is_prefix else name in grant.names
