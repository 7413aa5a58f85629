"""What can be wrong with the audit, and where: one line each.

Plain data. A problem names places, chains and hashes, never the content of a record.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from engine import limits

ProblemKind = Literal[
    "unreadable",  # a batch or record that cannot be read
    "no_record",  # not an AuditRecord
    "wrong_key",  # its key is not its chain
    "changed",  # its hash is not that of its content
    "broken_link",  # its previous hash is not that of the record before
    "forked",  # a second record with the same sequence
    "missing",  # sequences that are not there
    "reordered",  # after a record with a higher sequence
    "two_partitions",  # a chain not in one partition
    "cut_off",  # a partition whose beginning is gone
    "unfollowed",  # what a later chain names as its predecessor is not there
    "rewritten",  # not what a checkpoint holds
    "after_end",  # after the last record of its chain
    "no_predecessor",  # a chain with events that follows nothing, though others were there
]


class Place(NamedTuple):
    """The position of a record."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Problem(NamedTuple):
    """One thing that is wrong. `place` is None if there is no record to point to."""

    kind: ProblemKind
    place: Place | None
    chain: str | None
    sequence: int | None
    what: str

    def __str__(self) -> str:
        parts = [] if self.place is None else [f"{self.place}:"]
        if self.chain is not None:
            parts.append(f"chain {self.chain}")
            if self.sequence is not None:
                parts[-1] += f", sequence {self.sequence}"
            parts[-1] += ":"
        return " ".join([*parts, self.what])


class Problems:
    """All problems: `count` of them, the first ones kept in `shown`."""

    def __init__(self) -> None:
        self.count = 0
        self.shown: list[Problem] = []

    def add(
        self,
        kind: ProblemKind,
        what: str,
        *,
        place: Place | None = None,
        chain: str | None = None,
        sequence: int | None = None,
    ) -> None:
        """Count a problem, and keep it while there is room."""
        self.count += 1
        if len(self.shown) < limits.AUDIT_PROBLEMS:
            self.shown.append(Problem(kind, place, chain, sequence, what))
