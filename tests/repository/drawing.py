"""Draws the packages of engine/ and the arrows between them, from the imports.

`python -m tests.repository.drawing` writes the drawing between two markers at the top of
ARCHITECTURE.md; with `--check` it writes nothing, and ends with status 1 if the drawing there is
out of date. An arrow that follows from others is left out: if cli imports demo, and demo imports
worker, then an arrow from cli to worker would say nothing new. Imports for type checking alone do
not count. The modules beside the packages are one box.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from tests.repository.source import ROOT, Source

PAGE: Final = ROOT / "ARCHITECTURE.md"
BEGIN: Final = "<!-- drawing: python -m tests.repository.drawing -->"
END: Final = "<!-- end of the drawing -->"

#: The box of all modules that lie beside the packages.
BESIDE: Final = "(beside)"
_IN_MAP: Final = re.compile(r"^    ([a-z_]+) +(\S.*)$", re.MULTILINE)

#: What becomes of a place in a row when a line passes it on the way to the right.
_PASSED: Final = {" ": "─", "│": "┼", "┐": "┬", "┘": "┴", "┤": "●"}

Arrows = dict[str, set[str]]


class CircleError(ValueError):
    """Packages that import each other; there is no order to draw them in."""


def arrows(source: Source) -> Arrows:
    """Which package imports which others."""
    root = source.modules["engine"]
    found: Arrows = {}
    for module in source.modules.values():
        if module is root or module.room == "__main__":
            continue
        here = _box(source, module.room)
        found.setdefault(here, set())
        for each in source.imports(module):
            there = source.modules[each.module].room
            if not each.for_types_alone and there and _box(source, there) != here:
                found[here].add(_box(source, there))
    return found


def _box(source: Source, room: str) -> str:
    return room if source.modules[f"engine.{room}"].is_package else BESIDE


def reduced(arrows: Arrows) -> Arrows:
    """The arrows that follow from no others."""
    below = {box: _below(arrows, box) for box in arrows}
    return {
        box: {each for each in targets if not any(each in below[other] for other in targets)}
        for box, targets in arrows.items()
    }


def _below(arrows: Arrows, box: str, path: tuple[str, ...] = ()) -> set[str]:
    if box in path:
        raise CircleError(" -> ".join((*path[path.index(box) :], box)))
    found = set(arrows.get(box, ()))
    for each in arrows.get(box, ()):
        found |= _below(arrows, each, (*path, box))
    return found


def ordered(arrows: Arrows, map_order: list[str]) -> list[str]:
    """The boxes so that every arrow points down; those at one height as the map lists them."""
    heights: dict[str, int] = {}

    def height(box: str) -> int:
        if box not in heights:
            heights[box] = 1 + max(map(height, arrows[box]), default=0)
        return heights[box]

    place = {box: at for at, box in enumerate(map_order)}
    return sorted(arrows, key=lambda box: (-height(box), place.get(box, len(place)), box))


def as_text(boxes: list[str], arrows: Arrows, meaning: dict[str, str]) -> list[str]:
    """One line for each box. Its arrows leave to the right, run down and end at a `◄`.

    Where two lines cross at a `┼` they do not join; at a `●` they do.
    """
    row = {box: at for at, box in enumerate(boxes)}
    columns: list[list[str]] = []  # in each column, the boxes whose arrows run down it
    for box in boxes:
        if not arrows[box]:
            continue
        for column in columns:
            if max(row[each] for each in arrows[column[-1]]) < row[box]:
                column.append(box)
                break
        else:
            columns.append([box])
    width = max(map(len, boxes))
    track = 1 + 2 * len(columns)
    lines = []
    for at, box in enumerate(boxes):
        cells = [" "] * track
        for number, column in enumerate(columns):
            for runner in column:
                ends = sorted(row[each] for each in arrows[runner])
                _put(cells, 2 * number + 1, at, row[runner], ends)
        lines.append(f"{box:{width}} {''.join(cells)} {meaning.get(box, '')}".rstrip())
    return lines


def _put(cells: list[str], place: int, at: int, begin: int, ends: list[int]) -> None:
    """Draw one line of arrows into one row, over the lines that it crosses."""
    if not begin <= at <= ends[-1]:
        return
    if at == begin or at in ends:
        for left in range(place):
            cells[left] = _PASSED.get(cells[left], cells[left])
        if at != begin:
            cells[0] = "◄"
        cells[place] = "┐" if at == begin else "┘" if at == ends[-1] else "┤"
    else:
        cells[place] = "│"


def as_mermaid(boxes: list[str], arrows: Arrows) -> list[str]:
    """A flowchart that renderers of Markdown draw."""
    names = {box: "beside" if box == BESIDE else box for box in boxes}
    label = "config, errors, limits, ..."
    return [
        "flowchart TD",
        *(f'    {names[box]}["{label if box == BESIDE else box}"]' for box in boxes),
        *(
            f"    {names[box]} --> {names[to]}"
            for box in boxes
            for to in boxes
            if to in arrows[box]
        ),
    ]


def drawing(source: Source) -> str:
    """What stands between the markers."""
    listed = dict(_IN_MAP.findall(source.modules["engine"].docstring))
    found = reduced(arrows(source))
    boxes = ordered(found, list(listed))
    beside = [name for name in listed if name not in found]
    meaning = {**listed, BESIDE: ", ".join(beside)}
    return "\n".join(
        [
            "```text",
            *as_text(boxes, found, meaning),
            "```",
            "",
            "<details><summary>The same as a flowchart</summary>",
            "",
            "```mermaid",
            *as_mermaid(boxes, found),
            "```",
            "",
            "</details>",
        ]
    )


def parts(page: str) -> tuple[str, str, str]:
    """A page up to its drawing, the drawing, and the rest."""
    before, begun, rest = page.partition(f"{BEGIN}\n")
    inside, ended, after = rest.partition(f"\n{END}")
    if not begun or not ended:
        raise ValueError(f"the page lacks the markers {BEGIN} and {END}")
    return before + begun, inside, ended + after


def main(arguments: list[str], page: Path = PAGE) -> int:
    """Write the drawing, or say whether it is out of date; the exit status."""
    before, inside, after = parts(page.read_text("utf-8"))
    try:
        drawn = drawing(Source.read())
    except CircleError as error:
        print(f"packages import each other: {error}")
        return 1
    if arguments == ["--check"]:
        if inside != drawn:
            print(
                f"{page.name}: the drawing is out of date; run: python -m tests.repository.drawing"
            )
        return int(inside != drawn)
    page.write_text(before + drawn + after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
