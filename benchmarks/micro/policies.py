"""Policies of many sources that name many agencies: loaded, changed and asked.

Every source allows every agency by its name, in an order of its own, for two of nine purposes; each
agency has an entry of every purpose. "loaded" is all policies, from their JSON, and all entries.
The first question about a source finds the pairs that its policy allows. Each change is timed with
the first question after it: about the source whose policy changed, and about another one after an
entry came with an agency that no entry had. Longest of a hundred, because a change stalls the reads
behind it. "asked" is one question as a match asks it, in nanoseconds. All is the time of the
thread, without that of other programs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from benchmarks.measures.figures import Figure, MeasuredCase
from engine.documents.codec import decode_policy, encode
from engine.documents.model import Policy, Rule
from engine.index.eligibility import Eligibility

_PURPOSES = tuple(f"purpose_{number}" for number in range(9))
_CHANGES = 100
_QUESTIONS = 10_000


def measure(sizes: tuple[tuple[int, int], ...]) -> list[MeasuredCase]:
    """A case for each number of sources and of agencies."""
    return [_of_size(sources, agencies) for sources, agencies in sizes]


def _of_size(sources: int, agencies: int) -> MeasuredCase:
    chance = random.Random(2026)
    names = [f"AG{number:05d}" for number in range(agencies)]
    started_s = time.thread_time()
    eligibility = Eligibility()
    spent_s = 0.0  # on what a worker does not do: making the documents
    for number in range(sources):
        made_s = time.thread_time()
        document = _document(f"source-{number}", chance.sample(names, agencies))
        spent_s += time.thread_time() - made_s
        eligibility.set_policy(decode_policy(document), number)
    pairs = [(name, purpose) for name in names for purpose in _PURPOSES]
    for slot, pair in enumerate(pairs):
        eligibility.file([slot], pair)
        eligibility.active.add(slot)
    loaded_s = time.thread_time() - started_s - spent_s
    started_s = time.thread_time()
    for number in range(sources):
        wanted = None if number % len(pairs) % len(_PURPOSES) < 2 else "not_allowed"
        assert eligibility.denial(number % len(pairs), f"source-{number}", None) == wanted
    first_s = (time.thread_time() - started_s) / sources

    asked = [(n % len(pairs), f"source-{n % sources}") for n in range(_QUESTIONS)]

    def ask() -> None:
        for slot, source in asked:
            eligibility.denial(slot, source, None)

    changed = [decode_policy(_document(f"source-{number}", names)) for number in range(_CHANGES)]

    def change(number: int) -> None:
        eligibility.set_policy(changed[number], number)
        eligibility.denial(0, changed[number].source, None)

    def add(number: int) -> None:
        slot = len(pairs) + number
        eligibility.file([slot], (f"NEW{number}", _PURPOSES[0]))
        eligibility.active.add(slot)
        eligibility.denial(slot, f"source-{number % sources}", None)

    figures = [
        Figure(name="loaded", unit="s", values=[loaded_s]),
        Figure(name="first question", unit="ms", values=[first_s * 1e3]),
        Figure(name="a policy changes, longest", unit="ms", values=[_longest_s(change) * 1e3]),
        Figure(name="an agency comes, longest", unit="ms", values=[_longest_s(add) * 1e3]),
        Figure(name="asked", unit="ns", values=[_least_s(ask) / _QUESTIONS * 1e9]),
    ]
    return MeasuredCase(case=f"{sources:,} sources, {agencies:,} agencies", figures=figures)


def _document(source: str, agencies: list[str]) -> bytes:
    rules = (Rule(agencies=tuple(agencies), purposes=_PURPOSES[:2]),)
    updated_at = "2024-05-01T00:00:00.000Z"
    return encode(Policy(source=source, rules=rules, updated_by="benchmark", updated_at=updated_at))


def _longest_s(go: Callable[[int], None]) -> float:
    longest_s = 0.0
    for number in range(_CHANGES):
        started_s = time.thread_time()
        go(number)
        longest_s = max(longest_s, time.thread_time() - started_s)
    return longest_s


def _least_s(go: Callable[[], object]) -> float:
    times = []
    for _ in range(10):
        started_s = time.thread_time()
        go()
        times.append(time.thread_time() - started_s)
    return min(times)
