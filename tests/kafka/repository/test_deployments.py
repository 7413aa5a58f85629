"""What the files of deploy/ start, started outside a container, on a real broker.

The image's steps are carried out in a directory, as the Dockerfile has them, with uv in the place
of pip (the same arguments, and its cache). What came of it then runs as in a container: as the
image's user, without any capability, with the image's variables alone and everything read-only
but the one directory. That takes a mount namespace, so it takes root on Linux.
"""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from confluent_kafka.admin import AdminClient

from engine.kafka.topics import Topics
from tests.kafka.broker import RealBroker
from tests.kafka.records import until
from tests.repository.dockerfile import Instruction, environment, instructions

ROOT: Final = Path(__file__).resolve().parents[3]
DEPLOY: Final = ROOT / "deploy"
DOCKERFILE: Final = instructions(DEPLOY / "docker" / "Dockerfile")
COMPOSE: Final = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
_STEP_S: Final = 180


def _text(word: str, stage: int) -> str:
    (found,) = [one.text for one in DOCKERFILE if (one.word, one.stage) == (word, stage)]
    return found


USER, GROUP = map(int, _text("USER", 1).split(":"))


@dataclass(frozen=True)
class Image:
    """The directories of the build, each in the place of one of the image's."""

    root: Path

    def place(self, path: str) -> str:
        """Where a path of the image lies here."""
        for ours, theirs in (("opt", "/opt/hotlist"), ("wheel", "/wheel"), ("cache", "/cache")):
            path = path.replace(theirs, str(self.root / ours))
        return path

    @property
    def cache(self) -> Path:
        return self.root / "cache" / "hotlist"

    @property
    def variables(self) -> dict[str, str]:
        """What the image sets."""
        found = {name: self.place(value) for name, value in environment(DOCKERFILE, 1).items()}
        return found | {"NUMBA_CACHE_DIR": str(self.cache)}

    def command(self, words: list[str]) -> list[str]:
        """The entrypoint with these words, contained."""
        (entrypoint,) = json.loads(_text("ENTRYPOINT", 1))
        return self.contained([str(self.root / "opt" / "bin" / entrypoint), *words])

    def contained(self, words: list[str]) -> list[str]:
        """What a runtime does for `read_only`, `cap_drop`, `tmpfs` and `no-new-privileges`."""
        options = f"size=32m,uid={USER},gid={GROUP},mode=0700,noexec"
        script = (
            "mount -o remount,ro,bind / && "
            f"mount -t tmpfs -o {options} tmpfs {self.cache} && cd {self.cache} && "
            f"exec setpriv --reuid {USER} --regid {GROUP} --clear-groups --no-new-privs "
            f"--bounding-set=-all --inh-caps=-all -- {shlex.join(words)}"
        )
        return ["unshare", "--mount", "sh", "-ec", script]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image's steps, carried out."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a read-only root takes root and a mount namespace")
    # Not under pytest's own directory, which is closed to other users.
    root = Path(tempfile.mkdtemp(prefix="hotlist-image-"))
    root.chmod(0o755)
    try:
        built = Image(root)
        _build(built)
        yield built
    finally:
        shutil.rmtree(root)


def _build(built: Image) -> None:
    context = built.root / "src"
    for one in DOCKERFILE:
        if one.stage != 0:
            continue
        if one.word == "COPY":
            *sources, target = one.text.split()
            for source in sources:
                _copy(ROOT / source, context / target, name=Path(source).name)
        elif one.word == "RUN":
            done = subprocess.run(
                _step(built, one), cwd=context, capture_output=True, text=True, timeout=_STEP_S,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{one.text}\n{done.stderr}"


def _copy(source: Path, target: Path, name: str) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    if source.is_dir():
        shutil.copytree(source, target, ignore=ignored)
        return
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target / name)


