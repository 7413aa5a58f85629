"""`engine.versions`."""

from __future__ import annotations

import importlib.metadata
import platform

import pytest

from engine.versions import DISTRIBUTION, versions


def test_ours_comes_first_and_those_of_the_libraries_are_told() -> None:
    found = versions()
    assert list(found) == [DISTRIBUTION, "faust-streaming", "aiokafka", "Python"]
    assert found["aiokafka"] == importlib.metadata.version("aiokafka")
    assert found["Python"] == platform.python_version()


def test_what_is_not_installed_as_a_package_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert versions()[DISTRIBUTION] == "unknown"
