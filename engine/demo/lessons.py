"""Why sources deny, as `hotlist policies explain` explains it: the demo's lessons on policies.

They concern no read: each is about the first entry of its kind. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.demo.board import Lesson
from engine.documents.codec import encode
from engine.documents.model import Entry, Policy
from engine.documents.purposes import Purposes
from engine.matching.explain import DescribedRead, LastEntry, explain

#: By source, the purpose of the entry.
_EXPLAINED: Final = {"harbour-authority": "missing_person", "state-university": "stolen_vehicle"}


def lessons(entries: list[Entry], policies: list[Policy], now_ms: int) -> Iterator[Lesson]:
    """Yield one lesson for each source of `_EXPLAINED`."""
    purposes = Purposes.load(None)
    for source, purpose in _EXPLAINED.items():
        entry = next(entry for entry in entries if entry.purpose == purpose)
        policy = next((policy for policy in policies if policy.source == source), None)
        found = explain(
            (entry.entry_id, LastEntry(encode(entry), now_ms)),
            (source, None if policy is None else encode(policy)),
            DescribedRead(now_ms),
            purposes,
            now_ms,
        )
        denying = next(condition for condition in found.conditions if not condition.holds)
        yield Lesson(
            source,
            f"hotlist policies explain --source {source} --entry {entry.entry_id}",
            *(denying.denial, denying.question, denying.found),
        )
