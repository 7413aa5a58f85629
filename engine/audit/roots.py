"""Where chains begin and end: a chain that follows nothing, one without an end, one unsigned.

The first worker on an empty topic writes a chain whose only record is its end; every other chain
names a predecessor (`engine.delivery.audit_chains`). So a chain that follows nothing and holds
events is a problem if

* the topic begins in that way, or
* a chain has ended before it in its partition, or
* a complete checkpoint holds other chains, and not this one.

Earlier versions wrote no ends, and several of their chains could follow nothing. On a topic that
they have written such a chain is a note, not a problem, because it proves nothing. It is never
passed in silence: a forger could write one too. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from engine.audit.chain_state import ChainState
from engine.audit.problems import Place, Problems

NoteKind = Literal["not_ended", "no_predecessor", "unsigned"]

_MEANING: Final[dict[NoteKind, str]] = {
    "not_ended": "no last record: {}; a record that is appended to such a chain looks true",
    "no_predecessor": (
        "written before chains had ends: {} without a predecessor; a whole forged chain would look "
        "the same"
    ),
    "unsigned": "in no checkpoint: {}; such a chain began later, or is forged",
}


@dataclass(frozen=True)
class Note:
    """Chains for which the answer is incomplete: how many, and the first of them."""

    kind: NoteKind
    count: int
    chain: str
    place: Place

    def __str__(self) -> str:
        which = (
            f"chain {self.chain} at {self.place}"
            if self.count == 1
            else f"{self.count:,} chains, the first {self.chain} at {self.place}"
        )
        return _MEANING[self.kind].format(which)


class Roots:
    """See the module; `topic` is for the places."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        #: By partition, the offset of the first record that ended a chain.
        self._first_ends: dict[int, int] = {}
        self._signed: set[str] | None = None
        #: The complete checkpoints that hold a chain, with their chains.
        self._complete: list[tuple[str, set[str]]] = []

    def note_end(self, partition: int, offset: int) -> None:
        """Note a record that ends a chain; those of a partition come in order."""
        self._first_ends.setdefault(partition, offset)

    def trust(self, name: str, chains: set[str], *, is_complete: bool) -> None:
        """Take a checkpoint's chains as known."""
        self._signed = (self._signed or set()) | chains
        if is_complete and chains:
            self._complete.append((name, chains))

    def judge(self, problems: Problems, chains: Mapping[str, ChainState]) -> None:
        """Report the chains that follow nothing, and must not."""
        begun = self._begins_with_end(chains)
        for name, state in sorted(chains.items()):
            if _is_root(state):
                why = self._why_wrong(name, state, begun)
                if why:
                    problems.add(
                        "no_predecessor",
                        f"it follows nothing, {why}: the chain is forged, or what it followed was "
                        "cut off",
                        place=self._place(state),
                        chain=name,
                        sequence=0,
                    )

    def notes(self, chains: Mapping[str, ChainState]) -> list[Note]:
        """Return what must be said of the chains that pass."""
        begun = self._begins_with_end(chains)
        by_kind: dict[NoteKind, Iterable[str]] = {
            "not_ended": [name for name, state in chains.items() if state.end_offset < 0],
            "no_predecessor": [
                name
                for name, state in chains.items()
                if _is_root(state) and not self._why_wrong(name, state, begun)
            ],
            "unsigned": () if self._signed is None else chains.keys() - self._signed,
        }
        found = []
        for kind, names in by_kind.items():
            of_kind = sorted(names)
            if of_kind:
                first = min(of_kind, key=lambda name: (self._place(chains[name]), name))
                found.append(Note(kind, len(of_kind), first, self._place(chains[first])))
        return found

    def _why_wrong(self, name: str, state: ChainState, begun: str) -> str:
        if begun:
            return f"but the topic begins with chain {begun}"
        if state.first_offset > self._first_ends.get(state.partition, state.first_offset):
            return f"though a chain ended before, at offset {self._first_ends[state.partition]}"
        for checkpoint, known in self._complete:
            if name not in known:
                return f"though checkpoint {checkpoint} holds earlier chains"
        return ""

    def _begins_with_end(self, chains: Mapping[str, ChainState]) -> str:
        """Return a chain that only began the topic; empty if there is none."""
        begun = (
            name
            for name, state in chains.items()
            if state.follows_nothing and not state.has_events and state.end_offset >= 0
        )
        return min(begun, default="")

    def _place(self, state: ChainState) -> Place:
        return Place(self._topic, state.partition, state.first_offset)


def _is_root(state: ChainState) -> bool:
    return state.follows_nothing and state.has_events
