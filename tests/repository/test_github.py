"""`.github`: what the forge reads is well-formed, and names only what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.repository.deploy_tools import run_tool

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
        ours = [step for step in job["steps"] if "run" in step and _is_ours(step["run"], targets)]
        others = {step["run"].split()[0] for step in job["steps"] if step.get("run")} - {
            step["run"].split()[0] for step in ours
        }
        assert others <= {"docker", "echo", "gh"}
        # What may write outside runs no program of the repository, nor what that installs.
        assert not ours or "write" not in job.get("permissions", {}).values()


def _is_ours(command: str, targets: list[str]) -> bool:
    program, *words = command.split()
    return (program == "make" and words[0] in targets) or (ROOT / program).is_file()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_by_its_commit(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text("utf-8"))
    assert used
    for each in used:
        assert re.fullmatch(r"[a-z-]+/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


def test_an_action_has_one_version() -> None:
    texts = "".join(path.read_text("utf-8") for path in WORKFLOWS)
    pins = {tuple(each.split("@")) for each in re.findall(r"uses: (.*)", texts)}
    assert len({action for action, _ in pins}) == len(pins)


def test_a_release_that_is_started_by_hand_publishes_nothing() -> None:
    workflow = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text("utf-8"))
    only_tags = "github.event_name == 'push'"
    for name, job in workflow["jobs"].items():
        if name == "image":
            publishing = [
                step
                for step in job["steps"]
                if "login-action" in step.get("uses", "")
                or "attest" in step.get("uses", "")
                or step.get("with", {}).get("push")
            ]
            assert len(publishing) == 3
            assert all(step["if"] == only_tags for step in publishing)
        elif name != "build":
            assert job["if"] == only_tags
    runs = [step.get("run") for step in workflow["jobs"]["build"]["steps"]]
    assert "make dist" in runs


def test_zizmor_has_nothing_to_say() -> None:
    options = ("--offline", "--no-progress", "--quiet", "--persona=pedantic", "--min-severity=low")
    assert "No findings" in run_tool("zizmor", *options, str(GITHUB))


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("dependabot", [GITHUB / "dependabot.yml"]),
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
    ],
)
def test_a_file_is_as_the_forge_reads_it(schema: str, files: list[Path]) -> None:
    names = [str(path) for path in files]
    assert "done" in run_tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *names)


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
