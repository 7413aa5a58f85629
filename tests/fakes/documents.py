"""Small documents of every kind that the engine takes in, with what a test wants different."""

from __future__ import annotations

import json
from typing import Any

from engine.clock import format_time
from engine.documents.codec import decode_detection, decode_entry, decode_policy
from engine.documents.model import Detection, Entry, Match, Policy
from engine.matching.candidates import Found
from engine.matching.match import Basis, build_match
from engine.matching.quality import Quality
from engine.matching.suppression_key import Sighting
from engine.plates.likeness import Likeness
from engine.plates.normal_form import normalize

#: When these tests take place.
NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000

Json = dict[str, Any]


def at(offset_ms: int) -> str:
    """The time so long after NOW_MS, as documents write it."""
    return format_time(NOW_MS + offset_ms)


def entry_json(**fields: Any) -> Json:
    """An entry that is admissible and active; a field given as None is left out."""
    return _without_none(
        {
            "entry_id": "E1",
            "list_id": "L1",
            "plate": "ABC123",
            "agency": "AG1",
            "purpose": "stolen_vehicle",
            "authority": {"kind": "case", "reference": "2026-1"},
            "requested_by": "officer.one",
            "created_at": at(-DAY_MS),
            "expires_at": at(DAY_MS),
        }
        | fields
    )


def policy_json(**fields: Any) -> Json:
    """A policy that allows all."""
    return _without_none(
        {
            "source": "S1",
            "rules": [{"agencies": "*", "purposes": "*"}],
            "updated_by": "admin.one",
            "updated_at": at(-DAY_MS),
        }
        | fields
    )


def detection_json(**fields: Any) -> Json:
    """A read with nothing but what is required."""
    return _without_none(
        {
            "read_id": "R1",
            "plate": "ABC-123",
            "captured_at": at(-1_500),
            "source": "S1",
            "camera": "C1",
        }
        | fields
    )


def entry(**fields: Any) -> Entry:
    """As `entry_json`, typed."""
    return decode_entry(as_bytes(entry_json(**fields)))


def policy(**fields: Any) -> Policy:
    """As `policy_json`, typed."""
    return decode_policy(as_bytes(policy_json(**fields)))


def detection(**fields: Any) -> Detection:
    """As `detection_json`, typed."""
    return decode_detection(as_bytes(detection_json(**fields)))


def sighting(**fields: Any) -> Sighting:
    """A read of ABC123 at S1's camera C1, at NOW_MS in partition 0, for the suppression."""
    match_type = fields.pop("match_type", "exact")
    confidence = fields.pop("confidence", 0.99)
    usual: dict[str, Any] = {
        "plate": "ABC123",
        "source": "S1",
        "camera": "C1",
        "captured_ms": NOW_MS,
    }
    usual |= {"arrived_ms": NOW_MS, "partition": 0, "offset": 0}
    return Sighting(**usual | fields, quality=Quality(match_type, lambda: confidence))


def exact_match(listed: Entry, read: Detection) -> Match:
    """The match of an entry, revision 17, with a read of its plate: list revision 20, policy
    revision 4."""
    found = Found(listed, 17, Likeness("exact"), normalize(read.plate))
    return build_match(found, read, 0.99, 0, Basis(4, 20, NOW_MS, read.captured_ms))


def as_bytes(document: Any) -> bytes:
    """JSON as producers write it."""
    return json.dumps(document).encode()


def _without_none(document: Json) -> Json:
    return {name: value for name, value in document.items() if value is not None}
