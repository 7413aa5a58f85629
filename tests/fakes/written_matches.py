"""Matches as compiled code writes them, of any texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from engine.matching.outcome import FoundMatch
from engine.matching.written_matches import COLUMNS, WrittenMatches
from tests.fakes.documents import at

_TO_ID = b'{"match_id":"'
#: Around where a length takes another byte.
_LONG = [63, 64, 4095, 8191, 8192, 70_000]
_SOME = st.binary(max_size=40) | st.sampled_from(_LONG).map(bytes)
_IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
PURPOSES = ("stolen_vehicle", "missing_person", "access")
FOUND = st.builds(
    lambda match_id, rest, key, purpose, audit, timestamp_ms: FoundMatch(
        _TO_ID + match_id.encode() + rest,
        match_id,
        at(0),
        "exact",
        key,
        purpose,
        audit,
        timestamp_ms,
    ),
    _IDS,
    _SOME,
    _SOME,
    st.sampled_from(PURPOSES),
    _SOME,
    st.integers(-1, 2**62),
)


def written(found: Sequence[FoundMatch]) -> WrittenMatches:
    """These matches, one after the other. They have one time, and are all exact."""
    rows = np.empty((len(found), COLUMNS), dtype=np.int64)
    texts: list[bytes] = []
    place = 0
    for number, each in enumerate(found):
        texts += each.value, each.audit, each.key
        value_end = place + len(each.value)
        audit_end = value_end + len(each.audit)
        key_end = audit_end + len(each.key)
        numbers = each.timestamp_ms, PURPOSES.index(each.purpose)
        rows[number] = place, place + len(_TO_ID), value_end, audit_end, key_end, *numbers
        place = key_end
    data = np.frombuffer(bytearray().join(texts), dtype=np.uint8)
    return WrittenMatches(data, rows, at(0), dict(enumerate(PURPOSES)))
