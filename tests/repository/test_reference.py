"""The reference says what is so."""

from __future__ import annotations

import pytest

from tests.repository import reference
from tests.repository.reference import FILE


def test_it_is_current() -> None:
    wanted = reference.reference()
    assert FILE.read_text("utf-8") == wanted, "run: python -m tests.repository.reference"


def test_it_holds_everything() -> None:
    """A thing of each kind, so that no part of it is empty without notice."""
    text = reference.reference()
    for held in (
        "### `hotlist entries import FILE`",
        "| `--http-port` | `HOTLIST_HTTP_PORT` | `9108` |",
        "| `lpr.hotlist.v1` | 1 | **cleanup.policy=compact**",
        "| **read_id** | string, 1-64 characters |",
        "| `hotlist_matches_total` | counter | type, purpose |",
    ):
        assert held in text


def test_a_file_that_is_old_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "reference", lambda: "other")
    assert reference.main(["--check"]) == 1
    assert "run: python -m tests.repository.reference" in capsys.readouterr().out
