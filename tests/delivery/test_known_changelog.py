"""`engine.delivery.known_changelog`: what follows what, and when there is a doubt.

`tests.properties.test_kept_states` has what a worker makes of it.
"""

from __future__ import annotations

import pytest

from engine import limits
from engine.delivery.known_changelog import Appended, Incarnation, Known, KnownChangelog

SAME = Incarnation(b"id", 2, 0)


def known_after(*appended: tuple[range, int | None], source: int = 0) -> Known:
    """What is known from offset 10 on, after records with these offsets, and by whose
    transactions."""
    known = KnownChangelog()
    known.restored(source, Known(SAME, 10, 1.0), 0)
    for batch, by in appended:
        known.appended(Appended(0, 2, [batch], 5.0), by=by)
    found = known.of(source)
    assert found is not None
    return found


def test_own_records_that_follow_are_known() -> None:
    assert known_after((range(10, 12), None), (range(12, 13), None)) == Known(SAME, 13, 5.0)


@pytest.mark.parametrize("batch", [range(11, 12), range(9, 11), range(-1, 1), range(10, 10)])
def test_what_does_not_follow_is_not_known(batch: range) -> None:
    assert known_after((batch, None)) == Known(SAME, 10, 1.0)


def test_what_comes_behind_a_gap_is_not_known() -> None:
    assert known_after((range(11, 12), None), (range(12, 13), None)).offset == 10


def test_the_marker_of_a_transaction_is_no_gap_for_its_own_producer() -> None:
    assert known_after((range(10, 12), 0), (range(13, 14), 0)) == Known(SAME, 14, 5.0, 0)
    assert known_after((range(10, 12), 0), (range(12, 13), 0)).offset == 12
    assert known_after((range(10, 12), 0), (range(13, 14), 2)).offset == 12, "it may be a record"
    assert known_after((range(10, 12), 0), (range(12, 13), 2)).offset == 13


def test_records_of_another_partition_tell_nothing() -> None:
    assert known_after((range(10, 12), None), source=1).offset == 10
    assert known_after((range(10, 12), None), source=2).offset == 12, "it shares the partition"


def test_only_the_rest_of_the_same_log_is_enough() -> None:
    known = Known(SAME, 10, 100.0)
    soon, late = 100.0, 100.0 + limits.SUPPRESSION_KNOWN_S
    assert known.is_enough(SAME, 20, soon)
    assert not known.is_enough(SAME, 20, late), "a tombstone may be gone"
    assert known.is_enough(SAME, 10, late), "nothing was written"
    assert not known.is_enough(SAME, 11, late)
    assert Known(SAME, 10, 100.0, 0).is_enough(SAME, 11, late), "it is the marker"
    assert not known.is_enough(SAME, 9, soon)
    for other in ((b"other", 2, 0), (None, 2, 0), (b"id", 3, 0), (b"id", 2, 1)):
        assert not known.is_enough(Incarnation(*other), 20, soon)
    nameless = Incarnation(None, 2, 0)
    assert not Known(nameless, 10, 100.0).is_enough(nameless, 20, soon)


def test_a_state_is_whole_if_each_change_is_acknowledged() -> None:
    known = KnownChangelog()
    assert not known.is_whole(0, 0)
    known.restored(0, Known(SAME, 10, 1.0), 3)
    assert known.is_whole(0, 3)
    known.acknowledged([0, 1, 0])
    assert known.is_whole(0, 5)
    assert not known.is_whole(0, 6)
    known.restored(0, Known(SAME, 20, 1.0))
    assert known.is_whole(0, 5), "it was kept"
    known.drop(0)
    assert not known.is_whole(0, 5)
