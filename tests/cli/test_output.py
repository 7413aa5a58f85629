"""`engine.cli.output`: counts with their nouns, and tables in the width of the terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

from engine.cli import output
from engine.cli.output import counted, table

HEADINGS = ("entry", "agency", "expires", "state")
ROWS: list[tuple[str, ...]] = [
    ("E-1", "PD01", "2026-12-24T12:00:00.000Z", "active"),
    (
        *("E-2", "", "2026-12-24T12:00:00.000Z"),
        "refused: plate 'AB?': must have at least 4 known characters for stolen_vehicle, not 2",
    ),
]


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 reads"), (1, "1 read"), (2, "2 reads"), (1_234_567, "1,234,567 reads")],
)
def test_a_count_has_the_noun_in_its_number(count: int, words: str) -> None:
    assert counted(count, "read") == words


def test_a_plural_of_its_own() -> None:
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(1000, "entry", "entries") == "1,000 entries"


def printed(capsys: pytest.CaptureFixture[str], rows: list[tuple[str, ...]]) -> list[str]:
    table(HEADINGS, rows)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_table_that_is_wider_than_the_terminal_is_printed_in_blocks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setattr(output, "_columns", lambda: columns)
    lines = printed(capsys, ROWS)
    assert max(map(len, lines)) <= columns
    assert lines[:7] == [
        "entry    E-1",
        "agency   PD01",
        "expires  2026-12-24T12:00:00.000Z",
        "state    active",
        "",
        "entry    E-2",
        "expires  2026-12-24T12:00:00.000Z",  # an empty cell has no line
    ]
    # Wrapped at words, below each other.
    assert [line[:9] for line in lines[7:]] == ["state    "] + [" " * 9] * (len(lines) - 8)
    assert " ".join(line[9:] for line in lines[7:]) == ROWS[1][3]


def test_a_table_that_fits_stays_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = "E-1    PD01    2026-12-24T12:00:00.000Z  active"
    monkeypatch.setattr(output, "_columns", lambda: len(row))
    heading = "entry  agency  expires                   state"
    assert printed(capsys, ROWS[:1]) == [heading, row]
    monkeypatch.setattr(output, "_columns", lambda: len(row) - 1)
    assert printed(capsys, ROWS[:1])[0] == "entry    E-1"


def test_a_table_for_a_file_or_a_pipe_is_as_wide_as_its_cells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    lines = printed(capsys, ROWS)
    assert len(lines) == 3
    assert lines[2].endswith(ROWS[1][3])


def test_the_width_is_that_of_the_terminal() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 20))
    code = "from engine.cli.output import table; table(('one', 'two'), [('a' * 12, 'b' * 12)])"
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run([sys.executable, "-c", code], stdout=theirs, env=environment, check=True)
    os.close(theirs)
    assert os.read(ours, 1024).decode().split() == ["one", "a" * 12, "two", "b" * 12]
    os.close(ours)
