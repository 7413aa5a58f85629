"""`hotlist ingest --check`, as far as it needs no broker: files, the token, the port."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine import limits
from engine.cli import main
from engine.cli.doctor.ingest_checks import judge_certificate, judge_size
from engine.cli.webhook import tls_of
from engine.clock import SystemClock
from engine.errors import ConfigError
from engine.serving.certificate import ServerTls
from tests.fakes.certificates import Authority

_TOKEN = {"HOTLIST_INGEST_TOKEN": "a-token-of-the-tests"}
_DAY_MS = 86_400_000


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a broker that does not answer; asking it takes a moment only."""
    monkeypatch.setattr(limits, "CONNECT_S", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def check(bootstrap: str, *options: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """The findings by their checks: state, what and todo. There is a problem: no broker answers."""
    arguments = ["ingest", "axis", "--source", "city", "--bootstrap", bootstrap, *options]
    result = CliRunner().invoke(main, [*arguments, "--check", "--json"], env=env or _TOKEN)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith(f"hotlist: {bootstrap}: found ")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return {each["check"]: (each["state"], each["what"], each["todo"]) for each in found}


def test_each_check_is_made_whatever_the_others_find(nowhere: str, tmp_path: Path) -> None:
    certfile, keyfile = Authority(tmp_path).issue("server")
    tls = ("--tls-certfile", str(certfile), "--tls-keyfile", str(keyfile))
    found = check(nowhere, "--listen", "127.0.0.1:0", *tls)
    assert list(found) == ["token", "tls", "port", "brokers"]
    assert [state for state, _, _ in found.values()] == ["ok", "warning", "ok", "problem"]
    assert "for less than a day" in found["tls"][1]
    assert nowhere in found["brokers"][1]
    found = check(nowhere, "--listen", "127.0.0.1:0", env={"HOTLIST_INGEST_TOKEN": "short"})
    assert found["token"][0] == "problem"
    assert found["token"][2] == "make one with: openssl rand -hex 24"
    assert "short" not in found["token"][1]
    assert found["tls"] == ("ok", "no TLS at 127.0.0.1", "")


def test_a_port_that_is_in_use(nowhere: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        state, what, todo = check(nowhere, "--listen", f"127.0.0.1:{port}")["port"]
    assert state == "problem"
    assert what == f"cannot listen on 127.0.0.1:{port} (Address already in use)"
    assert todo.endswith(f"ss -ltnp 'sport = :{port}'")
    state, what, _ = check(nowhere, "--listen", f"127.0.0.1:{port}")["port"]
    assert (state, what) == ("ok", f"127.0.0.1:{port} is free")


def test_an_address_of_another_machine(nowhere: str) -> None:
    found = check(nowhere, "--listen", "192.0.2.1:9109")
    assert found["port"][0] == "problem"
    assert "one of this machine's addresses" in found["port"][2]
    assert found["tls"][0] == "warning"
    assert check(nowhere, "--listen", "192.0.2.1:9109", "--insecure")["tls"][0] == "ok"


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--check", "-"], "--check: takes --listen or --mqtt, not FILEs or --dry-run"),
        (["--json", "--listen", "127.0.0.1:0"], "--json: would do nothing without --check"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], rule: str) -> None:
    result = CliRunner().invoke(main, ["ingest", "axis", "--source", "city", *options], env=_TOKEN)
    assert result.exit_code == 2
    assert rule in result.stderr


def test_a_certificate_and_its_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certfile, keyfile = map(str, authority.issue("server"))
    _, others = map(str, authority.issue("other"))
    _, encrypted = map(str, authority.issue("locked", password="of the tests"))
    tls = tls_of(certfile, keyfile)
    assert tls is not None
    assert tls.expires_ms - tls.begins_ms == 2 * _DAY_MS
    both = tmp_path / "both.pem"
    both.write_bytes(Path(keyfile).read_bytes() + Path(certfile).read_bytes())
    assert tls_of(str(both), None) is not None
    for files, rule in {
        (certfile, others): f"--tls-keyfile: {others}: is not the key of the first certificate in",
        (certfile, certfile): f"--tls-keyfile: {certfile}: holds no private key (PEM)",
        (certfile, None): "holds no private key (PEM); name its file with --tls-keyfile",
        (keyfile, keyfile): f"--tls-certfile: {keyfile}: holds no certificate (PEM)",
        (certfile, encrypted): f"--tls-keyfile: {encrypted}: the key is encrypted",
        (certfile, f"{tmp_path}/none"): f"--tls-keyfile: {tmp_path}/none: cannot be read",
        (None, keyfile): "--tls-keyfile: would do nothing without --tls-certfile",
    }.items():
        with pytest.raises(ConfigError) as raised:
            tls_of(*files)
        assert rule in str(raised.value)


@pytest.mark.parametrize(
    ("days", "state", "what"),
    [
        (-0.1, "problem", "was valid until"),
        (0.5, "warning", "for less than a day"),
        (1.5, "warning", "for 1 day"),
        (29.9, "warning", "for 29 days"),
        (30.1, "ok", "fit, valid until"),
    ],
)
def test_how_long_a_certificate_is_valid(days: float, state: str, what: str) -> None:
    now_ms = SystemClock().now_ms()
    tls = ServerTls(Any, now_ms - 90 * _DAY_MS, now_ms + int(days * _DAY_MS))  # type: ignore[arg-type]
    found = judge_certificate("cert.pem", tls, now_ms)
    assert (found.check, found.state) == ("tls", state)
    assert what in found.what
    assert bool(found.todo) == (state != "ok")


def test_a_certificate_of_the_future() -> None:
    tls = ServerTls(Any, _DAY_MS, 90 * _DAY_MS)  # type: ignore[arg-type]
    found = judge_certificate("cert.pem", tls, _DAY_MS - 1)
    assert (found.state, found.what) == (
        "problem",
        "cert.pem is not valid before 1970-01-02T00:00:00.000Z",
    )


def test_the_largest_read() -> None:
    least = limits.INGEST_RECORD_BYTES
    found = {
        given: judge_size("kafka:9092", "lpr.detections.v1", {"max.message.bytes": str(given)})
        for given in (least - 1, least)
    }
    assert [each.state for each in found.values()] == ["warning", "ok"]
    assert found[least - 1].todo.startswith(
        "kafka-configs.sh --bootstrap-server kafka:9092 --alter"
    )
    assert judge_size("kafka:9092", "t", None).state == "note"
    assert judge_size("kafka:9092", "t", {}).state == "note"
