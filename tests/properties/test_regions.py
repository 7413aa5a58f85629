"""Look-alikes of countries: what the index finds for a read is what the naive model says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.index.eligibility import Eligibility
from engine.index.plate_index import Index
from engine.matching.candidates import candidates_of
from engine.matching.scanner import Scanner
from engine.plates.misreads import Misreads
from engine.plates.normal_form import is_normal
from engine.wire.alternates import NONE_ASKED
from engine.wire.record_decoder import KIND, LIKE
from tests.fakes.documents import NOW_MS, detection, entry
from tests.fakes.record_batches import Sent, as_array, batch_bytes, raw_batch
from tests.models.naive import likeness
from tests.models.real_matcher import plain

_MISREADS = Misreads.load()
_SCANNER = Scanner(0)
_REGIONS = st.sampled_from([None, "DE", "DE-BY", "SE", "NO", "HR", "RS", "VN", "EG", "US-CA"])
_PLATES = st.text("AÄÅOÖØ0UÜSŠ5DĐاأ", min_size=3, max_size=5)


@st.composite
def _entries(draw: st.DrawFn) -> list[dict[str, Any]]:
    listed = []
    for number, plate in enumerate(draw(st.lists(_PLATES, min_size=1, max_size=6))):
        kind = draw(st.sampled_from(["plain", "pattern", "distance"]))
        listed.append(
            {
                "entry_id": f"E{number}",
                "plate": "?" + plate[1:] if kind == "pattern" else plate,
                "distance": 1 if kind == "distance" else None,
                "confusables": draw(st.sampled_from([True, True, None])),
                "region": draw(_REGIONS),
            }
        )
    return listed


def _as_read(plate: str) -> str:
    return plate.translate(str.maketrans("ÄÅÖØÜŠĐأ", "AAOOUSDا"))


@given(_entries(), st.lists(_PLATES, max_size=4), _REGIONS)
def test_every_read_beside_the_naive_model(
    listed: list[dict[str, Any]], others: list[str], region: str | None
) -> None:
    index = Index(Eligibility(), _MISREADS)
    entries = [entry(**fields) for fields in listed]
    index.put_many([(each, 0) for each in entries], NOW_MS)
    own = [each["plate"].replace("?", "A") for each in listed]
    for plate in [*others, *own, *map(_as_read, own)]:
        assert is_normal(plate)
        read = detection(plate=plate, region=region)
        found = candidates_of(index, read, plate, index.candidates(plate), NONE_ASKED)
        likes = {each.entry.entry_id: plain(each.likeness) for _, each in found}
        wanted = {each["entry_id"]: likeness(plate, each, region) for each in listed}
        assert likes == {key: like for key, like in wanted.items() if like is not None}
        if plate.isascii():
            batch = raw_batch(batch_bytes([Sent(plate.encode(), b"{}")]))
            data = as_array(bytes(batch.records))
            rows, _ = _SCANNER.scan([batch], data, index.plates, index.similar.scan_tables)
            # Without the region, which only the value has.
            may = any(likeness(plate, each) for each in listed if each["plate"] != plate)
            assert (len(rows) > 0) >= may
            if not any(each["distance"] for each in listed):  # for those more is opened
                assert all(row[KIND] != LIKE or _asks(plate, listed) for row in rows)
    index.remove("E0")
    assert all(each.entry_id != "E0" for _, each, _ in index.candidates(own[0]))


def _asks(plate: str, listed: list[dict[str, Any]]) -> bool:
    return any(likeness(plate, each) for each in listed)
