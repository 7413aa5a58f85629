"""`engine.kafka.acls`: the roles' file says what it may say, and names the topics that there
are."""

from __future__ import annotations

import shlex
import tomllib
from importlib.resources import files

import orjson
import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.config import Settings
from engine.delivery.transactional_producer import TransactionalSink
from engine.kafka.acls import kafka_acls, roles, worker_needs
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import Refusal
from engine.kafka.topics import DECLARED, Topics

_TOPICS = Topics("t.")
#: What Kafka knows; of these nobody is given Delete, Alter, ClusterAction or All.
_OPERATIONS = {"Read", "Write", "Create", "Describe", "DescribeConfigs", "AlterConfigs"}


def hotlist(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["topics", "acls", *arguments])


def test_the_file_names_every_topic_and_no_other() -> None:
    found = tomllib.loads((files("engine") / "data" / "acls.toml").read_text(encoding="utf-8"))
    named = {
        name for role in found.values() for each in role["may"] for name in each.get("topics", ())
    }
    assert named == {declared.name for declared in DECLARED}


def test_every_right_says_what_for_and_is_given_once() -> None:
    found = roles(_TOPICS, "g")
    for role in found.values():
        assert role.title
        rights = [
            (grant.kind, name, operation)
            for grant in role.grants
            for name in grant.names
            for operation in grant.operations
        ]
        assert rights
        assert len(set(rights)) == len(rights)
        assert {operation for *_, operation in rights} <= _OPERATIONS
        assert all(grant.why for grant in role.grants)
    assert all(
        not {"Create", "AlterConfigs"} & set(grant.operations)
        for name, role in found.items()
        for grant in role.grants
        if name != "administrator"
    )


def test_names_are_those_of_the_deployment() -> None:
    engine = roles(Topics("city."), "north")["engine"]
    named = {name for grant in engine.grants for name in grant.names}
    assert {"city.detections.v1", "north", "north.audit"} <= named
    manager = roles(Topics("city."), "north")["list-manager"]
    (transactions,) = (grant for grant in manager.grants if grant.kind == "transactional-id")
    # As `entries sync` makes its id, in engine/cli/entries/import_.py.
    assert f"{Topics('city.').hotlist}/sync/stolen".startswith(transactions.names[0])
    assert transactions.is_prefix
    (transactions,) = (grant for grant in engine.grants if grant.kind == "transactional-id")
    made = TransactionalSink(Cluster("localhost:1", Topics("city."), "north"), 3).id
    assert made.startswith(transactions.names[0])
    assert transactions.is_prefix


def test_the_commands_of_a_role() -> None:
    (matches, groups) = kafka_acls(
        roles(_TOPICS, "g")["alerting"], "User:CN=a b", "acls --at 'x y'"
    )
    assert matches == (
        "acls --at 'x y' --add --allow-principal 'User:CN=a b' --operation Read "
        "--topic t.matches.v1 --resource-pattern-type literal"
    )
    assert shlex.split(groups)[-4:] == [
        "--group",
        "t.alerting",
        "--resource-pattern-type",
        "prefixed",
    ]


def test_the_command_line_shows_them() -> None:
    everything = hotlist()
    assert everything.exit_code == 0
    assert [line.split()[0] for line in everything.stdout.splitlines()[1:]] == [
        role.name
        for role in roles(Topics("lpr."), "hotlist-engine").values()
        for grant in role.grants
        for _ in grant.names
    ]
    result = hotlist("auditor", "--prefix=t.", "--principal=User:au", "--command=kafka-acls")
    assert result.stdout == (
        "kafka-acls --add --allow-principal User:au --operation Read --topic t.audit.v1 "
        "--resource-pattern-type literal\n"
    )
    document = orjson.loads(hotlist("auditor", "--json", "--principal=User:au").stdout)
    assert document.pop("why")
    assert document == {
        "role": "auditor",
        "principal": "User:au",
        "resource_type": "topic",
        "pattern_type": "literal",
        "names": ["lpr.audit.v1"],
        "operations": ["Read"],
    }


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["boss"], "'boss' is no role; there are ingest, engine, alerting, "),
        (["--principal=User:jo"], "--principal needs a ROLE to give; "),
        (
            ["auditor", "--principal=User:*"],
            "Invalid value for '--principal': 'User:*' is everybody, and a role is for one user; ",
        ),
        (
            ["auditor", "--principal=jo"],
            "Invalid value for '--principal': 'jo' is none; write User:NAME; ",
        ),
    ],
)
def test_what_cannot_be_given_is_one_line(arguments: list[str], line: str) -> None:
    result = hotlist(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"hotlist: {line}")
    assert result.stderr.endswith("see hotlist topics acls --help\n")


@pytest.mark.parametrize(
    ("refused", "operations"),
    [
        (Refusal("topic", ("t.matches.v1",)), "Write, DescribeConfigs"),
        (Refusal("topic", ("t.audit.v1",)), "Read, Write, DescribeConfigs"),
        (Refusal("topic", ("t.hotlist.v1", "t.policies.v1")), "Read, DescribeConfigs"),
        (Refusal("topic", ("t.audit.v1", "t.matches.v1")), "what the role engine has"),
        (Refusal("group", ("g.audit",)), "Read"),
        (Refusal("group", ("other",)), "what the role engine has"),
    ],
)
def test_what_a_worker_needs(refused: Refusal, operations: str) -> None:
    assert worker_needs(Settings(prefix="t.", group="g"), refused) == operations
