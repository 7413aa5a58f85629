"""An index of hot lists as it was once: what is asked of the library is asked here.

Immutable, and for any number of threads; see `hot_list_index`. There is no clock: a question
names the time as of which it is asked. There is no suppression: each read is answered for itself.
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
from engine.documents.codec import decode_detection, encode
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


#: The times that documents can name.
_FIRST_MS: Final = parse_time("1900-01-01T00:00:00.000Z")
_LAST_MS: Final = parse_time("2999-12-31T23:59:59.999Z")
D = TypeVar("D", Detection, Entry, Policy)


class Found(NamedTuple):
    """An entry whose plate is like one that was asked for, and how."""

    slot: int
    entry: Entry
    likeness: Likeness


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What is inside a saved index: entries, in so many slots, after so many changes, admitted
    by the purposes that have this digest."""

    entries: Count
    slots: Annotated[int, Meta(ge=0, lt=2**31)]
    revision: Count
    purposes: str


class Snapshot:
    """A `HotListIndex` as it was once; from its `snapshot`. Never changes; for any thread.

    A slot is a number by which an entry goes in this snapshot. While an entry stays, it keeps
    its slot in later snapshots too; once it is removed or replaced, another may get it.
    """

    def __init__(
        self, index: LibraryIndex, purposes: Purposes, misreads: Misreads, revision: int
    ) -> None:
        self._index = index
        self._purposes = purposes
        self._misreads = misreads
        self._revision = revision

    def __len__(self) -> int:
        """Entries held, whether in force or not."""
        return len(self._index)

    def __iter__(self) -> Iterator[Entry]:
        """All entries."""
        return self.entries(self._index.slots)

    @property
    def revision(self) -> int:
        """`HotListIndex.revision` at that time; the `list_revision` of matches."""
        return self._revision

    def get(self, entry_id: str) -> Entry | None:
        """The entry with this id, or None."""
        found = self._index.find(entry_id)
        return None if found is None else found[0]

    def entries(self, slots: Iterable[int]) -> Iterator[Entry]:
        """The entries in these slots, which must be some of this snapshot's."""
        for slot in slots:  # a generator, which keeps the snapshot in use
            yield self._index.entry(slot)

    def find(self, plate: str) -> list[Found]:
        """The entries whose plate is like this one, which need not be in normal form.

        By the plate alone: whoever's they are, in force or not. `likeness` says how the plate is
        like the listed one. Raises PlateError, a DocumentError, where no plate is left of it.
        """
        normal = normalize(plate)
        return [Found(*each) for each in self._index.candidates(normal)]

    def match(
        self,
        read: Detection | Mapping[str, Any],
        at: datetime.datetime | int,
        *,
        alternates: bool = True,
    ) -> list[Match]:
        """The matches that the worker would make of a read at a time (aware, or in ms since
        1970), if it held these entries and policies; each read for itself, so none is suppressed.

        The read's alternates are tried as the worker does it where the read's header names all
        of them; without `alternates`, as where there is no header. `list_revision` is this
        snapshot's revision. Raises DocumentError where the read is not what the schema says or
        no plate is left of its plate.
        """
        at_ms = time_ms(at)
        detection = document(read, Detection, decode_detection)
        plate = normalize(detection.plate)
        index, eligibility = self._index, self._index.eligibility
        asked = None if alternates else NONE_ASKED
        candidates = candidates_of(index, detection, plate, index.candidates(plate), asked)
        return [
            build_match(
                found,
                detection,
                confidence_of(found, detection, self._misreads),
                0,
                Basis(eligibility.revision_of(detection.source), self._revision, at_ms),
            )
            for slot, found in candidates
            if index.in_force(slot, at_ms)
            and eligibility.policy_denial(slot, detection.source, detection.region) is None
            and narrowed_out(found.entry, detection) is None
        ]

    def eligible(self, source: str, at: datetime.datetime | int) -> BitMap:
        """The slots of the entries that are in force at a time (aware, or in ms since 1970) and
        that the source's policy allows; the caller's own. Regions are left aside. Without a
        policy there are none."""
        return self._index.eligible(source, time_ms(at))

    def save(self, path: str | Path) -> None:
        """Write everything into one file, which `HotListIndex.load` reads.

        It holds the hot list, so only its owner may read it (mode 0600), and no read. It is
        either written whole or not at all. Raises IndexFileError where it cannot be written.
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
    """The SHA-256, in hex, of what decides which entries are admissible."""
    bounds = [
        (code, purpose.longest_term_days, purpose.known_characters_floor)
        for code in sorted(purposes.codes)
        if (purpose := purposes.get(code)) is not None
    ]
    return hashlib.sha256(msgspec.json.encode(bounds)).hexdigest()


def document(given: D | Mapping[str, Any], kind: type[D], decode: Callable[[bytes], D]) -> D:
    """A document that is what its schema says, whoever made it; else DocumentError."""
    try:
        if isinstance(given, kind):
            return decode(encode(given))
        if isinstance(given, Mapping):
            return decode(msgspec.json.encode(dict(given)))
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # outside of the clause, so that no error chain carries the document along
    raise DocumentError("schema", rule=f"must be what JSON can say of {kind.__name__}")


def time_ms(at: datetime.datetime | int) -> int:
    """A time in ms since 1970. ValueError where it is none that documents can name."""
    if isinstance(at, datetime.datetime) and at.tzinfo is not None:
        at = (at - EPOCH) // datetime.timedelta(milliseconds=1)
    if type(at) is not int or not _FIRST_MS <= at <= _LAST_MS:
        raise ValueError("a time must be aware or whole ms since 1970, in the years 1900 to 2999")
    return at
