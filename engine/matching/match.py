"""From a read and an entry that match to the match event.

Whether the two match has been decided before (`likeness`, `eligibility`, `conditions`).

Pure: a function of the read, the entry, the policy, their revisions and the clock.
"""

from __future__ import annotations

from functools import lru_cache

import xxhash

from engine.clock import format_time
from engine.documents.model import Detection, Match, PolicyRef, Verification
from engine.matching.candidates import Found
from engine.matching.verification import checks
from engine.plates.confidence import confidence
from engine.plates.misreads import Misreads

#: Separates the parts that are hashed into a match id.
_SEPARATOR = b"\x1f"
#: All matches of a fetch have one time.
_formatted = lru_cache(maxsize=1)(format_time)


def match_id(entry_id: str, entry_revision: int, read_id: str) -> str:
    """Return the id of a match: xxh3-128 in hex of entry id, entry revision and read id.

    The same read and the same revision of an entry give the same id, however often the read
    is processed, so that a consumer can drop a duplicate.
    """
    parts = (entry_id.encode(), str(entry_revision).encode(), read_id.encode())
    return xxhash.xxh3_128_hexdigest(_SEPARATOR.join(parts))


def match_of(
    found: Found,
    read: Detection,
    misreads: Misreads,
    suppressed: int,
    policy_revision: int,
    list_revision: int,
    now_ms: int,
) -> Match:
    """The match of a read and an entry that may match, with its confidence."""
    stated = read.confidence if found.alternate is None else found.alternate.confidence
    sure = confidence(found.likeness, found.entry.plate, found.plate, stated, misreads)
    return build_match(found, read, sure, suppressed, policy_revision, list_revision, now_ms)


def build_match(
    found: Found,
    read: Detection,
    confidence: float,
    suppressed: int,
    policy_revision: int,
    list_revision: int,
    now_ms: int,
) -> Match:
    """Build the match of a read and an entry."""
    entry = found.entry
    return Match(
        match_id=match_id(entry.entry_id, found.revision, read.read_id),
        matched_at=_formatted(now_ms),
        match_type=found.likeness.match_type,
        confidence=confidence,
        alternate=found.alternate,
        entry=entry,
        entry_revision=found.revision,
        read=read,
        verification=Verification(required=True, checks=checks(found, read, now_ms)),
        suppressed=suppressed,
        policy=PolicyRef(source=read.source, revision=policy_revision),
        list_revision=list_revision,
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
