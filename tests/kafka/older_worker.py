"""A worker as version 0.1 was, as far as others see it: its match ids leave the source out, and its
suppression keys the source and what the entry lists; it writes and reads no field that came later,
and knows one protocol of the group.

Run as `python -m tests.kafka.older_worker worker ...`.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import xxhash
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from engine.cli import main
from engine.documents.codec import encode
from engine.documents.model import Entry, SuppressionState
from engine.matching import match, matcher, suppression, suppression_key, suppression_states
from engine.matching.quality import packed
from engine.matching.suppression_key import KeyState, Sighting
from engine.matching.suppression_writer import document_of
from engine.transport import consumer_thread
from tests.fakes.no_plain_reads import NoPlainReads

_LATER = ("source", "listing")
_LATER_OF_MATCH = ("match_type", "confidence")


def id_of(entry_id: str, entry_revision: int, source: str, read_id: str) -> str:
    parts = (entry_id, str(entry_revision), read_id)
    return xxhash.xxh3_128_hexdigest("\x1f".join(parts).encode())


def _key_of(entry: Entry, seen: Sighting) -> bytes:
    entry_id, camera = entry.entry_id, seen.camera
    plate = seen.plate if "?" in entry.plate else ""
    parts = f"{len(entry_id)} {len(camera)} {entry_id}{camera}{plate}"
    return xxhash.xxh3_128_digest(parts.encode())


def _encode(state: SuppressionState) -> bytes:
    document = orjson.loads(encode(state))
    for name in _LATER:
        document.pop(name, None)
    for each in document["matches"]:
        for name in _LATER_OF_MATCH:
            each.pop(name, None)
    return orjson.dumps(document)


def _json_of(states: Sequence[KeyState]) -> list[bytes]:
    return [_encode(document_of(state)) for state in states]


def _all_alike(match_type: object, confidence: object) -> int:
    return packed("exact", 0.9999)


if __name__ == "__main__":
    vars(consumer_thread)["protocols"] = lambda *_: [RoundRobinPartitionAssignor]
    vars(match)["match_id"] = id_of
    vars(suppression)["key_of"] = _key_of
    vars(suppression_states)["json_of"] = _json_of
    # What the engine puts together for plain reads is of this version.
    vars(matcher)["PlainReads"] = NoPlainReads
    vars(suppression_key)["packed"] = _all_alike
    main()
