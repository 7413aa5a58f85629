"""What all adapters share: a vendor's message taken apart with care, and reads made of it.

Messages come from outside, so nothing about them is believed. What an adapter needs and does not
find, or finds in another form, is an AdapterError that names the place and the rule, and never
what stands there. What it can do without (a region in a form of the vendor's own, a candidate
that is no plate) is left out. Pictures are never carried, only references to them.

Pure: no clock, no I/O, nothing kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

import msgspec
import xxhash

from engine import limits
from engine.clock import EPOCH, format_time
from engine.documents.fields import REGION_PATTERN
from engine.documents.model import Detection
from engine.documents.schema_errors import schema_error
from engine.errors import DocumentError, HotlistError
from engine.plates.normal_form import normalize

_EARLIEST_MS: Final = -2_208_988_800_000  # 1900, the first year that a document may name
_LATEST_MS: Final = 32_503_680_000_000  # 3000, the first that it may not
_MS_IN: Final = {"s": Decimal(1000), "ms": Decimal(1), "ns": Decimal("1e-6")}
_REGION: Final = re.compile(REGION_PATTERN.removesuffix("$"))


class AdapterError(HotlistError):
    """A vendor's message, or a part of it, gives no read.

    `field` is where in the message, such as `$.data.results[0].plate`, and `rule` what is asked
    for there. Neither holds anything of what was sent.
    """

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class Site(NamedTuple):
    """What a vendor's messages do not say: whose cameras these are (`source`, a policy's name),
    and the country, ISO 3166-1, that they name only the states of; None where none is meant."""

    source: str
    country: str | None = None


class Car(NamedTuple):
    """A car that is told of several times, each time perhaps with another plate.

    `key` says which car, `gone` that this was the last time.
    """

    key: str
    gone: bool


class Adapted(NamedTuple):
    """What a message comes to: its reads, what of it gave none, and the car that it is about
    where the vendor tells of each several times."""

    reads: tuple[Detection, ...] = ()
    problems: tuple[AdapterError, ...] = ()
    car: Car | None = None


#: Takes a message as it came. Raises AdapterError where none of it is to be used.
Adapter = Callable[[bytes, Site], Adapted]


class Node:
    """A value in a message, and the path to it; `value` is None where there is nothing."""

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str = "$") -> None:
        self.value: Any = value
        self.path: str = path

    def __getitem__(self, name: str) -> Node:
        """A field. Nothing has nothing; AdapterError where there is something without fields."""
        path = f"{self.path}.{name}"
        if self.value is None:
            return Node(None, path)
        if not isinstance(self.value, dict):
            raise self.error("must be an object")
        return Node(self.value.get(name), path)

    def __iter__(self) -> Iterator[Node]:
        """The items; none where there is nothing, AdapterError where there is no list."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self.error("must be an array")
        for place, value in enumerate(self.value):
            yield Node(value, f"{self.path}[{place}]")

    def text(self) -> str | None:
        """A text without the space around it; None where there is none. Numbers are written out."""
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float):
            raise self.error("must be a string")
        return str(self.value).strip() or None

    def needed(self) -> str:
        """A text that must be there."""
        text = self.text()
        if text is None:
            raise self.error("is required")
        return text

    def number(self) -> float | None:
        """A finite number, also one that is written as a string; None where there is none."""
        value = self.value
        if value is None or value == "":
            return None
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                number = math.nan
            if math.isfinite(number):
                return number
        raise self.error("must be a number")

    def error(self, rule: str) -> AdapterError:
        """What is wrong here."""
        return AdapterError(self.path, rule)


def parse_json(message: bytes) -> Node:
    """A message that is JSON. Raises AdapterError where it is none, or too long."""
    check_size(message)
    try:
        value = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise AdapterError("$", "must be a JSON object in UTF-8")
    return Node(value)


def check_size(message: bytes) -> None:
    """Raise AdapterError for a message that is too long to be one."""
    if len(message) > limits.INGEST_MESSAGE_BYTES:
        raise AdapterError("$", f"must have at most {limits.INGEST_MESSAGE_BYTES} bytes")


def time_of(at: Node, unit: Literal["s", "ms", "ns"]) -> str:
    """A time that is a number since 1970, as documents have it."""
    if at.number() is None:
        raise at.error("is required")
    # Not as a float, which has too few digits for nanoseconds.
    ms = Decimal(str(at.value)) * _MS_IN[unit]
    if not _EARLIEST_MS <= ms < _LATEST_MS:
        raise at.error("must be a time between 1900 and 2999")
    return format_time(math.floor(ms))


