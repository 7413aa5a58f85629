"""`hotlist check` and `hotlist replay`: files of reads, one JSON document a line.

An invalid line is reported by its number, the field and the rule. An optional field that the worker
would drop is a warning: the read is good without it. The field's content is never shown: these are
reads of people who did nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from engine import limits
from engine.cli.groups import Command
from engine.cli.options import file_argument, json_option, takes_settings
from engine.cli.output import counted, json_line, plain, progress, remark
from engine.cli.value_types import Amount
from engine.config import Settings
from engine.documents.droppable import Dropped
from engine.documents.value_formats import Values, decode_any
from engine.errors import DocumentError, HotlistError
from engine.list_files.file_kinds import HEAD_BYTES, FileKind, kind_of
from engine.list_files.text import numbered_lines
from engine.plates.normal_form import normalize

_LINES_A_STEP = 1000
#: What makes a file of reads of another kind of file.
_MENDED_BY = {
    FileKind.GZIP: "unpack it first",
    FileKind.UTF_16: "save it as UTF-8",
    FileKind.JSON_ARRAY: "put each read on a line of its own",
}
_MARK = Dropped("", "$", "must not begin with a byte order mark")


class ReadFileError(HotlistError):
    """The file has lines that are not valid reads."""


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A valid line: the read's key in Kafka, the unchanged line, what the worker drops."""

    key: bytes
    value: bytes
    dropped: tuple[Dropped, ...] = ()


@click.command(cls=Command)
@file_argument()
@click.option("--strict", is_flag=True, help="Status 1 if there is a warning, too.")
@json_option
@takes_settings("value_format")
def check(settings: Settings, file: Path, strict: bool, as_json: bool) -> None:
    """Check the reads in a .jsonl FILE against the schema. Sends nothing.

    Reports which field of each bad line breaks which rule; status 1 if there is one. A warning
    names an optional field that breaks its rule: the worker drops the field and keeps the read. A
    line holds JSON; hotlist doctor checks reads in Avro.
    """
    _check_kind(file)
    reasons: Counter[str] = Counter()
    good = warnings = 0
    for line, read in read_lines(file, "checking", settings.value_format):
        if isinstance(read, ReadLine):
            good += 1
            warnings += len(read.dropped)
            for each in read.dropped:
                _show_dropped(line, each, as_json)
            continue
        reasons[read.reason] += 1
        if as_json:
            problem = {"reason": read.reason, "field": read.field, "rule": read.rule}
            json_line({"line": line, **problem})
        else:
            click.echo(plain(f"line {line}: {read.reason}: {read}"))
    bad = reasons.total()
    if as_json:
        counts = {"lines": good + bad, "good": good, "bad": bad, "warnings": warnings}
        json_line({**counts, "reasons": dict(reasons)})
    else:
        parts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        warned = f", {counted(warnings, 'warning')}" if warnings else ""
        bads = f"{bad} bad{f' ({parts})' if parts else ''}"
        click.echo(f"{counted(good + bad, 'line')}: {good} good, {bads}{warned}")
    _end(file, good, bad)
    if strict and warnings:
        what = f"there {'is one warning' if warnings == 1 else f'are {warnings} warnings'}"
        raise ReadFileError(what, where=str(file))


def _show_dropped(line: int, dropped: Dropped, as_json: bool) -> None:
    if as_json:
        problem = {"warning": "dropped", "field": dropped.path, "rule": dropped.rule}
        json_line({"line": line, **problem})
    else:
        click.echo(f"line {line}: warning: {_in_words(dropped)}")


def _in_words(dropped: Dropped) -> str:
    return f"{dropped.path}: {dropped.rule}; the worker drops it"


@click.command(cls=Command)
@file_argument()
@click.option(
    "--rate",
    type=Amount(above=True),
    metavar="N",
    help="Reads a second; default: as fast as possible.",
)
@takes_settings("bootstrap", "prefix")
def replay(settings: Settings, file: Path, rate: float | None) -> None:
    """Send the reads in a .jsonl FILE to Kafka, with the right keys.

    Sends each line unchanged. Reports and skips bad lines; status 1 if there is one. Names optional
    fields that the worker will drop.
    """
    from engine.kafka.session import run
    from engine.kafka.topics import Topics
    from engine.kafka.writer import outbox

    _check_kind(file)
    topic = Topics(settings.prefix).detections
    bad = 0

    async def send() -> int:
        nonlocal bad
        async with outbox(settings, topic) as box:
            loop = asyncio.get_running_loop()
            start_s, taken = loop.time(), 0
            for line, read in read_lines(file, "sending"):
                if not isinstance(read, ReadLine):
                    bad += 1
                    remark(f"{file}: line {line}: {read.reason}: {read}")
                    continue
                for each in read.dropped:
                    remark(f"{file}: line {line}: warning: {_in_words(each)}")
                if rate is not None:
                    early_s = start_s + taken / rate - loop.time()
                    if early_s > limits.REPLAY_STEP_S:
                        await box.flush()
                        await asyncio.sleep(early_s)
                await box.send(read.key, read.value)
                taken += 1
        return box.sent

    sent = run(send())
    click.echo(f"sent {counted(sent, 'read')} to {topic}")
    _end(file, sent, bad)


def _check_kind(path: Path) -> None:
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES), ".jsonl")
    if kind is not None:
        hint = _MENDED_BY.get(kind, "")
        rest = "" if hint else ", and not reads in JSON"
        raise ReadFileError(f"is {kind.value}{rest}", where=str(path), hint=hint)


def read_lines(
    path: Path, label: str, value_format: str = "json"
) -> Iterator[tuple[int, ReadLine | DocumentError]]:
    """Yield number and content of each line that is not blank; show a progress bar."""
    size_bytes = path.stat().st_size
    shown_bytes = 0
    with path.open("rb") as file, progress(label, size_bytes) as step:
        for count, (line, content) in enumerate(
            numbered_lines(file, limits.READ_VALUE_BYTES), start=1
        ):
            yield line, _checked(content, value_format)
            if count % _LINES_A_STEP == 0:
                at_bytes = file.tell()
                step(at_bytes - shown_bytes)
                shown_bytes = at_bytes
        step(size_bytes - shown_bytes)


def _checked(content: bytes | None, value_format: str) -> ReadLine | DocumentError:
    if content is None:
        return DocumentError(
            "value_too_large", rule=f"must have at most {limits.READ_VALUE_BYTES} bytes"
        )
    try:
        (read, dropped), is_marked = decode_any(content, Values(value_format))
        if is_marked:
            dropped = (_MARK, *dropped)
        return ReadLine(normalize(read.plate).encode(), content, dropped)
    except DocumentError as error:
        return error


def _end(path: Path, good: int, bad: int) -> None:
    if bad:
        lines = "line is" if good + bad == 1 else "lines are"
        raise ReadFileError(f"{bad} of {good + bad} {lines} bad", where=str(path))


COMMANDS = (check, replay)