def _step(built: Image, one: Instruction) -> list[str]:
    """A step of the build, with the base image's Python and uv for what is the base image's."""
    words = [built.place(word) for word in one.words]
    base, uv = _base_python(), [sys.executable, "-m", "uv"]
    tools = str(built.root / "tools")
    if words[:3] == ["python", "-m", "venv"]:
        return [*uv, "venv", "--quiet", "--python", base, words[-1]]
    if words[:2] == ["pip", "--python"]:
        # What --no-compile asks for is what uv does.
        rest = [word for word in words[3:] if word != "--no-compile"]
        return [*uv, "pip", rest[0], "--quiet", "--python", words[2], *rest[1:]]
    if words[:2] == ["pip", "install"]:
        subprocess.run([*uv, "venv", "--quiet", "--python", base, tools], check=True)
        rest = [word for word in words[2:] if word not in ("--root-user-action", "ignore")]
        return [*uv, "pip", "install", "--quiet", "--python", f"{tools}/bin/python", *rest]
    if words[:2] == ["pip", "wheel"]:
        out = words[words.index("--wheel-dir") + 1]
        return [*uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--offline",
                "--python", f"{tools}/bin/python", "--out-dir", out, "."]  # fmt: skip
    if words[0] == "python":
        return [base, *words[1:]]
    return words


def _base_python() -> str:
    """A Python that the image's user may run."""
    may_run = ["setpriv", "--reuid", str(USER), "--regid", str(GROUP), "--clear-groups", "--"]
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    for candidate in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        if subprocess.run([*may_run, candidate, "-c", check], capture_output=True).returncode == 0:
            return str(candidate)
    pytest.skip("no Python 3.11 here that another user may run")


def test_the_build_leaves_nothing_to_compile(image: Image) -> None:
    library = image.root / "opt" / "lib"
    sources = {path for path in library.rglob("engine/**/*.py") if "__pycache__" not in path.parts}
    compiled = {path.parent.parent / f"{path.name.split('.')[0]}.py"
                for path in library.rglob("engine/**/__pycache__/*.pyc")}  # fmt: skip
    assert sources
    assert sources <= compiled


async def test_compose_in_its_order(image: Image, tmp_path: Path) -> None:
    """Kafka with the settings of the file, and each service's own command and variables: the
    lists, a worker, the traffic, its matches; and an orderly end."""
    with _kafka() as broker:
        http_port = _free_port()
        variables = {"HOTLIST_BOOTSTRAP": broker.bootstrap, "HOTLIST_HTTP_PORT": str(http_port)}
        for name in ("topics", "policies", "entries"):
            done = await asyncio.to_thread(_once, image, name, variables)
            assert done.returncode == 0, (name, done.stderr)
        topics = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics().topics
        assert set(Topics("lpr.").all) <= set(topics)
        log = tmp_path / "worker.log"
        worker = _start(image, "worker", variables, log)
        traffic = None
        try:
            await until(lambda: _answers(http_port, "/readyz"), "ready", log.read_text)
            assert _health_check(image, http_port) == 0
            traffic = _start(image, "traffic", variables, tmp_path / "traffic.log")
            for metric in ("hotlist_matches_total", "hotlist_denied_by_source_total"):
                await until(partial(_counts, http_port, metric), metric, log.read_text)
            worker.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.wait, 30) == 0, log.read_text()
            assert _health_check(image, http_port) != 0
        finally:
            for process in (worker, traffic):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()


def _kafka() -> RealBroker:
    """A broker with what the compose file says of it, but for where it listens and keeps things."""
    reason = RealBroker.unavailable_reason()
    if reason is not None:
        pytest.skip(f"no broker of our own: {reason}")
    given = SERVICES["kafka"]["environment"]
    # As the image's entrypoint makes server.properties of them.
    settings = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in given.items()
    }
    assert settings.pop("process.roles") == "broker,controller"
    voters = settings.pop("controller.quorum.voters")
    assert voters.startswith(f"{settings.pop('node.id')}@{SERVICES['kafka']['hostname']}:")
    listeners = dict(one.split("://") for one in settings.pop("listeners").split(","))
    advertised = dict(one.split("://") for one in settings.pop("advertised.listeners").split(","))
    protocols = dict(
        one.split(":") for one in settings.pop("listener.security.protocol.map").split(",")
    )
    controller = settings.pop("controller.listener.names")
    assert listeners.keys() == protocols.keys() == advertised.keys() | {controller}
    assert voters.endswith(listeners[controller])
    for name, address in advertised.items():
        assert address.endswith(listeners[name])
    assert SERVICES["worker"]["environment"]["HOTLIST_BOOTSTRAP"] in advertised.values()
    assert settings.pop("inter.broker.listener.name") in advertised
    directory = settings.pop("log.dirs")
    assert any(mount.endswith(f":{directory}") for mount in SERVICES["kafka"]["volumes"])
    return RealBroker(properties=settings, light=True)


