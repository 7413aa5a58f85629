"""The worker as people start it, `python -m engine worker`, asked over HTTP and seen from /proc."""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.groups import mark_audited
from benchmarks.measures.process import PythonProcess

_LOOK_EVERY_S = 0.02


class LiveWorker(PythonProcess):
    """A context manager. `start_to_ready_s` is from the process's start to the first 200 of
    `/readyz`. Unless `audited` is false, the lists as they are need not be audited any more.
    `environment` are further variables."""

    def __init__(
        self,
        bootstrap: str,
        prefix: str,
        group: str,
        *,
        audited: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if audited:
            mark_audited(bootstrap, prefix, group)
        self._port = _free_port()
        self._started_s = time.monotonic()
        super().__init__(
            "the worker",
            [
                *("engine", "worker", "--bootstrap", bootstrap, "--prefix", prefix),
                *("--group", group, "--http-port", str(self._port)),
            ],
            piped=False,
            environment=environment,
        )
        self.start_to_ready_s = 0.0

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._port}"

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until it takes reads. Raises ProcessFailedError."""
        while self._get("/readyz")[0] != 200:
            if self._process.poll() is not None:
                raise self._failed(f"ended with status {self._process.returncode}")
            if time.monotonic() - self._started_s > timeout_s:
                raise self._failed(f"was not ready after {timeout_s:.0f} s")
            time.sleep(_LOOK_EVERY_S)
        self.start_to_ready_s = time.monotonic() - self._started_s

    def wait_reads(self, reads: int, timeout_s: float) -> None:
        """Wait until it has processed so many reads. Raises ProcessFailedError."""
        deadline_s = time.monotonic() + timeout_s
        while self.metric("hotlist_reads_total") < reads:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise self._failed(f"has not processed {reads:,} reads")
            time.sleep(10 * _LOOK_EVERY_S)

    def metric(self, name: str) -> float:
        """A metric's value, summed over its labels; 0 where it is not there."""
        _, text = self._get("/metrics")
        lines = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, lines))

    def resident_bytes(self) -> int:
        """Its resident memory now."""
        return self._status_bytes("VmRSS")

    def peak_bytes(self) -> int:
        """The most resident memory that it has had so far."""
        return self._status_bytes("VmHWM")

    def _status_bytes(self, field: str) -> int:
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None, "the kernel says how much memory a process has"
        return int(found.group(1)) * 1024

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""  # it does not listen yet, or has ended
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
