"""The demo's own count of what must come out."""

from __future__ import annotations

from typing import Any

from engine.demo import _Tally

NOW_MS = 1_790_000_000_000


def a_read(number: int, camera: str = "C1") -> dict[str, Any]:
    return {"read_id": f"R{number}", "camera": camera}


def test_one_match_of_an_entry_at_a_camera_in_a_minute() -> None:
    tally = _Tally()
    tally.expect("E1", a_read(1), NOW_MS)
    tally.expect("E1", a_read(2), NOW_MS + 59_999)
    tally.expect("E1", a_read(3, camera="C2"), NOW_MS + 59_999)
    tally.expect("E2", a_read(4), NOW_MS + 59_999)
    tally.expect("E1", a_read(5), NOW_MS + 60_000)
    tally.expect("E1", a_read(6), NOW_MS + 119_999)
    assert tally.expected == {("E1", "R1"), ("E1", "R3"), ("E2", "R4"), ("E1", "R5")}


def test_what_is_lost_and_what_is_invented() -> None:
    tally = _Tally()
    tally.expect("E1", a_read(1), NOW_MS)
    tally.expect("E2", a_read(1), NOW_MS)
    tally.seen = {("E2", "R1"), ("E3", "R1"), ("E3", "R2")}
    assert (tally.lost, tally.invented) == (1, 2)
