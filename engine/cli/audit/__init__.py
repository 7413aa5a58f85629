"""`hotlist audit`: verifies the audit, and makes its checkpoints and the keys that sign them.

Findings go to standard output, so that they can be kept; the status says whether the audit is
whole. No command here overwrites a file: everything depends on old checkpoints and keys.

The modules, in the order in which data passes them:

    audit_reader    reads the audit topic, whole or for a period
    match_reader    reads the matches topic and the audit, to compare them
    files           keys and checkpoints, read and written
    documents       findings as JSON
    verify_metrics  what was found, as metrics
    report          `audit report`
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine import limits
from engine.cli.audit import report
from engine.cli.audit.documents import place_fields, problem_document
from engine.cli.audit.files import (
    KEY_BYTES,
    AuditError,
    checkpoint_files,
    must_be_new,
    read_limited,
    write_new,
)
from engine.cli.audit.verify_metrics import VerifyMetrics
from engine.cli.groups import Commands
from engine.cli.metrics_file import metrics_file_option, must_be_collected, write_metrics
from engine.cli.options import json_option, takes_settings
from engine.cli.output import json_line, plain, reading
from engine.clock import SystemClock
from engine.config import Settings

__all__ = ["group"]

if TYPE_CHECKING:
    from engine.audit.checkpoints import Checkpoint
    from engine.audit.verifier import Verifier
    from engine.cli.audit.match_reader import Compared

_FILE = click.Path(path_type=Path)


@click.group("audit", cls=Commands)
def group() -> None:
    """Verify the audit's hash chains, sign checkpoints of them, summarise them."""


group.add_command(report.report)


@group.command()
@click.option(
    "--checkpoint",
    "checkpoints",
    type=_FILE,
    metavar="FILE",
    multiple=True,
    help="Also prove that everything in this checkpoint, or in each *.json of this directory, "
    "still exists. Give several oldest first; each names the one before, except a worker's.",
)
@click.option(
    "--public-key",
    type=_FILE,
    metavar="FILE",
    help="The key that verifies the checkpoints' signatures.",
)
@click.option(
    "--matches",
    "with_matches",
    is_flag=True,
    help="Also compare the matches topic with the audit, both ways; needs the right to read it.",
)
@metrics_file_option
@json_option
@takes_settings("bootstrap", "prefix")
def verify(
    settings: Settings,
    checkpoints: tuple[Path, ...],
    public_key: Path | None,
    with_matches: bool,
    metrics_file: Path | None,
    as_json: bool,
) -> None:
    """Verify every hash chain, and report that it is whole or where it breaks.

    Finds changed, missing, reordered and duplicated records, records after a chain's end, and
    chains without a predecessor. Only a checkpoint reveals that a chain was rewritten with new
    hashes, or that the last one was truncated; only --matches that a match was added or removed.
    The privacy guide lists which check finds which manipulation.
    """
    from engine.kafka.topics import Topics

    topic = Topics(settings.prefix).audit
    if checkpoints and public_key is None:
        raise click.UsageError(
            "--checkpoint needs --public-key: the key in a checkpoint proves nothing"
        )
    if public_key is not None and not checkpoints:
        raise click.UsageError("--public-key does nothing without --checkpoint")
    if metrics_file is not None:
        must_be_collected(metrics_file)
    started_s = time.monotonic()
    checkpoints = tuple(checkpoint_files(checkpoints))
    opened = [] if public_key is None else _opened(checkpoints, public_key, topic)
    verifier = _verified(settings, dict(zip(map(str, checkpoints), opened, strict=True)))
    problems = verifier.problems
    compared = _compared(settings) if with_matches else None
    differing = [] if compared is None else compared.discrepancies
    if metrics_file is not None:
        found = VerifyMetrics()
        found.note(
            problems=problems.count + len(differing),
            chains=len(verifier.heads()),
            records=verifier.records,
        )
        took_s = time.monotonic() - started_s
        found.note_end(ended_ms=SystemClock().now_ms(), took_s=took_s)
        write_metrics(metrics_file, found.registry)
    for problem in problems.shown:
        if as_json:
            json_line(problem_document(problem))
        else:
            click.echo(plain(str(problem)))
    for each in differing:
        if as_json:
            json_line({**place_fields(each.first), "problem": each.kind, "count": each.count})
        else:
            click.echo(plain(str(each)))
    if as_json:
        json_line(
            {
                "whole": not problems.count and not differing,
                "chains": len(verifier.heads()),
                "records": verifier.records,
                "repeats": verifier.repeats,
                "problems": problems.count + len(differing),
                "checkpoints": len(opened),
                "matches": None if compared is None else compared.matches,
                "notes": {note.kind: note.count for note in verifier.notes()},
            }
        )
    if not as_json:
        for note in verifier.notes():
            click.echo(plain(f"note: {note}"))
        if compared is not None and compared.not_searched:
            click.echo(plain(f"note: audited matches were not searched: {compared.not_searched}"))
    _raise_on_problems(verifier, topic, more=len(differing))
    if not as_json:
        agreeing = "" if compared is None else f"; {_counted(compared.matches, 'match')} as audited"
        click.echo(_summary(verifier, len(opened)) + agreeing)


