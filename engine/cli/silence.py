"""Why no match comes: what `hotlist tail` says after a while without one.

`look` asks the brokers and the worker on this machine; what they do not answer is unknown, and
says nothing. `reasons` judges two looks. Only counts are asked for, nothing of a read.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Iterator
from typing import Final, NamedTuple

import aiohttp
from aiokafka.errors import KafkaError

from engine import limits
from engine.cli.output import remark
from engine.config import DEFAULTS, Settings
from engine.errors import HotlistError
from engine.kafka.acl_probe import group_as_shown
from engine.kafka.cluster import Cluster
from engine.kafka.http_answers import body_of
from engine.kafka.reader import consuming
from engine.kafka.topics import Topics

_METRICS_BYTES: Final = 16 * limits.MIB
_DENIED: Final = re.compile(
    rb'^hotlist_denied_total\{reason="([a-z_]+)"\} ([0-9.e+]+)$', re.MULTILINE
)
_IN_FORCE: Final = re.compile(rb'^hotlist_entries\{state="active"\} ([0-9.e+]+)$', re.MULTILINE)
_SOURCES: Final = re.compile(rb"^hotlist_policies ([0-9.e+]+)$", re.MULTILINE)
_POLICIES_SET: Final = "policies set FILE"
#: What to run about a denial, by its reason.
_MENDED_BY: Final = {
    "no_policy": _POLICIES_SET,
    "not_allowed": "policies explain --source SOURCE --entry ID",
}


class _Reason(NamedTuple):
    """Why no match comes, and the command to run, without what all commands begin with; empty if
    there is none. `aim` is what the command is for, where the reason does not say it."""

    what: str
    command: str
    aim: str = ""


class Look(NamedTuple):
    """What there is at one moment; None stands for what is not known.

    `entries`, `policies` and `reads` are offsets: how many records were ever written. `members` are
    the workers in the group. `not_ready` is why the worker on this machine takes no reads, empty if
    it takes them; `denied` is what it has denied, by reason. `in_force` and `sources` are its
    entries that may match now, and its policies.
    """

    entries: int | None = None
    policies: int | None = None
    reads: int | None = None
    members: int | None = None
    not_ready: str | None = None
    denied: dict[str, int] | None = None
    in_force: int | None = None
    sources: int | None = None


def reasons(
    before: Look, now: Look, settings: Settings, *, from_start: bool, flags: str = ""
) -> list[str]:
    """Return why no match came between two looks, each reason with the command to run.

    `from_start` says that older matches were asked for too; `flags` are those of the connection,
    which each command needs.
    """
    found = [*_why(before, now, settings, from_start)] or [
        _Reason(
            "reads come and a worker takes them, but no listed plate was read",
            "doctor",
            "to check the whole deployment",
        )
    ]
    return [
        f"{what}; {f'{aim}, ' if aim else ''}run: hotlist {command}{flags}" if command else what
        for what, command, aim in found
    ]


def _why(before: Look, now: Look, settings: Settings, from_start: bool) -> Iterator[_Reason]:
    topics, group = Topics(settings.prefix), settings.group
    in_group = "" if group == DEFAULTS["group"] else f" --group {shlex.quote(group)}"
    if now.policies == 0:
        yield _Reason(
            f"no source has a policy ({topics.policies}), so nothing may match", _POLICIES_SET
        )
    elif now.sources == 0 and now.not_ready == "":
        yield _Reason(
            f"no source has a policy any more ({topics.policies}), so nothing may match",
            _POLICIES_SET,
        )
    if now.entries == 0:
        yield _Reason(f"no plate is listed ({topics.hotlist})", "entries import FILE")
    elif now.in_force == 0 and now.not_ready == "":
        yield _Reason(
            "no plate is listed now: all entries were removed or refused, have expired or start "
            "later",
            "entries show",
        )
    if now.members == 0 and now.not_ready == "":
        yield _Reason(
            f"the worker at {settings.http_host}:{settings.http_port} is in another group or at "
            f"other brokers: none is in the group {group}",
            "tail --group NAME",
        )
    elif now.members == 0:
        yield _Reason(f"no worker runs in the group {group}", f"worker{in_group}")
    elif now.not_ready:
        yield _Reason(
            f"the worker takes no reads: {now.not_ready}", f"doctor{in_group}", "to find out more"
        )
    if now.reads == 0:
        yield _Reason(
            f"no read has ever come ({topics.detections})", "ingest VENDOR FILE", "to send some"
        )
    elif now.reads is not None and now.reads == before.reads:
        silent = f"no read came in the last {limits.TAIL_SILENCE_S:g} s ({topics.detections})"
        older = "" if from_start else f"tail --from-start{in_group}"
        yield _Reason(silent, older, "for older matches")
    denied = {reason: count for reason, count in (now.denied or {}).items() if count}
    for reason, count in sorted(denied.items(), key=lambda each: -each[1]):
        reads = "1 read of a listed plate" if count == 1 else f"{count:,} reads of listed plates"
        yield _Reason(
            f"the worker has denied {reads}, because of {reason}",
            _MENDED_BY.get(reason, "entries show"),
        )


async def explain_silence(settings: Settings, *, from_start: bool, flags: str) -> None:
    """Wait a while, and then say why no match came. Cancel it when one comes."""
    before = await look(settings)
    await asyncio.sleep(limits.TAIL_SILENCE_S)
    now = await look(settings)
    remark(f"no match for {limits.TAIL_SILENCE_S:g} s, and still waiting:")
    for reason in reasons(before, now, settings, from_start=from_start, flags=flags):
        remark(f"  {reason}")


async def look(settings: Settings) -> Look:
    """Look at the topics, the group and the worker on this machine."""
    topics = Topics(settings.prefix)
    names = (topics.hotlist, topics.policies, topics.detections)
    entries, policies, reads = [await _written(settings, name) for name in names]
    seen = Look(entries, policies, reads, await _members(settings))
    return await _with_worker(settings, seen)


async def _written(settings: Settings, topic: str) -> int | None:
    try:
        async with consuming(settings, topic) as (consumer, parts):
            return int(sum((await consumer.end_offsets(parts)).values()))
    except (HotlistError, KafkaError, OSError, TimeoutError):
        return None


async def _members(settings: Settings) -> int | None:
    admin = Cluster.of(settings).admin(client_id="hotlist-command")
    try:
        async with asyncio.timeout(limits.CONNECT_S):
            await admin.start()
            coordinator = await admin.find_coordinator(settings.group)
            group = await group_as_shown(admin._client, coordinator, settings.group)
            return None if group.error else group.members
    except (KafkaError, OSError, TimeoutError):
        return None
    finally:
        await admin.close()


async def _with_worker(settings: Settings, look: Look) -> Look:
    """Return the look with what the worker on this machine says, if there is one."""
    url = f"http://{settings.http_host}:{settings.http_port}"
    timeout = aiohttp.ClientTimeout(total=limits.HTTP_CONNECTION_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as client:
            async with client.get(f"{url}/readyz") as answer:
                said = (await answer.content.read(500)).decode("utf-8", "replace").strip()
                not_ready = "" if answer.status == 200 else said
            async with client.get(f"{url}/metrics") as answer:
                metrics = await body_of(answer, _METRICS_BYTES) or b""
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return look
    denied = {reason.decode(): int(float(count)) for reason, count in _DENIED.findall(metrics)}
    return look._replace(
        not_ready=not_ready,
        denied=denied,
        in_force=_gauge(_IN_FORCE, metrics),
        sources=_gauge(_SOURCES, metrics),
    )


def _gauge(name: re.Pattern[bytes], metrics: bytes) -> int | None:
    found = name.search(metrics)
    return None if found is None else int(float(found[1]))
