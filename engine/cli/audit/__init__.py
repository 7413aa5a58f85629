"""`hotlist audit`: verifies the audit, and makes its checkpoints and the keys that sign them.

Findings go to standard output, so that they can be kept; the status says whether the audit is
whole. No command here overwrites a file: everything depends on old checkpoints and keys.

The modules, in the order in which data passes them:

    audit_reader  reads the audit topic, whole or for a period
    report        `audit report`
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine import limits
from engine.cli.audit import report
from engine.cli.options import json_option, takes_settings
from engine.cli.output import json_line, plain, reading
from engine.clock import SystemClock
from engine.config import Settings
from engine.errors import HotlistError

__all__ = ["group"]

if TYPE_CHECKING:
    from engine.audit.checkpoints import Checkpoint
    from engine.audit.problems import Problem
    from engine.audit.verifier import Verifier

_FILE = click.Path(path_type=Path)
#: More than any key file has.
_KEY_BYTES = 64 * limits.KIB


class AuditError(HotlistError):
    """The audit is not whole, or one of its files is unusable."""


@click.group("audit")
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
    help="Also prove that everything in this checkpoint still exists. Give several oldest first; "
    "each must name the one before.",
)
@click.option(
    "--public-key",
    type=_FILE,
    metavar="FILE",
    help="The key that verifies the checkpoints' signatures.",
)
@json_option
@takes_settings("bootstrap", "prefix")
def verify(
    settings: Settings, checkpoints: tuple[Path, ...], public_key: Path | None, as_json: bool
) -> None:
    """Verify every hash chain, and report that it is whole or where it breaks.

    Finds changed, missing, reordered and forged records. Only a checkpoint reveals that a chain
    was rewritten with new hashes, or that the last chain was truncated.
    """
    from engine.kafka.topics import Topics

    topic = Topics(settings.prefix).audit
    if checkpoints and public_key is None:
        raise click.UsageError(
            "--checkpoint needs --public-key: the key in a checkpoint proves nothing"
        )
    if public_key is not None and not checkpoints:
        raise click.UsageError("--public-key does nothing without --checkpoint")
    opened = [] if public_key is None else _opened(checkpoints, public_key, topic)
    verifier = _verified(settings, dict(zip(map(str, checkpoints), opened, strict=True)))
    problems = verifier.problems
    for problem in problems.shown:
        if as_json:
            json_line(_as_json(problem))
        else:
            click.echo(plain(str(problem)))
    if as_json:
        json_line(
            {
                "whole": not problems.count,
                "chains": len(verifier.heads()),
                "records": verifier.records,
                "repeats": verifier.repeats,
                "problems": problems.count,
                "checkpoints": len(opened),
            }
        )
    _raise_on_problems(verifier, topic)
    if not as_json:
        click.echo(_summary(verifier, len(opened)))


@group.command()
@click.option("--key", type=_FILE, metavar="FILE", required=True, help="The private key.")
@click.option("--out", type=_FILE, metavar="FILE", required=True, help="The file to write.")
@click.option(
    "--previous", type=_FILE, metavar="FILE", help="The previous checkpoint, to verify and to name."
)
@takes_settings("bootstrap", "prefix")
def checkpoint(settings: Settings, key: Path, out: Path, previous: Path | None) -> None:
    """Verify all chains, and sign where each of them ends.

    Keep checkpoints where those who can write to the topic cannot reach them. A checkpoint
    reveals a rewritten chain even if all of its hashes were recomputed.
    """
    from engine.audit.checkpoints import open_checkpoint, private_key, sign
    from engine.kafka.topics import Topics

    topic = Topics(settings.prefix).audit
    _must_be_new(out)
    signing = private_key(_read(key, _KEY_BYTES), str(key))
    before = None if previous is None else _read(previous, limits.CHECKPOINT_BYTES)
    expected: dict[str, Checkpoint] = {}
    if before is not None:
        opened = open_checkpoint(before, str(previous), signing.public_key())
        _must_be_of(opened, topic, str(previous))
        expected[str(previous)] = opened
    verifier = _verified(settings, expected)
    for problem in verifier.problems.shown:
        click.echo(plain(str(problem)))
    _raise_on_problems(verifier, topic, "nothing was signed")
    _write(out, sign(signing, topic, verifier.heads(), SystemClock().now_ms(), before), 0o644)
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
    _must_be_new(key)
    _must_be_new(public_key)
    pair = new_key_pair()
    _write(key, pair.private, 0o600)
    _write(public_key, pair.public, 0o644)
    click.echo(f"private key in {key}, public key in {public_key}")


def _verified(settings: Settings, checkpoints: dict[str, Checkpoint]) -> Verifier:
    from engine.audit.verifier import Verifier
    from engine.cli.audit.audit_reader import verify as verify_topic
    from engine.kafka.session import run
    from engine.kafka.topics import Topics

    verifier = Verifier(Topics(settings.prefix).audit)
    for name, opened in checkpoints.items():
        for head in opened.heads:
            verifier.expect(head, name)
    run(verify_topic(settings, verifier, reading))
    return verifier


def _opened(paths: tuple[Path, ...], public_key: Path, topic: str) -> list[Checkpoint]:
    """Return the checkpoints in these files, each signed with the key and naming the one before."""
    from engine.audit.checkpoints import checkpoint_hash, open_checkpoint
    from engine.audit.checkpoints import public_key as opened_key

    key = opened_key(_read(public_key, _KEY_BYTES), str(public_key))
    opened: list[Checkpoint] = []
    before: tuple[Path, str] | None = None
    for path in paths:
        content = _read(path, limits.CHECKPOINT_BYTES)
        found = open_checkpoint(content, str(path), key)
        _must_be_of(found, topic, str(path))
        if before is not None and found.previous != before[1]:
            raise AuditError(
                f"does not name {before[0]} as the checkpoint before it",
                where=str(path),
                hint="give them all, the oldest first, or each alone",
            )
        before = path, checkpoint_hash(content)
        opened.append(found)
    return opened


def _must_be_of(opened: Checkpoint, topic: str, where: str) -> None:
    if opened.topic != topic:
        raise AuditError(
            f"a checkpoint of the topic {opened.topic}, not of {topic}",
            where=where,
            hint="set --prefix (HOTLIST_PREFIX)",
        )


def _raise_on_problems(verifier: Verifier, topic: str, then: str = "") -> None:
    problems = verifier.problems
    if not problems.count:
        return
    found = f"{problems.count:,} {'problem' if problems.count == 1 else 'problems'}"
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
    return f"{count:,} {of}{'' if count == 1 else 's'}"


def _as_json(problem: Problem) -> dict[str, object]:
    place = problem.place
    return {
        "problem": problem.kind,
        "topic": None if place is None else place.topic,
        "partition": None if place is None else place.partition,
        "offset": None if place is None else place.offset,
        "chain": problem.chain,
        "sequence": problem.sequence,
        "what": problem.what,
    }


def _read(path: Path, most_bytes: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise AuditError(f"larger than {most_bytes} bytes", where=str(path))
    return content


def _must_be_new(path: Path) -> None:
    if os.path.lexists(path):
        raise _exists(path)


def _exists(path: Path) -> AuditError:
    return AuditError(
        "exists already, and is not overwritten", where=str(path), hint="choose another name"
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise _exists(path) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
