"""Judges the topics' settings that an operator may choose, and whether the topics fit together.

`engine.kafka.topic_admin` checks those that a promise rests on. Pure: plain facts in, findings out.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from engine import limits
from engine.cli.doctor.findings import Finding
from engine.kafka.topics import DECLARED, Topics
from engine.kafka.writer import BATCH_BYTES

_CHECK: Final = "topics"
#: Personal data, or pointers to it, that must not stay.
_PASSING: Final = frozenset({"detections", "matches", "rejects"})
#: The largest batch that the engine's programs send to a topic, before compression.
_LARGEST_BYTES: Final = {
    "detections": BATCH_BYTES,
    "hotlist": BATCH_BYTES,
    "policies": BATCH_BYTES,
    "matches": limits.SINK_BATCH_BYTES,
    "rejects": limits.SINK_BATCH_BYTES,
    "audit": limits.SINK_BATCH_BYTES,
    "suppression": 2 * limits.SINK_BATCH_BYTES,  # a key's state is one record
}
#: Replicas with which one broker may be lost while an acknowledged record is on two.
_REPLICAS: Final = 3


def judge_topic_settings(
    bootstrap: str,
    topics: Topics,
    settings: Mapping[str, Mapping[str, str]],
    replicas: Mapping[str, int],
) -> Iterator[Finding]:
    """Judge settings that lose records, keep them for ever, or let none pass.

    `settings` has, by topic, the settings in effect, as Kafka writes them; `replicas` the fewest
    replicas that a partition has. A topic whose settings are not there is named in a note.
    """
    if hidden := [topic for topic in replicas if topic not in settings]:
        yield Finding(
            _CHECK,
            "note",
            f"the brokers do not show the settings of {', '.join(hidden)}",
            "use a login that may DescribeConfigs on them",
        )
    for declared in DECLARED:
        topic = topics.name(declared.name)
        have = settings.get(topic, {})
        if declared.name in _PASSING:
            yield from _kept(bootstrap, topic, have, declared.settings["retention.ms"])
        most, least = have.get("max.message.bytes"), _LARGEST_BYTES[declared.name]
        if most is not None and int(most) < least:
            yield Finding(
                _CHECK,
                "warning",
                f"topic {topic}: max.message.bytes is {most}, and batches have up to {least} bytes",
                config_command(bootstrap, topic, "max.message.bytes", str(least)),
            )
        in_sync = have.get("min.insync.replicas")
        if replicas.get(topic, 0) >= _REPLICAS and in_sync is not None and int(in_sync) < 2:
            yield Finding(
                _CHECK,
                "warning",
                f"topic {topic}: min.insync.replicas is {in_sync}: an acknowledged record may be "
                "on one broker only, and is lost with it",
                config_command(bootstrap, topic, "min.insync.replicas", "2"),
            )


def _kept(
    bootstrap: str, topic: str, have: Mapping[str, str], retention_ms: str
) -> Iterator[Finding]:
    policy = have.get("cleanup.policy", "delete")
    if "compact" in policy:
        yield Finding(
            _CHECK,
            "warning",
            f"topic {topic}: cleanup.policy is {policy}: of the records with one key, Kafka keeps "
            "the last for sure, and no other",
            config_command(bootstrap, topic, "cleanup.policy", "delete"),
        )
    if have.get("retention.ms") == "-1":
        yield Finding(
            _CHECK,
            "warning",
            f"topic {topic}: retention.ms is -1: its records are never deleted for their age",
            config_command(bootstrap, topic, "retention.ms", retention_ms),
        )


def config_command(bootstrap: str, topic: str, key: str, value: str) -> str:
    """Return the shell command that gives a topic this setting."""
    return (
        f"kafka-configs.sh --bootstrap-server {shlex.quote(bootstrap)} --alter "
        f"--topic {shlex.quote(topic)} --add-config {key}={value}"
    )


def judge_fit(
    bootstrap: str, topics: Topics, partitions: Mapping[str, int], replicas: Mapping[str, int]
) -> Iterator[Finding]:
    """Judge whether the topics have as many replicas as each other, and the suppression state as
    many partitions as the reads.

    `partitions` has the number of each topic's partitions, `replicas` the fewest replicas that one
    of them has.
    """
    counts = Counter(replicas.values())
    usual = max(counts, key=lambda count: (counts[count], count), default=0)
    for topic, count in replicas.items():
        if count != usual:
            file = f"{topic}.json"
            yield Finding(
                _CHECK,
                "warning",
                f"topic {topic} has {count} replicas, and most topics have {usual}",
                f"write {usual} brokers for each partition to {file}, then run: "
                f"kafka-reassign-partitions.sh --bootstrap-server {shlex.quote(bootstrap)} "
                f"--reassignment-json-file {shlex.quote(file)} --execute",
            )
    states, reads = partitions.get(topics.suppression), partitions.get(topics.detections)
    if states and reads and states != reads:
        yield Finding(
            _CHECK,
            "note",
            f"topic {topics.suppression} has {states} partitions and the reads have {reads}: "
            "matches are suppressed as they should be, only a restart may read more of it",
            "leave it as it is: in another number of partitions, workers do not find their states",
        )
