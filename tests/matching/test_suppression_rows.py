"""The rows of the suppression's states, beside a list: found, added and removed in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.matching.suppression_key import KeyState
from engine.matching.suppression_rows import HOLDER, PYTHON
from engine.matching.suppression_table import StateTable

#: Few keys in few places, so that they come to lie beside each other and across the end.
_KEYS = [number.to_bytes(1) * 16 for number in range(10)]


@given(st.lists(st.tuples(st.sampled_from(_KEYS), st.integers(0, 2)), max_size=60))
def test_rows_are_found_whatever_was_removed(steps: list[tuple[bytes, int]]) -> None:
    """Each step adds the state of a key and partition, or removes it if it is there."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "SUPPRESSION_KEYS", 30)
        table = StateTable()
    held: dict[tuple[bytes, int], KeyState] = {}
    for key, partition in steps:
        state = held.pop((key, partition), None)
        if state is None:
            state = held[key, partition] = KeyState(key, partition, "E1", 0)
            table.add(state)
        else:
            table.remove(state)
        rows = {state.row for state in held.values()}
        assert len(rows) == len(held) == len(table.held)
        assert {*table.visit(1000)} == rows
        for each in _KEYS:
            row = table.row_of(each)
            of_key = {state.row for (of, _), state in held.items() if of == each}
            assert (row in of_key) if of_key else row < 0
        assert all(table.rows[row, HOLDER] == PYTHON for row in rows)


def test_states_are_visited_in_turn() -> None:
    table = StateTable()
    states = [KeyState(key, 0, "E1", 0) for key in _KEYS]
    for state in states:
        table.add(state)
    assert [[*table.visit(4)] for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    table.remove(states[3])
    assert [*table.visit(4)] == [2, 4, 5, 6]
    assert len([*table.visit(1000)]) == 9
