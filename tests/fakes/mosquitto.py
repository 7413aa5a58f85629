"""A real MQTT broker: mosquitto, from Debian's package of that name.

Where it is missing, tests that need it are skipped and say so, except with
`HOTLIST_REQUIRE_MOSQUITTO=1`: then they fail.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final, Self

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

_START_S: Final = 60.0


class Mosquitto:
    """A broker on this machine, a context manager. It keeps its sessions over `stop` and `start`.

    With `password` it wants a login of the user `hotlist`.
    """

    def __init__(self, directory: Path, password: str | None = None) -> None:
        found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if found is None:
            why = "no mosquitto on PATH; on Debian and Ubuntu it is in the package mosquitto"
            if os.environ.get("HOTLIST_REQUIRE_MOSQUITTO") == "1":
                pytest.fail(why, pytrace=False)
            pytest.skip(why)
        self._program = found
        self._directory = directory
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"persistence true\npersistence_location {directory}/",
            "persistence_file kept.db\nautosave_interval 1\nautosave_on_changes true",
            "max_queued_messages 100000\nmax_inflight_messages 0",
            f"allow_anonymous {'true' if password is None else 'false'}",
        ]
        if os.geteuid() == 0:
            lines.append("user root")
        if password is not None:
            passwords = directory / "passwords"
            passwords.touch(mode=0o600)
            command = ["mosquitto_passwd", "-b", str(passwords), "hotlist", password]
            subprocess.run(command, check=True)
            lines.append(f"password_file {passwords}")
        (directory / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self._directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._directory / "mosquitto.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self._directory / "mosquitto.log").read_text(errors="replace")
                    raise AssertionError(f"mosquitto does not start:\n{log_text}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        """End it in order, so that it writes down what it keeps."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def publish(self, topic: str, *messages: bytes, qos: int = 1) -> None:
        """Publish messages, and return when the broker has them."""
        client = Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            for each in [client.publish(topic, message, qos=qos) for message in messages]:
                each.wait_for_publish(30)
                assert each.is_published()
        finally:
            client.disconnect()
            client.loop_stop()
