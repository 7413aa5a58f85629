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
from engine.documents.written_numbers import written_confidence, written_number
from engine.matching import suppression_rows as table
from engine.matching.quality import CLOSENESS, QUALITY_WIDTH, unpacked
from engine.matching.suppression_key import MATCH_WIDTH, KeyState
from engine.matching.suppression_names import (
    COUNTING_AT,
    COUNTING_BYTES,
    HEAD_AT,
    HEAD_BYTES,
    SOURCE_AT,
    SOURCE_BYTES,
    TAIL_AT,
    TAIL_BYTES,
)
from engine.matching.suppression_table import StateTable
from engine.wire.record_columns import put_text

Numbers = npt.NDArray[np.int64]

#: The texts around a match's numbers, what is behind it, those of its type; and what is before the
#: numbers of a state, and before its source.
_TEXTS: Final = (
    *('{"captured_ms":', ',"offset":', ',"suppressed":', ',"arrived_ms":'),
    *(',"match_type":"', '","confidence":', "}"),
    *sorted(CLOSENESS, key=lambda match_type: CLOSENESS[match_type]),
    *('],"suppress_s":', ',"offset":', ',"suppressed":', ',"source":'),
)
_TO_TYPE, _TO_CONFIDENCE, _END, _FIRST_TYPE = 4, 5, 6, 7
_BEFORE: Final = _FIRST_TYPE + len(CLOSENESS)
_TEXT_BYTES: Final[Bytes] = np.frombuffer("".join(_TEXTS).encode(), dtype=np.uint8)
_ENDS: Final = np.cumsum(np.array([0, *map(len, _TEXTS)], dtype=np.uint64))
#: More than a match takes, or a state besides its matches and names: all texts, and four numbers of
#: up to twenty characters.
_ROOM_BYTES: Final = len(_TEXT_BYTES) + 128
#: As many states are written at a time: what they take then stays in the processor's cache.
_STATES_A_STEP: Final = 64

# Places in arrays have no sign here: numba tests it each time, and that takes thrice the time.
_0, _1 = np.uint64(0), np.uint64(1)

_encode = msgspec.json.Encoder().encode


@inner
def _written_text(out: Bytes, to: np.uint64, number: int) -> np.uint64:
    return put_text(_TEXT_BYTES, _ENDS[number], _ENDS[number + 1] - _ENDS[number], out, to)


@inner
def _written_match(
    out: Bytes,
    to: np.uint64,
    number: int,
    captured_ms: int,
    offset: int,
    carried: int,
    arrived_ms: int,
    quality: int,
) -> np.uint64:
    """Write the match with this number in its state."""
    if number:
        out[to] = 44
        to += _1
    to = written_number(out, _written_text(out, to, 0), captured_ms)
    to = written_number(out, _written_text(out, to, 1), offset)
    to = written_number(out, _written_text(out, to, 2), carried)
    to = written_number(out, _written_text(out, to, 3), arrived_ms)
    if quality >= 0:
        to = _written_text(out, to, _TO_TYPE)
        to = _written_text(out, to, _FIRST_TYPE + quality // QUALITY_WIDTH)
        to = _written_text(out, to, _TO_CONFIDENCE)
        to = written_confidence(out, to, quality % QUALITY_WIDTH)
    return _written_text(out, to, _END)


@compiled
def _write_matches(matches: Numbers, counts: Numbers, out: Bytes, ends: Numbers) -> None:
    """Write the matches of states that follow one another, of each state so many; say where in the
    output those of each end."""
    to, at = _0, 0
    for state in range(len(counts)):
        for number in range(counts[state]):
            to = _written_match(
                out,
                to,
                number,
                matches[at],
                matches[at + 1],
                matches[at + 2],
                matches[at + 3],
                matches[at + 4],
            )
            at += MATCH_WIDTH
        ends[state] = np.int64(to)


@compiled
def _write_states(
    changed: Numbers,
    rows: Numbers,
    all_matches: Numbers,
    names: Numbers,
    texts: Bytes,
    sources: Numbers,
    source_texts: Bytes,
    out: Bytes,
    ends: Numbers,
) -> None:
    """Write the states of rows, one after the other; say where each ends."""
    to = _0
    for number in range(len(changed)):
        row, matches = rows[changed[number]], all_matches[changed[number]]
        of, source = names[row[table.NAMES]], sources[row[table.OF_SOURCE]]
        to = put_text(texts, of[HEAD_AT], of[HEAD_BYTES], out, to)
        for match in range(row[table.MATCHES]):
            at = table.PACKED_COLUMNS * match
            carried = matches[at + table.PACKED] // table.CARRIED_UNIT
            quality = matches[at + table.PACKED] % table.CARRIED_UNIT - 1
            to = _written_match(
                out,
                to,
                match,
                matches[at + table.CAPTURED],
                matches[at + table.OF_OFFSET],
                carried,
                matches[at + table.ARRIVED],
                quality,
            )
        to = written_number(out, _written_text(out, to, _BEFORE + 0), row[table.WINDOW_MS] // 1000)
        to = written_number(out, _written_text(out, to, _BEFORE + 1), row[table.COUNTED])
        to = written_number(out, _written_text(out, to, _BEFORE + 2), row[table.SUPPRESSED])
        to = _written_text(out, to, _BEFORE + 3)
        to = put_text(source_texts, source[SOURCE_AT], source[SOURCE_BYTES], out, to)
        if row[table.SUPPRESSED] != 0:
            to = put_text(texts, of[COUNTING_AT], of[COUNTING_BYTES], out, to)
        else:
            to = put_text(texts, of[TAIL_AT], of[TAIL_BYTES], out, to)
        ends[number] = np.int64(to)


def json_of_rows(states: StateTable, changed: Numbers) -> tuple[Bytes, Numbers]:
    """Return the states of rows as JSON, one after the other, and where each ends."""
    names, rows = states.names, states.rows[changed]
    of, sources = names.rows[rows[:, table.NAMES]], names.source_rows[rows[:, table.OF_SOURCE]]
    room_bytes = (
        int(rows[:, table.MATCHES].sum()) * _ROOM_BYTES
        + int(of[:, [HEAD_BYTES, TAIL_BYTES, COUNTING_BYTES]].sum())
        + int(sources[:, SOURCE_BYTES].sum())
        + len(changed) * _ROOM_BYTES
    )
    out: Bytes = np.empty(room_bytes, dtype=np.uint8)
    ends = np.zeros(len(changed), dtype=np.int64)
    _write_states(
        changed,
        states.rows,
        states.matches,
        names.rows,
        names.texts,
        names.source_rows,
        names.source_texts,
        out,
        ends,
    )
    return out[: int(ends[-1]) if len(ends) else 0].copy(), ends


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
