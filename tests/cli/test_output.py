"""`engine.cli.output`: counts with their nouns."""

from __future__ import annotations

import pytest

from engine.cli.output import counted


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 reads"), (1, "1 read"), (2, "2 reads"), (1_234_567, "1,234,567 reads")],
)
def test_a_count_has_the_noun_in_its_number(count: int, words: str) -> None:
    assert counted(count, "read") == words


def test_a_plural_of_its_own() -> None:
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(1000, "entry", "entries") == "1,000 entries"
