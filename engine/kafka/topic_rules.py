"""The rules that the settings of existing topics must meet.

This is the one table of them: `hotlist topics create` corrects those on which a promise rests,
`hotlist topics apply` corrects all, `hotlist doctor` reports them, and a worker does not start
while records would be lost or wrongly kept. A rule leaves a range to the operator and names the
value that `apply` sets outside of it. Pure: settings as Kafka writes them in, faults out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from engine import limits
from engine.clock import duration
from engine.kafka.topics import DECLARED, Declaration, Topics
from engine.kafka.writer import BATCH_BYTES

#: Replicas with which one broker may be lost while an acknowledged record is on two.
_REPLICAS: Final = 3
#: Personal data, or pointers to it, that must not stay. By topic: the consequence of another
#: cleanup policy than `delete`, and whether a worker must not start with such a policy.
_PASSING: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    "detections": ("Kafka loses reads, and keeps the last one of each plate", lambda _: True),
    "matches": (
        "Kafka loses matches, and keeps the last one of each entry",
        lambda policy: "compact" in policy,
    ),
    "rejects": ("Kafka keeps them for ever", lambda policy: "delete" not in policy),
}
#: The consequence if records that have a state are deleted for their age.
_STATES: Final = {
    "hotlist": "Kafka deletes entries that are still listed",
    "policies": "Kafka deletes policies that still apply",
    "suppression": "Kafka deletes what is suppressed",
}
_REQUIRED: Final = {
    ("hotlist", "message.timestamp.type"): "a producer could choose when an entry was created",
    ("hotlist", "delete.retention.ms"): "a removed entry could be listed for a new term",
    ("audit", "cleanup.policy"): "Kafka loses audit records",
    ("audit", "retention.ms"): "Kafka deletes audit records for their age",
    ("audit", "retention.bytes"): "Kafka deletes audit records for their size",
}
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


class SettingFault(NamedTuple):
    """A setting of a topic that breaks a rule: as it is, and the value that `apply` sets.

    `must` and `why` are for people. `required`: a promise rests on it, so `topics create` corrects
    it. `stops`: a worker does not start, because records would be lost or wrongly kept.
    """

    topic: str
    key: str
    have: str
    want: str
    must: str
    why: str
    required: bool = False
    stops: bool = False

    @property
    def what(self) -> str:
        """The fault without its topic, such as `retention.ms is 5 and must be -1 (why)`."""
        return f"{self.key} is {self.have or 'not set'} and must {self.must} ({self.why})"

    @property
    def deletes(self) -> str:
        """Which records Kafka deletes once `apply` has set this; empty if none."""
        if self.key == "retention.ms" and self.want != "-1":
            return f"records of {self.topic} older than {duration(int(self.want) / 1000)}"
        if self.key == "cleanup.policy" and self.want == "delete" and not self.required:
            return f"records of {self.topic} older than its retention.ms"
        return ""


class _Rule(NamedTuple):
    """`is_met` and `stops` are given the value, and the fewest replicas that a partition has."""

    key: str
    is_met: Callable[[str, int], bool]
    want: str
    must: str
    why: str
    stops: Callable[[str], bool] = lambda _: False


def faults(
    topics: Topics, settings: Mapping[str, Mapping[str, str]], replicas: Mapping[str, int]
) -> Iterator[SettingFault]:
    """Yield the settings that break a rule, by topic in the order in which they are declared.

    `settings` has, by topic, the settings in effect, as Kafka writes them; `replicas` the fewest
    replicas that a partition has. A topic that is not in `settings` is not judged.
    """
    for declared in DECLARED:
        topic = topics.name(declared.name)
        have = settings.get(topic)
        if have is None:
            continue
        for key in sorted(declared.required):
            value = have.get(key)
            if not declared.is_met(key, value):
                yield _required(topic, declared, key, value or "")
        count = replicas.get(topic, 0)
        for rule in _RULES[declared.name]:
            value = have.get(rule.key)
            if value is not None and not rule.is_met(value, count):
                stops = rule.stops(value)
                yield SettingFault(
                    topic, rule.key, value, rule.want, rule.must, rule.why, stops=stops
                )


def settings_of_new(declared: Declaration, replication: int) -> dict[str, str]:
    """Return the settings with which a topic is created that has so many replicas."""
    settings = dict(declared.settings)
    if replication >= _REPLICAS:
        # An acknowledged record is then on two machines, and one of the three may be down.
        settings["min.insync.replicas"] = _IN_SYNC.want
    return settings


def _required(topic: str, declared: Declaration, key: str, have: str) -> SettingFault:
    want = declared.settings[key]
    must = f"be at least {want}" if key in declared.at_least else f"be {want}"
    is_state = declared.name in _STATES and key == "cleanup.policy"
    why = _STATES[declared.name] if is_state else _REQUIRED[declared.name, key]
    # Compaction of the audit leaves the last record of each chain.
    stops = is_state or (key == "cleanup.policy" and "compact" in have)
    return SettingFault(topic, key, have, want, must, why, required=True, stops=stops)


def _passes(name: str, settings: Mapping[str, str]) -> Iterator[_Rule]:
    """Yield the rules of a topic whose records must not stay."""
    why, stops = _PASSING[name]
    yield _Rule(
        "cleanup.policy", lambda have, _: have == "delete", "delete", "be delete", why, stops
    )
    yield _Rule(
        "retention.ms",
        lambda have, _: 0 <= int(have) <= limits.RETENTION_MOST_MS,
        settings["retention.ms"],
        "have a limit",
        # No reason to stop a worker: an agency may have to keep its matches, and reads that are
        # replayed again and again, as by a benchmark, are older than any limit.
        "Kafka never deletes them for their age",
    )


def _passes_batches(name: str) -> _Rule:
    least = _LARGEST_BYTES[name]
    return _Rule(
        "max.message.bytes",
        lambda have, _: int(have) >= least,
        str(least),
        f"be at least {least}",
        "the broker refuses larger batches",
    )


_IN_SYNC: Final = _Rule(
    "min.insync.replicas",
    lambda have, replicas: replicas < _REPLICAS or int(have) >= 2,
    "2",
    "be at least 2",
    "an acknowledged record may be on one broker only, and is lost with it",
)

_RULES: Final = {
    declared.name: (
        *(_passes(declared.name, declared.settings) if declared.name in _PASSING else ()),
        _passes_batches(declared.name),
        _IN_SYNC,
    )
    for declared in DECLARED
}
