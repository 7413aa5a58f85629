"""A worker of a version that is still to come: it writes fields of which nobody knows yet, into
the suppression's states and into the audit's records.

Run as `python -m tests.kafka.newer_worker worker ...`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import orjson

from engine.audit.chain import Chain, Event
from engine.cli import main
from engine.delivery import audit_chains
from engine.documents.codec import encode
from engine.documents.model import SuppressionState
from engine.matching import suppression_states
from engine.matching.suppression_key import KeyState
from engine.matching.suppression_writer import document_of

_NEWER = {"newer_reason": "of a version to come", "newer_counts": {"lanes": [1, 2]}}


def _encode(state: SuppressionState) -> bytes:
    document = orjson.loads(encode(state)) | _NEWER
    for match in document["matches"]:
        match |= _NEWER
    return orjson.dumps(document)


def _json_of(states: Sequence[KeyState]) -> list[bytes]:
    return [_encode(document_of(state)) for state in states]


class _NewerChain(Chain):
    __slots__ = ()

    def seal_each(self, events: Iterable[Event]) -> Iterator[bytes]:
        sealed = super().seal_each(events)
        while True:
            previous, sequence = self.head, self._sequence
            value = next(sealed, None)
            if value is None:
                return
            record = orjson.loads(value) | _NEWER
            assert (record["previous_hash"], record["sequence"]) == (previous, sequence)
            del record["hash"]
            canonical = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
            self._head = hashlib.sha256(previous.encode() + canonical).hexdigest().encode()
            yield orjson.dumps(record | {"hash": self.head}, option=orjson.OPT_SORT_KEYS)


if __name__ == "__main__":
    vars(suppression_states)["json_of"] = _json_of
    vars(audit_chains)["Chain"] = _NewerChain
    main()
