"""The expected records that were not found: where to search for them again, and their report.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.audit.chain_state import ChainState, ExpectedRecord, ExpectedRecords
from engine.audit.problems import Problems


def second_look(
    expected: ExpectedRecords, chains: Mapping[str, ChainState]
) -> dict[int, tuple[int, int]]:
    """Return what must be read again: first offset and end by partition."""
    found: dict[int, tuple[int, int]] = {}
    for each in expected.lost():
        if each.has_passed:
            state = chains[each.head.chain]
            first, end = state.first_offset, max(state.last_offset, state.late_offset) + 1
            known_first, known_end = found.get(state.partition, (first, end))
            found[state.partition] = (min(first, known_first), max(end, known_end))
    return found


def report_lost(
    problems: Problems, chains: Mapping[str, ChainState], expected: ExpectedRecord
) -> None:
    """Report a record that is not there, and what names it."""
    chain, sequence, _ = expected.head
    who = (
        f"chain {expected.by} begins after this record"
        if expected.kind == "unfollowed"
        else f"checkpoint {expected.by} holds this record"
    )
    problems.add(
        expected.kind,
        f"{who}, and {_why(chains.get(chain), sequence)}",
        place=expected.place,
        chain=chain,
        sequence=sequence,
    )


def _why(state: ChainState | None, sequence: int) -> str:
    if state is None:
        return "there is no such chain"
    if sequence >= state.next:
        return f"the chain ends at sequence {state.next - 1}"
    if any(gap.first <= sequence < gap.end for gap in state.gaps):
        return "it is missing"
    return "another record is there"
