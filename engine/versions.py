"""Which versions are at work: ours, Python's and those of the libraries that carry the reads."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Final

#: Our own distribution.
DISTRIBUTION: Final = "hotlist-engine"
_LIBRARIES: Final = ("faust-streaming", "aiokafka")


def versions() -> dict[str, str]:
    """Versions by name, ours first; `unknown` of what is not installed as a package."""
    found = {name: _version(name) for name in (DISTRIBUTION, *_LIBRARIES)}
    return {**found, "Python": platform.python_version()}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
