"""Every promise, and every threat that something stands against, names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+(?:::\w+)?))?`")


def _rows(document: str, heading: str) -> list[str]:
    """The rows of the first table under a heading, without its head."""
    _, found, rest = (_ROOT / document).read_text("utf-8").partition(f"\n## {heading}\n")
    assert found, f"{document} has no heading {heading!r}"
    lines = iter(rest.splitlines())
    rows = []
    for line in lines:
        if line.startswith("|"):
            rows.append(line)
        elif rows:
            break
    return rows[2:]


_PROMISES = _rows("ARCHITECTURE.md", "The promises, and what holds them")
_THREATS = _rows("SECURITY.md", "Threats, the protection against each, and the test that holds it")


def names_in(path: Path) -> set[str]:
    """The functions, classes and methods that a file defines, a method as `Class::name`."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}::{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


def test_each_promise_of_the_contract_has_a_row() -> None:
    assert [row.split("|")[1].strip() for row in _PROMISES] == list("12345678")


@pytest.mark.parametrize("row", _PROMISES + _THREATS)
def test_what_holds_it_exists(row: str) -> None:
    named = _NAMED.findall(row)
    assert named, "names no test"
    for file, test in named:
        path = _ROOT / file
        assert path.is_file(), f"there is no {file}"
        assert not test or test in names_in(path), f"there is no {test} in {file}"
