"""Passwords show up nowhere: no log at any level, no list of processes, no metric, no error.

A worker and commands run with the secrets of a user and of a key, from a variable and from a file,
with every logger at debug level. Then everything is looked through that somebody else may see.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from engine.kafka.security import SASL_VARIABLE, SSL_KEY_VARIABLE
from tests.fakes.certificates import Authority
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.broker import RealBroker
from tests.kafka.guarded import JO, MECHANISM, PASSWORD
from tests.kafka.worker_process import WorkerProcess

_ROOT = Path(__file__).resolve().parents[3]
_KEY_PASSWORD = "open-sesame-51bd"
_WRONG = "wrong-horse-c03e"
_SECRETS = (PASSWORD, _KEY_PASSWORD, _WRONG)
#: `python -m engine` with every logger at debug level, and each frame's variables in a traceback.
_PROGRAM = ("-m", "tests.kafka.talkative")


@pytest.fixture
def environment(guarded: RealBroker, authority: Authority, tmp_path: Path) -> dict[str, str]:
    """Everything that says how to connect: a user over TLS, with a certificate of its own.

    The user's password is in a file, that of the key in a variable.
    """
    certfile, keyfile = authority.issue("worker", password=_KEY_PASSWORD)
    return {
        "HOTLIST_BOOTSTRAP": guarded.at("BOTH"),
        "HOTLIST_SECURITY_PROTOCOL": "SASL_SSL",
        "HOTLIST_SASL_MECHANISM": MECHANISM,
        "HOTLIST_SASL_USERNAME": JO,
        f"{SASL_VARIABLE}_FILE": str(_secret_file(tmp_path / "password", PASSWORD)),
        "HOTLIST_SSL_CAFILE": str(authority.cafile),
        "HOTLIST_SSL_CERTFILE": str(certfile),
        "HOTLIST_SSL_KEYFILE": str(keyfile),
        SSL_KEY_VARIABLE: _KEY_PASSWORD,
    }


def _secret_file(path: Path, secret: str) -> Path:
    path.write_text(f"{secret}\n")
    path.chmod(0o600)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_no_secret_is_to_be_seen(environment: dict[str, str], tmp_path: Path) -> None:
    prefix = f"test-{uuid.uuid4().hex[:12]}."

    async def command(*arguments: str, **more: str) -> tuple[int, str]:
        return await _run(tmp_path, {**environment, "HOTLIST_PREFIX": prefix, **more}, arguments)

    said = [await command("topics", "create")]
    for name, document, line in (
        ("policy.json", a_policy(), ("policies", "set")),
        ("entries.jsonl", an_entry(), ("entries", "import")),
        ("reads.jsonl", a_read(), ("replay",)),
    ):
        (tmp_path / name).write_bytes(orjson.dumps(document))
        said.append(await command(*line, str(tmp_path / name)))
    assert [status for status, _ in said] == [0, 0, 0, 0], said

    log = tmp_path / "worker.log"
    async with WorkerProcess(
        log,
        environment["HOTLIST_BOOTSTRAP"],
        prefix,
        environment=environment,
        program=_PROGRAM,
    ) as worker:
        await worker.ready()
        await worker.has_processed(1)
        said.append(await command("tail", "--from-start", "--count=1"))
        served = [await worker.get(path) for path in ("/metrics", "/healthz", "/readyz")]
        processes = {pid: _shown(pid) for pid in (worker.pid, *_children(worker.pid))}
        await worker.stop()
    text = log.read_text()
    # The logs are those of the debug level, of those that speak with the broker too.
    assert "DEBUG" in text
    assert "aiokafka" in text
    assert "hotlist_reads_total 1.0" in served[0][1]
    for command_line, variables in processes.values():
        _has_none(command_line)
        # Nothing is handed on but what the worker was started with.
        assert PASSWORD not in variables

    # Errors: another password, from a variable; both at once; a key that it does not open.
    wrong_file = str(_secret_file(tmp_path / "wrong", _WRONG))
    for more in (
        {SASL_VARIABLE: _WRONG, f"{SASL_VARIABLE}_FILE": ""},
        {SASL_VARIABLE: _WRONG},
        {SSL_KEY_VARIABLE: "", f"{SSL_KEY_VARIABLE}_FILE": wrong_file},
    ):
        status, output = await command("policies", "show", **more)
        assert status in (1, 2)
        assert "Traceback" in output
        said.append((status, output))
    for each in (text, *(body for _, body in served), *(body for _, body in said)):
        _has_none(each)


def _has_none(text: str) -> None:
    for secret in _SECRETS:
        assert secret not in text


async def _run(
    directory: Path, environment: Mapping[str, str], arguments: tuple[str, ...]
) -> tuple[int, str]:
    """Status of a command, and all that it writes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *_PROGRAM, *arguments),
        cwd=directory,
        env={"PYTHONPATH": str(_ROOT), "PATH": "", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


def _shown(pid: int) -> tuple[str, str]:
    """The command line and the variables of a process, as the system shows them."""
    directory = Path("/proc") / str(pid)
    line, variables = ((directory / name).read_bytes() for name in ("cmdline", "environ"))
    return line.decode(errors="replace"), variables.decode(errors="replace")


def _children(pid: int) -> list[int]:
    found = Path("/proc").glob(f"{pid}/task/*/children")
    return [int(child) for path in found for child in path.read_text().split()]
