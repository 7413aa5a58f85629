"""Console blocks of a page, read and run as somebody would who types them.

A block is fenced and says `console` first. Lines that begin with `$ ` are commands, those with
`> ` go on with them; every other line is what the command prints. There `...` stands for anything:
for lines where it is all of a line, and for text within one. A further word says who the block is
for, such as `console kubectl`; what becomes of such a block is its reader's to say.
"""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_FENCE = re.compile(
    r"^```console(?: (?P<tag>[\w-]+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(slots=True)
class Step:
    """One command, and the lines that it is said to print."""

    command: str
    prints: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Block:
    """A console block: the heading that it stands under, its line, what it is for, its steps."""

    heading: str
    line: int
    tag: str
    steps: tuple[Step, ...]


def blocks(page: str) -> list[Block]:
    """All console blocks of a page of Markdown, in order."""
    found = []
    for match in _FENCE.finditer(page):
        headings = re.findall(r"^#+ (.+)$", page[: match.start()], re.MULTILINE)
        line = page.count("\n", 0, match.start()) + 1
        steps = tuple(_steps(match["body"], line))
        found.append(Block(headings[-1] if headings else "", line, match["tag"] or "", steps))
    return found


def _steps(body: str, line: int) -> list[Step]:
    steps: list[Step] = []
    for text in body.splitlines():
        if text.startswith("$ "):
            steps.append(Step(text[2:]))
        elif not steps:
            raise AssertionError(f"line {line}: the block begins with no command")
        elif text.startswith("> ") or text == ">":
            steps[-1].command += f"\n{text[2:]}"
        else:
            steps[-1].prints.append(text)
    return steps


def differs(prints: list[str], came: list[str]) -> str | None:
    """What of the lines said did not come, None where all of them did, in order."""
    rest = list(came)
    may_skip = False
    for said in prints:
        if said.strip() == "...":
            may_skip = True
            continue
        pattern = re.compile(".*".join(map(re.escape, said.rstrip().split("..."))))
        while rest and not pattern.fullmatch(rest[0].rstrip()):
            if not may_skip:
                return f"{said!r} was said and {rest[0]!r} came"
            rest.pop(0)
        if not rest:
            return f"{said!r} was said and did not come"
        rest.pop(0)
        may_skip = False
    if prints and rest and not may_skip:
        return f"{rest[0]!r} came and was not said"
    return None


class Shell:
    """One shell in which all commands run, one after the other; a context manager.

    What it started and left running ends with it.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str], timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._tell("kill -KILL $(jobs -p) 2>/dev/null; exit")
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def run(self, command: str) -> tuple[int, list[str]]:
        """Its status and the lines that it printed. TimeoutError with them where it hangs."""
        end = f"-- end of command {time.monotonic_ns()}"
        self._tell(f"{command}\nprintf '\\n%s %d\\n' '{end}' $?")
        text = self._read_until(re.compile(rf"\n{re.escape(end)} (\d+)\n$".encode()))
        body, _, status = text.rpartition(f"\n{end} ")
        return int(status), body.rstrip("\n").split("\n") if body.strip("\n") else []

    def _tell(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
        self._process.stdin.flush()

    def _read_until(self, end: re.Pattern[bytes]) -> str:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        until_s = time.monotonic() + self._timeout_s
        data = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not end.search(data):
                left_s = until_s - time.monotonic()
                if left_s <= 0 or not selector.select(left_s):
                    raise TimeoutError(data.decode(errors="replace"))
                data += (read := self._process.stdout.read1(65536))  # type: ignore[attr-defined]
                if not read:
                    raise AssertionError(f"the shell has ended:\n{data.decode(errors='replace')}")
        return data.decode(errors="replace")
