"""`engine.cli.webhook`: what `hotlist ingest --listen` says before it listens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from engine.cli import ingest as command
from engine.cli import main
from engine.cli.webhook import make_endpoint, serve_webhook
from engine.config import Settings
from engine.ingest import producer
from engine.ingest.adapters import ADAPTERS, Site
from engine.ingest.producer import Ingest
from engine.serving.certificate import ServerTls
from tests.fakes.certificates import Authority

_ENVIRONMENT = {"HOTLIST_INGEST_TOKEN": "a-token-of-the-tests"}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The endpoints that would be served."""
    endpoints: list[Any] = []

    async def serve(_settings: object, _adapter: object, _site: object, endpoint: Any) -> None:
        endpoints.append(endpoint)

    monkeypatch.setattr(command, "serve_webhook", serve)
    return endpoints


def listen(address: str, *options: str) -> str:
    arguments = ["ingest", "axis", "--source", "city", "--listen", address, *options]
    result = CliRunner().invoke(main, arguments, env=_ENVIRONMENT)
    assert result.exit_code == 0, result.output
    return result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "[::]", "cameras.example", "192.0.2.1"])
def test_a_token_in_clear_is_one_warning(host: str, served: list[Any]) -> None:
    [line] = listen(f"{host}:9109").splitlines()
    assert line.startswith(f"warning: {host.strip('[]')} is not a loopback address")
    assert "--tls-certfile" in line
    assert listen(f"{host}:9109", "--insecure") == ""
    assert [(each.host, each.port, each.tls) for each in served] == [
        (host.strip("[]"), 9109, None)
    ] * 2


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_alone_needs_no_warning(host: str, served: list[Any]) -> None:
    assert listen(f"{host}:9109") == ""
    assert len(served) == 1


def test_tls_needs_no_warning(served: list[Any], tmp_path: Path) -> None:
    certfile, keyfile = map(str, Authority(tmp_path).issue("server"))
    assert listen("0.0.0.0:9109", "--tls-certfile", certfile, "--tls-keyfile", keyfile) == ""
    assert isinstance(served[0].tls, ServerTls)


async def test_when_the_certificate_expires_is_a_metric(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @asynccontextmanager
    async def ingesting(_settings: object, *given: Any) -> AsyncIterator[Ingest]:
        yield Ingest(None, "lpr.detections.v1", *given)

    monkeypatch.setattr(producer, "ingesting", ingesting)
    monkeypatch.setenv("HOTLIST_INGEST_TOKEN", "a-token-of-the-tests")
    certfile, keyfile = map(str, Authority(tmp_path).issue("server"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    endpoint = make_endpoint(("127.0.0.1", port), None, certfile, keyfile, vendor="axis")
    assert endpoint.tls is not None
    serving = asyncio.create_task(
        serve_webhook(Settings(), ADAPTERS["axis"], Site("city"), endpoint)
    )
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as client:
        shown = ""
        while not shown:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with client.get(f"https://127.0.0.1:{port}/metrics") as answer:
                    shown = await answer.text()
            await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    metric = "hotlist_ingest_certificate_expires_timestamp_seconds"
    [expires_s] = re.findall(rf'^{metric}{{vendor="axis"}} (\S+)$', shown, re.MULTILINE)
    assert float(expires_s) * 1000 == endpoint.tls.expires_ms


def test_a_token_in_the_url_is_one_warning(served: list[Any]) -> None:
    [line] = listen("127.0.0.1:9109", "--token-in-url").splitlines()
    assert line.startswith("warning: with --token-in-url, ")
    assert "logs" in line
    assert listen("127.0.0.1:9109") == ""
    assert [each.is_in_url for each in served] == [True, False]


def test_insecure_without_listen_would_do_nothing(tmp_path: Path) -> None:
    file = tmp_path / "reads.json"
    file.write_text("{}")
    arguments = ["ingest", "axis", "--source", "city", "--dry-run", "--insecure", str(file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "--insecure: would do nothing without --listen or SASL_PLAINTEXT" in result.stderr


def test_insecure_turns_off_the_warning_of_a_password_in_clear(served: list[Any]) -> None:
    flags = ("--bootstrap", "kafka.example:9092", "--security-protocol", "SASL_PLAINTEXT")
    sasl = (*flags, "--sasl-mechanism", "PLAIN", "--sasl-username", "jo")
    [line] = listen("127.0.0.1:9109", *sasl).splitlines()
    assert line.startswith("warning: kafka.example is not a loopback address, and SASL PLAIN ")
    assert listen("127.0.0.1:9109", *sasl, "--insecure") == ""
    assert len(served) == 2


def test_forms_are_taken_if_the_mapping_says_so(served: list[Any], tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    for kind in ("form", "json"):
        mapping.write_text(f'format = "{kind}"\nplate = "lp"\ntime = "at"\n')
        arguments = ["generic", "--mapping", str(mapping), "--listen", "127.0.0.1:9109"]
        result = CliRunner().invoke(
            main, ["ingest", *arguments, "--source", "city"], env=_ENVIRONMENT
        )
        assert result.exit_code == 0, result.output
    assert listen("127.0.0.1:9109") == ""
    assert [each.is_form for each in served] == [True, False, False]
