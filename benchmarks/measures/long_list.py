"""Hot lists of any length, made fast: filler entries that no synthetic read ever shows.

The synthetic city's plates have seven characters and the filler's have eight, so a filler entry
is a candidate for no read. It is written from a template of bytes: a list of ten million takes
well under a minute to produce.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Literal

import click

from benchmarks.fill import batches_of, open_producer, send
from benchmarks.reads import Record
from engine.clock import format_time
from engine.documents.codec import encode
from engine.documents.model import Authority, Entry, Vehicle

_BATCH_BYTES = 256 * 1024
_DAY_S = 86_400
_AGENCIES = 20
_PURPOSES = (b"stolen_vehicle", b"stolen_plate", b"missing_person", b"wanted_person")
_MARK = "\x01"

#: `import`: one import wrote the list, with one time for all of it. `single`: every entry came
#: by itself, with times of its own to the millisecond.
Times = Literal["import", "single"]


def filler(first: int, end: int, now_ms: int, times: Times) -> Iterator[Record]:
    """Entries number `first` to `end` - 1, at most ten million in all; all are in force."""
    template = _template()
    day_ms = _DAY_S * 1000
    yesterday_ms = now_ms - now_ms % day_ms - day_ms
    created = _seconds_of_day(yesterday_ms)
    expires = _seconds_of_day(yesterday_ms + 31 * day_ms)
    for number in range(first, end):
        agency = b"AG%04d" % (number % _AGENCIES)
        entry_id = b"F%b-%07d" % (agency, number)
        second, ms = (number * 7919 % _DAY_S, number % 1000) if times == "single" else (0, 0)
        value = template % (
            *(entry_id, agency, number, agency, _PURPOSES[number % 4], number),
            *(b"%b.%03dZ" % (created[second], ms), b"%b.%03dZ" % (expires[second], ms)),
        )
        yield Record(entry_id, value)


async def send_filler(
    bootstrap: str, topic: str, first: int, end: int, now_ms: int, times: Times
) -> None:
    """Produce filler to the hot list topic's partition 0, as the synthetic entries are."""
    async with open_producer(bootstrap, "lz4", _BATCH_BYTES) as producer:
        with click.progressbar(length=end - first, label="filling list   ") as bar:
            records = filler(first, end, now_ms, times)
            await send(producer, topic, {0: batches_of(producer, records)}, bar.update)


def _template() -> bytes:
    """An entry's JSON with a place for each field that differs, in the order of the document."""
    entry = Entry(
        entry_id=f"{_MARK}0",
        list_id=f"{_MARK}1-hot",
        plate=f"F{_MARK}2",
        agency=f"{_MARK}3",
        purpose=f"{_MARK}4",
        authority=Authority(kind="case", reference=f"2026-{_MARK}5"),
        requested_by="officer.demo",
        created_at=f"{_MARK}6",
        expires_at=f"{_MARK}7",
        vehicle=Vehicle(make="Toyota", model="Corolla", color="white", type="car"),
    )
    text = encode(entry)
    assert b"%" not in text
    for number, kind in enumerate((b"%b", b"%b", b"%07d", b"%b", b"%b", b"%07d", b"%b", b"%b")):
        mark = b"\\u0001%d" % number
        assert text.count(mark) == 1
        text = text.replace(mark, kind)
    return text


def _seconds_of_day(day_ms: int) -> list[bytes]:
    """All seconds of a day as they begin a time."""
    day = datetime.datetime.fromtimestamp(day_ms / 1000, datetime.UTC)
    assert format_time(day_ms).startswith(f"{day:%Y-%m-%dT%H:%M:%S}")
    return [
        f"{day + datetime.timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}".encode()
        for second in range(_DAY_S)
    ]
