"""What a worker does before it reads anything: it prepares the topics, and logs what it will do."""

from __future__ import annotations

import logging

from engine import limits
from engine.config import Settings
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import check_topics, make_own_topic
from engine.kafka.topics import Topics
from engine.versions import DISTRIBUTION, versions

log = logging.getLogger(__name__)


async def prepare_topics(cluster: Cluster) -> None:
    """Make the worker's own topic if it is missing, and check all topics.

    Raises TopicError and BrokerError as `check_topics` does, and logs its warnings.
    """
    made = await make_own_topic(cluster)
    if made is not None:
        log.info("made topic %s", made)
    for warning in await check_topics(cluster):
        log.warning("check the topics: %s", warning)


def introduce(settings: Settings, topics: Topics, http_port: int) -> None:
    """Log the version, the topics, the most important limits and where the metrics are."""
    mib = limits.MIB
    log.info(
        "%s %s: group %s takes reads from %s, lists from %s and %s; matches go to %s, delivered %s",
        *(DISTRIBUTION, versions()[DISTRIBUTION], settings.group, topics.detections),
        *(topics.hotlist, topics.policies, topics.matches, settings.delivery),
    )
    log.info(
        "limits: %d KiB a read, %d MiB a fetch of a partition, %d MiB a batch unpacked, "
        "%d fetches waiting, %d in delivery; not ready after %d s without news of the lists, "
        "removed from the group after %d s of silence",
        *(limits.READ_VALUE_BYTES // limits.KIB, limits.FETCH_PARTITION_BYTES // mib),
        *(limits.BATCH_BYTES // mib, limits.FETCHES_WAITING, limits.FETCHES_IN_DELIVERY),
        *(limits.CONTROL_STALE_S, limits.SESSION_S),
    )
    log.info("metrics and health at http://%s:%d", settings.http_host, http_port)
