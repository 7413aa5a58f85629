"""An immutable snapshot of an index, which answers the library's queries.

Any number of threads may use it; see `hot_list_index`. It has no clock: each query names its time.
It does not suppress: each read is answered by itself.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta
from pyroaring import BitMap

from engine.clock import EPOCH, parse_time
from engine.documents.codec import encode
from engine.documents.droppable import decode_read
from engine.documents.fields import Count
from engine.documents.model import Detection, Entry, Match, Policy
from engine.documents.purposes import Purposes
from engine.errors import DocumentError
from engine.library.archive import write_parts
from engine.library.library_index import LibraryIndex
from engine.matching.candidates import candidates_of
from engine.matching.conditions import narrowed_out
from engine.matching.match import Basis, build_match, confidence_of
from engine.plates.likeness import Likeness
from engine.plates.misreads import Misreads
from engine.plates.normal_form import normalize
from engine.wire.alternates import NONE_ASKED

MANIFEST: Final = "manifest.json"


#: The times that a document may contain.
_FIRST_MS: Final = parse_time("1900-01-01T00:00:00.000Z")
_LAST_MS: Final = parse_time("2999-12-31T23:59:59.999Z")
D = TypeVar("D", Detection, Entry, Policy)
R = TypeVar("R")


class FoundEntry(NamedTuple):
    """An entry whose plate resembles the requested one, and how."""

    slot: int
    entry: Entry
    likeness: Likeness


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """The description of a saved index: its numbers of entries, slots and changes, and the digest
    of the purposes by which the entries were admitted."""

    entries: Count
    slots: Annotated[int, Meta(ge=0, lt=2**31)]
    revision: Count
    purposes: str


class Snapshot:
    """An immutable state of a `HotListIndex`, from its method `snapshot`. Thread-safe.

    A slot is the number of an entry in this snapshot. An entry keeps its slot in later snapshots
    until it is removed or replaced; then another entry may get the slot.
    """

    def __init__(
        self, index: LibraryIndex, purposes: Purposes, misreads: Misreads, revision: int
    ) -> None:
        self._index = index
        self._purposes = purposes
        self._misreads = misreads
        self._revision = revision

    def __len__(self) -> int:
        """Return the number of entries, in force or not."""
        return len(self._index)

    def __iter__(self) -> Iterator[Entry]:
        """Yield all entries."""
        return self.entries(self._index.slots)

    @property
    def revision(self) -> int:
        """`HotListIndex.revision` when the snapshot was taken; the `list_revision` of matches."""
        return self._revision

    def get(self, entry_id: str) -> Entry | None:
        """Return the entry with this id, or None."""
        found = self._index.find(entry_id)
        return None if found is None else found[0]

    def entries(self, slots: Iterable[int]) -> Iterator[Entry]:
        """Yield the entries in these slots, which must all be in use in this snapshot."""
        for slot in slots:  # a generator, which keeps the snapshot in use
            yield self._index.entry(slot)

    def find(self, plate: str) -> list[FoundEntry]:
        """Return the entries whose plate resembles this one, which need not be in normal form.

        Only the plate counts: agency, policy and time are ignored. `likeness` says how the plate
        resembles the listed one. Raises PlateError, a DocumentError, if it has no normal form.
        """
        normal = normalize(plate)
        return [FoundEntry(*each) for each in self._index.candidates(normal)]

    def match(
        self,
        read: Detection | Mapping[str, Any],
        at: datetime.datetime | int,
        *,
        alternates: bool = True,
    ) -> list[Match]:
        """Return the matches that the worker would make of a read, if it held this snapshot.

        The time is aware, or in ms since 1970. None is suppressed, because each read is answered
        by itself. The read's alternates are tried as if the record's header named all of them, or
        none without `alternates`. `list_revision` is this snapshot's revision. Raises
        DocumentError if a required field of the read breaks its rule or its plate has no normal
        form; an optional one is dropped, as in the worker, and named in the match.
        """
        at_ms = time_ms(at)
        detection, dropped = document(read, Detection, decode_read)
        plate = normalize(detection.plate)
        index, eligibility = self._index, self._index.eligibility
        if not eligibility.has_policy(detection.source):
            return []
        asked = None if alternates else NONE_ASKED
        candidates = candidates_of(index, detection, plate, index.candidates(plate), asked)
        policy_revision = eligibility.revision_of(detection.source)
        times_ms = at_ms, detection.captured_ms
        basis = Basis(policy_revision, self._revision, *times_ms, dropped)
        return [
            build_match(found, detection, confidence_of(found, detection, self._misreads), 0, basis)
            for slot, found in candidates
            if index.in_force(slot, at_ms)
            and eligibility.policy_denial(slot, detection.source, detection.region) is None
            and narrowed_out(found.entry, detection) is None
        ]

    def eligible(self, source: str, at: datetime.datetime | int) -> BitMap:
        """Return the slots of the entries that are in force and that the source's policy allows.

        The time is aware, or in ms since 1970. Regions are ignored. Without a policy there are
        none. The set is the caller's own.
        """
        return self._index.eligible(source, time_ms(at))

    def save(self, path: str | Path) -> None:
        """Write everything into one file, which `HotListIndex.load` reads.

        The file holds the hot list, so only its owner may read it (mode 0600). It holds no read.
        It is written whole or not at all. Raises IndexFileError if it cannot be written.
        """
        manifest = Manifest(
            entries=len(self),
            slots=self._index.slot_count,
            revision=self._revision,
            purposes=digest_of(self._purposes),
        )
        with write_parts(Path(path)) as parts:
            parts.value(MANIFEST, manifest)
            self._index.save(parts)


def digest_of(purposes: Purposes) -> str:
    """Return the SHA-256, in hex, of the rules that decide which entries are admissible."""
    bounds = [
        (code, purpose.longest_term_days, purpose.known_characters_floor)
        for code in sorted(purposes.codes)
        if (purpose := purposes.get(code)) is not None
    ]
    return hashlib.sha256(msgspec.json.encode(bounds)).hexdigest()


def document(given: D | Mapping[str, Any], kind: type[D], decode: Callable[[bytes], R]) -> R:
    """Return what `decode` makes of a document of this kind, and raise what it raises."""
    try:
        if isinstance(given, kind):
            return decode(encode(given))
        if isinstance(given, Mapping):
            return decode(msgspec.json.encode(dict(given)))
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # raised after the clause, so that no chained error holds the document
    raise DocumentError(
        "schema", rule=f"must be of type {kind.__name__}, or a mapping of JSON values"
    )


def time_ms(at: datetime.datetime | int) -> int:
    """Return a time in ms since 1970. Raises ValueError if no document may contain it."""
    if isinstance(at, datetime.datetime) and at.tzinfo is not None:
        at = (at - EPOCH) // datetime.timedelta(milliseconds=1)
    if type(at) is not int or not _FIRST_MS <= at <= _LAST_MS:
        raise ValueError("a time must be aware or whole ms since 1970, in the years 1900 to 2999")
    return at
