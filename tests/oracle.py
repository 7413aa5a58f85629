"""What must match, by brute force: the contract's rules in plain loops over plain dicts.

It shares no code with the engine and imports nothing of it, so that a mistake there is not
repeated here. It knows exact plates in plain ASCII, which is what the tests that use it
produce; everything that a rule can decide is decided here again.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, NamedTuple

import xxhash

Document = dict[str, Any]


class Expected(NamedTuple):
    """A match that must come out."""

    match_id: str
    entry_id: str
    read_id: str


def plain_plate(plate: str) -> str:
    """The normal form of an ASCII plate: its letters and digits, in upper case."""
    return "".join(char for char in plate.upper() if char.isalnum())


def match_id(entry_id: str, entry_offset: int, read_id: str) -> str:
    """xxh3-128 of entry id, revision (the offset of the entry's record) and read id."""
    parts = "\x1f".join([entry_id, str(entry_offset), read_id])
    return xxhash.xxh3_128(parts.encode("utf-8")).hexdigest()


def expected_matches(
    entry_records: Iterable[tuple[int, str, Document | None]],
    policy_records: Iterable[tuple[str, Document | None]],
    reads: Iterable[Document],
    at: datetime.datetime,
) -> set[Expected]:
    """The matches that must come out for reads that are processed at one time.

    `entry_records` are (offset, key, entry or None for a tombstone) and `policy_records`
    (key, policy or None), both in the order of their topic.
    """
    entries: dict[str, tuple[int, Document]] = {}
    for offset, key, entry in entry_records:
        entries.pop(key, None)
        if entry is not None:
            entries[key] = (offset, entry)
    policies: dict[str, Document] = {}
    for key, policy in policy_records:
        policies.pop(key, None)
        if policy is not None:
            policies[key] = policy

    # By plate, because reads times entries would take a day.
    by_plate: dict[str, list[tuple[int, Document]]] = {}
    for offset, entry in entries.values():
        by_plate.setdefault(entry["plate"], []).append((offset, entry))

    expected = set()
    for read in reads:
        for offset, entry in by_plate.get(plain_plate(read["plate"]), []):
            policy = policies.get(read["source"])
            if policy is not None and _may_match(entry, policy, read, at):
                found = match_id(entry["entry_id"], offset, read["read_id"])
                expected.add(Expected(found, entry["entry_id"], read["read_id"]))
    return expected


def _may_match(entry: Document, policy: Document, read: Document, at: datetime.datetime) -> bool:
    starts_at = entry.get("starts_at")
    if starts_at is not None and at < _time(starts_at):
        return False
    if at >= _time(entry["expires_at"]):
        return False
    if not any(_rule_allows(rule, entry) for rule in policy["rules"]):
        return False
    region = read.get("region")
    regions = policy.get("regions")
    if regions is not None and not any(_covers(allowed, region) for allowed in regions):
        return False
    listed = entry.get("region")
    if listed is None or region is None:
        return True
    return _covers(listed, region) or _covers(region, listed)


def _rule_allows(rule: Document, entry: Document) -> bool:
    agencies, purposes = rule["agencies"], rule["purposes"]
    agency_allowed = agencies == "*" or entry["agency"] in agencies
    return agency_allowed and (purposes == "*" or entry["purpose"] in purposes)


def _covers(wide: str, narrow: str | None) -> bool:
    """Whether a country or subdivision is, or contains, another."""
    if narrow is None:
        return False
    return narrow == wide or narrow.split("-")[0] == wide


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
