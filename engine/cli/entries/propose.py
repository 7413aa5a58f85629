"""`--profile auto`: prints a profile proposed for a file, and what the file's rows are with it.

Nothing is compared with Kafka, and nothing is sent. The proposal is for a person to read: it goes
to standard output or to the file that `--write-profile` names, and what it leaves open to standard
error.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from pathlib import Path

import click

from engine.cli.entries.flags import missing_flags
from engine.cli.output import json_line, remark
from engine.documents.admission import Purposes
from engine.errors import ConfigError
from engine.list_files.guess import Guess, guess_profile
from engine.list_files.notes import Notes
from engine.list_files.profile import load
from engine.list_files.rows import BadRow, Supplied, read_rows
from engine.list_files.text import Encoding, encoding_of
from engine.list_files.unfilled import UnfilledError

_SHOWN_ROWS = 3
#: Rows that are tried with the proposal.
_TRIED_ROWS = 10_000


def propose(
    path: Path,
    wanted_encoding: str,
    supplied: Supplied,
    purposes: Purposes,
    *,
    write_to: Path | None,
    as_json: bool,
) -> None:
    """Print the proposal, or write it to a new file.

    Raises EntryFileError if there is nothing to go by, and ConfigError if the file to be written
    is there already.
    """
    with path.open("rb") as file:
        encoding = encoding_of(file, wanted_encoding, str(path))
        guess = guess_profile(file, path, encoding)
        remarks = [*guess.remarks, *_tried(guess, path, encoding, supplied, purposes)]
    if write_to is not None:
        _write(write_to, guess.text)
    if as_json:
        json_line({"profile": guess.text, "whole": guess.whole, "remarks": remarks})
    elif write_to is None:
        click.echo(guess.text, nl=False)
    for line in () if as_json else remarks:
        remark(f"{path}: {line}")


def _tried(
    guess: Guess, path: Path, encoding: Encoding, supplied: Supplied, purposes: Purposes
) -> list[str]:
    """Return what becomes of the file's rows with the proposal."""
    if not guess.whole:
        return ["the profile is not whole: it says what to choose"]
    with tempfile.TemporaryDirectory() as directory:
        own = Path(directory) / "proposed.toml"
        own.write_text(guess.text, "utf-8")
        profile = load(str(own))
    problems, good, bad, notes = [], 0, 0, Notes()
    with path.open("rb") as file:
        rows = read_rows(file, path, profile, supplied, purposes, encoding, notes)
        try:
            with contextlib.closing(rows):
                for row in itertools.islice(rows, _TRIED_ROWS):
                    if isinstance(row, BadRow):
                        bad += 1
                        if bad <= _SHOWN_ROWS:
                            problems.append(f"line {row.line}: {row.problem}")
                    else:
                        good += 1
        except UnfilledError as error:
            missing = missing_flags(error)
            return [f"with this profile {missing.what}; {missing.hint}"]
    return [*notes.lines(), *problems, f"rows with this profile: {good} good, {bad} bad"]


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(
            f"cannot be written: {error.strerror}", where=str(path), hint="name a new file"
        ) from None
