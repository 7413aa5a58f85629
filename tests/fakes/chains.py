"""Chains of audit records laid out on a topic in memory, for tests that tamper with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.audit.chain import Chain
from engine.audit.problems import Problem
from engine.audit.verifier import Verifier
from engine.wire.record_batch import Record

TOPIC = "t"
NOON_MS = 1_769_860_800_000

#: What a match says of itself.
MATCH: Mapping[str, str | int] = {
    "match_id": "6e2faea889dd78428feceeebc2b7e389",
    "entry_id": "sv-1",
    "entry_revision": 12,
    "agency": "city-police",
    "purpose": "stolen_vehicle",
    "authority": "case 2026-000123",
    "list_id": "stolen",
    "list_revision": 13,
    "source": "tolls",
    "policy_revision": 4,
    "match_type": "exact",
}

#: Key and value of a record.
KeyValue = tuple[bytes | None, bytes | None]
#: What lies in each partition, in order.
Partitions = list[list[KeyValue]]


def hash_by_hand(record: Mapping[str, Any]) -> str:
    """The hash of a record as anybody can compute it."""
    content = {name: value for name, value in record.items() if name != "hash"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256((record["previous_hash"] + canonical).encode()).hexdigest()


def resealed(value: bytes, **changes: Any) -> bytes:
    """The record with other content, and with the hash that this has."""
    record = json.loads(value) | changes
    return to_json(record | {"hash": hash_by_hand(record)})


def changed(value: bytes, **changes: Any) -> bytes:
    """The record with other content, and with its old hash."""
    return to_json(json.loads(value) | changes)


def to_json(record: Mapping[str, Any]) -> bytes:
    """Canonical JSON."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sealed(chain: Chain, count: int, **fields: str | int) -> list[KeyValue]:
    """The chain's next records."""
    return [
        (chain.id.encode(), chain.seal("match", {**MATCH, **fields}, NOON_MS + number))
        for number in range(count)
    ]


def follows(chain: Chain) -> dict[str, str | int]:
    """What the first record of a later chain says of this one's last."""
    return {
        "follows_chain": chain.id,
        "follows_sequence": chain.sequence - 1,
        "follows_hash": chain.head,
    }


def as_records(partition: Sequence[KeyValue]) -> list[Record]:
    """A partition's records with their offsets, as they are read."""
    return [
        Record(offset, NOON_MS, key, value, ()) for offset, (key, value) in enumerate(partition)
    ]


def verified(partitions: Partitions, expected: Verifier | None = None) -> Verifier:
    """The account of a verifier that has read these partitions, one after the other.

    `expected` is one that has read them before; that all its heads are still there is asked.
    """
    verifier = Verifier(TOPIC)
    if expected is not None:
        verifier.trust("checkpoint.json", expected.heads(), is_complete=False)
    for number, partition in enumerate(partitions):
        verifier.begins(number, 0)
        verifier.take(number, as_records(partition))
    for number, (first, end) in verifier.second_look().items():
        verifier.look_again(as_records(partitions[number])[first:end])
    verifier.finish()
    return verifier


def lines(problems: Iterable[Problem]) -> list[str]:
    """The problems as they are shown."""
    return [str(problem) for problem in problems]
