"""A chain as far as a verifier has come with it: what must come next, and what has not come.

Plain data, of a few hundred bytes a chain; what it means that something is wrong is for
`verifier` to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine import limits
from engine.audit.chain import GENESIS_HASH
from engine.audit.expected import OfChain
from engine.audit.problems import Place


class Recent:
    """The hashes of a partition's last records: at least AUDIT_REPEAT_RECORDS of them."""

    __slots__ = ("_old", "_young")

    def __init__(self) -> None:
        self._young: set[str] = set()
        self._old: set[str] = set()

    def add(self, found: str) -> None:
        self._young.add(found)
        if len(self._young) >= limits.AUDIT_REPEAT_RECORDS:
            self._young, self._old = set(), self._young

    def __contains__(self, wanted: str) -> bool:
        return wanted in self._young or wanted in self._old


@dataclass(slots=True, eq=False)
class Gap:
    """Sequences from `first` to before `end` that have not come, `after` being what came.

    `heads` are the hashes that may stand before the gap, `previous` is the hash that must stand
    at its end. `is_late` when it began to be filled from its front.
    """

    first: int
    end: int
    heads: tuple[str, ...]
    previous: str
    after: Place
    is_late: bool = False


@dataclass(slots=True, eq=False)
class ChainState:
    """A chain as far as it has come. `heads`: what the next record may name as previous.

    `last_offset` is that of the last record, `late_offset` that of the last one out of order.
    """

    key: bytes
    partition: int
    first_offset: int
    recent: Recent
    expected: OfChain
    next: int = 0
    head: str = GENESIS_HASH
    others: tuple[str, ...] = ()
    last_offset: int = -1
    late_offset: int = -1
    gaps: list[Gap] = field(default_factory=list)
    elsewhere: set[int] = field(default_factory=set)

    @property
    def heads(self) -> tuple[str, ...]:
        return (self.head, *self.others)
