"""The entries that a read is like, each once, and by what it is like them.

The worker (`decide`) and the library (`snapshot`) share this definition. The read's own plate is
tried first, then its alternates in their order, each only for the entries not found so far.
Whether an entry may match at all, by policy and clock, is asked afterwards, by each in its own way.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from engine.documents.model import Alternate, Detection, Entry
from engine.index.plate_index import Index
from engine.plates.likeness import Likeness
from engine.wire.alternates import Asked, to_try


class Found(msgspec.Struct, frozen=True, gc=False):
    """Why a read and an entry match: `plate` is the text that is like the listed one, in normal
    form, of the read itself or of its `alternate`."""

    entry: Entry
    revision: int
    likeness: Likeness
    plate: str
    alternate: Alternate | None = None


def candidates_of(
    index: Index,
    read: Detection,
    plate: str,
    own: Iterable[tuple[int, Entry, Likeness]],
    asked: Asked,
) -> Iterator[tuple[int, Found]]:
    """The slots of the entries that the read is like, each once, and by what it is.

    `plate` is the read's own in normal form, `own` what `Index.candidates` has for it, and
    `asked` says which alternates are tried.
    """
    seen = set()
    for slot, entry, found in own:
        likeness: Likeness | None = found
        if read.region is not None and _depends_on_region(plate, entry):
            likeness = index.likeness(plate, entry, read.region)
        if likeness is not None:
            seen.add(slot)
            yield slot, Found(entry, index.revision(slot), likeness, plate)
    for text, alternate in to_try(read, plate, asked):
        for slot, entry, likeness in index.candidates(text, read.region):
            if slot not in seen:
                seen.add(slot)
                yield slot, Found(entry, index.revision(slot), likeness, text, alternate)


def _depends_on_region(plate: str, entry: Entry) -> bool:
    """Whether the likeness depends on the read's region, which was not known by its key alone."""
    is_plain = plate.isascii() and entry.plate.isascii()
    return bool(entry.confusables) and entry.region is None and not is_plain
