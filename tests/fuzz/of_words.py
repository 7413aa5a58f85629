"""Target on the short texts in which the field writes things: plates, hours, places, dates.

words  a kind in the first line, the text behind it, parts of it parted by tabs
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from engine.clock import EPOCH, format_time, parse_time
from engine.documents.fields import DAYS, TIME_PATTERN
from engine.documents.hours import one_line, parse_hours, within, zone_names
from engine.documents.model import Hours
from engine.list_files.date_formats import DateForms
from engine.list_files.entry_fields import parse_area
from engine.matching.conditions import narrowed_out
from engine.matching.vehicles import shipped_words
from engine.plates.likeness import compare
from engine.plates.misreads import Misreads
from engine.plates.normal_form import (
    PlateError,
    is_normal,
    is_normal_pattern,
    normalize,
)
from engine.wire.alternates import asked_for
from tests.fakes.documents import NOW_MS, detection, entry
from tests.fuzz.fuzzer import Target, agree
from tests.fuzz.mutations import TEXTS, any_of, behind_first_line, change_bytes, words
from tests.models.naive import likeness, plain_plate
from tests.models.naive_conditions import covers
from tests.models.naive_conditions import narrowed_out as plainly_narrowed_out
from tests.models.real_matcher import plain

_MISREADS: Final = Misreads.load()
_VEHICLES: Final = shipped_words()


def _run_words(data: bytes) -> Iterable[Hashable]:
    first, _, rest = data.partition(b"\n")
    kind = first.decode("ascii", "replace")
    try:
        text = rest.decode()
    except UnicodeDecodeError:
        text = rest.decode("latin-1")
    parts = text.split("\t")
    return [(kind, _KINDS.get(kind, _plate)(*[*parts, "", "", ""][:3]))]


def _plate(text: str, *_: str) -> Hashable:
    wanted = plain_plate(text)
    try:
        found = normalize(text)
    except PlateError as error:
        agree(text in str(error) and len(text) > 2, False, "the plate in the error")
        assert not 1 <= len(wanted) <= 16, wanted
        assert not is_normal(text)
        return "none"
    agree(found, wanted, "normal form")
    agree(normalize(found), found, "normal form once more")
    assert is_normal(found)
    agree(is_normal(text), text == found, "is normal")
    return len(found), found.isascii()


def _pattern(text: str, *_: str) -> Hashable:
    filled = text.replace("?", "0")
    is_pattern = is_normal_pattern(text)
    agree(is_pattern, plain_plate(filled) == filled and 1 <= len(filled) <= 16, "pattern")
    return is_pattern


def _likeness(read: str, listed: str, how: str) -> Hashable:
    """As the rules have it, of plates in normal form."""
    read, listed = plain_plate(read)[:16], plain_plate(listed.replace("?", "0"))[:16]
    if how.startswith("?") and listed:
        listed = "?" + listed[1:]
    if not read or not listed or plain_plate(read) != read:
        return "none"
    confusables, distance = "c" in how, int("d" in how and "?" not in listed)
    asked = {"plate": listed, "confusables": confusables, "distance": distance}
    misreads = _MISREADS.in_region(None)
    found = compare(read, listed, confusables=confusables, distance=distance, misreads=misreads)
    agree(None if found is None else plain(found), likeness(read, asked), f"{read} {asked}")
    return None if found is None else found.match_type


def _hours(text: str, *_: str) -> Hashable:
    try:
        found = parse_hours(text)
    except ValueError as error:
        agree(str(error)[:21], "must be hours such as", "rule")
        return "none"
    try:
        hours = msgspec.convert(found, Hours)
    except msgspec.ValidationError:
        return "no document"
    agree(parse_hours(one_line(hours)), found, "in one line and read again")
    if hours.time_zone not in zone_names():
        return "no zone"
    inside = [within(hours, NOW_MS + hour * 3_600_000) for hour in range(0, 168, 5)]
    for hour, found_within in zip(range(0, 168, 5), inside, strict=True):
        at = format_time(NOW_MS + hour * 3_600_000)
        naively = plainly_narrowed_out({"hours": found}, {"captured_at": at})
        agree(found_within, naively is None, f"{at} within {text}")
    return len(hours.windows), any(inside)


def _area(text: str, *_: str) -> Hashable:
    try:
        found = parse_area(text)
    except ValueError as error:
        return str(error)
    agree([*found.values()], [*map(float, text.split())], "numbers")
    return "area"


_DIRECTIVE: Final = re.compile("%[YmdHMS]")


def _date(form: str, text: str, *_: str) -> Hashable:
    try:
        forms = DateForms([form], UTC)
    except ValueError:
        return "no form"
    try:
        found = forms.read(text, False)
    except ValueError as error:
        agree(str(error)[:23], "must be a date such as ", "rule")
        return "none"
    if "%" in _DIRECTIVE.sub("", form) or any(char.isspace() for char in form):
        return "another dialect"
    # What is taken is what Python takes it for.
    wanted = datetime.strptime(text, form).replace(tzinfo=UTC)
    agree(found, (wanted - EPOCH) // timedelta(milliseconds=1), "date")
    return "date"


def _time(text: str, *_: str) -> Hashable:
    is_time = re.search(TIME_PATTERN.removesuffix("$") + r"\Z", text) is not None
    try:
        found = parse_time(text)
    except ValueError:
        assert not is_time, "of a form that the schema accepts"
        return "none"
    if not is_time:
        return "years that no document has"
    cut = re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text).replace("Z", "+00:00")
    wanted = datetime.fromisoformat(cut)
    agree(found, (wanted - EPOCH) // timedelta(milliseconds=1), "time")
    agree(parse_time(format_time(found)), found, "written and read again")
    return "time"


def _vehicle(field: str, read: str, listed: str) -> Hashable:
    if field not in ("make", "model", "color", "type"):
        field = "make"
    found = _VEHICLES.compare(field, read, listed)
    agree(_VEHICLES.compare(field, listed, read), found, "the other way round")
    assert _VEHICLES.compare(field, read, read) != "differs"
    return field, found


def _region(read: str, listed: str, *_: str) -> Hashable:
    try:
        asking, seen = entry(region=listed or None), detection(region=read or None)
    except Exception as error:  # noqa: BLE001 - a region that is none, which documents are for
        return type(error).__name__
    both = {"region": listed} if listed else {}
    wanted = plainly_narrowed_out(both, {"region": read, "captured_at": ""} if read else {})
    agree(narrowed_out(asking, seen), wanted, "narrowed out")
    return wanted, bool(read and listed and covers(listed, read))


def _alternates(text: str, *_: str) -> Hashable:
    found = asked_for([text.encode()])
    parts = text.split(",") if text else []
    if len(parts) <= 16 and all(1 <= len(p) <= 16 and plain_plate(p) == p for p in parts):
        agree(set(found or ()), set(parts), "alternates")
    else:
        agree(found, None, "alternates")
    return found is None


_KINDS: Final[dict[str, Callable[..., Hashable]]] = {
    "plate": _plate,
    "pattern": _pattern,
    "likeness": _likeness,
    "hours": _hours,
    "area": _area,
    "date": _date,
    "time": _time,
    "vehicle": _vehicle,
    "region": _region,
    "alternates": _alternates,
}

_WORDS: Final = (
    *TEXTS,
    *DAYS,
    *("mon-fri", "08:00-18:00", "24:00", "00:00", "7:00", "|", ",", " ", "\t", "-", "?"),
    *("UTC", "America/Los_Angeles", "Europe/Amsterdam", "Asia/Kathmandu", "Etc/GMT+3"),
    *("52.1", "-180", "1e3", "0x1", "1_0", "+5.5", "999999999999999", "NaN"),
    *("%Y", "%m", "%d", "%H", "%M", "%S", "%%", "%j", "2026", "02", "29", "31", "00", "60"),
    *("Z", "+00:00", ".123456789", "T", "2024-02-29", "1900-02-29", "2026-W01-1"),
    *("make", "model", "color", "type", "FORD", "vw", "grey", "gry", "4D", "sedan", "unknown"),
    *("US-CA", "US", "NL", "B8", "O0QD", "IL1", "5S", "G6", "7T", "Z2", "cd?"),
)


TARGETS: Final = (
    Target(
        "words",
        _run_words,
        behind_first_line(any_of(words(*_WORDS), words(*_WORDS), change_bytes), tuple(_KINDS)),
    ),
)
