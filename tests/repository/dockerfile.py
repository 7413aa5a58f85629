"""A Dockerfile read for tests: its instructions, with the lines of each put together."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction: its word (`RUN`), its text, and the number of the stage that it is in."""

    word: str
    text: str
    stage: int

    @property
    def words(self) -> list[str]:
        """Its arguments. AssertionError for the form that needs a shell."""
        assert self.text.startswith("["), f"{self.word} {self.text}: needs a shell"
        found: list[str] = json.loads(self.text)
        return found


def instructions(path: Path) -> list[Instruction]:
    """All of them, in order. What stands before the first FROM is in stage -1."""
    return list(_instructions(path.read_text("utf-8")))


def _instructions(text: str) -> Iterator[Instruction]:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    stage = -1
    for line in re.sub(r"\\\n\s*", " ", code).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            stage += word == "FROM"
            yield Instruction(word, rest.strip(), stage)


def environment(of: list[Instruction], stage: int) -> dict[str, str]:
    """The variables that the ENV instructions of a stage set."""
    found: dict[str, str] = {}
    for instruction in of:
        if instruction.word == "ENV" and instruction.stage == stage:
            pairs = (pair.partition("=") for pair in shlex.split(instruction.text))
            found |= {name: value for name, _, value in pairs}
    return found
