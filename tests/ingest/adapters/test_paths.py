"""`engine.ingest.adapters.paths`: what a path in a mapping finds, and what is no path."""

from __future__ import annotations

from typing import Any

import pytest

from engine.ingest.adapters.message import Node
from engine.ingest.adapters.paths import Path, PathError

_MESSAGE: dict[str, Any] = {
    "camera": {"id": 7, "Vehicle Make": "Ford", "a.b": "dotted"},
    "empty": None,
    "none": [],
    "results": [
        {"plate": "KRT1", "tags": [{"name": "lane", "value": "L1"}, {"name": "n o", "value": 2}]},
        {"plate": "KRT2", "text": {"#text": "inner", "@unit": "km"}},
    ],
}


def found(written: str, item: Any = _MESSAGE) -> list[Any]:
    return [node.value for node in Path(written).values(Node(item), Node(_MESSAGE))]


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("camera.id", [7]),
        ('camera."Vehicle Make"', ["Ford"]),
        ("camera.Vehicle Make", ["Ford"]),
        ('camera."a.b"', ["dotted"]),
        ("results[*].plate", ["KRT1", "KRT2"]),
        ("results[1].plate", ["KRT2"]),
        ("results[7].plate", []),
        ("results.plate", ["KRT1"]),
        ("results[plate=KRT2].text", ["inner"]),
        ("results[1].text.@unit", ["km"]),
        ("results[1].text.#text", ["inner"]),
        ("results[0].tags[name=lane].value", ["L1"]),
        ('results[0].tags[name="n o"].value', [2]),
        ("results[*].tags[value=2].name", ["n o"]),
        ("camera[*].id", [7]),
        ("camera[0].id", [7]),
        ("camera.id.more", []),
        ("empty", []),
        ("empty.more", []),
        ("none[*].plate", []),
        ("=gate-1", ["gate-1"]),
        ("= gate 1 ", ["gate 1"]),
        ("$.camera.id", [7]),
        ("$", [_MESSAGE]),
        (".", [_MESSAGE]),
    ],
)
def test_what_is_found(written: str, values: list[Any]) -> None:
    assert found(written) == values


def test_a_path_begins_at_the_item_unless_it_says_otherwise() -> None:
    assert found("plate", _MESSAGE["results"][1]) == ["KRT2"]
    assert found("$.camera.id", _MESSAGE["results"][1]) == [7]
    assert found("[*].plate", _MESSAGE["results"]) == ["KRT1", "KRT2"]
    assert found(".", "KRT3") == ["KRT3"]


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("empty", True),
        ("none[*]", True),
        ("none[0]", True),
        ("missing", False),
        ("missing[*]", False),
        ("camera.missing", False),
        ("=x", True),
    ],
)
def test_what_is_there_without_a_value(written: str, there: bool) -> None:
    assert Path(written).is_there(Node(_MESSAGE), Node(_MESSAGE)) is there


def test_an_absent_node_has_the_path_in_words() -> None:
    item = Node({}, "$.results[0]")
    assert Path("plate.text").first(item, Node({})).path == "$.results[0].plate.text"
    assert Path("$.camera").first(item, Node({})).path == "$.camera"


@pytest.mark.parametrize(
    "written",
    [
        *("", "a..b", "a.", "..", "a[", "a[]", "a[x]", "a[*", "a[b=c", "a]b", "a=b", 'a."b'),
        *("=", "= ", ".".join(["a"] * 40)),
    ],
)
def test_what_is_no_path(written: str) -> None:
    with pytest.raises(PathError):
        Path(written)
