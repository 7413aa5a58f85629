"""Paths into a message, as an operator writes them in a mapping.

    plate                      a field
    data.camera."Vehicle Make" a field of a field; a name with spaces or dots stands in quotes
    results[*].plate           a field of each item of an array
    results[0].plate           of its first item
    attributes[name=Number]    the items whose field has this value
    vehicle.@color, text.#text an attribute, and the text, of an XML element
    $.camera                   from the whole message, where other paths begin at the item of `each`
    .                          the item itself
    =gate-1                    no path: this text

An XML element that is there once is an array of one item, and a name after an array takes its first
item, so that a path holds whether an element is repeated or not. What is not there is absent,
whatever is there instead.

Pure: no clock, no I/O, no state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from engine.ingest.adapters.message import Node

_NAME: Final = r"\"[^\"]+\"|[^\s.\[\]=\"$][^.\[\]=\"]*"
_STEP: Final = re.compile(
    rf"(?P<name>{_NAME})|\[(?P<all>\*)\]|\[(?P<place>\d{{1,6}})\]"
    rf"|\[(?P<key>{_NAME})=(?P<value>\"[^\"]*\"|[^\]\"]*)\]"
)
_STEPS: Final = 32
_RULE: Final = "must be a path such as data.results[*].plate, or =TEXT"


class PathError(ValueError):
    """A text is no path; the message is the rule that it breaks."""


class _Every(NamedTuple):
    """The items of an array: all, or those whose field `key` has this value."""

    key: str = ""
    value: str = ""


class Path:
    """A path, or a constant; see the module."""

    def __init__(self, written: str) -> None:
        """Raises PathError."""
        self.written = written
        self.constant: str | None = written[1:].strip() if written.startswith("=") else None
        self.from_message: bool = written.startswith("$")
        self._steps: tuple[str | int | _Every, ...] = ()
        if not written:
            raise PathError(_RULE)
        if self.constant is None:
            self._steps = tuple(_steps(written.removeprefix("$")))
        elif not self.constant:
            raise PathError("must have a text after =")

    def all(self, item: Node, message: Node) -> Iterator[Node]:
        """Yield the nodes at this path that have a value."""
        yield from (
            node for node in self._found(item, message, self._steps) if node.value is not None
        )

    def values(self, item: Node, message: Node) -> Iterator[Node]:
        """Yield these nodes; for an XML element with attributes its text."""
        for node in self.all(item, message):
            is_element = isinstance(node.value, dict) and "#text" in node.value
            yield Node(node.value["#text"], node.path) if is_element else node

    def is_there(self, item: Node, message: Node) -> bool:
        """Return whether the message has this path, if only with null, or as an empty array."""
        steps = self._steps
        while steps and not isinstance(steps[-1], str):
            steps = steps[:-1]
        return bool(self._found(item, message, steps))

    def _found(
        self, item: Node, message: Node, steps: tuple[str | int | _Every, ...]
    ) -> list[Node]:
        if self.constant is not None:
            return [Node(self.constant, item.path)]
        found = [message if self.from_message else item]
        for step in steps:
            found = [inner for node in found for inner in _inner(node, step)]
        return found

    def first(self, item: Node, message: Node) -> Node:
        """Return the first node at this path, or an absent one that has the path in words."""
        absent = self.written.lstrip("$.")
        root = message.path if self.from_message else item.path
        return next(self.values(item, message), Node(None, f"{root}.{absent}".removesuffix(".")))


def _steps(written: str) -> Iterator[str | int | _Every]:
    rest = written.removeprefix(".")
    if written in {"", "."}:
        return
    for _ in range(_STEPS):
        found = _STEP.match(rest)
        if found is None:
            break
        if found["name"] is not None:
            yield found["name"].strip('"').strip()
        elif found["all"] is not None:
            yield _Every()
        elif found["place"] is not None:
            yield int(found["place"])
        else:
            yield _Every(found["key"].strip('"'), found["value"].strip('"'))
        rest = rest[found.end() :]
        if not rest:
            return
        if rest.startswith("."):
            rest = rest[1:]
        elif not rest.startswith("["):
            break
    raise PathError(_RULE)


def _inner(node: Node, step: str | int | _Every) -> Iterator[Node]:
    value: Any = node.value
    if isinstance(step, str):
        path = node.path
        if isinstance(value, list):
            value, path = (value[0] if value else None), f"{path}[0]"
        if isinstance(value, dict) and step in value:
            yield Node(value[step], f"{path}.{step}")
        return
    if value is None:
        return
    items = value if isinstance(value, list) else [value]
    for place, each in enumerate(items):
        inner = Node(each, f"{node.path}[{place}]")
        if isinstance(step, int):
            if place == step:
                yield inner
        elif not step.key or _text(each, step.key) == step.value:
            yield inner


def _text(item: Any, key: str) -> str | None:
    found = item.get(key) if isinstance(item, dict) else None
    return str(found) if isinstance(found, str | int | float) else None
