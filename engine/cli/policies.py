"""`hotlist policies`: which agencies may match on a source's reads, for which purposes.

Each change names its operator in a record header beside the policy. A file is checked completely
before any of it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.groups import Commands
from engine.cli.options import (
    file_argument,
    json_option,
    operator_header,
    operator_name,
    takes_settings,
)
from engine.cli.output import can_ask, json_line, plain, reading, remark, table
from engine.cli.policy_changes import HEADINGS, PolicyChange, describe_names, describe_regions
from engine.cli.policy_files import PolicyError, read_policies
from engine.cli.read_options import as_json as said_as_json
from engine.cli.read_options import read_options, said_by
from engine.clock import SystemClock, format_time
from engine.config import Settings
from engine.errors import DocumentError

if TYPE_CHECKING:
    from engine.documents.model import Policy
    from engine.kafka.reader import LastRecord


@click.group("policies", cls=Commands)
def group() -> None:
    """Set, remove, show and explain the policies of the sources."""


@group.command("set")
@file_argument()
@click.option("--yes", is_flag=True, help="Do not ask before sending.")
@json_option
@takes_settings("bootstrap", "prefix", "purposes", "operator")
def set_(settings: Settings, file: Path, yes: bool, as_json: bool) -> None:
    """Set the policies in FILE (.json: one, or a list of them).

    First shows what each policy allows and what it changes, and which of its rules are for every
    agency or every purpose. On a terminal it then asks; elsewhere it sends. A policy replaces the
    previous one of its source. The operator and the current time fill in updated_by and
    updated_at if they are absent.
    """
    from engine.documents.admission import Purposes
    from engine.documents.codec import encode
    from engine.kafka.readable import wait_readable
    from engine.kafka.reader import read_to_end
    from engine.kafka.session import run
    from engine.kafka.topics import Topics
    from engine.kafka.writer import outbox

    operator = operator_name(settings)
    codes = Purposes.load(settings.purposes).codes
    found = {
        policy.source.encode(): policy
        for policy in read_policies(file, operator, SystemClock().now_ms(), codes)
    }
    topic = Topics(settings.prefix).policies

    async def last_records() -> dict[bytes, LastRecord]:
        return await read_to_end(settings, topic, reading, only=found.keys())

    async def send() -> None:
        async with outbox(settings, topic) as box:
            for key, policy in found.items():
                await box.send(key, encode(policy), operator_header(operator))
        await wait_readable(settings, box.next_offsets)

    records = run(last_records())
    _show_changes(
        [PolicyChange(policy, _standing(key, records, topic)) for key, policy in found.items()],
        as_json,
    )
    policies = f"{len(found)} {'policy' if len(found) == 1 else 'policies'}"
    if not yes and can_ask():
        _ask(f"Set {policies}?")
        if run(last_records()) != records:
            raise PolicyError(
                "another command changed these policies meanwhile",
                where=topic,
                hint="nothing was set; run the command again",
            )
    run(send())
    if not as_json:
        click.echo(f"set {policies}")


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
    if not (policies or as_json):
        remark(
            f"{topic}: no source has a policy, so nothing matches; run: hotlist policies set FILE"
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
    from engine.kafka.reader import read_to_end
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


def _standing(key: bytes, records: Mapping[bytes, LastRecord], topic: str) -> Policy | None:
    """Return the policy that stands under this key; an invalid record is none, as for a worker."""
    from engine.documents.codec import decode_policy

    record = records.get(key)
    if record is None:
        return None
    try:
        return decode_policy(record.value)
    except DocumentError:
        remark(f"{topic}: the record of {key.decode()!r} is no valid policy; the worker ignores it")
        return None


def _show_changes(changes: Sequence[PolicyChange], as_json: bool) -> None:
    if as_json:
        for change in changes:
            json_line(change.as_json())
        return
    table(HEADINGS, (row for change in changes for row in change.rows()))
    for change in changes:
        for sentence in change.open_rules():
            click.echo(plain(sentence))


def _ask(question: str) -> None:
    """Ask on standard error. Raises PolicyError unless the answer is yes."""
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:  # the input has ended, or Ctrl-C
        agreed = False
    if not agreed:
        raise PolicyError("nothing was set, because the answer was not yes")


def _yes_or_no(holds: bool | None) -> str:
    return "-" if holds is None else "yes" if holds else "no"


def _rows(policy: Policy) -> Iterator[tuple[str, ...]]:
    who = (describe_regions(policy), policy.updated_by, policy.updated_at)
    if not policy.rules:
        yield (policy.source, "none", "none", *who)
    for rule in policy.rules:
        yield (
            policy.source,
            describe_names(rule.agencies),
            describe_names(rule.purposes),
            *who,
        )
