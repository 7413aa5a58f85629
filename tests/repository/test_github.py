"""`.github`: what the forge reads is well-formed, and names only what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
GITHUB: Final = ROOT / ".github"
WORKFLOWS: Final = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS: Final = sorted(
    path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"
)
#: https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests/syntax-for-githubs-form-schema
_FIELDS: Final = {
    "markdown": "value",
    "textarea": "label",
    "input": "label",
    "checkboxes": "options",
    "dropdown": "options",
}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_reads_and_runs_what_is_there(path: Path) -> None:
    workflow: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] > 0
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
                continue
            program, *words = step["run"].split()
            assert (program == "make" and words[0] in targets) or (ROOT / program).is_file()


def test_ci_runs_all_checks_and_all_tests() -> None:
    workflow = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text("utf-8"))
    runs = {step.get("run") for job in workflow["jobs"].values() for step in job["steps"]}
    assert {"make check", "make docs", ".ci/run"} <= runs


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one(path: Path) -> None:
    form = yaml.safe_load(path.read_text("utf-8"))
    assert form["name"]
    assert form["description"]
    ids = [each["id"] for each in form["body"] if each["type"] != "markdown"]
    assert len(set(ids)) == len(ids) > 0
    for each in form["body"]:
        assert _FIELDS[each["type"]] in each["attributes"]


def test_the_words_of_forms_name_what_is_there() -> None:
    text = "".join(path.read_text("utf-8") for path in GITHUB.rglob("*.*"))
    for name in re.findall(r"\b[A-Z]+\.md\b", text):
        assert (ROOT / name).is_file(), name
    assert "://" not in text, "the address of the forge is not known"
