"""`engine.delivery.suppression_reader`: the last record of each key, and no more than a worker
holds. `tests.properties.test_kept_states` has what is read of a topic, and what is not."""

from __future__ import annotations

import pytest

from engine import limits
from engine.delivery.known_changelog import Incarnation, Known
from engine.delivery.suppression_reader import Latest, Left

KNOWN = Known(Incarnation(None, 2, 0), 0, 0)


def test_no_more_is_read_than_a_worker_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the partition that has the most, what was written longest ago goes first."""
    monkeypatch.setattr(limits, "SUPPRESSION_KEYS", 5)
    left = {source: Left({}, 0, KNOWN) for source in (0, 1)}
    latest = Latest("group", left, ())

    def write(source: int, *numbers: int, value: bytes | None = b"{}") -> None:
        for number in numbers:
            latest.take(b"group/%d/%032x" % (source, number), value, source)

    def kept() -> list[list[int]]:
        return [[int(key[-32:], 16) for key in each.written] for each in left.values()]

    write(1, 1, 2)
    write(0, 1, 2, 3)
    assert kept() == [[1, 2, 3], [1, 2]]
    write(0, 1)
    assert kept() == [[2, 3, 1], [1, 2]], "the latest state is the latest"
    write(0, 4)
    assert kept() == [[3, 1, 4], [1, 2]]
    write(0, 3, value=None)
    assert kept() == [[1, 4], [1, 2]], "one that is forgotten makes room"
    write(1, 3, 4)
    assert kept() == [[1, 4], [2, 3, 4]]
    latest.take(b"other/0/%032x" % 7, b"{}", 0)
    latest.take(b"group/0/7", b"{}", 0)
    latest.take(b"group/0/%032x" % 7, b"{}", 1)
    assert kept() == [[1, 4], [2, 3, 4]]


def test_changes_are_read_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUPPRESSION_KEYS", 2)
    left = {source: Left({}, 0, KNOWN) for source in (0, 1)}
    latest = Latest("group", left, (0,))
    gone, other = b"group/0/%032x" % 1, b"group/1/%032x" % 1
    latest.take(gone, None, 0)
    latest.take(other, b"{}", 1)
    latest.take(other, None, 1)
    assert [each.written for each in left.values()] == [{gone: None}, {}]
    for number in range(2, 4):
        latest.take(b"group/0/%032x" % number, b"{}", 0)
    assert left.keys() == {1}
    latest.take(gone, b"{}", 0)
    latest.take(other, b"{}", 1)
    assert left[1].written == {other: b"{}"}
