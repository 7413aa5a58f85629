"""Holds the locked packages against the advisories of known vulnerabilities.

`python -m tests.repository.advisories` asks pip-audit (the dependency group `audit`) about every
package of `requirements.lock`, at PyPI first and then at OSV. It ends with status 1 where one of
them has a known vulnerability, and with 0 where none has or nobody could be asked: a registry's
mirror seldom has advisories, and a build must not fail for that. It says which of these it was;
that a package was not found counts as not asked, never as good.

`--ignore-vuln ID` and whatever else pip-audit takes is handed on to it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[2] / "requirements.lock"
SERVICES = ("pypi", "osv")
_TIMEOUT_S = 120

#: Calls pip-audit with a service and further arguments: its output, or why there is none.
Ask = Callable[[str, Sequence[str]], str]


class NotAskedError(Exception):
    """A service has given no answer; the text says why, in one line."""


def ask_pip_audit(service: str, arguments: Sequence[str]) -> str:
    """What pip-audit prints, as JSON. Raises NotAskedError where it prints none."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes"),
        *("--disable-pip", "--progress-spinner", "off", "--format", "json"),
        *("--vulnerability-service", service, *arguments),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotAskedError(f"no answer in {_TIMEOUT_S} s") from None
    if not done.stdout.startswith("{"):
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise NotAskedError(last[:200])
    return done.stdout


def audit(ask: Ask, arguments: Sequence[str], say: Callable[[str], None]) -> int:
    """Ask each service until one answers; the exit status."""
    for service in SERVICES:
        try:
            found = json.loads(ask(service, arguments))["dependencies"]
        except NotAskedError as error:
            say(f"advisories: {service} cannot be asked: {error}")
            continue
        known = [package for package in found if "skip_reason" not in package]
        if not known:
            say(f"advisories: {service} knows none of the {len(found)} packages here")
            continue
        return _told(service, known, len(found) - len(known), say)
    say("advisories: NOT CHECKED, no service could be asked from here; run: make audit-deps")
    return 0


def _told(
    service: str, known: list[dict[str, Any]], unknown: int, say: Callable[[str], None]
) -> int:
    bad = 0
    for package in known:
        for each in package["vulns"]:
            bad += 1
            names = " ".join([each["id"], *each.get("aliases", ())])
            fixed = ", ".join(each["fix_versions"]) or "no version yet"
            say(f"{package['name']} {package['version']}: {names}; fixed in {fixed}")
    rest = f"; {unknown} that {service} does not know were not checked" if unknown else ""
    say(f"advisories: {len(known)} packages checked at {service}, {bad} known problems{rest}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(audit(ask_pip_audit, sys.argv[1:], print))
