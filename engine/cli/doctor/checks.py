"""Checks a deployment from outside, in one run: brokers, topics, rights, workers, lists, reads.

The checks only read: they produce, commit and change nothing, and return only counts of reads.
`engine.cli.doctor.findings` judges the facts. A check that fails is a finding too, and does not
stop the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, for_code

from engine import limits
from engine.cli.doctor.asking import asking_admin, no_progress, safely
from engine.cli.doctor.findings import (
    Finding,
    Partition,
    judge_clocks,
    judge_control,
    judge_group,
    judge_rights,
    judge_topics,
)
from engine.cli.doctor.read_sample import Sample, judge_sample
from engine.cli.doctor.rights import lacking_rights
from engine.cli.doctor.schemas import SampledSchemas, ask_registry
from engine.cli.doctor.topic_settings import judge_fit, judge_topic_settings
from engine.cli.doctor.transactions import transactions
from engine.cli.doctor.worker_ports import ask_workers
from engine.clock import SystemClock
from engine.config import Settings
from engine.errors import BrokerError
from engine.kafka.acl_probe import GroupInfo, group_as_shown, topics_as_shown
from engine.kafka.acls import roles
from engine.kafka.cluster import Cluster
from engine.kafka.controller_clock import controller_ahead_s
from engine.kafka.nearest_replica import unknown_rack
from engine.kafka.raw_fetcher import log_ends
from engine.kafka.reader import between, consuming, read_to_end
from engine.kafka.topic_admin import check_presence
from engine.kafka.topic_config import settings_in_effect
from engine.kafka.topic_rules import faults
from engine.kafka.topics import Topics


class Looking(NamedTuple):
    """What to check besides the settings: the role that this login must fill, None for any, and
    the workers' HTTP ports."""

    role: str | None = None
    workers: tuple[str, ...] = ()


async def examine(settings: Settings, looking: Looking) -> AsyncGenerator[Finding, None]:
    """Yield the findings as they are made. Raises BrokerError if no broker answers."""
    topics = Topics(settings.prefix)
    async with asking_admin(settings) as admin:
        cluster = await admin.describe_cluster()
        count = len(cluster["brokers"])
        yield Finding("brokers", "ok", f"{count} answer at {settings.bootstrap}")
        if settings.security_protocol == "PLAINTEXT" and not _is_here(cluster["brokers"]):
            what = "the connection is neither encrypted nor authenticated"
            yield Finding("brokers", "warning", what, "set --security-protocol, see SECURITY.md")
        checks = (
            _brokers(settings, admin, cluster["brokers"]),
            _topics(settings, topics, admin),
            _rights(settings, topics, admin, looking.role),
            _workers(settings, topics, admin),
            _lists(settings, topics),
            transactions(settings),
            ask_registry(settings),
            _reads(settings, topics),
            ask_workers(looking.workers),
        )
        for check in checks:
            async for finding in safely(check):
                yield finding


def _is_here(brokers: Iterable[Mapping[str, Any]]) -> bool:
    return all(broker["host"] in {"127.0.0.1", "localhost", "::1"} for broker in brokers)


async def _brokers(
    settings: Settings, admin: Any, brokers: Sequence[Mapping[str, Any]]
) -> AsyncGenerator[Finding, None]:
    if what := unknown_rack(settings.client_rack, brokers):
        yield Finding("brokers", "warning", what, "set --client-rack to a broker.rack of theirs")
    ahead_s = await controller_ahead_s(admin._client, brokers[0]["node_id"])
    if ahead_s is None:
        yield Finding("clocks", "note", "the brokers do not report their controller's clock")
    elif (skew := judge_clocks("the cluster's controller", ahead_s)) is not None:
        yield skew


async def _topics(settings: Settings, topics: Topics, admin: Any) -> AsyncGenerator[Finding, None]:
    cluster = Cluster.of(settings)
    try:
        await check_presence(admin, cluster)
    except BrokerError as error:
        where = f"{error.where}: " if error.where.startswith("topic ") else ""
        yield Finding("topics", "problem", f"{where}{error.what}", error.hint)
    shown = await topics_as_shown(admin._client, topics.all)
    there = {each.name: each.partitions for each in shown if not each.error}
    for finding in judge_topics(there):
        yield finding
    counts = {name: len(parts) for name, parts in there.items() if parts}
    replicas = {name: min(each[1] for each in there[name]) for name in counts}
    for finding in judge_fit(settings.bootstrap, topics, counts, replicas):
        yield finding
    in_effect = await settings_in_effect(admin, cluster, there)
    wrong = faults(topics, in_effect.settings, replicas)
    for finding in judge_topic_settings(settings.bootstrap, topics, wrong, in_effect.hidden):
        yield finding


