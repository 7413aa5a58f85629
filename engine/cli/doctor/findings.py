"""Judges the facts about a deployment: what is wrong, and how to fix it.

`engine.cli.doctor.checks` gathers the facts; this module interprets them. Pure: plain facts in,
findings out. `engine.cli.doctor.read_sample` judges the reads.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from engine import limits
from engine.cli.output import counted
from engine.clock import duration

_UNSIGNED: Final = re.compile(rb"^hotlist_audit_checkpoints 0(?:[.]0)?$", re.MULTILINE)

State = Literal["ok", "note", "warning", "problem"]


class Finding(NamedTuple):
    """The result of one check: `what` was found, and `todo` if it is not in order."""

    check: str
    state: State
    what: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the reads: its offsets and the group's commit, now and a moment later."""

    number: int
    begin: int
    end: int
    committed: int | None
    end_later: int
    committed_later: int | None

    @property
    def waiting(self) -> int:
        """The number of reads that wait to be processed."""
        done = self.begin if self.committed_later is None else self.committed_later
        return max(0, self.end_later - max(done, self.begin))

    @property
    def deleted(self) -> int:
        """The number of reads that were deleted before they were processed."""
        return 0 if self.committed_later is None else max(0, self.begin - self.committed_later)


def judge_group(
    group: str,
    members: int,
    state: str,
    partitions: Sequence[Partition],
    assigned: Container[int] | None = None,
) -> Iterator[Finding]:
    """Judge whether workers process the reads and keep up.

    `assigned` are the partitions that the group has assigned to its members, None if that is not
    known.
    """
    check = "workers"
    if members == 0:
        yield Finding(
            check,
            "problem",
            f"no worker is in the group {group}",
            "start one: hotlist worker; if it runs, see its log and /readyz",
        )
    elif state != "Stable":
        yield Finding(
            check,
            "warning",
            f"the group {group} is rebalancing ({state})",
            "check again in a minute; if it persists, workers keep restarting: see their logs",
        )
    elif unowned := [
        str(each.number)
        for each in partitions
        if assigned is not None and each.number not in assigned
    ]:
        yield Finding(
            check,
            "warning",
            f"no worker in the group {group} owns partition {', '.join(unowned)}",
            "workers find added partitions by themselves: check again in a minute; if it persists, "
            "restart one of them",
        )
    else:
        idle = members - len(partitions)
        if idle > 0:
            idling = f"{idle} {'is' if idle == 1 else 'are'} idle"
            parts = counted(len(partitions), "partition")
            what = f"{counted(members, 'worker')}, {parts}: {idling}"
            yield Finding(check, "note", what, "stop them, or add partitions")
        else:
            yield Finding(check, "ok", f"{members} in the group {group}")
    yield from _judge_lag(partitions, has_workers=members > 0)


def _judge_lag(partitions: Sequence[Partition], *, has_workers: bool) -> Iterator[Finding]:
    check = "lag"
    for each in partitions:
        if each.deleted:
            yield Finding(
                check,
                "problem",
                f"{counted(each.deleted, 'read')} of partition {each.number} "
                f"{'was' if each.deleted == 1 else 'were'} deleted before being processed",
                "keep reads for longer (retention.ms of the topic) or add workers",
            )
    waiting = sum(each.waiting for each in partitions)
    waits = f"{counted(waiting, 'read')} {'waits' if waiting == 1 else 'wait'}"
    growing = [each for each in partitions if _is_growing(each)]
    if growing and has_workers:
        numbers = ", ".join(str(each.number) for each in growing)
        yield Finding(
            check,
            "warning",
            f"{waits}, and more arrive than are processed (partition {numbers})",
            "if it persists: add partitions and workers, see deploy/CAPACITY.md",
        )
    elif waiting and not has_workers:
        yield Finding(check, "problem", waits, "start a worker")
    else:
        yield Finding(check, "ok", waits)


def _is_growing(partition: Partition) -> bool:
    before = partition.end - (
        partition.begin if partition.committed is None else partition.committed
    )
    return partition.waiting > max(0, before) and partition.waiting > limits.DOCTOR_LAG_READS


