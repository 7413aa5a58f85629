"""The stages of a slot's life as sets of slots: what counts now, and what only lies there.

A slot in use is visible, unless it is `hidden`: `staged`, to become visible with the next
commit, or `ended`, to be dropped when there is time. A visible slot that the next commit takes
away is `leaving`, and counts until then. So a commit and any number of expiries are bitmap
algebra, done in one step, and what costs time for each slot can be done in pieces.

    put ──────────────► visible ──► ended ──► dropped
    put ──► staged ──►  (commit)      ▲
              └───────────────────────┘ expired before the commit

Knows slots, nothing of what lies in them.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyroaring import BitMap


class Stages:
    """See the module. Belongs to one thread. The sets are to be read, not changed."""

    def __init__(self) -> None:
        self.staged: BitMap = BitMap()
        self.leaving: BitMap = BitMap()
        self.ended: BitMap = BitMap()
        #: Those of `ended` that expired and had no successor: somebody may want to know.
        self.expired: BitMap = BitMap()
        #: `staged` and `ended`.
        self.hidden: BitMap = BitMap()

    def copy(self) -> Stages:
        """Stages of their own with the same slots."""
        copied = Stages()
        copied.staged, copied.leaving = self.staged.copy(), self.leaving.copy()
        copied.ended, copied.expired = self.ended.copy(), self.expired.copy()
        copied.hidden = self.hidden.copy()
        return copied

    def stage(self, slots: Iterable[int]) -> None:
        """Slots were put in use that become visible with the next commit."""
        self.staged.update(slots)
        self.hidden.update(slots)

    def leave(self, slot: int) -> None:
        """A visible slot counts until the next commit."""
        self.leaving.add(slot)

    def expire(self, slots: BitMap) -> None:
        """Slots in use, none of them ended, have reached their end."""
        self.expired |= slots - self.leaving
        self.leaving -= slots
        self.staged -= slots
        self.ended |= slots
        self.hidden |= slots

    def commit(self) -> tuple[BitMap, BitMap]:
        """What is staged becomes visible, what is leaving has ended; both, in this order."""
        came, went = self.staged, self.leaving
        self.staged, self.leaving = BitMap(), BitMap()
        self.ended |= went
        self.hidden = self.ended.copy()
        return came, went

    def drop(self, slots: BitMap) -> None:
        """Slots are not in use any more."""
        for stage in (self.staged, self.leaving, self.ended, self.expired, self.hidden):
            stage.difference_update(slots)