def _variables(image: Image, service: str, given: Mapping[str, str]) -> dict[str, str]:
    of_service = {name: str(value) for name, value in SERVICES[service]["environment"].items()}
    return image.variables | of_service | {"HOTLIST_HTTP_HOST": "127.0.0.1"} | dict(given)


def _command(image: Image, service: str) -> list[str]:
    """Its command, with what is mounted for it named where it lies."""
    words = list(SERVICES[service]["command"])
    for mount in SERVICES[service].get("volumes", ()):
        source, target, _ = mount.split(":")
        words = [
            re.sub(rf"^{re.escape(target)}/", f"{image.root}/mounted/", word) for word in words
        ]
        shutil.copytree(DEPLOY / "compose" / source, image.root / "mounted", dirs_exist_ok=True)
    return image.command(words)


def _once(image: Image, service: str, given: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(image, service),
        env=_variables(image, service, given),
        capture_output=True,
        text=True,
        timeout=_STEP_S,
        check=False,
    )


def _start(
    image: Image, service: str, given: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    return _process(_command(image, service), _variables(image, service, given), log)


def _process(words: list[str], variables: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A process of its own, all that it writes going to a file beside which it runs."""
    with log.open("wb") as output:
        return subprocess.Popen(
            words,
            cwd=log.parent,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _health_check(image: Image, http_port: int) -> int:
    """The status of the image's health check, run as the worker is."""
    _, _, check = _text("HEALTHCHECK", 1).partition(" CMD ")
    python, *arguments = json.loads(check)
    return subprocess.run(
        image.contained([str(image.root / "opt" / "bin" / python), *arguments]),
        env=image.variables | {"HOTLIST_HTTP_PORT": str(http_port)},
        capture_output=True,
        timeout=_STEP_S,
        check=False,
    ).returncode


async def _answers(port: int, path: str) -> bool:
    return await asyncio.to_thread(_get, port, path) is not None


async def _counts(port: int, metric: str) -> bool:
    """Whether a counter, over its labels, is above zero."""
    text = await asyncio.to_thread(_get, port, "/metrics") or ""
    lines = re.findall(rf"^{metric}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, lines)) > 0


def _get(port: int, path: str) -> str | None:
    """What is served; None where nothing is, or an error."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return None


async def test_the_unit_starts_a_worker_with_its_environment(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """The command of the systemd unit, with the variables of its example and nothing else."""
    unit = configparser.RawConfigParser(strict=False, delimiters=["="])
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "systemd" / "hotlist-worker.service")
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "hotlist"
    lines = (DEPLOY / "systemd" / "worker.env").read_text("utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    port = _free_port()
    ours = {
        "HOTLIST_BOOTSTRAP": real_kafka,
        "HOTLIST_PREFIX": prefix,
        "HOTLIST_GROUP": f"{prefix}{uuid.uuid4().hex[:4]}",
        "HOTLIST_HTTP_PORT": str(port),
    }
    assert ours.keys() <= variables.keys()
    environment = {**variables, **ours, "PYTHONPATH": str(ROOT), "PATH": ""}
    log = tmp_path / "worker.log"
    worker = _process([sys.executable, "-m", "engine", *arguments], environment, log)
    try:
        await until(lambda: _answers(port, "/readyz"), "ready", log.read_text)
        worker.send_signal(getattr(signal, unit["Service"]["KillSignal"]))
        limit_s = float(unit["Service"]["TimeoutStopSec"].removesuffix("s"))
        assert await asyncio.to_thread(worker.wait, limit_s) == 0, log.read_text()
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
