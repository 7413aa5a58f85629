"""`engine.ingest.adapters.genetec_times`: times as servers of several languages write them."""

from __future__ import annotations

import pytest

from engine.ingest.adapters import AdapterError, Site
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.genetec_times import time_in
from engine.ingest.adapters.message import Node


def read(country: str | None = None, **fields: str) -> tuple[str, set[str]]:
    """The time of a record with these fields, and the fallbacks that it needed."""
    lacking = Fallbacks(Site("city", country))
    found = time_in(Node(fields), lacking, country)
    return found, set(lacking.adapted().fallbacks)


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026:11:22 16:00:00", "2026-11-22T16:00:00.000Z"),
        ("2026/11/02 6:05:04.5", "2026-11-02T06:05:04.500Z"),
        ("11/22/2026 4:00:08 PM", "2026-11-22T16:00:08.000Z"),
        ("11/22/2026 12:00:08 AM", "2026-11-22T00:00:08.000Z"),
        ("11/22/2026 12:00:08 p.m.", "2026-11-22T12:00:08.000Z"),
        ("22/11/2026 16:00:08", "2026-11-22T16:00:08.000Z"),
        ("2.11.2026 16:00", "2026-11-02T16:00:00.000Z"),
        ("2026-11-22T16:00:08.1234567", "2026-11-22T16:00:08.123Z"),
    ],
)
def test_forms(written: str, time: str) -> None:
    assert read(timestamputc=written) == (time, set())


@pytest.mark.parametrize(
    ("country", "time"),
    [
        (None, "2026-10-01T12:00:00.000Z"),
        ("US", "2026-10-01T12:00:00.000Z"),
        ("GB", "2026-01-10T12:00:00.000Z"),
        ("CA", "2026-01-10T12:00:00.000Z"),
    ],
)
def test_a_date_that_may_be_two_is_that_of_the_country(country: str | None, time: str) -> None:
    found = read(country, dateutc="10/01/2026", timeutc="12:00:00")
    assert found == (time, {"date_order"})


def test_utc_comes_before_local_time() -> None:
    fields = {"datelocal": "11/22/2026", "timelocal": "11:00:00"}
    assert read(**fields) == ("2026-11-22T11:00:00.000Z", {"utc"})
    utc = {"dateutc": "11/22/2026", "timeutc": "16:00:00"}
    assert read(**fields, **utc) == ("2026-11-22T16:00:00.000Z", set())


@pytest.mark.parametrize(
    "written",
    [
        "02/30/2026 08:00:00",
        "11/22/2026 13:00:00 PM",
        "11/22/2026",
        "11/22/26 08:00",
        "noon",
        "1/1/1",
    ],
)
def test_what_is_no_time(written: str) -> None:
    with pytest.raises(AdapterError, match=r"\$\.TimeStampUTC: must be an existing day and time"):
        read(timestamputc=written)


def test_a_record_without_a_time() -> None:
    with pytest.raises(AdapterError, match=r"^\$\.UTCDate: is required") as raised:
        read(utcdate="2026:11:22")
    assert raised.value.reason == "missing_field"
