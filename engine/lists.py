"""The control state of a worker: entries and policies as the control topics give them.

`apply` takes control records in the order of their partition and keeps what the last record of
each key says. A record that the rules do not admit is counted, and counts as a removal of its
key: the state then depends on the last record alone, as after compaction.

Belongs to the heart's thread. No I/O, no clock of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from engine.documents import Entry, decode_entry, decode_policy
from engine.errors import DocumentError, RuleError
from engine.index import Index
from engine.policy import Eligibility
from engine.rules import Purposes, check_entry


class ControlKind(Enum):
    """Which control topic a record is from."""

    ENTRY = "entry"
    POLICY = "policy"


class ControlRecord(NamedTuple):
    """A record of a control topic. `value` None is a tombstone."""

    kind: ControlKind
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Applied:
    """What applying records came to. `refused` counts by reason."""

    changed: int = 0
    removed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Lists:
    """Entries and policies. `list_revision` grows with every record of the hot list topic:
    it is the number of offsets received, summed over the topic's partitions."""

    def __init__(self, purposes: Purposes) -> None:
        self.eligibility = Eligibility()
        self.index = Index(self.eligibility)
        self._purposes = purposes
        self._next_offset: dict[int, int] = {}
        self._refused_keys: set[bytes] = set()
        self.list_revision = 0

    def apply(self, records: Iterable[ControlRecord], now_ms: int) -> Applied:
        """Apply records in order."""
        applied = Applied()
        # Entries are put together, which is several times faster. A later record of the same
        # key takes the place of an earlier one that is still waiting here.
        waiting: dict[str, tuple[Entry, int]] = {}
        for record in records:
            if record.kind is ControlKind.ENTRY:
                self._apply_entry(record, waiting, applied)
            else:
                self._apply_policy(record, applied)
        self.index.put_many(list(waiting.values()), now_ms)
        return applied

    def advance(self, now_ms: int) -> int:
        """Start and end entries that are due; how many expired."""
        return self.index.advance(now_ms)

    @property
    def refused_count(self) -> int:
        """Keys whose last record was refused."""
        return len(self._refused_keys)

    def _apply_entry(
        self, record: ControlRecord, waiting: dict[str, tuple[Entry, int]], applied: Applied
    ) -> None:
        before = self._next_offset.get(record.partition, 0)
        self._next_offset[record.partition] = record.offset + 1
        self.list_revision += record.offset + 1 - before
        key = record.key or b""
        self._refused_keys.discard(key)
        try:
            if record.value is not None:
                entry = decode_entry(record.value)
                check_entry(entry, self._purposes)
                if entry.entry_id.encode() != key:
                    raise DocumentError("key_mismatch")
                waiting[entry.entry_id] = (entry, record.offset)
                applied.changed += 1
                return
            applied.removed += 1
        except DocumentError as error:
            applied.refused[error.reason] += 1
            self._refused_keys.add(key)
        except RuleError as error:
            applied.refused[error.field] += 1
            self._refused_keys.add(key)
        entry_id = _named_by(key)
        waiting.pop(entry_id, None)
        self.index.remove(entry_id)

    def _apply_policy(self, record: ControlRecord, applied: Applied) -> None:
        key = record.key or b""
        try:
            if record.value is not None:
                policy = decode_policy(record.value)
                if policy.source.encode() != key:
                    raise DocumentError("key_mismatch")
                self.eligibility.set_policy(policy, record.offset)
                applied.changed += 1
                return
            applied.removed += 1
        except DocumentError as error:
            applied.refused[error.reason] += 1
        self.eligibility.remove_policy(_named_by(key))


def _named_by(key: bytes) -> str:
    """The id or source that a key names; "", which nobody has, where it is no UTF-8."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return ""
