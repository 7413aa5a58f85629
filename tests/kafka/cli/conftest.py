"""What every test of commands on a Kafka needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands run in a directory of their own, and have no settings from the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOTLIST_")]:
        monkeypatch.delenv(name)