def time_written(at: Node) -> str:
    """A time that is written with its offset from UTC, as documents have it."""
    text = at.needed()
    try:
        when = datetime.fromisoformat(text.upper())
        if when.tzinfo is None:
            raise ValueError
        return moment(when)
    except (ValueError, OverflowError):
        raise at.error("must be a time with its offset, such as 2026-01-31T12:00:00Z") from None


def moment(when: datetime) -> str:
    """A time with its zone, as documents have it; ValueError where they cannot."""
    since = when.astimezone(UTC) - EPOCH
    ms = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    if not _EARLIEST_MS <= ms < _LATEST_MS:
        raise ValueError
    return format_time(ms)


def share(at: Node, whole: float = 1) -> float | None:
    """A confidence between 0 and `whole`, as one between 0 and 1; None where there is none."""
    number = at.number()
    if number is None:
        return None
    if not 0 <= number <= whole:
        raise at.error(f"must be between 0 and {whole:g}")
    return round(number / whole, 4)


def region(*candidates: str | None) -> str | None:
    """The first of these that is a region as documents have it, in any case; None if none is."""
    for candidate in candidates:
        if candidate is not None and _REGION.fullmatch(candidate.upper()):
            return candidate.upper()
    return None


def location(lat: Node, lon: Node) -> dict[str, float] | None:
    """A place; None where it is not set, which several vendors write as 0/0 or -1/-1."""
    place = lat.number(), lon.number()
    if None in place or place in {(0, 0), (-1, -1)}:
        return None
    return {"lat": place[0] or 0.0, "lon": place[1] or 0.0}


def alternates(plate: str, others: Iterable[tuple[Node, float | None]]) -> list[dict[str, Any]]:
    """Other readings of a plate, the most confident first: each once, none that is no plate."""
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    own = _normal(plate)
    for at, confidence in others:
        text = at.text()
        normal = None if text is None else _normal(text)
        if normal is None or normal == own:
            continue
        alternate = {"plate": text} | ({} if confidence is None else {"confidence": confidence})
        rank = -1.0 if confidence is None else confidence
        if normal not in best or rank > best[normal][0]:
            best[normal] = rank, alternate
    ranked = sorted(best.values(), key=lambda found: -found[0])
    return [alternate for _, alternate in ranked[: limits.ALTERNATES]]


def _normal(text: str) -> str | None:
    try:
        return normalize(text) if len(text) <= limits.PLATE_TEXT_CHARACTERS else None
    except DocumentError:
        return None


def image(kind: str, at: Node) -> dict[str, str] | None:
    """A reference to a picture; None where there is none, or the picture itself."""
    uri = at.value
    if not isinstance(uri, str) or not _is_reference(uri):
        return None
    return {"kind": kind, "uri": uri}


def _is_reference(text: str) -> bool:
    """Whether a text is an address or a file's name, not a picture in base64."""
    if not 0 < len(text) <= limits.IMAGE_URI_CHARACTERS or any(c.isspace() for c in text):
        return False
    if "://" in text:
        return True
    return text.lower().endswith((".jpg", ".jpeg", ".png", ".bmp", ".webp"))


def id_of(*parts: str) -> str:
    """A read's id that is the same whenever these are: 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest("\x1f".join(parts).encode("utf-8", "surrogatepass"))


def make_read(at: Node, site: Site, fields: Mapping[str, Any]) -> Detection:
    """The read with these fields, those left out that are None or empty.

    Raises AdapterError, at `at`, where there can be no such read.
    """
    present = {name: value for name, value in fields.items() if value not in (None, [], {})}
    try:
        read = msgspec.convert({**present, "source": site.source}, Detection)
        normalize(read.plate)
    except msgspec.ValidationError as error:
        wrong = schema_error(str(error))
    except DocumentError as error:
        wrong = error
    else:
        return read
    raise AdapterError(at.path, f"gives no read ({wrong.field.removeprefix('$.')} {wrong.rule})")


def each(found: Iterable[Node], make: Callable[[Node], Detection | None]) -> Adapted:
    """The reads of several results, and what gave none; one does not keep another back."""
    reads: list[Detection] = []
    problems: list[AdapterError] = []
    for at in found:
        try:
            read = make(at)
        except AdapterError as error:
            problems.append(error)
        else:
            if read is not None:
                reads.append(read)
    return Adapted(tuple(reads), tuple(problems))
