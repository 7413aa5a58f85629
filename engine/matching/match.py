"""From a read and an entry that match to the match event.

Whether the two match has been decided before (`likeness`, `eligibility`, `conditions`).

Pure: a function of the read, the entry, the policy, their revisions and the clock.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec
import orjson
import xxhash

from engine.clock import format_time
from engine.documents.codec import encode
from engine.documents.droppable import Dropped
from engine.documents.model import Detection, Match, PolicyRef, Verification
from engine.matching.candidates import Found
from engine.matching.outcome import FoundMatch
from engine.matching.verification import checks
from engine.plates.confidence import confidence
from engine.plates.misreads import Misreads
from engine.wire.trace_context import TraceContext

#: Separates the parts that are hashed into a match id. A source may contain it; there it becomes
#: the byte 0xFF, which no UTF-8 text has. No entry id contains it, and nothing follows the read id.
_SEPARATOR: Final = "\x1f"
_SEPARATOR_IN_SOURCE: Final = b"\xff".decode("utf-8", "surrogateescape")
#: All matches of a fetch have one time.
_formatted = lru_cache(maxsize=1)(format_time)


class Basis(msgspec.Struct, frozen=True, gc=False):
    """What all matches of a read rest on besides the read: two revisions, two times, the dropped.

    `now_ms` is the worker's clock and `captured_ms` the read's own time.
    """

    policy_revision: int
    list_revision: int
    now_ms: int
    captured_ms: int
    dropped: tuple[Dropped, ...] = ()


def match_id(entry_id: str, entry_revision: int, source: str, read_id: str) -> str:
    """Return the id of a match: xxh3-128 in hex of entry id, entry revision, source and read id.

    A read id is unique within its source only. The same read and the same revision of an entry
    give the same id, however often the read is processed, so that a consumer can drop a duplicate.
    """
    source = source.replace(_SEPARATOR, _SEPARATOR_IN_SOURCE)
    parts = f"{entry_id}{_SEPARATOR}{entry_revision}{_SEPARATOR}{source}{_SEPARATOR}{read_id}"
    return xxhash.xxh3_128_hexdigest(parts.encode("utf-8", "surrogateescape"))


def id_part(*texts: object) -> bytes:
    """Return some of the parts of a match id as they are hashed, with a further one behind them."""
    return "".join([f"{text}{_SEPARATOR}" for text in texts]).encode()


def match_id_of(entry: bytes, source: bytes, read_id: bytes) -> str:
    """Do as `match_id` does, for the `id_part` of an entry's id and revision and that of a source
    without control characters."""
    return xxhash.xxh3_128_hexdigest(b"".join((entry, source, read_id)))


def confidence_of(found: Found, read: Detection, misreads: Misreads) -> float:
    """Return the confidence of the match of a read and an entry, from 0 to 1 with four digits."""
    stated = read.confidence if found.alternate is None else found.alternate.confidence
    if not (found.plate.isascii() and found.entry.plate.isascii()):
        misreads = misreads.in_region(found.entry.region or read.region)
    return confidence(found.likeness, found.entry.plate, found.plate, stated, misreads)


def build_match(
    found: Found,
    read: Detection,
    confidence: float,
    suppressed: int,
    basis: Basis,
) -> Match:
    """Build the match of an entry and a read."""
    entry = found.entry
    return Match(
        match_id=match_id(entry.entry_id, found.revision, read.source, read.read_id),
        matched_at=_formatted(basis.now_ms),
        match_type=found.likeness.match_type,
        confidence=confidence,
        alternate=found.alternate,
        entry=entry,
        entry_revision=found.revision,
        read=read,
        verification=Verification(
            required=True,
            checks=checks(found, read, basis.captured_ms, basis.now_ms, basis.dropped),
        ),
        suppressed=suppressed,
        policy=PolicyRef(source=read.source, revision=basis.policy_revision),
        list_revision=basis.list_revision,
    )


def found_match(match: Match, timestamp_ms: int, trace: TraceContext | None = None) -> FoundMatch:
    """Write a match for delivery; see FoundMatch."""
    entry = match.entry
    return FoundMatch(
        value=encode(match),
        match_id=match.match_id,
        matched_at=match.matched_at,
        match_type=match.match_type,
        key=entry.entry_id.encode(),
        purpose=entry.purpose,
        audit=orjson.dumps(audit_fields(match), option=orjson.OPT_SORT_KEYS),
        timestamp_ms=timestamp_ms,
        trace=trace,
    )


def audit_fields(match: Match) -> dict[str, str | int]:
    """Return what the audit records of a match.

    It names the agency, the purpose and the authority, never the plate or the place.
    """
    entry = match.entry
    authority = entry.authority
    return {
        "match_id": match.match_id,
        "match_type": match.match_type,
        "entry_id": entry.entry_id,
        "entry_revision": match.entry_revision,
        "list_id": entry.list_id,
        "list_revision": match.list_revision,
        "agency": entry.agency,
        "purpose": entry.purpose,
        "authority": f"{authority.kind} {authority.reference}",
        "source": match.policy.source,
        "policy_revision": match.policy.revision,
        "suppressed": match.suppressed,
    }