async def _rights(
    settings: Settings, topics: Topics, admin: Any, role: str | None
) -> AsyncGenerator[Finding, None]:
    all_roles = roles(topics, settings.group)
    shown = {each.name: each for each in await topics_as_shown(admin._client, topics.all)}
    if any(each.may is None for each in shown.values()):
        yield Finding("rights", "note", "the brokers do not report this login's rights")
        return
    asked = [all_roles[role]] if role is not None else list(all_roles.values())
    names = {
        name
        for each in asked
        for grant in each.grants
        if grant.kind == "group" and not grant.is_prefix
        for name in grant.names
    }
    groups = {name: await _group(admin, name) for name in sorted(names)}
    lacking = {each.name: list(lacking_rights(each, shown, groups)) for each in asked}
    for finding in judge_rights(lacking, role is not None):
        yield finding


async def _group(admin: Any, name: str) -> GroupInfo | None:
    """Return a group; None if this login may not see it.

    A new cluster has no coordinator at first; asking for one makes the brokers elect one.
    """
    deadline_s = time.monotonic() + limits.CONNECT_S
    while True:
        try:
            coordinator = await admin.find_coordinator(name)
            group = await group_as_shown(admin._client, coordinator, name)
        except KafkaError as error:
            if not error.retriable:
                return None
            if time.monotonic() > deadline_s:
                raise
        else:
            if not group.error or not for_code(group.error).retriable:
                return None if group.error else group
        await asyncio.sleep(limits.COORDINATOR_PAUSE_S)


async def _workers(settings: Settings, topics: Topics, admin: Any) -> AsyncGenerator[Finding, None]:
    group = await _group(admin, settings.group)
    if group is None:
        what = f"this login may not see the group {settings.group}"
        yield Finding("workers", "note", what, "use a login that may Read or Describe it")
        return
    async with consuming(settings, topics.detections) as (consumer, parts):
        begins = await consumer.beginning_offsets(parts)
        first = await positions(admin, settings.group, consumer, parts)
        await asyncio.sleep(limits.DOCTOR_WATCH_S)
        later = await positions(admin, settings.group, consumer, parts)
    partitions = [
        Partition(part.partition, begins[part], *first[part], *later[part]) for part in parts
    ]
    assigned = {number for topic, number in group.assigned if topic == topics.detections}
    for finding in judge_group(settings.group, group.members, group.state, partitions, assigned):
        yield finding


async def positions(
    admin: Any, group: str, consumer: Any, parts: Sequence[TopicPartition]
) -> dict[TopicPartition, tuple[int, int | None]]:
    """Return each partition's end, and the offset that the group has committed."""
    committed = await admin.list_consumer_group_offsets(group, partitions=list(parts))
    if any(part not in committed for part in parts):
        # The coordinator is loading. It does not mean that there is no commit.
        raise BrokerError(
            "the group does not report its committed offsets",
            where=f"consumer group {group}",
            hint="check again in a minute",
        )
    # What an open transaction holds back waits, too.
    ends = await log_ends(consumer, parts)
    return {
        part: (ends[part], offset if (offset := committed[part].offset) >= 0 else None)
        for part in parts
    }


async def _lists(settings: Settings, topics: Topics) -> AsyncGenerator[Finding, None]:
    now_ms = SystemClock().now_ms()
    for topic in (topics.hotlist, topics.policies):
        async with consuming(settings, topic) as (consumer, parts):
            committed_end = sum((await consumer.end_offsets(parts)).values())
            end = sum((await log_ends(consumer, parts)).values())
            newest = await _latest(consumer, parts, 1)
        newest_ms = max((record.timestamp for record in newest), default=None)
        yield judge_control(topic, committed_end, end, newest_ms, now_ms)
        if newest_ms is not None:
            skew = judge_clocks(f"the last writer of {topic}", min(0, now_ms - newest_ms) / -1000)
            if skew is not None:
                yield skew


async def _latest(consumer: Any, parts: Sequence[TopicPartition], count: int) -> list[Any]:
    """Return the latest records of the partitions, at most about `count` of each."""
    begins, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
    # A transaction's end marker takes an offset, so the last offset may hold no record.
    starts = {part: max(begins[part], ends[part] - count - 1) for part in parts}
    found: list[Any] = []
    async for records, _ in between(consumer, starts, ends):
        for part, of_part in records.items():
            found += [record for record in of_part if record.offset < ends[part]]
    return found


async def _reads(settings: Settings, topics: Topics) -> AsyncGenerator[Finding, None]:
    policies = await read_to_end(settings, topics.policies, lambda _: no_progress())
    sources = frozenset(key.decode("utf-8", "replace") for key in policies)
    schemas = SampledSchemas(settings)
    sample = Sample(schemas.values)
    now_ms, newest_ms = SystemClock().now_ms(), 0
    async with consuming(settings, topics.detections) as (consumer, parts):
        for record in await _latest(consumer, parts, max(1, limits.DOCTOR_READS // len(parts))):
            if not await schemas.know(record.value):
                continue
            place = record.partition, len(parts)
            sample.take(record.key, record.value, record.timestamp, sources, place)
            newest_ms = max(newest_ms, record.timestamp)
    for finding in judge_sample(sample):
        yield finding
    ahead_s = max(0, newest_ms - now_ms) / 1000
    skew = judge_clocks("a producer of reads", ahead_s)
    if skew is not None:
        yield skew
