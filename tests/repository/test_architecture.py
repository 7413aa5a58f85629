"""What ARCHITECTURE.md names in the code is there, and its glossary has the words in use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest

from tests.repository import words
from tests.repository.pages import ROOT, Page
from tests.repository.source import Module, Source

_PAGE: Final = Page(ROOT / "ARCHITECTURE.md")
_DOTTED: Final = re.compile(r"[a-z_]+(?:\.[A-Za-z_]\w*)+")
_METHOD: Final = re.compile(r"([A-Z]\w+)\.([a-z_]\w*)")
#: What a stranger asks, and must be led to.
_QUESTIONS: Final = (
    "why did this read not match",
    "when is an offset committed",
    "where does a plate's normal form come from",
    "what is written for an expired entry",
    "who closes the gate",
)


@cache
def _engine() -> Source:
    return Source.read()


def _members(name: str) -> Iterator[str]:
    """What the classes of this name define, wherever in engine/ they stand."""
    for module in _engine().modules.values():
        for node in module.definitions():
            if isinstance(node, ast.ClassDef) and node.name == name:
                yield from (
                    each.name
                    for each in node.body
                    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                )


def _is_there(dotted: str) -> bool:
    """Whether `package.module.Name.member`, or the beginning of one, is in engine/."""
    parts = ["engine", *dotted.split(".")]
    for length in range(len(parts), 1, -1):
        module = _engine().modules.get(".".join(parts[:length]))
        if module is not None:
            return _defines(module, parts[length:])
    return False


def _defines(module: Module, rest: list[str]) -> bool:
    if not rest:
        return True
    return rest[0] in module.bound and (len(rest) == 1 or rest[1] in set(_members(rest[0])))


def _named() -> list[str]:
    rooms = {module.room for module in _engine().modules.values()}
    names = {name.removesuffix("()") for name in _PAGE.names()}
    return sorted(
        name
        for name in names
        if _METHOD.fullmatch(name) or (_DOTTED.fullmatch(name) and name.split(".")[0] in rooms)
    )


def test_much_is_named() -> None:
    assert len(_named()) > 60


@pytest.mark.parametrize("name", _named())
def test_what_is_named_is_there(name: str) -> None:
    if method := _METHOD.fullmatch(name):
        assert method[2] in set(_members(method[1])), f"no class {method[1]} has {method[2]}"
    else:
        assert _is_there(name), f"engine.{name} is not there"


def test_the_drawing_comes_first() -> None:
    assert _PAGE.text.index("```text") < _PAGE.text.index("\n## ")


def test_a_stranger_is_led_to_where_it_is_decided() -> None:
    _, _, rest = _PAGE.text.partition("\n## Where is it decided\n")
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+) \|", rest.partition("\n## ")[0], re.MULTILINE))
    for question in _QUESTIONS:
        assert "`engine/" in rows[question], question


def test_the_glossary_is_in_use() -> None:
    glossary = words.glossary(_PAGE)
    assert 15 <= len(glossary) <= 30
    assert list(words.unused(glossary, _engine())) == []
