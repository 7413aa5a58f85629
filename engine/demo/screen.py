"""The demo's board on a terminal, redrawn a few times a second, with rich.

Every line is one line whatever the width. If the height is too small, lines at the bottom are left
out; the matches get the space that is left. Everything shown by a colour is also shown by a
character, for `NO_COLOR`, for a terminal without colours and for people who cannot see them.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Final, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from engine.demo.board import Board, Marked, SourceLine, quantile_ms, side_by_side, to_compare
from engine.documents.model import Match

_CHOOSE_EVERY_S: Final = 1.0
_LESSON_S: Final = 8.0
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_BLOCKS: Final = "_.:-=+*#"
#: Columns left free on both sides if there are enough.
_MARGIN: Final = 1
_WITH_MARGIN: Final = 90
#: The width of a row of the sources with the policy in words.
_WHOLE_ROW: Final = 79
_TYPE_STYLES: Final = {
    "exact": "bold green",
    "confusable": "bold yellow",
    "distance": "bold magenta",
    "partial": "bold cyan",
}


def on_terminal() -> Screen | None:
    """Return a screen on standard output; None if that is not a terminal that can be drawn on."""
    console = Console()
    return None if not console.is_terminal or console.is_dumb_terminal else Screen(console)


class Screen:
    """A display of a board on a terminal from `__enter__` to `__exit__`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._chosen_s = self._began_s = time.monotonic()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, board: Board) -> None:
        """Draw the board's current state."""
        now_s = time.monotonic()
        if now_s - self._chosen_s >= _CHOOSE_EVERY_S:
            self._chosen_s = now_s
            board.choose()
        lesson = int((now_s - self._began_s) / _LESSON_S)
        self._live.update(Picture(board, lesson), refresh=True)


class Picture:
    """A board drawn in the size of the console; `lesson` is the number of the lesson shown."""

    def __init__(self, board: Board, lesson: int = 0) -> None:
        self._board = board
        self._lesson = lesson

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width, 1)
        height = options.height or options.size.height
        margin = _MARGIN if width >= _WITH_MARGIN else 0
        lines = self._lines(width - 2 * margin, height, options.ascii_only)
        for number, line in enumerate(lines[:height]):
            line.pad_left(margin)
            line.truncate(width, overflow="ellipsis" if not options.ascii_only else "crop")
            line.no_wrap, line.end = True, "" if number == min(len(lines), height) - 1 else "\n"
            yield line

    def _lines(self, width: int, height: int, ascii_only: bool) -> list[Text]:
        board = self._board
        blocks = _PLAIN_BLOCKS if ascii_only else _BLOCKS
        lines = [
            self._title(width),
            _named("reads", self._rate(width - 10, blocks)),
            _named("delay", self._delay()),
            _named("matches", self._matches()),
            _named("", self._apart()),
            Text(),
            _head(_columns(width, "source", "its policy", "reads", "matches", "denied", "because")),
            *(_source_line(line, width) for line in board.lines()),
            *self._taught(width),
        ]
        left = height - len(lines) - 1
        if left >= 2:
            lines.append(_head("Latest matches: leads that a person must confirm"))
            for match in list(board.latest)[: left // 2]:
                lines += [
                    _match_line(match),
                    Text(f"  {to_compare(match, width - 2)}", style="dim"),
                ]
        return lines

    def _title(self, width: int) -> Text:
        board = self._board
        title = Text.assemble(
            ("hotlist demo", "bold reverse"), f"  {board.time}  ", (board.period, "bold")
        )
        ends = "Ctrl-C ends"
        if width >= len(title) + len(ends) + 2:
            title.append(" " * (width - len(title) - len(ends)))
            title.append(ends, style="dim")
        return title

    def _rate(self, width: int, blocks: str) -> Text:
        board = self._board
        text = Text.assemble(
            (f"{board.reads_a_minute / 1e6:.2f} million a minute", "bold"),
            f"  {board.processed:,} in all  ",
        )
        room = max(0, width - len(text))
        points = list(board.curve)[-room:] if room else []
        top = max(board.curve, default=0) or 1
        curve = "".join(blocks[min(7, int(8 * point / top))] for point in points)
        return text.append(curve, style="cyan")

    def _delay(self) -> Text:
        recent = Counter(map(round, self._board.delays_ms))
        median_ms, p99_ms = quantile_ms(recent, 0.5), quantile_ms(recent, 0.99)
        if median_ms is None:
            return Text("no match yet")
        return Text.assemble(
            (f"{median_ms} ms median, {p99_ms} ms p99", "bold"),
            "  from making a read to seeing its match",
        )

    def _matches(self) -> Text:
        board = self._board
        kinds = (f"{kind} {board.by_type[kind]:,}" for kind in _TYPE_STYLES)
        return Text.assemble((f"{board.matches:,}", "bold"), f"  {', '.join(kinds)}")

    def _apart(self) -> Text:
        board = self._board
        text = Text(f"suppressed {board.suppressed:,}, another vehicle {board.other_vehicle:,}, ")
        bad = board.rejects or board.lost or board.invented
        text.append(
            f"rejects {board.rejects:,}, lost {board.lost:,}, invented {board.invented:,}",
            style="bold red" if bad else "green",
        )
        return text

    def _taught(self, width: int) -> list[Text]:
        lessons = self._board.lessons
        if not lessons:
            return []
        lesson = lessons[self._lesson % len(lessons)]
        return [
            Text(f"$ {lesson.command}", style="dim"),
            Text(f"  {lesson.describe(width - 2)}", style="yellow"),
        ]


def _named(name: str, text: Text) -> Text:
    return Text.assemble((f"{name:<9}", "dim"), text)


def _head(text: str) -> Text:
    """Return a heading; text inserted before it later is not underlined."""
    return Text.assemble((text, "bold underline"))


def _source_line(line: SourceLine, width: int) -> Text:
    denied = sum(line.denied.values())
    text = _columns(
        width,
        line.name,
        line.policy,
        f"{line.reads:,}",
        f"{line.matches:,}",
        f"{denied:,}",
        " ".join(sorted(line.denied)),
    )
    return Text(text, style="" if line.matches or not denied else "yellow")


def _columns(
    width: int, source: str, policy: str, reads: str, matches: str, denied: str, because: str
) -> str:
    """Return a row; without the policy if there is little room."""
    middle = f"{policy:<24} " if width >= _WHOLE_ROW else ""
    return f"{source:<17} {middle}{reads:>9} {matches:>7} {denied:>6} {because:<11}"


def _match_line(match: Match) -> Text:
    read, listed = side_by_side(match)
    text = Text.assemble(
        (f"{match.match_type:<10}", _TYPE_STYLES.get(match.match_type, "")),
        # Rounded down, as everywhere: no match is certain.
        f" {int(100 * match.confidence) / 100:.2f} ",
    )
    text.append_text(_plate(read)).append(" listed ").append_text(_plate(listed))
    text.append(f" {match.entry.purpose}", style="bold").append(f" at {match.read.camera}")
    if match.suppressed:
        text.append(f", {match.suppressed} suppressed before")
    if match.entry.instructions:
        text.append(f", {match.entry.instructions}")
    return text


def _plate(marked: Marked) -> Text:
    text = Text()
    for char, differs in marked:
        text.append(f"[{char}]" if differs else char, style="bold red" if differs else "bold")
    return text
