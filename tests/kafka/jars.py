"""Kafka's jars, fetched by Maven once for each version: `deploy/kafka/pom.xml` into `.kafka/`.

The version is the one that the pom names, or that of `HOTLIST_TEST_KAFKA_VERSION`: Maven lets a
property of the command line win over the file's. The forks of vendors have repositories of their
own; what is fetched here is Apache Kafka from Maven Central.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]
_POM: Final = _ROOT / "deploy" / "kafka" / "pom.xml"
_KEPT: Final = _ROOT / ".kafka"
_STAMP: Final = "pom.sha256"
_FETCH_S: Final = 600
#: As it was before a test took the settings out of its environment.
_CHOSEN: Final = os.environ.get("HOTLIST_TEST_KAFKA_VERSION")


class FetchError(Exception):
    """Maven could not fetch Kafka; the text holds what it said."""


def pinned_version() -> str:
    """The version that the pom names: what is developed with."""
    found = re.search(r"<kafka\.version>([\d.]+)</kafka\.version>", _POM.read_text())
    if found is None:
        raise FetchError(f"{_POM} names no kafka.version")
    return found.group(1)


def version() -> str:
    """The version of the brokers that are started here."""
    return _CHOSEN or pinned_version()


def release() -> tuple[int, int]:
    """The version's first two numbers, to be compared: (3, 9)."""
    major, minor, *_ = version().split(".")
    return int(major), int(minor)


def fetch() -> Path:
    """Fetch the jars of `version`, once, and return their directory."""
    kept = _kept()
    if is_fetched():
        return kept
    _KEPT.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="libs-", dir=_KEPT))
    try:
        _copy(fresh, version())
        (fresh / _STAMP).write_text(_wanted())
        shutil.rmtree(kept, ignore_errors=True)
        fresh.rename(kept)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return kept


def is_fetched() -> bool:
    """Whether the jars of `version` are there, as the pom names them now."""
    stamp = _kept() / _STAMP
    return stamp.exists() and stamp.read_text() == _wanted()


def newest_version() -> str:
    """The newest version that Maven finds, the pinned one or a later one."""
    with tempfile.TemporaryDirectory(prefix="hotlist-newest-") as directory:
        this_or_later = f"[{pinned_version()},)"
        _copy(Path(directory), this_or_later, "-DincludeArtifactIds=kafka_2.13")
        [jar] = Path(directory).glob("kafka_2.13-*.jar")
    return jar.stem.removeprefix("kafka_2.13-")


def _copy(to: Path, which: str, *more: str) -> None:
    done = subprocess.run(
        [
            *("mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"),
            *(f"-DoutputDirectory={to}", "-DincludeScope=runtime", f"-Dkafka.version={which}"),
            *more,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_FETCH_S,
        check=False,
    )
    if done.returncode:
        raise FetchError(f"Maven could not fetch Kafka {which}:\n{done.stdout}{done.stderr}")


def _kept() -> Path:
    chosen = version()
    return _KEPT / ("libs" if chosen == pinned_version() else f"libs-{chosen}")


def _wanted() -> str:
    return hashlib.sha256(_POM.read_bytes()).hexdigest()
