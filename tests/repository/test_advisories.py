"""`tests.repository.advisories`: a vulnerability fails the build, and silence is not taken for a
good sign."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from tests.repository.advisories import LOCK, NotAskedError, ask_pip_audit, audit

_GOOD = {"name": "aiokafka", "version": "0.14.0", "vulns": []}
_BAD = {
    "name": "orjson",
    "version": "3.9.0",
    "vulns": [
        {"id": "PYSEC-2024-40", "aliases": ["CVE-2024-27454"], "fix_versions": ["3.9.15"]},
        {"id": "PYSEC-2024-99", "aliases": [], "fix_versions": []},
    ],
}
_UNKNOWN = {"name": "yarl", "skip_reason": "Dependency not found on PyPI"}


def run(*services: list[dict[str, Any]] | str) -> tuple[int, list[str]]:
    """Status and lines where the services answer so: packages, or a text why not."""
    answers = iter(services)
    lines: list[str] = []

    def ask(service: str, arguments: Sequence[str]) -> str:
        answer = next(answers)
        if isinstance(answer, str):
            raise NotAskedError(answer)
        return json.dumps({"dependencies": answer, "fixes": []})

    return audit(ask, [], lines.append), lines


def test_a_known_vulnerability_fails() -> None:
    assert run([_GOOD, _BAD, _UNKNOWN]) == (
        1,
        [
            "orjson 3.9.0: PYSEC-2024-40 CVE-2024-27454; fixed in 3.9.15",
            "orjson 3.9.0: PYSEC-2024-99; fixed in no version yet",
            (
                "advisories: 2 packages checked at pypi, 2 known problems; "
                "1 that pypi does not know were not checked"
            ),
        ],
    )


def test_packages_without_one_are_good() -> None:
    assert run([_GOOD]) == (0, ["advisories: 1 packages checked at pypi, 0 known problems"])


def test_the_other_service_is_asked_where_the_first_knows_nothing() -> None:
    assert run([_UNKNOWN, _UNKNOWN], [_BAD])[0] == 1
    status, lines = run("no route", [_GOOD])
    assert (status, lines[0]) == (0, "advisories: pypi cannot be asked: no route")


def test_silence_is_said_and_does_not_fail() -> None:
    assert run([_UNKNOWN], "no route") == (
        0,
        [
            "advisories: pypi knows none of the 1 packages here",
            "advisories: osv cannot be asked: no route",
            "advisories: NOT CHECKED, no service could be asked from here; run: make audit-deps",
        ],
    )


@pytest.mark.parametrize(
    ("stdout", "stderr", "why"),
    [("", "Traceback\nConnectionError: no name\n", "ConnectionError: no name"), ("", "", "it ")],
)
def test_without_output_it_was_not_asked(
    stdout: str, stderr: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def fails(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, stdout, stderr)

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(NotAskedError, match=why):
        ask_pip_audit("osv", ["--ignore-vuln", "X"])
    assert commands[0][-4:] == ["--vulnerability-service", "osv", "--ignore-vuln", "X"]
    assert str(LOCK) in commands[0]


def test_an_answer_that_takes_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(NotAskedError, match="no answer in 120 s"):
        ask_pip_audit("osv", [])
