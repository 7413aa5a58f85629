"""What CONTRIBUTING.md names is there, and no change of its seven kinds touches many files."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.repository.pages import ROOT, Page
from tests.repository.test_promises import names_in

_PAGE: Final = Page(ROOT / "CONTRIBUTING.md")
_KINDS: Final = (
    "A vendor's adapter",
    "An optional field of an entry",
    "A metric",
    "A setting",
    "A command",
    "A kind of match",
    "A denial reason",
)
#: Beside docs and tests.
_FILES: Final = 6
_STEP: Final = re.compile(r"^\d+\. (?:`([^`]+)`)?", re.MULTILINE)
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def _section(kind: str) -> str:
    _, found, rest = _PAGE.text.partition(f"\n### {kind}\n")
    assert found, f"no section for {kind}"
    return re.split(r"\n##+ ", rest)[0]


def test_each_kind_of_change_has_its_section() -> None:
    assert tuple(re.findall(r"^### (.+)$", _PAGE.text, re.MULTILINE)) == _KINDS


@pytest.mark.parametrize("kind", _KINDS)
def test_a_change_touches_few_files_which_are_there(kind: str) -> None:
    steps = _STEP.findall(_section(kind))
    assert 1 <= len(steps) <= _FILES
    for file in filter(None, steps):
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("kind", _KINDS)
def test_a_change_names_the_tests_that_fail_until_it_is_done(kind: str) -> None:
    _, found, rest = _section(kind).partition("\nFails until then: ")
    assert found
    tests = _TEST.findall(rest)
    assert tests
    for file, name in tests:
        assert (ROOT / file).is_file(), file
        assert not name or name in names_in(ROOT / file), f"{file}::{name}"


def test_every_test_that_is_named_is_there() -> None:
    for file, name in _TEST.findall(_PAGE.text):
        assert (ROOT / file).is_file(), file
        assert not name or name in names_in(ROOT / file), f"{file}::{name}"
