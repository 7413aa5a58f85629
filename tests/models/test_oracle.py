"""The oracle's shortcut: what it does not ask the naive model about, the model would not find."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.documents import NOW_MS, detection_json, entry_json, policy_json
from tests.models.naive import Naive
from tests.models.near_plates import misread
from tests.models.oracle import Oracle, expected_matches
from tests.models.real_confidence import how_sure
from tests.models.real_matcher import ordered

_AT = datetime.datetime.fromtimestamp(NOW_MS / 1000, datetime.UTC)
_ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"plate": st.text("8BXY?", min_size=4, max_size=6)},
        optional={"confusables": st.just(True), "distance": st.just(1), "suppress_s": st.just(0)},
    ),
    min_size=1,
    max_size=6,
)


@given(st.data(), _ENTRIES)
def test_it_asks_about_every_entry_that_can_be_like_a_read(
    data: st.DataObject, entries: list[dict[str, object]]
) -> None:
    listed = [entry_json(entry_id=f"E{number}", **fields) for number, fields in enumerate(entries)]
    oracle = Oracle(
        [(offset, entry["entry_id"], entry) for offset, entry in enumerate(listed)],
        [("S1", policy_json())],
    )
    model = Naive(how_sure=how_sure)
    model.put_policy("S1", policy_json())
    for offset, entry in enumerate(listed):
        model.put(offset, entry["entry_id"], entry)
    plates = st.sampled_from([entry["plate"] for entry in listed])
    for number in range(10):
        plate, other = (misread(data.draw, data.draw(plates)).replace("Ü", "B") for _ in range(2))
        read = detection_json(read_id=f"R{number}", plate=plate, alternates=[{"plate": other}])
        headers = data.draw(st.sampled_from([(), (other.encode(),)]))
        by_oracle = oracle.answer(read, _AT, headers)
        by_model = model.read(read, NOW_MS, headers=headers)
        assert ordered(by_oracle.matches) == ordered(by_model.matches)
        assert (by_oracle.denied, by_oracle.suppressed) == (by_model.denied, by_model.suppressed)
        assert oracle.can_match(read) or not by_model.matches


def test_the_reads_come_in_order_and_fold() -> None:
    reads = [detection_json(read_id=f"R{number}") for number in range(2)]
    found = expected_matches([(7, "E1", entry_json())], [("S1", policy_json())], reads, _AT)
    assert [match.read_id for match in found] == ["R0"]
