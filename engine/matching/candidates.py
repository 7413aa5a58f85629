"""Candidates: the entries that a read is like, each once, and the match that one of them makes.

The worker (`outcome`) and the library (`hot_list_index`) share this definition. The read's own
plate is tried first. For an entry that it is not like, the alternates are tried in their order, and
the first one that fits makes the match. The worker and the library each check policy and clock
themselves.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.documents.model import Detection, Entry, Match
from engine.index.plate_index import Index
from engine.matching.match import Found, build_match
from engine.plates.confidence import confidence
from engine.plates.likeness import Likeness
from engine.plates.misreads import Misreads
from engine.wire.alternates import Asked, to_try


def candidates_of(
    index: Index,
    read: Detection,
    plate: str,
    own: Iterable[tuple[int, Entry, Likeness]],
    asked: Asked,
) -> Iterator[tuple[int, Found]]:
    """Yield the slot of each entry that the read is like, once, and how it is like it.

    `plate` is the read's own plate in normal form, and `own` is what `Index.candidates` yields for
    it. `asked` selects the alternates to try.
    """
    seen = set()
    for slot, entry, likeness in own:
        seen.add(slot)
        yield slot, Found(entry, index.revision(slot), likeness, plate)
    for text, alternate in to_try(read, plate, asked):
        for slot, entry, likeness in index.candidates(text):
            if slot not in seen:
                seen.add(slot)
                yield slot, Found(entry, index.revision(slot), likeness, text, alternate)


def match_of(
    found: Found,
    read: Detection,
    misreads: Misreads,
    suppressed: int,
    policy_revision: int,
    list_revision: int,
    now_ms: int,
) -> Match:
    """Return the match of a read and an entry that may match, with its confidence."""
    stated = read.confidence if found.alternate is None else found.alternate.confidence
    sure = confidence(found.likeness, found.entry.plate, found.plate, stated, misreads)
    return build_match(found, read, sure, suppressed, policy_revision, list_revision, now_ms)
