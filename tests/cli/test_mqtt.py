"""`engine.cli.mqtt`: what `hotlist ingest --mqtt` says before it subscribes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine.cli import ingest as command
from engine.cli import main


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses that would be subscribed to."""
    addresses: list[Any] = []

    async def serve(_settings: object, _adapter: object, _site: object, *rest: Any) -> None:
        addresses.append(rest[0])

    monkeypatch.setattr(command, "serve_mqtt", serve)
    return addresses


def mqtt(url: str, *options: str, vendor: str = "frigate", **env: str) -> tuple[int, str]:
    arguments = ["ingest", vendor, "--source", "city", "--mqtt", url, *options]
    result = CliRunner().invoke(main, arguments, env=env)
    return result.exit_code, result.stderr


def test_an_address(served: list[Any], tmp_path: Path) -> None:
    assert mqtt("mqtt://localhost") == (0, "")
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert mqtt("mqtts://jo%40x@[::1]:99/a/b", "--mqtt-password-file", str(file)) == (0, "")
    plain, login = served
    assert plain[:7] == (
        *("frigate", "localhost", 1883, "frigate/tracked_object_update"),
        *("hotlist-ingest-frigate-city", None, None),
    )
    assert login[:7] == (
        *("frigate", "::1", 99, "a/b", "hotlist-ingest-frigate-city", "jo@x", "secret"),
    )
    assert plain.tls is None
    assert login.tls is not None


def test_a_network_without_tls_is_one_warning(served: list[Any]) -> None:
    _, said = mqtt("mqtt://broker.example")
    [line] = said.splitlines()
    assert line.startswith("warning: broker.example is not a loopback address")
    assert mqtt("mqtt://broker.example", "--insecure") == (0, "")
    assert mqtt("mqtts://broker.example") == (0, "")
    assert len(served) == 3


@pytest.mark.parametrize(
    ("url", "options", "what"),
    [
        ("http://localhost", (), "must be mqtt://host"),
        ("mqtt://", (), "must be mqtt://host"),
        ("mqtt://localhost:99999", (), "must be mqtt://host"),
        ("mqtt://localhost:x", (), "must be mqtt://host"),
        ("mqtt://jo:secret@localhost", (), "must not have the password in it"),
        ("mqtt://jo@localhost", (), "needs a user with a password"),
        ("mqtt://localhost", ("--token-in-url",), "would do nothing with --mqtt"),
        ("mqtt://localhost", ("--dry-run",), "takes FILEs, not --listen or --mqtt"),
    ],
)
def test_an_address_that_is_none(
    url: str, options: tuple[str, ...], what: str, served: list[Any]
) -> None:
    status, said = mqtt(url, *options)
    assert (status, served) == (2, [])
    assert what in said
    assert "secret" not in said


def test_other_vendors(served: list[Any]) -> None:
    assert "must name the topic of openalpr's messages" in mqtt("mqtt://a", vendor="openalpr")[1]
    assert "does not take messages of axis" in mqtt("mqtt://localhost/t", vendor="axis")[1]
    assert mqtt("mqtt://localhost/t", vendor="openalpr") == (0, "")
    assert [each.topic for each in served] == ["t"]


def test_without_the_extra(served: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engine.ingest.mqtt", None)
    status, said = mqtt("mqtt://localhost")
    assert (status, served) == (2, [])
    assert said == "hotlist: --mqtt: needs the extra mqtt; pip install 'hotlist-engine[mqtt]'\n"
