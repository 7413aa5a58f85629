"""A real Kafka on this machine, without Docker, for the tests and for `make kafka`.

Maven fetches Kafka's jars once (`deploy/kafka/pom.xml`, into `.kafka/libs`); a JVM runs them
as one KRaft node on 127.0.0.1 with its data in a temporary directory. `kill`, `stop` and
`start` keep the port and the data, so that clients see an outage and not another cluster.

By hand: `python -m tests.kafka.broker --port 9092`.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_ROOT: Final = Path(__file__).resolve().parents[2]
_POM: Final = _ROOT / "deploy" / "kafka" / "pom.xml"
_PROPERTIES: Final = _ROOT / "deploy" / "kafka" / "server.properties"
_KEPT: Final = _ROOT / ".kafka"
_LIBS: Final = _KEPT / "libs"
_STAMP: Final = _LIBS / "pom.sha256"

_JAVA_AT_LEAST: Final = 17
_FETCH_S: Final = 600
_START_S: Final = 90
_STOP_S: Final = 30


class BrokerFailedError(Exception):
    """The broker could not be fetched or did not start; the text holds its last log lines."""


class RealBroker:
    """A Kafka broker in a JVM of its own; a context manager.

    `port` is the port to listen on (any free one by default), `properties` are further server
    properties. `listeners` are further listeners, each with its security protocol (`at` says
    where), and `scram` says which users may log in there with which SCRAM-SHA-256 password.
    All methods block: from a coroutine, call them through `asyncio.to_thread`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        scram: Mapping[str, str] | None = None,
    ) -> None:
        self._port = port or _free_port()
        self._protocols = dict(listeners or {})
        self._ports = {name: _free_port() for name in self._protocols}
        self._scram = dict(scram or {})
        self._controller_port = _free_port()
        self._extra = dict(properties or {})
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def unavailable_reason() -> str | None:
        """Why no broker can be started here, in one line, or None when one can."""
        java = _java_major()
        if java is None:
            return f"no Java found on PATH (Java {_JAVA_AT_LEAST} or newer is needed)"
        if java < _JAVA_AT_LEAST:
            return f"Java {java} found on PATH, and Java {_JAVA_AT_LEAST} or newer is needed"
        if not _fetched() and shutil.which("mvn") is None:
            return "no Maven (mvn) found on PATH to fetch Kafka with"
        return None

    @property
    def bootstrap(self) -> str:
        """Its address, `host:port`; the same through all restarts."""
        return f"127.0.0.1:{self._port}"

    def at(self, listener: str) -> str:
        """The address of one of the further listeners."""
        return f"127.0.0.1:{self._ports[listener]}"

    @property
    def pid(self) -> int:
        """The number of its process, while it runs."""
        if self._process is None:
            raise BrokerFailedError("the broker does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start it, with the data it had, and return when it answers."""
        if self.running:
            raise BrokerFailedError("the broker is already running")
        if not _is_free(self._port):
            raise BrokerFailedError(f"something else listens on port {self._port}")
        classpath = f"{fetch()}{os.sep}*"
        if self._directory is None:
            self._format(classpath)
        directory = self._made()
        with (directory / "broker.log").open("ab") as log:
            # In a session of its own, so that Ctrl-C reaches us alone and we stop it in order.
            self._process = subprocess.Popen(
                [*_java(classpath, "1g"), "kafka.Kafka", str(directory / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.close)
        self._await_answer()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; its data stay until `close`."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """End it if it runs and delete its data."""
        self.kill()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        atexit.unregister(self.close)

    def log(self) -> str:
        """Its warnings and errors so far."""
        path = self._made() / "broker.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _made(self) -> Path:
        if self._directory is None:
            raise BrokerFailedError("the broker was never started, or is closed")
        return self._directory

    def _format(self, classpath: str) -> None:
        self._directory = directory = Path(tempfile.mkdtemp(prefix="hotlist-kafka-"))
        further = [f"{name}://{self.at(name)}" for name in self._protocols]
        open_to_clients = [f"PLAINTEXT://{self.bootstrap}", *further]
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **self._protocols}
        properties = {
            "listeners": ",".join(
                [*open_to_clients, f"CONTROLLER://127.0.0.1:{self._controller_port}"]
            ),
            "advertised.listeners": ",".join(open_to_clients),
            "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "log.dirs": (directory / "data").as_posix(),
            **self._extra,
        }
        lines = [_PROPERTIES.read_text(), *(f"{key}={value}" for key, value in properties.items())]
        file = directory / "server.properties"
        file.write_text("\n".join(lines) + "\n")
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*_java(classpath, "256m"), "kafka.tools.StorageTool"]
        users = [
            f"--add-scram=SCRAM-SHA-256=[name={name},password={password}]"
            for name, password in self._scram.items()
        ]
        done = subprocess.run(
            # In one word, because an id may begin like an option.
            [*tool, "format", f"--cluster-id={cluster_id}", "--config", str(file), *users],
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
        )
        if done.returncode:
            shutil.rmtree(directory, ignore_errors=True)
            self._directory = None
            raise BrokerFailedError(f"Kafka's storage could not be set up:\n{done.stderr}")

    def _await_answer(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        until_s = time.monotonic() + _START_S
        while time.monotonic() < until_s:
            if not self.running:
                break
            try:
                if admin.list_topics(timeout=1).brokers:
                    return
            except KafkaException:
                time.sleep(0.1)
        last = "\n".join(self.log().splitlines()[-20:])
        self.kill()
        raise BrokerFailedError(f"Kafka did not start on {self.bootstrap}:\n{last}")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None


def fetch() -> Path:
    """Fetch Kafka's jars, once, and return their directory."""
    if _fetched():
        return _LIBS
    _KEPT.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="libs-", dir=_KEPT))
    try:
        done = subprocess.run(
            [
                *("mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"),
                *(f"-DoutputDirectory={fresh}", "-DincludeScope=runtime"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FETCH_S,
            check=False,
        )
        if done.returncode:
            raise BrokerFailedError(f"Maven could not fetch Kafka:\n{done.stdout}{done.stderr}")
        (fresh / _STAMP.name).write_text(_wanted())
        shutil.rmtree(_LIBS, ignore_errors=True)
        fresh.rename(_LIBS)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return _LIBS


def _wanted() -> str:
    return hashlib.sha256(_POM.read_bytes()).hexdigest()


def _fetched() -> bool:
    return _STAMP.exists() and _STAMP.read_text() == _wanted()


@functools.cache
def _java_major() -> int | None:
    """The version of the `java` on PATH: 8, 11, 17, ..."""
    java = shutil.which("java")
    if java is None:
        return None
    done = subprocess.run(
        [java, "-version"], capture_output=True, text=True, timeout=60, check=False
    )
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(found.group(1)) if found else None


def _java(classpath: str, heap: str) -> list[str]:
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    stamped = "-Dorg.slf4j.simpleLogger.showDateTime=true"
    return ["java", f"-Xmx{heap}", "-Djava.awt.headless=true", quiet, stamped, "-cp", classpath]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Connections that were open when a broker was killed must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main() -> int:
    """Run a broker in the foreground until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A real Kafka for development, without Docker.")
    parser.add_argument("--port", type=int, default=9092, help="port on 127.0.0.1 (%(default)s)")
    port: int = parser.parse_args().port
    reason = RealBroker.unavailable_reason()
    if reason is not None:
        print(f"cannot start Kafka: {reason}", file=sys.stderr)
        return 1
    if not _fetched():
        print("fetching Kafka, once ...", flush=True)
    over = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: over.set())
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        with RealBroker(port=port) as broker:
            print(
                f"Kafka listens on localhost:{port}; its data go when it ends (Ctrl-C)", flush=True
            )
            while broker.running and not over.wait(0.5):
                pass
            if not over.is_set():
                raise BrokerFailedError(f"Kafka ended by itself:\n{broker.log()[-4000:]}")
            broker.stop()
    except BrokerFailedError as error:
        print(f"cannot start Kafka: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
