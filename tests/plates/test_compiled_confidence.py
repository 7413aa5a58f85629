"""The compiled confidence of an exact match beside the one in Python."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.plates.compiled_confidence import NOT_KNOWN, ScaleTables, exact_parts
from engine.plates.confidence import PARTS, exact_confidence
from engine.plates.misreads import Misreads
from tests.models.confidence_oracle import KNOWN, ConfidenceOracle

SHIPPED = Misreads.load()
#: Steps of a scale are 3%; see `misread_model`.
HALF_A_STEP = 1.03**0.5
OTHERS = [
    {"missing_rate": 0.3, "added_rate": 0.2, "plate_density": 0.9},
    {"missing_rate": 0.0, "added_rate": 0.0, "plate_density": 1e-9},
    {"counts": {}, "other_length_share": 1.0},
    {"counts": {"A": {"A": 1, "4": 1_000_000}}},
]


def compiled(tables: ScaleTables, plate: str, stated: int, decimals: int) -> int:
    data = np.frombuffer(b"<" + plate.encode(), dtype=np.uint8)
    return exact_parts(data, 1, len(plate), stated, decimals, *tables.tables)


def in_python(misreads: Misreads, plate: str, stated: int, decimals: int) -> float:
    confidence = None if stated < 0 else stated / 10**decimals
    return exact_confidence(plate, misreads.rates.loss(plate), confidence, misreads)


@pytest.mark.parametrize("changes", [{}, *OTHERS], ids=str)
def test_it_is_that_of_python_wherever_it_is_known(changes: dict[str, Any]) -> None:
    misreads = Misreads(msgspec.structs.replace(SHIPPED.table, **changes))
    tables = ScaleTables(misreads)
    draw = random.Random(7)
    known = 0
    for number in range(4_000):
        plate = "".join(draw.choices(KNOWN, k=draw.randint(1, 16)))
        decimals = draw.randint(0, 9)
        stated = draw.choice([-1, draw.randint(0, 10**decimals), 10**decimals - 1, 10**decimals])
        expected = in_python(misreads, plate, stated, decimals)
        if number > 2_000:
            tables.take_over()
        found = compiled(tables, plate, stated, decimals)
        assert found in (NOT_KNOWN, round(expected * PARTS))
        assert number > 2_000 or found == NOT_KNOWN
        known += found != NOT_KNOWN
        if found != NOT_KNOWN:
            assert found / PARTS == expected
    assert known > 1_990


@pytest.mark.parametrize("changes", [{}, *OTHERS], ids=str)
@given(
    plate=st.text(KNOWN, min_size=1, max_size=16),
    stated=st.none() | st.integers(0, 10_000),
)
def test_it_is_that_of_an_oracle_that_shares_no_code(
    changes: dict[str, Any], plate: str, stated: int | None
) -> None:
    misreads = Misreads(msgspec.structs.replace(SHIPPED.table, **changes))
    tables, given = ScaleTables(misreads), -1 if stated is None else stated
    in_python(misreads, plate, given, 4)
    tables.take_over()
    found = compiled(tables, plate, given, 4)
    assume(found != NOT_KNOWN)
    scale = 1.0
    if stated is not None:
        scale = ConfidenceOracle(misreads, 1.0).scaled_to(plate, stated / 10_000)
    # A scale lies on a ladder: half a step of 3% to the side at the most.
    aside = 1.0 if stated is None else HALF_A_STEP
    most, least = (
        min(max(ConfidenceOracle(misreads, each).confidence(plate, plate), 0.0001), 0.9999)
        for each in (scale / aside, scale * aside)
    )
    assert least * PARTS - 0.51 <= found <= most * PARTS + 0.51


@given(
    plate=st.text(KNOWN, min_size=1, max_size=16),
    stated=st.integers(-1, 10**15 - 1),
    decimals=st.integers(0, 15),
)
def test_no_number_that_a_read_may_state_goes_wrong(plate: str, stated: int, decimals: int) -> None:
    tables = ScaleTables(SHIPPED)
    expected = in_python(SHIPPED, plate, stated, decimals)
    tables.take_over()
    assert compiled(tables, plate, stated, decimals) in (NOT_KNOWN, round(expected * PARTS))


def test_a_scale_is_taken_over_when_python_has_computed_it() -> None:
    misreads = Misreads(SHIPPED.table)
    tables = ScaleTables(misreads)
    tables.take_over()
    assert compiled(tables, "ABC123", 87, 2) == NOT_KNOWN
    expected = in_python(misreads, "ABC123", 87, 2)
    assert compiled(tables, "ABC123", 87, 2) == NOT_KNOWN
    tables.take_over()
    assert compiled(tables, "ABC123", 87, 2) == round(expected * PARTS)
