"""The guard against drift: it is quiet now, and speaks up for every planted difference."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.kafka.topics import DECLARED
from tests.repository import schema_drift
from tests.repository.schema_drift import differences, read_asyncapi, read_schemas

Json = Any

SCHEMAS = read_schemas()
ASYNCAPI = read_asyncapi()

#: For each keyword that restrains something, how to plant a difference.
PLANTS: dict[str, Callable[[Json], Json]] = {
    "type": lambda value: "array" if value == "string" else "string",
    "enum": lambda values: [*values, "planted"],
    "const": lambda value: "planted" if isinstance(value, str) else not value,
    "required": lambda names: names[1:],
    "properties": lambda fields: {"planted": {"type": "string"}, **fields},
    "pattern": lambda pattern: pattern.removesuffix("$"),
    "default": lambda value: not value,
    "unevaluatedProperties": lambda value: not value,
    **dict.fromkeys(
        [
            *("minLength", "maxLength", "minItems", "maxItems", "maxProperties"),
            *("minimum", "maximum", "exclusiveMinimum"),
        ],
        lambda bound: bound + 1,
    ),
}


def places(node: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all keywords in a schema that restrain something."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from places(item, (*path, index))
        return
    if not isinstance(node, dict):
        return
    names_of_fields = bool(path) and path[-1] in {"properties", "$defs"}
    for name, value in node.items():
        if not names_of_fields and name == "examples":
            continue
        if not names_of_fields and name in PLANTS:
            yield (*path, name)
        yield from places(value, (*path, name))


def changed(document: Json, path: tuple[Any, ...], change: Callable[[Json], Json]) -> Json:
    copied = copy.deepcopy(document)
    node = copied
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = change(node[path[-1]])
    return copied


def removed(document: Json, path: tuple[Any, ...]) -> Json:
    copied = copy.deepcopy(document)
    node = copied
    for step in path[:-1]:
        node = node[step]
    del node[path[-1]]
    return copied


def test_code_and_schemas_say_the_same() -> None:
    assert differences(SCHEMAS, ASYNCAPI) == []


def test_the_command_is_quiet_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema_drift.main() == 0
    assert capsys.readouterr().out == ""


def test_the_command_prints_differences_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = changed(SCHEMAS, ("detection.v1.json", "properties", "heading", "maximum"), _half)
    monkeypatch.setattr(schema_drift, "read_schemas", lambda: planted)
    assert schema_drift.main() == 1
    assert capsys.readouterr().out == (
        "detection.v1.json: $.object.fields.heading.number.maximum: "
        "the schema says 180, the code 360\n"
        "match.v1.json: $.object.fields.read.object.fields.heading.number.maximum: "
        "the schema says 180, the code 360\n"
    )


def _half(bound: int) -> int:
    return bound // 2


@pytest.mark.parametrize("path", list(places(SCHEMAS)), ids=lambda path: "/".join(map(str, path)))
def test_a_difference_planted_in_any_keyword_is_found(path: tuple[Any, ...]) -> None:
    planted = changed(SCHEMAS, path, PLANTS[path[-1]])
    assert differences(planted, ASYNCAPI)
    if path[-1] not in {"properties", "required"}:
        assert differences(removed(SCHEMAS, path), ASYNCAPI)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_missing_schema_is_found(name: str) -> None:
    lines = differences(removed(SCHEMAS, (name,)), ASYNCAPI)
    assert f"{name}: is missing" in lines


def test_a_keyword_that_is_not_compared_is_found() -> None:
    planted = changed(
        SCHEMAS, ("reject.v1.json", "properties", "rule"), lambda field: field | {"format": "uri"}
    )
    lines = differences(planted, ASYNCAPI)
    assert lines == ["reject.v1.json: has the keyword format, which is not compared here"]


def test_a_schema_that_nothing_uses_is_found() -> None:
    lines = differences({**SCHEMAS, "extra.v1.json": {}}, ASYNCAPI)
    assert lines == ["extra.v1.json: belongs to no document"]


CHANNELS = ("channels", "detections")


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            (*CHANNELS, "address"),
            "lpr.reads.v1",
            (
                "channels.detections.address: the schema says 'lpr.reads.v1', "
                "the code 'lpr.detections.v1'"
            ),
        ),
        (
            ("channels", "hotlist", "bindings", "kafka", "topicConfiguration", "cleanup.policy"),
            ["delete"],
            (
                "channels.hotlist.topicConfiguration.cleanup.policy: the schema says 'delete', "
                "the code 'compact'"
            ),
        ),
        (
            ("channels", "policies", "bindings", "kafka", "partitions"),
            2,
            "channels.policies.partitions: the schema says 2, the code 1",
        ),
        (
            ("components", "messages", "entry", "payload", "schema", "$ref"),
            "./policy.v1.json",
            "channels.hotlist.messages: must refer to ./entry.v1.json, and to messages that exist",
        ),
        (
            ("components", "messages", "match", "headers", "properties", "ce_type", "const"),
            "lpr.read.v1",
            "components.messages.match.headers.ce_type: the code sends 'lpr.match.v1'",
        ),
        (
            ("components", "messages", "match", "headers", "properties", "ce_id", "pattern"),
            "^[0-9]$",
            None,
        ),
        (("components", "messages", "match", "headers", "required"), ["ce_id"], None),
        (
            ("components", "messages", "detection", "headers", "properties"),
            {"alternate": {"type": "string"}},
            (
                "components.messages.detection.headers.properties: "
                "the schema says ['alternate'], "
                "the code ['alternates', 'traceparent', 'tracestate']"
            ),
        ),
    ],
)
def test_a_difference_planted_in_asyncapi_is_found(
    path: tuple[Any, ...], value: Json, line: str | None
) -> None:
    lines = differences(SCHEMAS, changed(ASYNCAPI, path, lambda _: value))
    assert lines
    assert all(found.startswith("asyncapi.yaml: ") for found in lines)
    if line is not None:
        assert f"asyncapi.yaml: {line}" in lines


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: declared.name)
def test_a_topic_that_asyncapi_leaves_out_is_found(declared: Any) -> None:
    lines = differences(SCHEMAS, removed(ASYNCAPI, ("channels", declared.name)))
    assert lines == [f"asyncapi.yaml: channels.{declared.name}: is missing"]


def test_a_channel_or_an_operation_too_many_or_too_few_is_found() -> None:
    planted = changed(ASYNCAPI, ("channels",), lambda all_: {**all_, "extra": {}})
    assert differences(SCHEMAS, planted) == [
        "asyncapi.yaml: channels.extra: there is no such topic"
    ]
    planted = removed(ASYNCAPI, ("operations", "sendAudit"))
    assert differences(SCHEMAS, planted) == ["asyncapi.yaml: channels.audit: no operation uses it"]


def described(node: Json, path: str) -> Iterator[str]:
    """Where a description is missing: of each field, and of what the fields refer to."""
    if "description" not in node:
        yield path
    for name, field in node.get("properties", {}).items():
        yield from described(field, f"{path}.{name}")
    for name, definition in node.get("$defs", {}).items():
        yield from described(definition, f"{path}#{name}")


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_explains_itself(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].endswith(f"/{name}")
    for node in (schema, *schema.get("$defs", {}).values()):
        assert {"title", "description", "examples"} <= node.keys()
        assert node["examples"]
    missing = [place for place in described(schema, "$") if not place.startswith(QUOTED)]
    assert not missing


#: Where the match schema only closes what the schemas of the entry and the read describe.
QUOTED = ("$.entry.", "$.read.")
