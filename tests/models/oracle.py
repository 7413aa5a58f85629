"""What must match of many reads: `tests.models.naive`, asked of those entries alone that can be
like.

Reads times entries would take a day. So every text that an entry can be like is written out,
letter by letter, and a read's texts are looked up among them; what then comes of it is the
naive model's to say. The characters tried are those of plain ASCII plates, so an entry with
unknown characters or one misread more is not told of reads with others.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tests.models.naive import GROUPS, Answer, Document, Naive, time_ms
from tests.models.naive import plain_plate as plain_plate
from tests.models.real_confidence import how_sure

_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Expected(NamedTuple):
    """A match that must come out."""

    match_id: str
    entry_id: str
    read_id: str


class Oracle:
    """The lists as their topics give them, and what must come of reads, in order.

    `entry_records` are (offset, key, entry or None for a tombstone) and `policy_records`
    (key, policy or None), both in the order of their topic.
    """

    def __init__(
        self,
        entry_records: Iterable[tuple[int, str, Document | None]],
        policy_records: Iterable[tuple[str, Document | None]],
    ) -> None:
        self._naive = Naive(how_sure=how_sure)
        for offset, key, entry in entry_records:
            self._naive.put(offset, key, entry, staged=True)
        self._naive.commit()
        for key, policy in policy_records:
            self._naive.put_policy(key, policy)
        self._by_text: dict[str, list[str]] = {}
        for entry_id, (_, entry) in self._naive.entries.items():
            for text in set(texts_like(entry)):
                self._by_text.setdefault(text, []).append(entry_id)

    def can_match(self, read: Document) -> bool:
        """Whether a read's plate, or an alternate of it, is like a listed plate."""
        return any(text in self._by_text for text in texts_of(read))

    def answer(
        self,
        read: Document,
        at: datetime.datetime,
        headers: Sequence[bytes] = (),
        *,
        suppresses: bool = True,
    ) -> Answer:
        """What must come of a read, after those before it; it has its right key. If it
        suppresses nothing, it is answered for itself and nothing is remembered."""
        among = {
            entry_id: None for text in texts_of(read) for entry_id in self._by_text.get(text, ())
        }
        if not among:
            return Answer()
        at_ms = time_ms(at.isoformat())
        return self._naive.read(read, at_ms, headers=headers, among=among, suppresses=suppresses)


def expected_matches(
    entry_records: Iterable[tuple[int, str, Document | None]],
    policy_records: Iterable[tuple[str, Document | None]],
    reads: Iterable[Document],
    at: datetime.datetime,
) -> set[Expected]:
    """The matches that must come out for reads that are processed in this order at one time."""
    oracle = Oracle(entry_records, policy_records)
    return {Expected(*match[:3]) for read in reads for match in oracle.answer(read, at).matches}


def texts_of(read: Document) -> Iterator[str]:
    """The normal forms of a read's plate and of its alternates."""
    yield plain_plate(read["plate"])
    for alternate in read.get("alternates", ()):
        yield plain_plate(alternate["plate"])


def texts_like(entry: Document) -> Iterator[str]:
    """At the least all texts of plain ASCII characters that an entry's plate is like."""
    listed: str = entry["plate"]
    alike = GROUPS if entry.get("confusables") else ()
    of_place = [
        _CHARACTERS if char == "?" else next((group for group in alike if char in group), char)
        for char in listed
    ]
    yield from _written_out(of_place)
    if entry.get("distance"):
        for place in range(len(of_place) + 1):
            before, after = of_place[:place], of_place[place:]
            yield from _written_out([*before, _CHARACTERS, *after])
            yield from _written_out([*before, _CHARACTERS, *after[1:]])
            yield from _written_out([*before, *after[1:]])


def _written_out(of_place: list[str]) -> Iterator[str]:
    return map("".join, itertools.product(*of_place))
