"""The versions in use: ours, Python's and those of the libraries that process the reads."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable
from typing import Final

#: Our own distribution.
DISTRIBUTION: Final = "hotlist-engine"
_LIBRARIES: Final = ("faust-streaming", "aiokafka")


def versions(libraries: Iterable[str] = _LIBRARIES) -> dict[str, str]:
    """Return versions by name, ours first; `unknown` if a package is not installed."""
    found = {name: _version(name) for name in (DISTRIBUTION, *libraries)}
    return {**found, "Python": platform.python_version()}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
