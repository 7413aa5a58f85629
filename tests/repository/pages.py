"""The pages of Markdown in this repository, and what stands in them: links, headings, commands.

A page's words are read as a reader sees them: what is fenced is code, what is between backticks is
a name or a command.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
#: What is made here and not written.
_MADE: Final = frozenset({"work", "target", "node_modules", "data"})

_FENCE: Final = re.compile(
    r"^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL
)
_HEADING: Final = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_LINK: Final = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_PICTURE: Final = re.compile(r"\b(?:src|srcset|href)=\"([^\"]+)\"")
_CODE: Final = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
#: Between commands of a line of shell.
_ENDS: Final = re.compile(r"[|&;<>()]+")


@dataclass(frozen=True, slots=True)
class Fenced:
    """A fenced block: the first word after the fence, the line it begins at, what is in it."""

    language: str
    line: int
    body: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of Markdown by its path."""

    path: Path

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @property
    def prose(self) -> str:
        """The page without its fenced blocks, line for line."""
        return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), self.text)

    def blocks(self, language: str) -> list[Fenced]:
        """Its fenced blocks of a language."""
        text = self.text
        return [
            Fenced(language, text.count("\n", 0, found.start()) + 1, found["body"])
            for found in _FENCE.finditer(text)
            if found["info"].split()[:1] == [language]
        ]

    def links(self) -> list[str]:
        """Where its links and pictures lead, those out of the repository left aside."""
        prose = _CODE.sub("`code`", self.prose)
        found = [*_LINK.findall(prose), *_PICTURE.findall(prose)]
        return [each for each in found if not re.match(r"[a-z]+:", each)]

    def anchors(self) -> set[str]:
        """The anchors of its headings, as GitHub makes them."""
        seen: dict[str, int] = {}
        anchors = set()
        for heading in _HEADING.findall(self.prose):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
            anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            anchors.add(f"{anchor}-{count}" if count else anchor)
        return anchors

    def names(self) -> list[str]:
        """What stands between backticks, each on one line."""
        return [" ".join(code.split()) for _, code in _CODE.findall(self.prose)]


@cache
def pages() -> tuple[Page, ...]:
    """All pages that somebody wrote."""
    found = []
    for directory, below, files in os.walk(ROOT):
        below[:] = sorted(each for each in below if each not in _MADE and not each.startswith("."))
        found += [Page(Path(directory) / each) for each in sorted(files) if each.endswith(".md")]
    return tuple(found)


def calls(shell: str, program: str) -> Iterator[list[str]]:
    """The words after each call of a program in a line of shell, also behind another's name.

    Its name after a flag is that flag's value (`kubectl -n hotlist`).
    """
    words = shlex.shlex(shell.replace("\\\n", " "), posix=True, punctuation_chars="|&;<>()\n")
    words.whitespace = " \t\r"
    words.whitespace_split = True
    words.commenters = ""
    call: list[str] | None = None
    last = ""
    for word in words:
        if _ENDS.fullmatch(word.strip("\n") or "|"):
            if call is not None:
                if word[0] in "<>" and call and call[-1].isdigit():
                    call.pop()  # a file's number, not a word
                yield call
            call = None
        elif call is not None:
            call.append(word)
        elif word == program and (last == "--" or not last.startswith("-")):
            call = []
        last = word
    if call is not None:
        yield call
