"""`hotlist policies`: which agencies may match on a source's reads, for which purposes.

Each change names its operator in a record header beside the policy. A file is checked completely
before any of it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import (
    file_argument,
    json_option,
    operator_header,
    operator_name,
    takes_settings,
)
from engine.cli.output import json_line, plain, reading, remark, table
from engine.cli.policy_files import PolicyError, read_policies
from engine.cli.read_options import as_json as said_as_json
from engine.cli.read_options import read_options, said_by
from engine.clock import SystemClock, format_time
from engine.config import Settings
from engine.errors import DocumentError

if TYPE_CHECKING:
    from engine.documents.model import Policy


@click.group("policies")
def group() -> None:
    """Set, remove, show and explain the policies of the sources."""


@group.command("set")
@file_argument()
@takes_settings("bootstrap", "prefix", "purposes", "operator")
def set_(settings: Settings, file: Path) -> None:
    """Set the policies in FILE (.json: one, or a list of them).

    A policy replaces the previous one of its source. The operator and the current time fill in
    updated_by and updated_at if they are absent.
    """
    from engine.documents.admission import Purposes
    from engine.documents.codec import encode
    from engine.kafka.readable import wait_readable
    from engine.kafka.session import run
    from engine.kafka.topics import Topics
    from engine.kafka.writer import outbox

    operator = operator_name(settings)
    codes = Purposes.load(settings.purposes).codes
    found = read_policies(file, operator, SystemClock().now_ms(), codes)
    topic = Topics(settings.prefix).policies

    async def send() -> None:
        async with outbox(settings, topic) as box:
            for policy in found:
                await box.send(policy.source.encode(), encode(policy), operator_header(operator))
        await wait_readable(settings, box.next_offsets)

    run(send())
    click.echo(f"set {len(found)} {'policy' if len(found) == 1 else 'policies'}")


@group.command()
@click.argument("source")
@takes_settings("bootstrap", "prefix", "operator")
def remove(settings: Settings, source: str) -> None:
    """Remove the policy of SOURCE, so that nothing matches on its reads."""
    from engine.kafka.readable import wait_readable
    from engine.kafka.reader import read_to_end
    from engine.kafka.session import run
    from engine.kafka.topics import Topics
    from engine.kafka.writer import outbox

    operator = operator_name(settings)
    topic = Topics(settings.prefix).policies
    key = source.encode(errors="surrogateescape")

    async def send() -> None:
        if key not in await read_to_end(settings, topic, reading):
            raise PolicyError(f"no policy of {source!r}", where=topic, hint="nothing was removed")
        async with outbox(settings, topic) as box:
            await box.send(key, None, operator_header(operator))
        await wait_readable(settings, box.next_offsets)

    run(send())
    click.echo("removed 1 policy")


@group.command()
@json_option
@takes_settings("bootstrap", "prefix")
def show(settings: Settings, as_json: bool) -> None:
    """Show the policies in force, one row for each rule. Without a policy a source denies all."""
    from engine.documents.codec import decode_policy, encode
    from engine.kafka.reader import read_to_end
    from engine.kafka.session import run
    from engine.kafka.topics import Topics

    topic = Topics(settings.prefix).policies
    policies = []
    unreadable = 0
    for value, _ in run(read_to_end(settings, topic, reading)).values():
        try:
            policies.append(decode_policy(value))
        except DocumentError:
            unreadable += 1
    policies.sort(key=lambda policy: policy.source)
    if as_json:
        for policy in policies:
            json_line(encode(policy))
    else:
        table(
            ("source", "agencies", "purposes", "regions", "updated by", "updated at"),
            (row for policy in policies for row in _rows(policy)),
        )
    if unreadable:
        remark(f"{topic}: records that are no valid policy, which the worker ignores: {unreadable}")


@group.command()
@click.option("--source", required=True, metavar="SOURCE", help="The source of the read.")
@click.option("--entry", "entry_id", required=True, metavar="ID", help="The entry's id.")
@read_options
@json_option
@takes_settings("bootstrap", "prefix", "purposes")
def explain(settings: Settings, source: str, entry_id: str, as_json: bool, **values: Any) -> int:
    """Explain whether a read of a source may match an entry now, and by which rule.

    Checks the current records on the topics as the worker does, in the same order, except for
    the plates. Status 0 if such a read may match, 1 if it may not (and after an error).
    """
    from engine.documents.admission import Purposes
    from engine.kafka.reader import LastRecord, read_to_end
    from engine.kafka.session import run
    from engine.kafka.topics import Topics
    from engine.matching.explain import LastEntry
    from engine.matching.explain import explain as explained

    topics = Topics(settings.prefix)
    purposes = Purposes.load(settings.purposes)
    keys = [name.encode(errors="surrogateescape") for name in (entry_id, source)]

    async def last_records() -> list[LastRecord | None]:
        return [
            (await read_to_end(settings, topic, reading, only={key})).get(key)
            for topic, key in zip((topics.hotlist, topics.policies), keys, strict=True)
        ]

    entry, policy = run(last_records())
    now_ms = SystemClock().now_ms()
    read = said_by(values, now_ms)
    found = explained(
        (entry_id, None if entry is None else LastEntry(*entry)),
        (source, None if policy is None else policy.value),
        read,
        purposes,
        now_ms,
    )
    if as_json:
        json_line(
            {
                "source": plain(source),
                "entry_id": plain(entry_id),
                **said_as_json(read),
                "at": format_time(now_ms),
                "may_match": found.may_match,
                "rule": found.rule,
                "denied_by": found.denial,
                "conditions": [
                    {"condition": each.question, "holds": each.holds, "found": each.found}
                    for each in found.conditions
                ],
            }
        )
    else:
        table(
            ("condition", "holds", "found"),
            ((each.question, _yes_or_no(each.holds), each.found) for each in found.conditions),
        )
        click.echo(
            f"may match, by rule {found.rule} of the policy"
            if found.may_match
            else f"may not match: {found.denial}"
        )
    return 0 if found.may_match else 1


def _yes_or_no(holds: bool | None) -> str:
    return "-" if holds is None else "yes" if holds else "no"


def _rows(policy: Policy) -> Iterator[tuple[str, ...]]:
    regions = "all" if policy.regions is None else " ".join(policy.regions)
    who = (regions, policy.updated_by, policy.updated_at)
    if not policy.rules:
        yield (policy.source, "none", "none", *who)
    for rule in policy.rules:
        yield (policy.source, _listed(rule.agencies), _listed(rule.purposes), *who)


def _listed(names: tuple[str, ...] | str) -> str:
    """Return all as `*`. An agency whose name is `*` is shown in quotes: it is only that one."""
    if isinstance(names, str):
        return names
    return " ".join("'*'" if name == "*" else name for name in names) or "none"
