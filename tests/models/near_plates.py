"""Plates that are like each other in all ways at once, for Hypothesis: short, of few characters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

#: Two groups of look-alikes, a letter of neither, and one that is not ASCII.
_ALPHABET = "0OQ1IAÜ"
_ALIKE = {"0": "OQ", "O": "0Q", "Q": "0O", "1": "I", "I": "1"}
_CHARACTERS = st.sampled_from(_ALPHABET)

#: As entries list them.
LISTED_PLATES = st.text(_ALPHABET + "?", min_size=1, max_size=5)


def misread(draw: Draw, listed: str) -> str:
    """A plate in normal form that is mostly like a listed one."""
    plate = [draw(_CHARACTERS) if char == "?" else char for char in listed]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        place = draw(st.integers(0, len(plate) - 1))
        seen = {
            "alike": [draw(st.sampled_from(_ALIKE.get(plate[place], plate[place])))],
            "another": [draw(_CHARACTERS)],
            "missing": [],
            "added": [draw(_CHARACTERS), plate[place]],
        }[draw(st.sampled_from(["alike", "alike", "another", "missing", "added"]))]
        if seen or len(plate) > 1:
            plate[place : place + 1] = seen
    return "".join(plate)
