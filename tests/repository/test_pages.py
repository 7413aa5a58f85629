"""What the pages of this repository say is so: links lead somewhere, commands and flags are there,
blocks of Python run.

Blocks of shell are run by tests/kafka/repository/test_guides.py and
tests/kafka/repository/test_runbook.py.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import click
import pytest

from engine.cli import main as hotlist
from engine.cli.audit import verify_metrics
from engine.cli.entries import sync_metrics
from engine.config import SETTINGS
from engine.ingest import metrics as ingest_metrics
from engine.observability import metric_families
from tests.repository import console
from tests.repository.pages import ROOT, Fenced, Page, calls, pages

PAGES: Final = pages()
_PYTHON: Final = [(page, block) for page in PAGES for block in page.blocks("python")]
#: What is made where it is used, and is in no clone.
_MADE: Final = frozenset({"benchmarks/work/"})
#: Flags of other programs that pages name by themselves.
_FLAGS_OF_OTHERS: Final = {
    "benchmarks/README.md": {"--quick", "--engine", "--rounds"},
    "benchmarks/peers/README.md": {"--bootstrap", "--quick"},
}
#: Variables that are no settings.
_VARIABLES: Final = {
    "HOTLIST_CAMERA",
    "HOTLIST_CONFIG",
    "HOTLIST_COUNTRY",
    "HOTLIST_INGEST_TOKEN",
    "HOTLIST_MQTT_PASSWORD",
    "HOTLIST_REQUIRE_KAFKA",
    "HOTLIST_SASL_OAUTHBEARER_CLIENT_SECRET",
    "HOTLIST_SASL_PASSWORD",
    "HOTLIST_SCHEMA_REGISTRY_PASSWORD",
    "HOTLIST_SOURCE",
    "HOTLIST_SSL_KEY_PASSWORD",
    "HOTLIST_TEST_BROKERS",
    "HOTLIST_TEST_KAFKA",
    "HOTLIST_TEST_KAFKA_VERSION",
    "HOTLIST_TIME_ZONE",
}
#: What is fed to a command is no command.
_HERE_DOCUMENT: Final = re.compile(r"<<'?(\w+)'?\n.*?^\1$", re.DOTALL | re.MULTILINE)
_PATH: Final = re.compile(r"(?:engine|schemas|deploy|benchmarks|tests)/[\w./-]+")


def _named(page: Page) -> str:
    return page.name


def test_all_are_found() -> None:
    names = {page.name for page in PAGES}
    assert names >= {"README.md", "SECURITY.md", "deploy/RUNBOOK.md", "deploy/guides/tutorial.md"}
    assert not any(".venv" in name or "site-packages" in name for name in names)
    links = [link for page in PAGES for link in page.links()]
    assert len(links) > 80
    assert sum("#" in link for link in links) > 20


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_links_lead_somewhere(page: Page) -> None:
    for link in page.links():
        file, _, anchor = unquote(link).partition("#")
        target = (page.path.parent / file).resolve() if file else page.path
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(ROOT), f"{page.name}: {link}"
        if anchor:
            assert anchor in Page(target).anchors(), f"{page.name}: {link}"


def test_every_guide_is_linked_from_the_readme() -> None:
    [readme] = [page for page in PAGES if page.name == "README.md"]
    linked = {link.partition("#")[0] for link in readme.links()}
    guides = {page.name for page in PAGES if page.name.startswith("deploy/guides/")}
    assert len(guides) > 8
    assert guides <= linked


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_what_is_named_is_there(page: Page) -> None:
    """Files, variables, metrics and single flags between backticks."""
    flags = {flag for command in _commands() for flag in _flags(command)}
    flags |= _FLAGS_OF_OTHERS.get(page.name, set())
    variables = {setting.variable for setting in SETTINGS.values()} | _VARIABLES
    for name in page.names():
        if path := _PATH.fullmatch(name.partition("::")[0]):
            assert path[0] in _MADE or (ROOT / path[0]).exists(), f"{page.name}: {name}"
        if metric := re.match(r"hotlist_(?!engine\b)[a-z_]+", name):
            assert metric[0] in _metrics(), f"{page.name}: {name}"
        if re.fullmatch(r"--[a-z][\w-]*", name):
            assert name in flags, f"{page.name}: {name}"
    for variable in re.findall(r"\bHOTLIST_[A-Z_]*[A-Z]\b", page.text):
        assert variable in variables, f"{page.name}: {variable}"


def test_every_command_is_one() -> None:
    """In blocks of shell and between backticks; and there are many of them."""
    found = 0
    for page in PAGES:
        for where, shell in _shell(page):
            for words in calls(shell, "hotlist"):
                problem = _problem(words)
                assert problem is None, (
                    f"{page.name}, {where}: hotlist {' '.join(words)}: {problem}"
                )
                found += 1
    assert found > 100


def test_every_target_of_make_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    found = 0
    for page in PAGES:
        for where, shell in _shell(page):
            for words in calls(shell, "make"):
                named = [word for word in words if re.fullmatch(r"[a-z-]+", word)]
                assert set(named) <= targets, f"{page.name}, {where}: make {' '.join(words)}"
                found += len(named)
    assert found > 5


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("entries add --plate ABC123", None),
        ("entries drop E-1", "there is no drop"),
        ("entries add --plates ABC123", "there is no --plates"),
        ("tail --count", "--count has no value"),
        ("ingest openalpr FILE --source S", None),
        ("ingest nobody FILE --source S", "nobody is none of axis, dahua, "),
        ("topics create more", "takes no more"),
        ("worker", None),
        ("", None),
    ],
)
def test_a_wrong_command_is_seen(words: str, problem: str | None) -> None:
    found = _problem(words.split())
    assert (found or "").startswith(problem or "")
    assert (found is None) == (problem is None)


@pytest.mark.parametrize(
    ("shell", "found"),
    [
        ("hotlist tail --json | head -n 1", [["tail", "--json"]]),
        (
            "cat a | hotlist ingest axis - 2> log & hotlist tail",
            [["ingest", "axis", "-"], ["tail"]],
        ),
        (
            "x=$(hotlist check 'a b')\nhotlist tail \\\n  --json",
            [["check", "a b"], ["tail", "--json"]],
        ),
        ("hotlist-engine", []),
        ("kubectl -n hotlist get pods", []),
        ("kubectl -n hotlist exec POD -- hotlist tail", [["tail"]]),
    ],
)
def test_calls_are_found(shell: str, found: list[list[str]]) -> None:
    assert list(calls(shell, "hotlist")) == found


def test_there_is_python() -> None:
    assert len(_PYTHON) >= 4


@pytest.mark.parametrize(
    ("page", "block"), _PYTHON, ids=[f"{page.name}:{block.line}" for page, block in _PYTHON]
)
def test_python_runs(page: Page, block: Fenced, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.body],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{page.name}, line {block.line}\n{done.stderr}"


def _shell(page: Page) -> Iterator[tuple[str, str]]:
    """Lines of shell of a page, and where they stand."""
    for block in console.blocks(page.text):
        for step in block.steps:
            yield f"line {block.line}", _HERE_DOCUMENT.sub("", step.command)
    for name in page.names():
        if re.match(r"(hotlist|make) ", name):
            # `{bash|zsh|fish}` stands for one of them.
            yield "between backticks", re.sub(r"\{[^}]*\}", "ONE", name)


@cache
def _commands() -> tuple[click.Command, ...]:
    found: list[click.Command] = [hotlist]
    for command in found:
        if isinstance(command, click.Group):
            found += command.commands.values()
    return tuple(found)


def _flags(command: click.Command) -> dict[str, click.Option]:
    context = click.Context(command, help_option_names=["-h", "--help"])
    return {
        name: option
        for option in command.get_params(context)
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }


def _problem(words: list[str]) -> str | None:
    """What is wrong with the words after `hotlist`; None where nothing is."""
    command: click.Command = hotlist
    rest = iter(words)
    places: list[click.Argument] | None = None
    for word in rest:
        if word.startswith("-") and word != "-":
            name, _, value = word.partition("=")
            option = _flags(command).get(name)
            if option is None:
                return f"there is no {name}"
            if not (option.is_flag or option.count or value) and next(rest, None) is None:
                return f"{name} has no value"
        elif isinstance(command, click.Group):
            below = command.commands.get(word)
            if below is None:
                return f"there is no {word}"
            command = below
        else:
            if places is None:
                places = [each for each in command.params if isinstance(each, click.Argument)]
            if not places:
                return "takes no more"
            kind = places[0].type
            if isinstance(kind, click.Choice) and word not in kind.choices and word != word.upper():
                return f"{word} is none of {', '.join(kind.choices)}"
            if places[0].nargs == 1:
                places.pop(0)
    return None


@cache
def _metrics() -> frozenset[str]:
    """Names as they stand at /metrics, of workers and of `hotlist ingest`, and in the files of
    `hotlist audit verify` and `entries sync`."""
    modules = (metric_families, ingest_metrics, verify_metrics, sync_metrics)
    code = "".join(inspect.getsource(module) for module in modules)
    return frozenset(re.findall(r"\"(hotlist_[a-z_]+)\"", code))
