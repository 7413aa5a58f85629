"""Messages in the shapes that products send, as public sources show them: what comes of each.

The cases lie in tests/data/field/messages; `field_cases` says how they are written.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec
import pytest

from engine.ingest.adapters import Adapted, AdapterError
from tests.ingest.adapters.field_cases import (
    CASES,
    MESSAGES,
    Case,
    adapter_of_case,
    difference,
    expected,
    found,
    site_of,
    tables,
)

_TABLES: Final = tables()
_ALL: Final = [
    pytest.param(vendor, case, id=f"{vendor}/{case.file}")
    for vendor, table in _TABLES.items()
    for case in table.cases
]
_ONE: Final = _TABLES["openalpr"].cases[0]


def outcome_of(vendor: str, case: Case) -> Adapted | AdapterError:
    message = (MESSAGES / vendor / case.file).read_bytes()
    try:
        return adapter_of_case(vendor, case)(message, site_of(case))
    except AdapterError as error:
        return error


@pytest.mark.parametrize(("vendor", "case"), _ALL)
def test_what_comes_of_it(vendor: str, case: Case) -> None:
    outcome = outcome_of(vendor, case)
    differs = difference(expected(case), found(outcome))
    assert not differs, f"\n{differs}"
    if isinstance(outcome, Adapted):
        ids = [read.read_id for read in outcome.reads]
        assert len(set(ids)) == len(ids), "two reads of one message have one id"
        again = outcome_of(vendor, case)
        assert isinstance(again, Adapted)
        assert again.reads == outcome.reads, "sent again it gives other reads"


@pytest.mark.parametrize(("vendor", "case"), _ALL)
def test_its_shape_has_a_public_source(vendor: str, case: Case) -> None:
    address = urlsplit(case.source)
    assert address.scheme in {"http", "https"}
    assert "." in address.netloc
    assert case.product.strip()


def test_each_file_is_one_case() -> None:
    """A message in no table would never be looked at, one in two would hide one of its cases."""
    listed = [
        f"{vendor}/{name}"
        for vendor, table in _TABLES.items()
        for name in sorted(
            [
                CASES,
                *(case.file for case in table.cases),
                *{case.mapping for case in table.cases if case.mapping is not None},
            ]
        )
    ]
    lying = [path for path in MESSAGES.rglob("*") if path.is_file()]
    assert sorted(listed) == sorted(path.relative_to(MESSAGES).as_posix() for path in lying)


class TestTheRunnerItself:
    """A broken expectation fails, and says how."""

    def test_the_difference_is_shown(self) -> None:
        [read] = _ONE.reads or []
        wrong = msgspec.structs.replace(_ONE, reads=[{**read, "plate": "OTHER1"}])
        shown = difference(expected(wrong), found(outcome_of("openalpr", wrong)))
        assert '-   "plate": "OTHER1",' in shown
        assert f'+   "plate": "{read["plate"]}",' in shown

    def test_a_field_that_is_left_out_is_a_difference(self) -> None:
        [read] = _ONE.reads or []
        less = {name: value for name, value in read.items() if name != "region"}
        wrong = msgspec.structs.replace(_ONE, reads=[less])
        assert "region" in difference(expected(wrong), found(outcome_of("openalpr", wrong)))

    def test_a_site_has_no_other_fields(self) -> None:
        wrong = msgspec.structs.replace(_ONE, site={"colour": "red"})
        with pytest.raises(ValueError, match=r"site\.colour is no field of Site"):
            site_of(wrong)

    @pytest.mark.parametrize(
        "case",
        [
            msgspec.structs.replace(_ONE, reads=None),
            msgspec.structs.replace(_ONE, error={"field": "$", "rule": "must be"}),
        ],
    )
    def test_a_case_says_one_thing(self, case: Case) -> None:
        with pytest.raises(ValueError, match="has reads or an error, one of them"):
            expected(case)
