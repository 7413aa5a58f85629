"""Which versions are at work: ours, Python's and those of the libraries that carry the reads."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable
from typing import Final

#: Our own distribution.
DISTRIBUTION: Final = "hotlist-engine"
_LIBRARIES: Final = ("faust-streaming", "aiokafka")


def versions(libraries: Iterable[str] = _LIBRARIES) -> dict[str, str]:
    """Versions by name, ours first; `unknown` of what is not installed as a package."""
    found = {name: _version(name) for name in (DISTRIBUTION, *libraries)}
    return {**found, "Python": platform.python_version()}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
