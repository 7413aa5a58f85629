"""The record of a read: the key that the engine takes, and no read that it would reject."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Detection, encode, normalize
from engine.documents.codec import decode_detection
from engine.documents.model import Alternate, Image
from engine.errors import DocumentError
from engine.plates.normal_form import is_normal
from engine.wire.alternates import asked_by
from tests.fakes.documents import detection


def test_a_read() -> None:
    read = detection(plate="mü-ab 123", alternates=[{"plate": "mü ab 128"}, {"plate": "--"}])
    record = encode(read)
    assert record.key == "MÜAB123".encode()
    assert decode_detection(record.value) == read
    assert record.headers == [("alternates", "MÜAB128".encode())]


def test_a_read_without_alternates_has_no_header() -> None:
    assert encode(detection()).headers == []
    assert encode(detection(alternates=[])).headers == []


@given(st.text(max_size=70), st.lists(st.text(max_size=70), max_size=18))
def test_what_is_produced_is_what_the_engine_takes(plate: str, others: list[str]) -> None:
    """Beside `normalize`: every record has a good key and a header that asks for what it should."""
    read = Detection(
        read_id="r",
        plate=plate,
        captured_at="2026-11-22T08:00:00.000Z",
        source="s",
        camera="c",
        alternates=tuple(Alternate(plate=other) for other in others),
    )
    try:
        record = encode(read)
    except DocumentError:
        return
    assert record.key.decode() == normalize(plate)
    asked = asked_by(
        tuple((name, value) for name, value in record.headers if isinstance(value, bytes))
    )
    assert asked is not None
    wanted = set()
    for other in others:
        try:
            wanted.add(normalize(other))
        except DocumentError:
            continue
    assert set(asked) <= wanted
    assert all(is_normal(other) for other in asked)
    # Beyond that the engine itself leaves out what the read's own plate says already.
    assert wanted - set(asked) <= {normalize(plate)}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"plate": "---"}, "$.plate: must have 1 to 16 letters and digits"),
        ({"confidence": 90}, "$.confidence: must be at most 1"),
        ({"read_id": "x" * 65}, "$.read_id: must have at most 64 characters"),
        ({"read_id": 7}, "$.read_id: must be a string, not an integer"),
        ({"camera": "\ud800"}, "$: holds what JSON cannot hold"),
        (
            {"images": (Image(kind="plate", uri="\u20ac" * 2048),) * 16},
            "$: must have at most 65536 bytes",
        ),
    ],
)
def test_what_is_no_read(fields: dict[str, Any], error: str) -> None:
    sound: dict[str, Any] = {
        "read_id": "r",
        "plate": "ABC123",
        "captured_at": "2026-11-22T08:00:00.000Z",
        "source": "s",
        "camera": "c",
    }
    with pytest.raises(DocumentError) as raised:
        encode(Detection(**(sound | fields)))
    assert str(raised.value) == error
