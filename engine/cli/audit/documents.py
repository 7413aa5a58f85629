"""Findings of `audit verify` as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.audit.problems import Place, Problem


def problem_document(problem: Problem) -> dict[str, object]:
    """Return a problem with its place."""
    return {
        "problem": problem.kind,
        **place_fields(problem.place),
        "chain": problem.chain,
        "sequence": problem.sequence,
        "what": problem.what,
    }


def place_fields(place: Place | None) -> dict[str, object]:
    """Return a place's fields; null for an unknown place."""
    return {
        "topic": None if place is None else place.topic,
        "partition": None if place is None else place.partition,
        "offset": None if place is None else place.offset,
    }
