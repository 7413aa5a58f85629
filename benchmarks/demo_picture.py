"""A picture of `hotlist demo` for README: one real run, drawn as its terminal shows it.

`python -m benchmarks.demo_picture deploy/demo.svg` runs the demo on the embedded broker and draws
what stood on the screen when the last read had passed. The picture names no fonts from elsewhere.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import click
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from engine.cli.tail import readable
from engine.demo.board import Board
from engine.demo.run import run_demo
from engine.demo.screen import Picture

_WIDTH, _HEIGHT = 108, 30
#: A match is chosen to be shown so often, in times that the board is drawn, as on a terminal.
_CHOOSE_EVERY = 4
_FONT = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


class _Kept:
    """Draws nothing, and keeps the board as it stands."""

    def __init__(self) -> None:
        self.board: Board | None = None
        self._drawn = 0

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, board: Board) -> None:
        self.board = board
        self._drawn += 1
        if self._drawn % _CHOOSE_EVERY == 0:
            board.choose()


@click.command()
@click.option("--reads", type=click.IntRange(min=1), default=400_000, show_default=True)
@click.argument("picture", type=click.Path(path_type=Path))
def main(reads: int, picture: Path) -> int:
    """Run the demo and draw it."""
    kept = _Kept()
    status = run_demo(None, reads, click.echo, readable, kept)
    assert kept.board is not None, "too few reads: nothing was drawn"
    console = Console(file=io.StringIO(), width=_WIDTH, height=_HEIGHT, record=True)
    console.print(Picture(kept.board))
    svg = console.export_svg(
        title="hotlist demo",
        theme=MONOKAI,
        code_format=_FONT.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code, monospace", "monospace"),
        unique_id="demo",
    )
    picture.write_text(svg, encoding="utf-8")
    return status


if __name__ == "__main__":
    main()
