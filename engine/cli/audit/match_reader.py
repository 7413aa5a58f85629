"""Reads the matches topic and the audit topic for their comparison, in one or more passes.

The end of the matches is noted before that of the audit: a match is audited before, or together
with, its delivery, so each match read has its audit record among those read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from aiokafka import TopicPartition

from engine import limits
from engine.audit.match_comparison import Discrepancy, DueTimes, MatchComparison, sum_up
from engine.cli.audit.audit_reader import Offsets, read_batches
from engine.clock import SystemClock
from engine.config import Settings
from engine.errors import BrokerError, TopicError
from engine.kafka.cluster import Cluster
from engine.kafka.reader import Progress, consuming
from engine.kafka.topic_config import retention
from engine.kafka.topics import Topics
from engine.matching.match import audit_fields
from engine.wire.record_batch import Record


class Compared(NamedTuple):
    """The result: `matches` compared, what differs, and why audited matches were not searched for,
    if so."""

    matches: int
    discrepancies: list[Discrepancy]
    not_searched: str


class _Takes(NamedTuple):
    take: Callable[[int, Iterable[Record]], None]
    unreadable: Callable[[int, int, str], None]


async def compare_matches(settings: Settings, progress: Progress) -> Compared:
    """Compare both topics. Raises BrokerError, or TopicError if a topic is missing."""
    topics = Topics(settings.prefix)
    found, matches = [], 0
    async with (
        consuming(settings, topics.matches, unopened=True) as (of_matches, match_parts),
        consuming(settings, topics.audit, unopened=True) as (of_audit, audit_parts),
    ):
        begun_ms = SystemClock().now_ms()
        starts = await of_matches.beginning_offsets(match_parts)
        ends = await of_matches.end_offsets(match_parts)
        audit_starts = await of_audit.beginning_offsets(audit_parts)
        audit_ends = await of_audit.end_offsets(audit_parts)
        from_ms, not_searched = await _searched_from(settings, topics.matches, starts, begun_ms)
        window = DueTimes(from_ms, begun_ms - int(limits.DELIVERY_TIMEOUT_S * 1000))
        larger = max(_count(starts, ends), _count(audit_starts, audit_ends))
        parts = max(1, -(-larger // limits.MATCHES_COMPARED))
        for part in range(parts):
            comparison = MatchComparison(
                (topics.matches, topics.audit), audit_fields, window, part, parts
            )
            takes = _Takes(comparison.take_matches, comparison.unreadable)
            await read_batches(of_matches, starts, ends, takes, progress)
            takes = _Takes(comparison.take_audit, _ignore)
            await read_batches(of_audit, audit_starts, audit_ends, takes, progress)
            found.append(comparison.discrepancies())
            matches += comparison.matches
    return Compared(matches, sum_up(found), not_searched)


async def _searched_from(
    settings: Settings, topic: str, starts: Offsets, now_ms: int
) -> tuple[int, str]:
    """Return from when on an audited match must be there, and why none must, if so."""
    if not any(starts.values()):
        return 0, ""
    try:
        kept = await retention(Cluster.of(settings), topic)
    except (BrokerError, TopicError) as error:
        return now_ms, f"the retention of {topic} is unknown ({error.what})"
    if kept.size_bytes is not None:
        return now_ms, f"{topic} is kept by size, so any match may be gone"
    if kept.ms is None:
        return 0, ""
    return now_ms - kept.ms + int(limits.CLOCK_SKEW_S * 1000), ""


def _count(starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> int:
    return sum(ends[part] - starts[part] for part in ends)


def _ignore(partition: int, offset: int, reason: str) -> None:
    """The verifier reports a batch of the audit that cannot be read."""
