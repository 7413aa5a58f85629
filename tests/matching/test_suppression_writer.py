"""States as compiled code writes them, beside `encode` of their documents."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.documents.codec import decode_suppression, encode
from engine.documents.fields import INTEGER_MAX
from engine.documents.model import Authority
from engine.matching.quality import UNKNOWN, packed
from engine.matching.suppression_key import KeyState
from engine.matching.suppression_writer import document_of, json_of
from engine.plates.confidence import PARTS

_INTEGERS = st.integers(-INTEGER_MAX, INTEGER_MAX) | st.sampled_from(
    [0, 9, 10, 99, 100, INTEGER_MAX, -INTEGER_MAX, -1, -10]
)
_COUNTS = st.integers(0, INTEGER_MAX) | st.sampled_from([0, 9, 10, INTEGER_MAX])
_QUALITIES = st.just(UNKNOWN) | st.builds(
    packed,
    st.sampled_from(["partial", "distance", "confusable", "exact"]),
    st.integers(0, PARTS).map(lambda parts: parts / PARTS),
)
_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20) | st.sampled_from(
    ['"', "\\", "é", "\x7f", "\u2028", "😀", "source-01"]
)


@st.composite
def states(draw: st.DrawFn) -> KeyState:
    state = KeyState(draw(st.binary(max_size=16)), 0, draw(_NAMES), 0)
    for match in draw(
        st.lists(st.tuples(_INTEGERS, _COUNTS, _COUNTS, _INTEGERS, _QUALITIES), max_size=9)
    ):
        state.add(*match)
    state.counted = draw(st.integers(-1, INTEGER_MAX))
    state.window_ms = 1000 * draw(st.integers(0, 86_400))
    if draw(st.booleans()):
        state.source, state.listing = draw(_NAMES), f"{draw(st.integers(0, 2**64 - 1)):016x}"
    if draw(st.booleans()):
        state.suppressed = draw(st.integers(1, 9))
        authority = Authority(kind="case", reference=draw(_NAMES))
        state.terms = draw(_NAMES), draw(_NAMES), "stolen_vehicle", authority
    return state


@given(st.lists(states(), max_size=5), st.sampled_from([1, 50]))
def test_states_are_written_as_their_documents(some: list[KeyState], times: int) -> None:
    """Also more of them than are written at a time."""
    assert json_of(some * times) == [encode(document_of(state)) for state in some] * times


def test_each_confidence_is_read_back() -> None:
    state = KeyState(b"", 0, "E1", 0)
    state.source, state.listing = "S1", "0" * 16
    for parts in range(PARTS + 1):
        state.matches = state.matches[:0]
        state.add(1, 2, 3, 4, packed("exact", parts / PARTS))
        [json] = json_of([state])
        assert decode_suppression(json).matches[0].confidence == parts / PARTS
