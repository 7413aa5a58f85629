"""Pages typed on a real broker: every command of a page in its order, what it prints held to what
the page shows.

A page finds the commands that its reader has: `hotlist`, and Kafka's own tools under the names that
they have in Kafka's bin directory, of the jars that the tests' broker runs from. Topics, groups and
ports are the test's own, on a broker that it may not have for itself.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from tests.kafka.jars import fetch
from tests.repository import console
from tests.repository.pages import ROOT

_COMMAND_S: Final = 60.0

#: With Kafka's own scripts comes a configuration that says the same.
_QUIET: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
_TOOLS: Final = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}


def type_page(
    page: Path, directory: Path, bootstrap: str, prefix: str, not_run: Collection[str]
) -> None:
    """Type a page in a directory; AssertionError with the place where something else came.

    A block `fails` where its last command does. A block `setup` names what is different for
    everybody: the values of the variables in it are the test's. Blocks of `not_run` are passed.
    """
    environment = _environment(directory, bootstrap, prefix)
    ports = {"9109": free_port()}
    with console.Shell(directory, environment, _COMMAND_S) as shell:
        for block in console.blocks(page.read_text("utf-8")):
            if block.tag == "setup":
                for step in block.steps:
                    named = set(re.findall(r"\b(HOTLIST_\w+)=", step.command))
                    assert named <= environment.keys(), f"{page.name}, line {block.line}"
            elif block.tag not in not_run:
                _type(shell, page, block, Ours(prefix, ports))


class Ours:
    """Texts with topics, groups and ports of this test's own."""

    def __init__(self, prefix: str, ports: Mapping[str, str]) -> None:
        self._prefix = prefix
        self._ports = ports

    def __call__(self, text: str) -> str:
        text = re.sub(r"\blpr\.", self._prefix, text)
        text = re.sub(r"\bhotlist-engine\b", f"{self._prefix}group", text)
        return re.sub(r"(?<=[:=])\d{4}\b", lambda port: self._ports.get(port[0], port[0]), text)


def _type(shell: console.Shell, page: Path, block: console.Block, ours: Ours) -> None:
    for step in block.steps:
        where = f"{page.name}, line {block.line}, {block.heading}: {step.command}"
        try:
            status, came = shell.run(ours(step.command))
        except TimeoutError as error:
            raise AssertionError(f"{where}\nhangs; it printed:\n{error}") from None
        wrong = wrong_in(step, block, ours, status, came)
        assert wrong is None, f"{where}\n{wrong}"


def wrong_in(
    step: console.Step, block: console.Block, ours: Ours, status: int, came: list[str]
) -> str | None:
    """What is not as the page says, with all that came; None if nothing is."""
    printed = "\n".join(came)
    said = [ours(line) for line in step.prints]
    difference = console.differs(said, _without_explanations(came))
    if difference is not None:
        return f"{difference}\nall that came:\n{printed}"
    fails = block.tag == "fails" and step is block.steps[-1]
    return None if (status != 0) == fails else f"status {status}:\n{printed}"


def _without_explanations(lines: list[str]) -> list[str]:
    """All lines but what `tail` says where a slow machine lets it wait: no page shows that."""
    kept: list[str] = []
    explains = False
    for line in lines:
        explains = line.startswith("no match for ") or (explains and line.startswith("  "))
        if not explains:
            kept.append(line)
    return kept


def kafka_tools(directory: Path) -> Path:
    """A new directory of commands with Kafka's own tools."""
    tools = directory / ".bin"
    tools.mkdir()
    for name, main in _TOOLS.items():
        script = tools / name
        options = f"{_QUIET} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto"
        script.write_text(f'#!/bin/sh\nexec java {options} -cp "{fetch()}/*" {main} "$@"\n')
        script.chmod(0o755)
    return tools


def _environment(directory: Path, bootstrap: str, prefix: str) -> dict[str, str]:
    tools = kafka_tools(directory)
    hotlist = tools / "hotlist"
    hotlist.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engine "$@"\n')
    hotlist.chmod(0o755)
    return {
        "PATH": f"{tools}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(directory),
        "HOTLIST_BOOTSTRAP": bootstrap,
        "HOTLIST_PREFIX": prefix,
        "HOTLIST_GROUP": f"{prefix}group",
        "HOTLIST_HTTP_PORT": free_port(),
        "HOTLIST_OPERATOR": "j.doe",
    }


def free_port() -> str:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
