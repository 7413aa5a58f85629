"""Who may match on a source's reads, for the whole list at once, in milliseconds.

The engine's `Eligibility` (roaring bitmaps), the same with pyroaring alone, and with Python sets.
Half of all entries are in force, and the source allows half of the agencies.
"""

from __future__ import annotations

from pyroaring import BitMap

from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.micro.timing import warm_s
from engine.documents.model import Policy, Rule
from engine.index.eligibility import Eligibility

_AGENCIES = 20
_GOES = 5


def measure(sizes: tuple[int, ...]) -> list[MeasuredCase]:
    """A case for each structure and length."""
    return [case for entries in sizes for case in _of_size(entries)]


def _of_size(entries: int) -> list[MeasuredCase]:
    slots = [list(range(agency, entries, _AGENCIES)) for agency in range(_AGENCIES)]
    names = [f"AG{agency:04d}" for agency in range(_AGENCIES)]
    in_force = range(entries // 2)
    policy = Policy(
        source="here",
        rules=(Rule(agencies=tuple(names[::2]), purposes="*"),),
        updated_by="benchmark",
        updated_at="2024-05-01T00:00:00.000Z",
    )
    eligibility = Eligibility()
    for name, of_agency in zip(names, slots, strict=True):
        eligibility.file(of_agency, (name, "stolen_vehicle"))
    eligibility.set_policy(policy, 0)
    eligibility.active.update(in_force)
    bitmaps = [BitMap(of_agency) for of_agency in slots[::2]]
    bitmap_active = BitMap(in_force)
    bitmap_allowed = BitMap.union(*bitmaps)
    sets = [set(of_agency) for of_agency in slots[::2]]
    set_active = set(in_force)
    set_allowed = set[int]().union(*sets)
    wanted = set_allowed & set_active
    assert set(eligibility.eligible("here")) == wanted
    assert set(bitmap_allowed & bitmap_active) == wanted

    def change_policy() -> None:
        eligibility.set_policy(policy, 0)
        eligibility.denial(0, "here", None)

    return [
        _case(
            f"engine's eligibility, {entries:,}",
            warm_s(lambda: eligibility.eligible("here"), _GOES),
            warm_s(change_policy, _GOES),
        ),
        _case(
            f"pyroaring, {entries:,}",
            warm_s(lambda: bitmap_allowed & bitmap_active, _GOES),
            warm_s(lambda: BitMap.union(*bitmaps), _GOES),
        ),
        _case(
            f"set, {entries:,}",
            warm_s(lambda: set_allowed & set_active, _GOES),
            warm_s(lambda: set[int]().union(*sets), _GOES),
        ),
    ]


def _case(name: str, eligible_s: float, policy_s: float) -> MeasuredCase:
    return MeasuredCase(
        case=name,
        figures=[
            Figure(name="who may match now", unit="ms", values=[eligible_s * 1e3]),
            Figure(name="a policy changes", unit="ms", values=[policy_s * 1e3]),
        ],
    )
