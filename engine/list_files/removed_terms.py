"""What a removal leaves of an entry, so that the term of its authority outlives it.

A removal's record has no value. A header of it holds when the entry was created and a hash of its
authority reference; the record's key is the entry's id. An entry that is listed again with that id
and reference gets no later end than it could have had before: `admission.check_extension` decides.

The brokers keep such a record for the topic's `delete.retention.ms` after its removal. Of those
that are there, limits.REMOVED_TERMS are held, those created last. Removals by versions before this
one, and by other producers, have no such header.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from engine import limits
from engine.clock import parse_time
from engine.list_files.digests import DigestColumns

#: The header of a removal: the milliseconds and the hash, in decimal and hex, with a blank between.
TERM_HEADER: Final = "term"
_HEX: Final = 16
#: The digits of milliseconds up to the year 9999.
_DIGITS: Final = 15

Headers = list[tuple[str, bytes]]


class RemovedTerm(NamedTuple):
    """When an entry was created, in milliseconds since 1970, and its hashed reference."""

    created_ms: int
    reference: int

    def headers(self) -> Headers:
        """Return the header of the entry's removal."""
        return [(TERM_HEADER, b"%d %0*x" % (self.created_ms, _HEX, self.reference))]


class _Authority(msgspec.Struct, frozen=True, gc=False):
    reference: str


class _Listed(msgspec.Struct, frozen=True, gc=False):
    created_at: str
    authority: _Authority


_decode = msgspec.json.Decoder(_Listed).decode


def term_headers(value: bytes) -> Headers:
    """Return the header for the removal of an entry that stands as `value`.

    There is none for a value that is no entry: nothing is known of its term.
    """
    try:
        listed = _decode(value)
        created_ms = parse_time(listed.created_at)
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
        return []
    reference = xxhash.xxh3_64_intdigest(listed.authority.reference.encode())
    return RemovedTerm(created_ms, reference).headers()


def removed_term(headers: Iterable[tuple[str, bytes | None]]) -> RemovedTerm | None:
    """Return what the headers of a removal say; None if they say nothing that can be read."""
    for name, value in headers:
        if name != TERM_HEADER:
            continue
        created, _, reference = (value or b"").partition(b" ")
        if created.isdigit() and len(created) <= _DIGITS and len(reference) == _HEX:
            try:
                return RemovedTerm(int(created), int(reference, _HEX))
            except ValueError:
                return None
    return None


class RemovedTerms:
    """The terms of removed entries, as columns ordered by hashed id. `dropped` are those that are
    too many to be held."""

    def __init__(self, columns: DigestColumns, dropped: int = 0) -> None:
        excess = len(columns.ids) - limits.REMOVED_TERMS
        if excess > 0:
            kept = np.sort(np.argsort(columns.created_ms, kind="stable")[excess:])
            columns = columns.at(kept)
            dropped += excess
        self.columns = columns
        self.dropped = dropped

    def places(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return where in `columns` these hashed ids are, -1 for those that are not."""
        return places_of(ids, self.columns.ids)


def places_of(ids: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where in `known`, which is sorted, these hashed ids are; -1 for those that are not."""
    if not len(known):
        return np.full(len(ids), -1, dtype=np.int64)
    places = np.searchsorted(known, ids).astype(np.int64)
    places[places == len(known)] = 0
    places[known[places] != ids] = -1
    return places
