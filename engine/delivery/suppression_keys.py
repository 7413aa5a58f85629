"""The keys of the suppression state, checked in turn: some of them every second.

A key is evicted when it is old. If its entry has ended or lists something else, its count of
suppressed reads is audited (`suppressed`) and only then evicted from the topic; its matches stay
there until they are old.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from engine.audit.chain import AuditedEvent, Event
from engine.delivery.port import Tidied
from engine.documents.model import Entry
from engine.matching.suppression import Suppression, Unmatched
from engine.matching.written_states import SuppressionRecord
from engine.transport.runtime import Runtime


class ListsInUse(Protocol):
    """The part of the lists that is used here."""

    @property
    def are_whole(self) -> bool:
        """Whether they are complete now."""

    def listed(self, entry_id: str) -> Iterable[Entry]:
        """The entries with an id, also one that a transaction stages; on the matcher thread."""


class CheckedKeys:
    """The keys of the state, checked and evicted on the matcher thread."""

    def __init__(self, runtime: Runtime, state: Suppression, lists: ListsInUse) -> None:
        self.lists = lists
        self._clock = runtime.clock
        self._on_matcher_thread = runtime.matcher_thread.call
        self._state = state

    async def tidy(self) -> Tidied:
        return await self._on_matcher_thread(self._tidy)

    async def evict(self, taken: Sequence[Unmatched]) -> Sequence[SuppressionRecord]:
        return await self._on_matcher_thread(partial(self._evict, taken))

    async def tidy_and_evict(self) -> Tidied:
        return await self._on_matcher_thread(self._tidy_and_evict)

    def _tidy(self) -> Tidied:
        now_ms = self._clock.now_ms()
        self._state.turn_to(now_ms)
        self._state.tidy(self.lists.listed)
        taken = self._state.take_unmatched()
        return Tidied(taken, _by_partition(taken, now_ms), self._state.take_changes())

    def _evict(self, taken: Sequence[Unmatched]) -> Sequence[SuppressionRecord]:
        self._state.audited(taken)
        return self._state.take_changes()

    def _tidy_and_evict(self) -> Tidied:
        tidied = self._tidy()
        return tidied._replace(changes=[*tidied.changes, *self._evict(tidied.taken)])


def _by_partition(taken: Iterable[Unmatched], now_ms: int) -> dict[int, list[Event]]:
    events: dict[int, list[Event]] = {}
    for unmatched in taken:
        events.setdefault(unmatched.partition, []).append(_event(unmatched, now_ms))
    return events


def _event(unmatched: Unmatched, now_ms: int) -> AuditedEvent:
    authority = unmatched.authority
    fields: dict[str, str | int] = {
        "entry_id": unmatched.entry_id,
        "list_id": unmatched.list_id,
        "agency": unmatched.agency,
        "purpose": unmatched.purpose,
        "authority": f"{authority.kind} {authority.reference}",
        "suppressed": unmatched.suppressed,
        "partition": unmatched.partition,
        "offset": unmatched.offset,
    }
    if unmatched.source is not None:  # a state of version 0.1 has none
        fields["source"] = unmatched.source
    return AuditedEvent("suppressed", now_ms, fields)
