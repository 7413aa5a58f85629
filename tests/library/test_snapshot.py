"""Documents and times that callers give."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest

from engine.documents.codec import decode_detection, decode_entry
from engine.documents.model import Detection, Entry
from engine.errors import DocumentError
from engine.library.snapshot import document, time_ms
from tests.fakes.documents import (
    NOW_MS,
    at,
    detection,
    detection_json,
    entry,
    entry_json,
)


def test_documents_of_any_form() -> None:
    assert document(entry_json(), Entry, decode_entry) == entry()
    assert document(entry(), Entry, decode_entry) == entry()
    assert document(detection_json(), Detection, decode_detection) == detection()
    moment = datetime.datetime.fromtimestamp(NOW_MS / 1000, datetime.UTC)
    given = detection_json(captured_at=moment)
    assert document(given, Detection, decode_detection).captured_ms == NOW_MS


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (entry_json(plate=5), "$.plate: must be a string, not an integer"),
        (entry_json(agency=None), "$.agency: is required"),
        (entry_json(agency=object()), "$: must be of type Entry, or a mapping of JSON values"),
        (
            msgspec.structs.replace(entry(), region="nowhere"),
            "$.region: must be an ISO 3166-2 code such as US-CA, or a country such as NL",
        ),
        (
            msgspec.structs.replace(entry(), list_id="\ud800"),
            "$: must be of type Entry, or a mapping of JSON values",
        ),
        (detection(), "$: must be of type Entry, or a mapping of JSON values"),
        (None, "$: must be of type Entry, or a mapping of JSON values"),
        ("ABC123", "$: must be of type Entry, or a mapping of JSON values"),
    ],
)
def test_documents_that_are_none(given: Any, what: str) -> None:
    with pytest.raises(DocumentError) as caught:
        document(given, Entry, decode_entry)
    assert str(caught.value) == what
    assert caught.value.__context__ is None


def test_times() -> None:
    moment = datetime.datetime(2026, 1, 31, 12, 0, 0, 999, datetime.UTC)
    elsewhere = moment.astimezone(datetime.timezone(datetime.timedelta(hours=-7)))
    whole_ms = 1_769_860_800_000
    assert time_ms(moment) == time_ms(elsewhere) == time_ms(whole_ms) == whole_ms
    assert at(whole_ms - NOW_MS) == "2026-01-31T12:00:00.000Z"


@pytest.mark.parametrize(
    "given",
    [
        datetime.datetime(2026, 1, 1),  # noqa: DTZ001
        datetime.datetime(1899, 12, 31, tzinfo=datetime.UTC),
        datetime.datetime(3000, 1, 1, tzinfo=datetime.UTC),
        1 << 62,
        1.5,
        True,
        None,
    ],
)
def test_times_that_are_none(given: Any) -> None:
    with pytest.raises(ValueError, match="a time must be aware or whole ms since 1970, in the"):
        time_ms(given)
