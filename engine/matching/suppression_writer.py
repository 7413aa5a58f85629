"""States of the suppression as JSON, their matches written by compiled code.

What is written is what `encode` writes of a state's document, byte for byte; a test compares the
two. A state that has many matches costs hardly more than one that has few. The few states with a
count of suppressed reads, and those of version 0.1, are left to `encode`.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import compiled, inner
from engine.documents.codec import encode
from engine.documents.model import RecentMatch, SuppressionState
from engine.matching.quality import CLOSENESS, QUALITY_WIDTH, unpacked
from engine.matching.suppression_key import MATCH_WIDTH, KeyState
from engine.matching.written_numbers import written_confidence, written_number

Numbers = npt.NDArray[np.int64]

#: The texts around a match's numbers, those of its type, and what is behind it.
_TEXTS: Final = (
    *('{"captured_ms":', ',"offset":', ',"suppressed":', ',"arrived_ms":'),
    *(',"match_type":"', '","confidence":', "}"),
    *sorted(CLOSENESS, key=lambda match_type: CLOSENESS[match_type]),
)
_TO_TYPE, _TO_CONFIDENCE, _END, _FIRST_TYPE = 4, 5, 6, 7
_TEXT_BYTES: Final[Bytes] = np.frombuffer("".join(_TEXTS).encode(), dtype=np.uint8)
_ENDS: Final = np.cumsum(np.array([0, *map(len, _TEXTS)], dtype=np.uint64))
#: More than a match takes: all texts, and four numbers of up to twenty characters.
_ROOM_BYTES: Final = len(_TEXT_BYTES) + 128
#: As many states are written at a time: what they take then stays in the processor's cache.
_STATES_A_STEP: Final = 64

# Places in arrays have no sign here: numba tests it each time, and that takes thrice the time.
_0, _1 = np.uint64(0), np.uint64(1)

_encode = msgspec.json.Encoder().encode


@inner
def _written_text(out: Bytes, to: np.uint64, number: int) -> np.uint64:
    at, end = _ENDS[number], _ENDS[number + 1]
    while at < end:
        out[to] = _TEXT_BYTES[at]
        at += _1
        to += _1
    return to


@compiled
def _write_matches(matches: Numbers, counts: Numbers, out: Bytes, ends: Numbers) -> None:
    """Write the matches of states that follow one another, of each state so many; say where in the
    output those of each end."""
    to, at = _0, 0
    for state in range(len(counts)):
        for number in range(counts[state]):
            if number:
                out[to] = 44
                to += _1
            for field in range(4):
                to = _written_text(out, to, field)
                to = written_number(out, to, matches[at + field])
            quality = matches[at + 4]
            if quality >= 0:
                to = _written_text(out, to, _TO_TYPE)
                to = _written_text(out, to, _FIRST_TYPE + quality // QUALITY_WIDTH)
                to = _written_text(out, to, _TO_CONFIDENCE)
                to = written_confidence(out, to, quality % QUALITY_WIDTH)
            to = _written_text(out, to, _END)
            at += MATCH_WIDTH
        ends[state] = np.int64(to)


def document_of(state: KeyState) -> SuppressionState:
    """Return the document for the changelog."""
    matches = state.matches
    counting = state.terms if state.suppressed else None
    list_id, agency, purpose, authority = counting or (None, None, None, None)
    return SuppressionState(
        entry_id=state.entry_id,
        matches=tuple(
            [
                _recent_match(*matches[at : at + MATCH_WIDTH])
                for at in range(0, len(matches), MATCH_WIDTH)
            ]
        ),
        suppress_s=state.window_ms // 1000,
        offset=state.counted,
        suppressed=state.suppressed,
        source=state.source,
        listing=state.listing,
        list_id=list_id,
        agency=agency,
        purpose=purpose,
        authority=authority,
    )


def _recent_match(
    captured_ms: int, offset: int, carried: int, arrived_ms: int, quality: int
) -> RecentMatch:
    match_type, confidence = unpacked(quality)
    return RecentMatch(captured_ms, offset, carried, arrived_ms, match_type, confidence)


def json_of(states: Sequence[KeyState]) -> list[bytes]:
    """Return the states as JSON."""
    sources = {source: _text(source) for state in states if (source := state.source) is not None}
    found: list[bytes] = []
    for at in range(0, len(states), _STATES_A_STEP):
        found += _json_of(states[at : at + _STATES_A_STEP], sources)
    return found


def _json_of(states: Sequence[KeyState], sources: Mapping[str, str]) -> Iterator[bytes]:
    matches = np.frombuffer(b"".join([state.matches for state in states]), dtype=np.int64)
    counts = np.array([len(state.matches) for state in states], dtype=np.int64) // MATCH_WIDTH
    out: Bytes = np.empty(len(matches) // MATCH_WIDTH * _ROOM_BYTES, dtype=np.uint8)
    ends = np.zeros(len(states), dtype=np.int64)
    _write_matches(matches, counts, out, ends)
    text = out[: ends[-1]].tobytes().decode("ascii")
    begin = 0
    for state, end in zip(states, ends.tolist(), strict=True):
        source, listing = state.source, state.listing
        if state.suppressed or source is None or listing is None:
            yield encode(document_of(state))
        else:
            json = (
                f'{{"entry_id":{_text(state.entry_id)},"matches":[{text[begin:end]}],'
                f'"suppress_s":{state.window_ms // 1000},"offset":{state.counted},'
                f'"suppressed":0,"source":{sources[source]},"listing":"{listing}"}}'
            )
            yield json.encode()
        begin = end


def _text(text: str) -> str:
    return _encode(text).decode()
