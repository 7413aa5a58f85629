"""How much Python the way out of a match costs, counted in instructions of the interpreter.

See `tests.matching.test_work`. For matches that compiled code has written, the event loop's part is
one for all matches of a fetch: it depends on their number only by the batches that they fill.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from engine.audit.chain import Chain
from engine.audit.compiled_hash import HAS_SHA256
from engine.delivery.audit_writer import Sealing, tell
from engine.delivery.batch import batches
from engine.delivery.producer import by_partition
from engine.delivery.records import match_events, records_of
from engine.kafka.topics import Topics
from engine.matching.outcome import FoundMatch, Outcome
from engine.observability.metrics import Metrics
from tests.fakes.chains import MATCH, to_json
from tests.fakes.documents import NOW_MS, at
from tests.fakes.written_matches import PURPOSES, written
from tests.matching.test_work import instructions

TOPICS: Final = Topics("lpr.")
_AUDIT: Final = to_json({**MATCH, "suppressed": 0})
#: Instructions for each further match on its way out that is not written by compiled code.
_COST: Final = 576
_TOLERANCE: Final = 0.02


class Producer:
    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1, 2, 3}


def found(number: int) -> FoundMatch:
    text = f"{number:032x}"
    value = b'{"match_id":"%b","rest":"%b"}' % (text.encode(), b"r" * 200)
    key = f"E{number % 100:03}".encode()
    return FoundMatch(value, text, at(0), "exact", key, PURPOSES[0], _AUDIT, NOW_MS)


def cost(outcome: Outcome) -> int:
    """The instructions of what the event loop does for an outcome beside waiting and sending."""
    sealing, metrics = Sealing(TOPICS, Chain("c")), Metrics()

    def deliver() -> None:
        events = match_events(outcome)
        [*batches(sealing.every(events), is_transactional=False)]
        tell(lambda *_: None, events)
        placing: Any = by_partition(Producer(), records_of(TOPICS, outcome))
        try:
            placing.send(None)
        except StopIteration as placed:
            for some in placed.value.values():
                [*batches(some, is_transactional=False)]
        metrics.count_delivered(outcome, NOW_MS + 50, 0.1)

    deliver()
    return instructions(deliver)


@pytest.mark.skipif(not HAS_SHA256, reason="records are sealed one by one")
def test_a_written_match_costs_no_python_on_its_way_out() -> None:
    few, many = (
        cost(Outcome(at_ms=NOW_MS, matches=written([*map(found, range(count))])))
        for count in (20, 100)
    )
    assert few == many


def test_another_match_costs_as_much_python_as_it_did() -> None:
    few, many = (
        cost(Outcome(at_ms=NOW_MS, matches=[*map(found, range(count))])) for count in (20, 100)
    )
    assert (many - few) / 80 == pytest.approx(_COST, rel=_TOLERANCE)