@group.command()
@click.option("--key", type=_FILE, metavar="FILE", required=True, help="The private key.")
@click.option("--out", type=_FILE, metavar="FILE", required=True, help="The file to write.")
@click.option(
    "--previous", type=_FILE, metavar="FILE", help="The previous checkpoint, to verify and to name."
)
@takes_settings("bootstrap", "prefix")
def checkpoint(settings: Settings, key: Path, out: Path, previous: Path | None) -> None:
    """Verify all chains, and sign the last record of each.

    Keep checkpoints where those who can write to the topic cannot reach them. A checkpoint
    reveals a rewritten chain even if all of its hashes were recomputed.
    """
    from engine.audit.checkpoints import open_checkpoint, private_key, sign
    from engine.kafka.topics import Topics

    topic = Topics(settings.prefix).audit
    must_be_new(out)
    signing = private_key(read_limited(key, KEY_BYTES), str(key))
    before = None if previous is None else read_limited(previous, limits.CHECKPOINT_BYTES)
    expected: dict[str, Checkpoint] = {}
    if before is not None:
        opened = open_checkpoint(before, str(previous), signing.public_key())
        _must_be_of(opened, topic, str(previous))
        expected[str(previous)] = opened
    verifier = _verified(settings, expected)
    for problem in verifier.problems.shown:
        click.echo(plain(str(problem)))
    _raise_on_problems(verifier, topic, "nothing was signed")
    write_new(out, sign(signing, topic, verifier.heads(), SystemClock().now_ms(), before), 0o644)
    click.echo(f"{_summary(verifier, len(expected))}; signed in {out}")


@group.command()
@click.option(
    "--key", type=_FILE, metavar="FILE", required=True, help="The file for the private key."
)
@click.option(
    "--public-key",
    type=_FILE,
    metavar="FILE",
    help="The file for the public key; default: FILE.pub beside the private key.",
)
def keygen(key: Path, public_key: Path | None) -> None:
    """Make a pair of Ed25519 keys (PEM) to sign checkpoints with.

    The private key signs; the public key verifies and may be published. Keep the private key
    away from the brokers and the workers.
    """
    from engine.audit.checkpoints import new_key_pair

    public_key = public_key or key.with_name(f"{key.name}.pub")
    must_be_new(key)
    must_be_new(public_key)
    pair = new_key_pair()
    write_new(key, pair.private, 0o600)
    write_new(public_key, pair.public, 0o644)
    click.echo(f"private key in {key}, public key in {public_key}")


def _verified(settings: Settings, checkpoints: dict[str, Checkpoint]) -> Verifier:
    from engine.audit.verifier import Verifier
    from engine.cli.audit.audit_reader import verify as verify_topic
    from engine.kafka.session import run
    from engine.kafka.topics import Topics

    verifier = Verifier(Topics(settings.prefix).audit)
    for name, opened in checkpoints.items():
        verifier.trust(name, opened.heads, is_complete=not opened.partial)
    run(verify_topic(settings, verifier, reading))
    return verifier


def _compared(settings: Settings) -> Compared:
    from engine.cli.audit.match_reader import compare_matches
    from engine.kafka.session import run

    return run(compare_matches(settings, reading))


def _opened(paths: Sequence[Path], public_key: Path, topic: str) -> list[Checkpoint]:
    """Return the checkpoints in these files; see `open_all`."""
    from engine.audit.checkpoints import open_all
    from engine.audit.checkpoints import public_key as opened_key

    key = opened_key(read_limited(public_key, KEY_BYTES), str(public_key))
    opened = open_all(
        [(str(path), read_limited(path, limits.CHECKPOINT_BYTES)) for path in paths], key
    )
    for path, found in zip(paths, opened, strict=True):
        _must_be_of(found, topic, str(path))
    return opened


def _must_be_of(opened: Checkpoint, topic: str, where: str) -> None:
    if opened.topic != topic:
        raise AuditError(
            f"a checkpoint of the topic {opened.topic}, not of {topic}",
            where=where,
            hint="set --prefix (HOTLIST_PREFIX)",
        )


def _raise_on_problems(verifier: Verifier, topic: str, then: str = "", more: int = 0) -> None:
    problems = verifier.problems
    count = problems.count + more
    if not count:
        return
    found = f"{count:,} {'problem' if count == 1 else 'problems'}"
    if problems.count > len(problems.shown):
        found += f", the first {len(problems.shown):,} of them shown"
    raise AuditError(f"the audit is not whole: {found}", where=topic, hint=then)


def _summary(verifier: Verifier, checkpoints: int) -> str:
    parts = [
        _counted(len(verifier.heads()), "chain"),
        _counted(verifier.records, "record"),
        "whole",
    ]
    if verifier.repeats:
        parts.append(f"{_counted(verifier.repeats, 'record')} sent twice")
    if checkpoints:
        parts.append(f"as in {_counted(checkpoints, 'checkpoint')}")
    return ", ".join(parts)


def _counted(count: int, of: str) -> str:
    ending = "es" if of.endswith("ch") else "s"
    return f"{count:,} {of}{'' if count == 1 else ending}"
