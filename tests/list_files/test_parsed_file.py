"""What goes into a spool comes out of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.list_files.parsed_file import Spool


@given(items=st.lists(st.binary(max_size=50), max_size=50), large=st.integers(0, 3))
def test_all_in_order_and_more_than_once(items: list[bytes], large: int) -> None:
    items = items + [bytes([number]) * 700_000 for number in range(large)] + items
    spool = Spool()
    for item in items:
        spool.append(item)
    assert len(spool) == len(items)
    assert list(spool) == items
    assert list(spool) == items


def test_like_entries_take_little() -> None:
    spool = Spool()
    for number in range(20_000):
        spool.append(b'{"entry_id":"%032d","list_id":"list","agency":"agency"}' % number)
    assert sum(map(len, spool._blocks)) < 20_000 * 30
