"""The rules for entries: one clear error for each way to break them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.documents import Authority, Entry
from engine.errors import RuleError
from engine.rules import Purpose, Purposes, check_entry

PURPOSES = Purposes(
    [
        Purpose("theft", "Theft"),
        Purpose("gate", "Gate", longest_term_days=10, known_characters_floor=6),
    ]
)
ENTRY = Entry(
    entry_id="e-1",
    list_id="list",
    plate="ABC123",
    agency="agency",
    purpose="theft",
    authority=Authority(kind="case", reference="1"),
    requested_by="someone",
    created_at="2026-01-01T00:00:00.000Z",
    expires_at="2026-02-01T00:00:00.000Z",
)


def entry(**changes: Any) -> Entry:
    return msgspec.structs.replace(ENTRY, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"plate": "AB?1?3"},
        {"plate": "AB12"},
        {"plate": "?AB12?"},
        {"plate": "京A·12345".replace("·", "")},
        {"purpose": "gate", "expires_at": "2026-01-11T00:00:00Z"},
        {"expires_at": "2027-01-01T00:00:00Z"},  # 365 days to the millisecond
        {"expires_at": "2026-01-01T00:00:00.001Z"},
        {"starts_at": "2026-01-31T23:59:59.999Z"},
        {"starts_at": "2025-01-01T00:00:00Z"},  # before it was made: at once
        {"created_at": "2001-01-01T00:00:00Z", "expires_at": "2001-02-01T00:00:00Z"},  # long over
    ],
)
def test_admissible(changes: dict[str, Any]) -> None:
    check_entry(entry(**changes), PURPOSES)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"purpose": "curiosity"},
            "purpose 'curiosity': is not in the purposes file, which has theft, gate",
        ),
        ({"plate": "abc-123"}, "plate 'abc-123': must be in normal form, which is ABC123"),
        ({"plate": "АВ1234"}, "plate 'АВ1234': must be in normal form, which is AB1234"),
        (
            {"plate": "ab?123"},
            (
                "plate 'ab?123': must be in normal form: capital letters and digits, "
                "and ? for one unknown character"
            ),
        ),
        (
            {"plate": "---"},
            (
                "plate '---': must be in normal form: capital letters and digits, "
                "and ? for one unknown character"
            ),
        ),
        ({"plate": "ABC"}, "plate 'ABC': must have at least 4 known characters for theft, not 3"),
        (
            {"plate": "A?C?1?"},
            "plate 'A?C?1?': must have at least 4 known characters for theft, not 3",
        ),
        (
            {"plate": "????????"},
            "plate '????????': must have at least 4 known characters for theft, not 0",
        ),
        (
            {"plate": "ABC12", "purpose": "gate"},
            "plate 'ABC12': must have at least 6 known characters for gate, not 5",
        ),
        (
            {"expires_at": "2026-01-01T00:00:00.000Z"},
            (
                "expires_at '2026-01-01T00:00:00.000Z': must be after created_at, "
                "2026-01-01T00:00:00.000Z"
            ),
        ),
        (
            {"expires_at": "2025-12-31T23:59:59.999Z"},
            (
                "expires_at '2025-12-31T23:59:59.999Z': must be after created_at, "
                "2026-01-01T00:00:00.000Z"
            ),
        ),
        (
            {"expires_at": "2027-01-01T00:00:00.001Z"},
            (
                "expires_at '2027-01-01T00:00:00.001Z': must be at most 365 days after created_at, "
                "2026-01-01T00:00:00.000Z, for theft"
            ),
        ),
        (
            {"purpose": "gate", "expires_at": "2026-01-11T00:00:00.001Z"},
            (
                "expires_at '2026-01-11T00:00:00.001Z': must be at most 10 days after created_at, "
                "2026-01-01T00:00:00.000Z, for gate"
            ),
        ),
        (
            {"starts_at": "2026-02-01T00:00:00.000Z"},
            (
                "starts_at '2026-02-01T00:00:00.000Z': must be before expires_at, "
                "2026-02-01T00:00:00.000Z"
            ),
        ),
    ],
)
def test_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(RuleError) as caught:
        check_entry(entry(**changes), PURPOSES)
    error = caught.value
    assert str(error) == text
    assert error.value == changes.get(error.field)
    assert text == f"{error.field} {error.value!r}: {error.rule}"


def test_an_entry_that_breaks_several_rules_gives_one_error() -> None:
    bad = entry(purpose="curiosity", plate="a", expires_at="2020-01-01T00:00:00Z")
    with pytest.raises(RuleError, match=r"^purpose "):
        check_entry(bad, PURPOSES)
