"""`engine.control.replica`: how much of the control topics is taken in one step. What it follows,
and how, is tested on brokers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.control.replica import _some
from engine.matching.lists import ControlKind, ControlRecord


def record(offset: int, size: int | None) -> ControlRecord:
    value = None if size is None else bytes(size)
    return ControlRecord(ControlKind.ENTRY, 0, offset, 0, b"E", value)


@given(sizes=st.lists(st.none() | st.integers(0, 30), max_size=40))
def test_every_record_comes_in_some_step_and_no_step_is_long(sizes: list[int | None]) -> None:
    records = [record(offset, size) for offset, size in enumerate(sizes)]
    left = iter(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "CONTROL_RECORDS_A_STEP", 5)
        patch.setattr(limits, "CONTROL_STEP_BYTES", 60)
        steps = list(iter(lambda: _some(left), []))
    assert [one for step in steps for one in step] == records
    for step in steps[:-1]:
        assert len(step) == 5 or _size_bytes(step) >= 60
    for step in steps:
        assert len(step) <= 5
        assert _size_bytes(step[:-1]) < 60, "it ends with the one that was too much"


def _size_bytes(step: list[ControlRecord]) -> int:
    return sum(len(one.key or b"") + len(one.value or b"") for one in step)
