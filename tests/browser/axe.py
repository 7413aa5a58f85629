"""axe-core, which looks for what keeps people from using a page: fetched once, with Maven.

Not among our files because of its size and its licence (MPL-2.0); it comes as a jar from where
Kafka's jars come from, and is held to its checksum.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.browser.chromium import Tab

_VERSION: Final = "4.6.3"
_SHA256: Final = "c339ddad238886211644ff2b58f8c395bf42de4a1d7742c98af7aa01a9675ac3"
_DIRECTORY: Final = Path(__file__).resolve().parents[2] / ".kafka" / "axe"
_JAR: Final = _DIRECTORY / f"axe-core-{_VERSION}.jar"
_SCRIPT: Final = f"META-INF/resources/webjars/axe-core/{_VERSION}/axe.min.js"


@functools.cache
def axe() -> str:
    """The script; the test is skipped, or fails where a browser is required, without it."""
    if not _JAR.exists() and (why := _fetch()):
        if os.environ.get("HOTLIST_REQUIRE_BROWSER") == "1":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    assert hashlib.sha256(_JAR.read_bytes()).hexdigest() == _SHA256, f"{_JAR} is another one"
    with zipfile.ZipFile(_JAR) as jar:
        return jar.read(_SCRIPT).decode()


def _fetch() -> str:
    """Fetch the jar; why that cannot be, or an empty text."""
    if shutil.which("mvn") is None:
        return "no axe-core: no Maven (mvn) found on PATH to fetch it with"
    artifact = f"-Dartifact=org.webjars.npm:axe-core:{_VERSION}"
    done = subprocess.run(
        ["mvn", "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={_DIRECTORY}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if _JAR.exists() else f"no axe-core: Maven says {done.stdout[-500:]}"


async def violations(tab: Tab) -> list[str]:
    """What axe-core finds in a page, one line for each rule and element."""
    await tab.evaluate(axe())
    found: list[dict[str, Any]] = await tab.evaluate("axe.run().then((all) => all.violations)")
    return [
        f"{rule['id']}: {node['html']} {node.get('failureSummary', '')}"
        for rule in found
        for node in rule["nodes"]
    ]
