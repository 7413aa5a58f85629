"""Visibility: the stages of slots, as sets of slots.

A slot in use is visible, unless it is `hidden`. A hidden slot is either `staged`, to become visible
with the next commit, or `ended`, to be dropped when there is time. A visible slot that the next
commit removes is `leaving` until then. So a commit and any number of expiries are bitmap algebra in
one step, and the work for each slot can be done in pieces.

    put ──────────────► visible ──► ended ──► dropped
    put ──► staged ──►  (commit)      ▲
              └───────────────────────┘ expired before the commit

Holds slots, not their entries.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyroaring import BitMap


class Stages:
    """The stages of slots. Belongs to one thread. Callers must not change the sets."""

    def __init__(self) -> None:
        self.staged: BitMap = BitMap()
        self.leaving: BitMap = BitMap()
        self.ended: BitMap = BitMap()
        #: The slots in `ended` that expired and had no successor; their expiry is audited.
        self.expired: BitMap = BitMap()
        #: `staged` and `ended`.
        self.hidden: BitMap = BitMap()

    def copy(self) -> Stages:
        """Return an independent copy."""
        copied = Stages()
        copied.staged, copied.leaving = self.staged.copy(), self.leaving.copy()
        copied.ended, copied.expired = self.ended.copy(), self.expired.copy()
        copied.hidden = self.hidden.copy()
        return copied

    def stage(self, slots: Iterable[int]) -> None:
        """Note slots, newly in use, that become visible with the next commit."""
        self.staged.update(slots)
        self.hidden.update(slots)

    def leave(self, slot: int) -> None:
        """Note that a visible slot ends with the next commit."""
        self.leaving.add(slot)

    def expire(self, slots: BitMap) -> None:
        """Note that slots in use have expired; none of them had ended."""
        self.expired |= slots - self.leaving
        self.leaving -= slots
        self.staged -= slots
        self.ended |= slots
        self.hidden |= slots

    def commit(self) -> tuple[BitMap, BitMap]:
        """Make staged slots visible and end leaving ones; return both sets, in this order."""
        came, went = self.staged, self.leaving
        self.staged, self.leaving = BitMap(), BitMap()
        self.ended |= went
        self.hidden = self.ended.copy()
        return came, went

    def drop(self, slots: BitMap) -> None:
        """Note that slots are no longer in use."""
        for stage in (self.staged, self.leaving, self.ended, self.expired, self.hidden):
            stage.difference_update(slots)
