"""The gaps of a chain: records that have not come yet, and those that come late.

A gap is reported if it is still open when all records are read, or if the chain has more than
AUDIT_GAPS of them. Pure.
"""

from __future__ import annotations

from engine import limits
from engine.audit.chain import SealedRecord
from engine.audit.chain_state import ChainState, Gap
from engine.audit.problems import Place, Problems


def open_gap(problems: Problems, state: ChainState, place: Place, sealed: SealedRecord) -> None:
    """Note the gap before this record, and let the chain continue with it."""
    if len(state.gaps) == limits.AUDIT_GAPS:
        report_gap(problems, sealed.chain, state.gaps.pop(0))
    state.gaps.append(Gap(state.next, sealed.sequence, state.heads, sealed.previous_hash, place))
    state.next = sealed.sequence


def report_gap(problems: Problems, chain: str, gap: Gap) -> None:
    """Report that the records of a gap are missing."""
    count = gap.end - gap.first
    which = f"{gap.first} is" if count == 1 else f"{gap.first} to {gap.end - 1} are"
    problems.add(
        "missing",
        f"{which} missing before this record",
        place=gap.after,
        chain=chain,
        sequence=gap.first,
    )


def fill_gap(problems: Problems, state: ChainState, place: Place, sealed: SealedRecord) -> bool:
    """Put a record whose sequence has passed into its gap; return False if it has none."""
    for gap in state.gaps:
        if gap.first <= sealed.sequence < gap.end:
            _fill(problems, state, gap, place, sealed)
            return True
    return False


def _fill(
    problems: Problems, state: ChainState, gap: Gap, place: Place, sealed: SealedRecord
) -> None:
    chain, sequence = sealed.chain, sealed.sequence
    if not gap.is_late or sequence != gap.first:
        what = f"it comes after a later record of its chain, at offset {gap.after.offset}"
        problems.add("reordered", what, place=place, chain=chain, sequence=sequence)
    if (sequence == gap.first and sealed.previous_hash not in gap.heads) or (
        sequence == gap.end - 1 and sealed.hash != gap.previous
    ):
        what = "its hashes are not those that the records beside it name"
        problems.add("broken_link", what, place=place, chain=chain, sequence=sequence)
    state.recent.add(sealed.hash)
    at = state.gaps.index(gap)
    left = Gap(gap.first, sequence, gap.heads, sealed.previous_hash, place, gap.is_late)
    right = Gap(sequence + 1, gap.end, (sealed.hash,), gap.previous, gap.after, True)
    state.gaps[at : at + 1] = [part for part in (left, right) if part.first < part.end]
    if len(state.gaps) > limits.AUDIT_GAPS:
        report_gap(problems, chain, state.gaps.pop(0))
