"""The intern table beside plain counting: what it holds, and that it holds nothing longer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.index import intern_table
from engine.index.intern_table import SharedValues

_MOST = 3
_VALUES = st.sampled_from("abcdef")


class Values(RuleBasedStateMachine):
    """Values come and go; the table has room for a few of them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(intern_table, "SHARED_VALUES", _MOST)
        self.table: SharedValues[str] = SharedValues()
        #: What each entry packed, and the value that it stands for.
        self.packed: list[tuple[Any, str]] = []

    @rule(value=_VALUES)
    def pack(self, value: str) -> None:
        numbered = {number for number, _ in self.packed if isinstance(number, int)}
        packed = self.table.pack(value)
        if packed == value:
            assert len(numbered) == _MOST, "there was no room"
            assert (value in self.table.values) is False
        self.packed.append((packed, value))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.packed:
            at = data.draw(st.integers(0, len(self.packed) - 1))
            packed, _ = self.packed.pop(at)
            self.table.release(packed)

    @rule()
    def copy(self) -> None:
        self.table = self.table.copy()

    @rule()
    def restore(self) -> None:
        restored: SharedValues[str] = SharedValues()
        packed = Counter(packed for packed, _ in self.packed)
        assert restored.restore(self.table.values.copy(), packed)
        self.table = restored

    @invariant()
    def what_was_packed_is_unpacked(self) -> None:
        for packed, value in self.packed:
            assert self.table.unpack(packed) == value

    @invariant()
    def no_value_outlives_its_entries(self) -> None:
        shared = {value for packed, value in self.packed if isinstance(packed, int)}
        assert [value for value in self.table.values if value is not None] == [
            self.table.values[number] for number in sorted(self.table._numbers.values())
        ]
        assert self.table._numbers.keys() == shared
        assert len(self.table.values) <= _MOST

    def teardown(self) -> None:
        self.patches.undo()


TestValues = Values.TestCase
