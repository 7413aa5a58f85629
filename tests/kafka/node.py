"""One process of Kafka, of which `tests.kafka.broker` and `tests.kafka.real_cluster` make theirs.

Maven fetches Kafka's jars (`tests.kafka.jars`). A node has a directory of its own with its
settings, its data and its log; they outlive the process, until `close`.
"""

from __future__ import annotations

import atexit
import functools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.kafka import jars

_ROOT: Final = Path(__file__).resolve().parents[2]
_PROPERTIES: Final = _ROOT / "deploy" / "kafka" / "server.properties"

_JAVA_AT_LEAST: Final = 17
#: What a node may take to answer, and its storage to be set up.
START_S: Final = 90
_STOP_S: Final = 30
#: Below 32,768 the system gives no ports to those who connect: a broker that is away must find
#: its own free when it comes back.
_PORTS: Final = range(17_000, 32_000)
#: For a node that lives for minutes: this halves the processor time of a start. The second compiler
#: and the parallel collector earn their cost only later.
_LIGHT: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class BrokerFailedError(Exception):
    """A node could not be fetched or did not start; the text holds its last log lines."""


class KafkaNode:
    """See the module. `properties` are added to those of `deploy/kafka/server.properties`.

    `users` log in with these passwords, by SCRAM-SHA-256. `light` is for a node that lives for
    minutes: it starts in half the time, and is slower later. `heap` is the most that its heap
    takes, as Java has it. All methods block.
    """

    def __init__(
        self,
        properties: Mapping[str, str],
        *,
        cluster_id: str,
        users: Mapping[str, str] | None = None,
        light: bool = False,
        heap: str = "1g",
    ) -> None:
        self._properties = dict(properties)
        self._cluster_id = cluster_id
        self._users = dict(users or {})
        self._flags = (f"-Xmx{heap}", *(_LIGHT if light else ()))
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of its process, while it runs."""
        if self._process is None:
            raise BrokerFailedError("the broker does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process, with the data it had; returns before it answers."""
        if self.running:
            raise BrokerFailedError("the broker is already running")
        try:
            classpath = f"{jars.fetch()}{os.sep}*"
        except jars.FetchError as error:
            raise BrokerFailedError(str(error)) from error
        if self._directory is None:
            self._format(classpath)
        directory = self._made()
        with (directory / "broker.log").open("ab") as log:
            # In a session of its own, so that Ctrl-C reaches us alone and we stop it in order.
            self._process = subprocess.Popen(
                [
                    *_java(classpath, *self._flags),
                    *("kafka.Kafka", str(directory / "server.properties")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.close)

    def end(self, how: signal.Signals) -> None:
        """Send it a signal that ends it, and wait until it has ended. Its data stay."""
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

    def close(self) -> None:
        """End it if it runs and delete its data."""
        self.end(signal.SIGKILL)
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
        properties = {"log.dirs": (directory / "data").as_posix(), **self._properties}
        common = _PROPERTIES.read_text()
        if properties.get("process.roles") == "controller":
            # Kafka refuses it of a controller until 3.8, and takes its listeners without it.
            common = re.sub(r"(?m)^advertised\.listeners=.*$", "", common)
        lines = [common, *(f"{key}={value}" for key, value in properties.items())]
        file = directory / "server.properties"
        file.write_text("\n".join(lines) + "\n")
        if properties.get("process.roles") == "broker":
            # What the tool would write, without a JVM for it: only controllers keep more.
            _write_identity(Path(properties["log.dirs"]), self._cluster_id, properties["node.id"])
            return
        tool = [*_java(classpath, *_LIGHT), "kafka.tools.StorageTool"]
        users = [
            f"--add-scram=SCRAM-SHA-256=[name={name},password={password}]"
            for name, password in self._users.items()
        ]
        done = subprocess.run(
            # In one word, because an id may begin like an option.
            [*tool, "format", f"--cluster-id={self._cluster_id}", "--config", str(file), *users],
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        if done.returncode:
            shutil.rmtree(directory, ignore_errors=True)
            self._directory = None
            raise BrokerFailedError(f"Kafka's storage could not be set up:\n{done.stderr}")


def unavailable_reason() -> str | None:
    """Why no broker can be started here, in one line, or None when one can."""
    java = _java_major()
    if java is None:
        return f"no Java found on PATH (Java {_JAVA_AT_LEAST} or newer is needed)"
    if java < _JAVA_AT_LEAST:
        return f"Java {java} found on PATH, and Java {_JAVA_AT_LEAST} or newer is needed"
    if not jars.is_fetched() and shutil.which("mvn") is None:
        return "no Maven (mvn) found on PATH to fetch Kafka with"
    return None


def new_id() -> str:
    """An id of a cluster or of a directory, as Kafka makes them."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; others each time, for others look for some too."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(f"not {count} free ports from {_PORTS.start} to {_PORTS.stop}")
    return found


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        # Connections that were open when a broker was killed must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _write_identity(data: Path, cluster_id: str, node_id: str) -> None:
    data.mkdir(parents=True)
    (data / "meta.properties").write_text(
        f"version=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={new_id()}\n"
    )


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


def _java(classpath: str, *flags: str) -> list[str]:
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    stamped = "-Dorg.slf4j.simpleLogger.showDateTime=true"
    return ["java", *flags, "-Djava.awt.headless=true", quiet, stamped, "-cp", classpath]
