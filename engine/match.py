"""From a candidate to a match event: the exact check, and what a person must compare.

A candidate is a read and an entry whose plates hash alike. Here the plates are compared as
they are, the entry's narrowing is applied, and the match document is written. A match is a
lead: its verification block lists what a person compares before anybody acts.

Pure: a function of the read, the entry, the policy, their revisions and the clock.
"""

from __future__ import annotations

from functools import lru_cache

import xxhash

from engine.clock import format_time
from engine.documents import Check, Detection, Entry, Match, PolicyRef, Vehicle, Verification
from engine.fields import CheckResult
from engine.policy import region_covers, region_excludes

#: Between the parts of what a match id is the hash of.
_SEPARATOR = b"\x1f"

_VEHICLE_FIELDS = ("make", "model", "color", "type")


def match_id(entry_id: str, entry_revision: int, read_id: str) -> str:
    """The id of a match: xxh3-128 in hex of entry id, entry revision and read id.

    The same read and the same revision of an entry give the same id, however often the read
    is processed, so that a consumer can drop a duplicate.
    """
    parts = (entry_id.encode(), str(entry_revision).encode(), read_id.encode())
    return xxhash.xxh3_128_hexdigest(_SEPARATOR.join(parts))


def narrowed_out(entry: Entry, read: Detection) -> bool:
    """Whether the entry's region excludes the read. A read without a region is not excluded."""
    return region_excludes(entry.region, read.region)


def build_match(
    entry: Entry,
    entry_revision: int,
    read: Detection,
    read_plate: str,
    policy_revision: int,
    list_revision: int,
    now_ms: int,
) -> Match:
    """The match of a read and an entry; `read_plate` is the read's plate in normal form."""
    return Match(
        match_id=match_id(entry.entry_id, entry_revision, read.read_id),
        matched_at=_formatted(now_ms),
        match_type="exact",
        entry=entry,
        entry_revision=entry_revision,
        read=read,
        verification=Verification(required=True, checks=checks(entry, read, read_plate, now_ms)),
        suppressed=0,
        policy=PolicyRef(source=read.source, revision=policy_revision),
        list_revision=list_revision,
    )


def audit_fields(match: Match) -> dict[str, str | int]:
    """What the audit records of a match: for whom it was made and by what right, never the plate
    or the place."""
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
    }


def checks(entry: Entry, read: Detection, read_plate: str, now_ms: int) -> tuple[Check, ...]:
    """What a person must compare before acting on a match."""
    positions = _differing(read_plate, entry.plate)
    entry_age_s = max(0, (now_ms - entry.created_ms) // 1000)
    read_age_s = max(0, (now_ms - read.captured_ms) // 1000)
    return (
        Check(
            check="plate",
            result="differs" if positions else "same",
            read=read.plate,
            listed=entry.plate,
            positions=positions,
            text="Compare the plate in the picture with the listed one, character by character.",
        ),
        Check(
            check="region",
            result=_compare_regions(read.region, entry.region),
            read=read.region,
            listed=entry.region,
            text="Compare the region of the plate in the picture with the region as listed.",
        ),
        Check(
            check="vehicle",
            result=_compare_vehicles(read.vehicle, entry.vehicle),
            read=_describe(read.vehicle),
            listed=_describe(entry.vehicle),
            text="Compare the vehicle in the picture with the vehicle as listed.",
        ),
        Check(
            check="entry_age",
            result="unknown",
            age_s=entry_age_s,
            text="Ask the listing agency whether the entry still holds.",
        ),
        Check(
            check="read_age",
            result="unknown",
            age_s=read_age_s,
            text="Consider how long ago the read was made.",
        ),
    )


#: All matches of a fetch have one time.
_formatted = lru_cache(maxsize=1)(format_time)


def _differing(read_plate: str, listed: str) -> tuple[int, ...]:
    """The positions of the listed plate where the read one has something else."""
    if read_plate == listed:
        return ()
    return tuple(at for at, one in enumerate(listed) if read_plate[at : at + 1] != one)


def _compare(read: str | None, listed: str | None) -> CheckResult:
    if read is None or listed is None:
        return "unknown"
    return "same" if read.casefold() == listed.casefold() else "differs"


def _compare_regions(read: str | None, listed: str | None) -> CheckResult:
    """`unknown` where one only contains the other: `US` may or may not be `US-CA`."""
    if read is None or listed is None or read == listed:
        return _compare(read, listed)
    related = region_covers(read, listed) or region_covers(listed, read)
    return "unknown" if related else "differs"


def _compare_vehicles(read: Vehicle | None, listed: Vehicle | None) -> CheckResult:
    """`differs` where any field that both have differs, `unknown` where they share none."""
    if read is None or listed is None:
        return "unknown"
    results = {_compare(getattr(read, field), getattr(listed, field)) for field in _VEHICLE_FIELDS}
    if "differs" in results:
        return "differs"
    return "same" if "same" in results else "unknown"


def _describe(vehicle: Vehicle | None) -> str | None:
    if vehicle is None:
        return None
    known = [value for field in _VEHICLE_FIELDS if (value := getattr(vehicle, field)) is not None]
    return " ".join(known) or None
