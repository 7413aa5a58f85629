"""A stranger's first hour, typed again: `make first-hour`.

Makes a new clone of this repository with no environment, and types every command of README and the
tutorial into one shell each, from `make demo` to the last match, on a Kafka that it starts. Each
command's time is shown, and what it prints is compared with what the page says. Only topics, groups
and ports are this run's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.kafka.broker import RealBroker
from tests.kafka.typed_pages import Ours, free_port, kafka_tools, wrong_in
from tests.repository import console
from tests.repository.pages import ROOT

_PAGES: Final = ("README.md", "deploy/guides/tutorial.md")
#: A first `make demo` installs everything, and compiles.
_COMMAND_S: Final = 900.0
_SHOWN_CHARACTERS: Final = 60
#: What Python, uv and make set for what runs inside of them.
_OURS_ALONE: Final = frozenset(
    {
        *("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"),
        *("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"),
    }
)


class Typed(NamedTuple):
    """A command of a page, how long it took, and what was wrong, None if nothing was."""

    where: str
    command: str
    took_s: float
    wrong: str | None


def first_hour(directory: Path, bootstrap: str) -> Iterator[Typed]:
    """Type the pages in a new clone in a directory, one command after the other."""
    clone = directory / "hotlist-engine"
    began_s = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    yield Typed("", "git clone", time.monotonic() - began_s, None)
    tools = kafka_tools(directory)
    for number, name in enumerate(_PAGES):
        prefix = f"hour-{number}-{os.getpid()}."
        environment = strangers_environment(os.environ, tools, prefix)
        ours = Ours(
            prefix,
            {"9092": bootstrap.rpartition(":")[2], "9108": free_port(), "9109": free_port()},
        )
        with console.Shell(clone, environment, _COMMAND_S) as shell:
            for block in console.blocks((clone / name).read_text("utf-8")):
                for step in block.steps:
                    yield _typed(shell, step, block, name, ours)


def strangers_environment(ours: Mapping[str, str], tools: Path, prefix: str) -> dict[str, str]:
    """The environment of a stranger's shell on this machine.

    It has what the machine needs: proxies, package registries, certificates, JAVA_HOME. It has
    nothing of the environment that this runs in, of make, or of the settings of a worker.
    """
    kept = {
        name: value
        for name, value in ours.items()
        if name not in _OURS_ALONE and not name.startswith("HOTLIST_")
    }
    return {
        **kept,
        "PATH": f"{tools}{os.pathsep}{_system_path(ours.get('PATH', os.defpath))}",
        "HOTLIST_PREFIX": prefix,
        "HOTLIST_GROUP": f"{prefix}group",
    }


def _typed(
    shell: console.Shell, step: console.Step, block: console.Block, page: str, ours: Ours
) -> Typed:
    began_s, wrong = time.monotonic(), None
    try:
        status, came = shell.run(ours(step.command))
    except TimeoutError as error:
        wrong = f"hangs; printed:\n{error}"
    took_s = time.monotonic() - began_s
    if wrong is None:
        wrong = wrong_in(step, block, ours, status, came)
    return Typed(f"{page}:{block.line}", step.command, took_s, wrong)


def _system_path(path: str) -> str:
    """The path without the environment that this runs in."""
    own = str(Path(sys.prefix) / "bin")
    return os.pathsep.join(part for part in path.split(os.pathsep) if part and part != own)


def main() -> int:
    """Print the table of times; 1 if anything printed was not what its page says."""
    broker = RealBroker()
    wrong = 0
    total_s = 0.0
    try:
        broker.start()
        with tempfile.TemporaryDirectory() as directory:
            for typed in first_hour(Path(directory), broker.bootstrap):
                total_s += typed.took_s
                wrong += typed.wrong is not None
                command = typed.command.splitlines()[0][:_SHOWN_CHARACTERS]
                mark = "ok" if typed.wrong is None else "DIFFERS"
                print(f"{typed.took_s:7.1f} s  {mark:7}  {typed.where:30}  {command}", flush=True)
                if typed.wrong is not None:
                    print(typed.wrong, flush=True)
    finally:
        broker.close()
    print(f"{total_s:7.1f} s  in all, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
