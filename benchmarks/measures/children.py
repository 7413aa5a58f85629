"""Child processes that exchange lines with this one.

A child gets one JSON argument, prints JSON lines on standard output, reads lines from standard
input, and ends when its standard input does.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from typing import TypeVar

import msgspec

from benchmarks.measures.process import PythonProcess

S = TypeVar("S")


class Child(PythonProcess):
    """One process running a module of ours."""

    def __init__(self, module: str, argument: msgspec.Struct) -> None:
        super().__init__(module, [module, msgspec.json.encode(argument).decode()], piped=True)
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def next(self, kind: type[S], timeout_s: float) -> S:
        """The next line as a document of this kind.

        Raises ProcessFailedError where none comes in time or the process ended badly.
        """
        line = self._next_line(timeout_s)
        if line is None:
            raise self._failed("said nothing more")
        return msgspec.json.decode(line, type=kind)

    def available(self, kind: type[S]) -> list[S]:
        """The lines that are there already. Raises ProcessFailedError where it has ended."""
        found = []
        while not self._lines.empty():
            line = self._lines.get()
            if line is None:
                raise self._failed("has ended")
            found.append(msgspec.json.decode(line, type=kind))
        return found

    def tell(self, text: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def end_input(self) -> None:
        """Tell it to come to its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def last(self, kind: type[S], timeout_s: float) -> S:
        """End its input and wait for its end; its last line as a document of this kind."""
        self.end_input()
        deadline_s = time.monotonic() + timeout_s
        last = None
        while (line := self._next_line(deadline_s - time.monotonic())) is not None:
            last = line
        if self._process.wait(timeout_s) != 0 or last is None:
            raise self._failed(f"ended with status {self._process.returncode}")
        return msgspec.json.decode(last, type=kind)

    def end(self, timeout_s: float) -> None:
        """End its input and wait for its end, whatever it says."""
        self.end_input()
        if self._process.wait(timeout_s) != 0:
            raise self._failed(f"ended with status {self._process.returncode}")

    def _next_line(self, timeout_s: float) -> bytes | None:
        try:
            return self._lines.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            raise self._failed(f"said nothing for {timeout_s:.0f} s") from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)


def argument(kind: type[S]) -> S:
    """What this process was given. Raises msgspec.ValidationError."""
    return msgspec.json.decode(sys.argv[1], type=kind)


def say(document: msgspec.Struct) -> None:
    """Print a document as a line."""
    print(msgspec.json.encode(document).decode(), flush=True)


def input_ended() -> threading.Event:
    """An event that is set when standard input has ended."""
    ended = threading.Event()

    def wait() -> None:
        for _ in sys.stdin:
            pass
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    return ended
