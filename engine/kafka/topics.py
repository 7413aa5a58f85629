"""The names of the topics, `<prefix><name>.v1`, and the settings of each, as data.

A setting that a promise of the engine rests on is `required`: a control topic is compacted, so is
the suppression state, the broker timestamps the entries, and the audit topic deletes nothing. A
new topic also gets the other settings, and an operator may change these within the range that
`topic_rules` leaves. This module does nothing: `topic_admin` declares and checks the topics.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS


@dataclass(frozen=True)
class Declaration:
    """The settings of one topic.

    `required` has the settings that a promise of the engine rests on. The others are those of a
    new topic, and an operator may change them. `partitions` is None if the operator chooses the
    number. Of those in `at_least` a larger number is as good.
    """

    name: str
    settings: Mapping[str, str]
    required: frozenset[str] = field(default_factory=frozenset)
    partitions: int | None = None
    at_least: frozenset[str] = field(default_factory=frozenset)

    def is_met(self, key: str, value: str | None) -> bool:
        """Return whether a topic may have this value of a setting, or must have another one."""
        if value is not None and key in self.at_least and value.isdigit():
            return int(value) >= int(self.settings[key])
        return value == self.settings[key]


# A control topic is compacted and nothing else: with `delete` beside it Kafka would drop
# entries that were not removed. The active segment is never compacted, so segments are rolled
# hourly and small; the lag bound deletes a removed entry from the disk within about a day even
# on a quiet topic; tombstones stay for a day, far longer than a worker needs to read the
# topic. One partition, so that all changes have one order and one revision number.
_CONTROL_SETTINGS: Final = {
    "cleanup.policy": "compact",
    "segment.ms": str(_HOUR_MS),
    "segment.bytes": str(64 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(_DAY_MS),
    "delete.retention.ms": str(_DAY_MS),
}
# The timestamp of an entry's record decides whether its `created_at` is in the future, so the
# broker sets it, not the producer.
# A removal names the term of the entry's authority, so that an entry that is listed again gets no
# new one. It stays for a year, the longest term that a purpose has by default.
_HOTLIST_SETTINGS: Final = {
    **_CONTROL_SETTINGS,
    "message.timestamp.type": "LogAppendTime",
    "delete.retention.ms": str(365 * _DAY_MS),
}


def _kept(retention_ms: int, segment_ms: int) -> dict[str, str]:
    """Return settings that delete records after `retention_ms`, give or take `segment_ms`."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(retention_ms),
        "retention.bytes": "-1",
        "segment.ms": str(segment_ms),
    }


DECLARED: Final[tuple[Declaration, ...]] = (
    # An hour is enough to bridge a restart or an outage; reads are not ours to keep.
    Declaration("detections", _kept(_HOUR_MS, 10 * _MINUTE_MS)),
    Declaration(
        "hotlist",
        _HOTLIST_SETTINGS,
        required=frozenset({"cleanup.policy", "message.timestamp.type", "delete.retention.ms"}),
        partitions=1,
        at_least=frozenset({"delete.retention.ms"}),
    ),
    Declaration(
        "policies", _CONTROL_SETTINGS, required=frozenset({"cleanup.policy"}), partitions=1
    ),
    # Thirty days: what must be kept longer belongs in the agency's own case file.
    Declaration("matches", _kept(30 * _DAY_MS, _DAY_MS)),
    # A day to examine what an upstream sends wrongly; the record itself is gone after an hour.
    Declaration("rejects", _kept(_DAY_MS, _HOUR_MS)),
    Declaration(
        "audit",
        _kept(-1, 7 * _DAY_MS),
        required=frozenset({"cleanup.policy", "retention.ms", "retention.bytes"}),
    ),
    # The last state of each key. Its tombstones need not stay longer than a worker needs to read
    # it; a restore reads what compaction has left, and the last hour.
    Declaration(
        "suppression",
        {
            "cleanup.policy": "compact",
            "segment.ms": str(_HOUR_MS),
            "segment.bytes": str(16 * 1024 * 1024),
            "max.compaction.lag.ms": str(_HOUR_MS),
            "delete.retention.ms": str(_HOUR_MS),
        },
        required=frozenset({"cleanup.policy"}),
    ),
)

#: The topics that each worker holds whole in memory.
CONTROL: Final = frozenset({"hotlist", "policies"})
#: The engine's own topic, which no other program reads: a worker creates it if it is missing.
OWN: Final = "suppression"


@dataclass(frozen=True)
class Topics:
    """The full names of the topics, such as `lpr.detections.v1` with the prefix `lpr.`."""

    prefix: str

    def name(self, of: str) -> str:
        """Return the full name of the topic declared as `of`."""
        return f"{self.prefix}{of}.v1"

    @property
    def detections(self) -> str:
        return self.name("detections")

    @property
    def hotlist(self) -> str:
        return self.name("hotlist")

    @property
    def policies(self) -> str:
        return self.name("policies")

    @property
    def matches(self) -> str:
        return self.name("matches")

    @property
    def rejects(self) -> str:
        return self.name("rejects")

    @property
    def audit(self) -> str:
        return self.name("audit")

    @property
    def suppression(self) -> str:
        return self.name("suppression")

    @property
    def all(self) -> tuple[str, ...]:
        """Every topic, in the order in which they are declared."""
        return tuple(self.name(declaration.name) for declaration in DECLARED)


def create_command(bootstrap: str, topics: Topics) -> str:
    """Return the command line that declares the topics, for people to copy."""
    return _command("create", bootstrap, topics)


def apply_command(bootstrap: str, topics: Topics) -> str:
    """Return the command line that corrects the topics' settings, for people to copy."""
    return _command("apply", bootstrap, topics)


def _command(name: str, bootstrap: str, topics: Topics) -> str:
    return (
        f"hotlist topics {name} --bootstrap {shlex.quote(bootstrap)} "
        f"--prefix {shlex.quote(topics.prefix)}"
    )
