"""What a worker does before it reads anything: it prepares the topics, and logs what it will do."""

from __future__ import annotations

import asyncio
import logging

from engine import limits
from engine.audit.pending_changes import Listed
from engine.config import Settings
from engine.kafka.cluster import Cluster, Member
from engine.kafka.topic_admin import check_topics, make_own_topic
from engine.kafka.topics import Topics
from engine.matching.lists import Lists
from engine.versions import DISTRIBUTION, versions
from engine.worker.health import Health

log = logging.getLogger(__name__)


async def prepare_topics(cluster: Cluster) -> None:
    """Make the worker's own topic if it is missing, and check all topics.

    Raises TopicError and BrokerError as `check_topics` does, and logs its warnings.
    """
    made = await make_own_topic(cluster)
    if made is not None:
        log.info("made topic %s", made)
    for warning in await check_topics(cluster):
        log.warning("the topics or brokers are not set up as they should be: %s", warning)


def introduce(settings: Settings, topics: Topics, http_port: int) -> None:
    """Log the version, the topics, the most important limits and where the metrics are."""
    log.info(
        "%s %s: group %s takes reads from %s, lists from %s and %s; matches go to %s, delivered %s",
        *(DISTRIBUTION, versions()[DISTRIBUTION], settings.group, topics.detections),
        *(topics.hotlist, topics.policies, topics.matches, settings.delivery),
    )
    log.info(
        "limits: %s a read, %s a fetch of a partition, %s a batch unpacked, "
        "%d fetches waiting, %d in delivery; not ready after %d s without news of the lists, "
        "removed from the group after %d s of silence",
        *map(limits.size_text, (limits.READ_VALUE_BYTES, limits.FETCH_PARTITION_BYTES)),
        *(limits.size_text(limits.BATCH_BYTES), limits.FETCHES_WAITING, limits.FETCHES_IN_DELIVERY),
        *(limits.CONTROL_STALE_S, Member.of(settings).session_s),
    )
    log.info("metrics and health at http://%s:%d", settings.http_host, http_port)


def report_lists(lists: Lists, before: Listed | None, took_s: float) -> None:
    """Log what was loaded; and if it is less than half of what was listed `before`, when a worker
    last audited the lists.

    Records may be gone that no one removed: a topic that was deleted and made again, a retention
    that must not be there, a copy of a cluster that is not whole.
    """
    log.info(
        "lists loaded in %.1f s: %d entries, %d policies, %d refused",
        *(took_s, len(lists.index), lists.eligibility.policy_count, lists.refused_count),
    )
    now = lists.loaded
    if before is None or now is None:
        return
    for what, had, has in (
        ("entries are listed", before.entries, now.entries),
        ("policies are set", before.policies, now.policies),
    ):
        if 2 * has < had:
            log.warning(
                "%s %s, and %s were when a worker last audited the lists; if no one removed the "
                "others, fill the topic again, see the runbook: HotlistListShrunk",
                *(f"{has:,}", what, f"{had:,}"),
            )


async def enough_entries(required: int, lists: Lists, health: Health) -> None:
    """Wait until so many entries are listed; meanwhile health gives the reason.

    A hot list topic that was deleted and made again is empty. Reads that pass then match nothing,
    and are committed.
    """
    stage, waits = health.stage, False
    while (listed := len(lists.index)) < required:
        health.stage = f"{listed} entries are listed, and --require-entries asks for {required}"
        if not waits:
            log.warning("no reads are taken yet: %s", health.stage)
        waits = True
        await asyncio.sleep(limits.RETRY_PAUSE_S)
    health.stage = stage
