"""Judges the topics' settings, and whether the topics fit together.

`engine.kafka.topic_rules` has the rules of the settings. Pure: plain facts in, findings out.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from engine.cli.doctor.findings import Finding, State
from engine.kafka.topic_rules import SettingFault
from engine.kafka.topics import Topics, apply_command

_CHECK: Final = "topics"


def judge_topic_settings(
    bootstrap: str, topics: Topics, wrong: Iterable[SettingFault], hidden: Iterable[str]
) -> Iterator[Finding]:
    """Report settings that break a rule; a problem if a worker does not start with one.

    `hidden` are the topics whose settings the brokers do not show.
    """
    if names := ", ".join(hidden):
        yield Finding(
            _CHECK,
            "note",
            f"the brokers do not show the settings of {names}",
            "use a login that may DescribeConfigs on them",
        )
    for each in wrong:
        state: State = "problem" if each.stops else "warning"
        todo = f"to correct it run: {apply_command(bootstrap, topics)}"
        yield Finding(_CHECK, state, f"topic {each.topic}: {each.what}", todo)


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