def judge_topics(shown: Mapping[str, Sequence[tuple[int, int, int]]]) -> Iterator[Finding]:
    """Judge whether every partition has a leader and its replicas in sync.

    `shown` has, by topic, each partition's leader, replicas, and replicas in sync.
    """
    ailing = False
    for topic, partitions in shown.items():
        headless = [number for number, (leader, _, _) in enumerate(partitions) if leader < 0]
        behind = [number for number, (_, copies, sync) in enumerate(partitions) if sync < copies]
        if headless:
            ailing = True
            numbers = ", ".join(map(str, headless))
            yield Finding(
                "topics",
                "problem",
                f"topic {topic}: partition {numbers} has no leader",
                "restart the brokers that hold its replicas",
            )
        elif behind:
            ailing = True
            yield Finding(
                "topics",
                "warning",
                f"topic {topic}: replicas of {counted(len(behind), 'partition')} are not in sync",
                "see the brokers' logs and disks",
            )
    copies = {count for partitions in shown.values() for _, count, _ in partitions}
    if copies == {1}:
        yield Finding(
            "topics",
            "note",
            "there is one replica of everything: if a broker is lost, its records are lost",
            "for production: three brokers and --replication 3",
        )
    if not ailing:
        count = sum(map(len, shown.values()))
        what = f"{counted(len(shown), 'topic')}, {counted(count, 'partition')}, all with a leader"
        yield Finding("topics", "ok", what)


def judge_control(
    topic: str, committed_end: int, end: int, newest_ms: int | None, now_ms: int
) -> Finding:
    """Judge whether a control topic can be read to its end.

    The two ends are those that readers of committed records see and that others see; `newest_ms`
    is the newest record's time.
    """
    if committed_end < end:
        return Finding(
            "lists",
            "warning",
            f"topic {topic}: a transaction is open, offsets from {committed_end} on have no effect",
            "a running sync ends it; if the sync was killed, the broker aborts it, after "
            f"{duration(limits.TRANSACTION_S)} or, if the sync was large, up to "
            f"{duration(limits.BROKERS_TRANSACTION_S)}; the next sync of that list does so at once",
        )
    if end == 0:
        return Finding(
            "lists", "warning", f"topic {topic} is empty: nothing can match", _FILL[_kind(topic)]
        )
    age = "" if newest_ms is None else f", changed {_ago(now_ms - newest_ms)} ago"
    return Finding("lists", "ok", f"topic {topic}: {counted(end, 'record')} written{age}")


_FILL: Final = {
    "hotlist": "add entries: hotlist entries import",
    "policies": "set the sources' policies: hotlist policies set",
}


def _kind(topic: str) -> str:
    return "policies" if topic.endswith("policies.v1") else "hotlist"


def _ago(age_ms: int) -> str:
    age_s = max(0, age_ms) // 1000
    for unit, length_s in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if age_s >= 2 * length_s:
            return f"{age_s // length_s} {unit}"
    return f"{age_s} s"


def judge_rights(lacking: Mapping[str, Sequence[str]], is_named: bool) -> Iterator[Finding]:
    """Judge which roles a login can fill: `lacking` has, by role, the missing rights.

    `is_named`: the login must fill exactly this role; else one role is enough.
    """
    check = "rights"
    able = [role for role, lacks in lacking.items() if not lacks]
    if is_named:
        for role, lacks in lacking.items():
            if lacks:
                yield Finding(
                    check,
                    "problem",
                    f"for the role {role} this login lacks {', '.join(lacks)}",
                    f"as the administrator: hotlist topics acls {role} --principal User:NAME",
                )
            else:
                yield Finding(check, "ok", f"this login has the rights of the role {role}")
    elif len(able) == len(lacking):
        yield Finding(
            check,
            "warning",
            "the brokers deny this login nothing: they have no authorizer, or it is a super user",
            "give each service its own login and role: hotlist topics acls, SECURITY.md",
        )
    elif able:
        yield Finding(check, "ok", f"this login has the rights of {', '.join(able)}")
    else:
        yield Finding(
            check,
            "problem",
            "this login has the rights of no role",
            "to see what it lacks: hotlist doctor --role engine",
        )


def judge_clocks(what: str, ahead_s: float) -> Finding | None:
    """Judge whether a clock agrees with the local one; return None if it does."""
    if abs(ahead_s) <= limits.CLOCK_SKEW_S:
        return None
    direction = "ahead of" if ahead_s > 0 else "behind"
    return Finding(
        "clocks",
        "warning",
        f"the clock of {what} is {duration(abs(ahead_s))} {direction} the local one",
        "synchronize both (NTP): expiry and suppression depend on the clock",
    )


def judge_checkpoints(url: str, metrics: bytes) -> Finding | None:
    """Judge whether a worker signs its audit, by its /metrics; None if so or if unknown."""
    if _UNSIGNED.search(metrics) is None:
        return None
    return Finding(
        "audit",
        "warning",
        f"worker {url} signs no checkpoints: no one can find out that the audit's end was removed",
        "give it --checkpoint-key and --checkpoint-dir, see deploy/guides/privacy.md",
    )
