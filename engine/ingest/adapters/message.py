"""What all adapters share: parsing a vendor's message carefully, and making reads from it.

Messages come from outside and are not trusted. If a field that an adapter needs is missing or
malformed, that is an AdapterError with the field and the rule, never with the field's value.
Optional data (a region in the vendor's own form, a candidate that is not a plate) is left out.
Pictures are never carried, only references to them.

Pure: no clock, no I/O, no state.
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

_EARLIEST_MS: Final = -2_208_988_800_000  # 1900, the first year that a document may have
_LATEST_MS: Final = 32_503_680_000_000  # 3000, the first year that it may not have
_MS_IN: Final = {"s": Decimal(1000), "ms": Decimal(1), "ns": Decimal("1e-6")}
_REGION: Final = re.compile(REGION_PATTERN.removesuffix("$"))


class AdapterError(HotlistError):
    """A vendor's message, or a part of it, gives no read.

    `field` is the path in the message, such as `$.data.results[0].plate`, and `rule` is what is
    required there. Neither has any of the message's values.
    """

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class Site(NamedTuple):
    """What a vendor's messages do not say: the owner of the cameras (`source`, a policy's name),
    and the country, ISO 3166-1, if they name only its states; None if no country is implied."""

    source: str
    country: str | None = None


class Car(NamedTuple):
    """A car that is reported several times, each time perhaps with another plate.

    `key` identifies the car, `gone` marks the last report.
    """

    key: str
    gone: bool


class Adapted(NamedTuple):
    """The result of a message: its reads, the parts that gave none, and its car, if the vendor
    reports each car several times."""

    reads: tuple[Detection, ...] = ()
    problems: tuple[AdapterError, ...] = ()
    car: Car | None = None


#: Takes a message as it was received. Raises AdapterError if nothing in it is usable.
Adapter = Callable[[bytes, Site], Adapted]


class Node:
    """A value in a message, and the path to it; `value` is None if it is absent."""

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str = "$") -> None:
        self.value: Any = value
        self.path: str = path

    def __getitem__(self, name: str) -> Node:
        """Return a field. It is absent if this is; AdapterError if this has no fields."""
        path = f"{self.path}.{name}"
        if self.value is None:
            return Node(None, path)
        if not isinstance(self.value, dict):
            raise self.error("must be an object")
        return Node(self.value.get(name), path)

    def __iter__(self) -> Iterator[Node]:
        """Yield the items; none if the value is absent, AdapterError if it is not a list."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self.error("must be an array")
        for place, value in enumerate(self.value):
            yield Node(value, f"{self.path}[{place}]")

    def text(self) -> str | None:
        """Return a text without outer white space, or a number as text; None if it is absent."""
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float):
            raise self.error("must be a string")
        return str(self.value).strip() or None

    def needed(self) -> str:
        """Return a text that is required."""
        text = self.text()
        if text is None:
            raise self.error("is required")
        return text

    def number(self) -> float | None:
        """Return a finite number, which may be written as a string; None if it is absent."""
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
        """Return an error at this path."""
        return AdapterError(self.path, rule)


def parse_json(message: bytes) -> Node:
    """Parse a JSON message. Raises AdapterError if it is not JSON, or too long."""
    check_size(message)
    try:
        value = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise AdapterError("$", "must be a JSON object in UTF-8")
    return Node(value)


def check_size(message: bytes) -> None:
    """Raise AdapterError if a message is too long."""
    if len(message) > limits.INGEST_MESSAGE_BYTES:
        raise AdapterError("$", f"must have at most {limits.INGEST_MESSAGE_BYTES} bytes")


def time_of(at: Node, unit: Literal["s", "ms", "ns"]) -> str:
    """Convert a time that is a number since 1970 to the documents' form."""
    if at.number() is None:
        raise at.error("is required")
    # Not through a float, which has too few digits for nanoseconds.
    ms = Decimal(str(at.value)) * _MS_IN[unit]
    if not _EARLIEST_MS <= ms < _LATEST_MS:
        raise at.error("must be a time between 1900 and 2999")
    return format_time(math.floor(ms))


def time_written(at: Node) -> str:
    """Convert a time that is written with its offset from UTC to the documents' form."""
    text = at.needed()
    try:
        when = datetime.fromisoformat(text.upper())
        if when.tzinfo is None:
            raise ValueError
        return moment(when)
    except (ValueError, OverflowError):
        raise at.error("must be a time with its offset, such as 2026-01-31T12:00:00Z") from None


def moment(when: datetime) -> str:
    """Convert a time with its zone to the documents' form; ValueError if it is out of range."""
    since = when.astimezone(UTC) - EPOCH
    ms = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    if not _EARLIEST_MS <= ms < _LATEST_MS:
        raise ValueError
    return format_time(ms)


def share(at: Node, whole: float = 1) -> float | None:
    """Convert a confidence from 0 to `whole` to one from 0 to 1; None if it is absent."""
    number = at.number()
    if number is None:
        return None
    if not 0 <= number <= whole:
        raise at.error(f"must be between 0 and {whole:g}")
    return round(number / whole, 4)


def region(*candidates: str | None) -> str | None:
    """Return the first of these that is a valid region, in any case; None if none is."""
    for candidate in candidates:
        if candidate is not None and _REGION.fullmatch(candidate.upper()):
            return candidate.upper()
    return None


def location(lat: Node, lon: Node) -> dict[str, float] | None:
    """Return a location; None if it is not set, which several vendors write as 0/0 or -1/-1."""
    place = lat.number(), lon.number()
    if None in place or place in {(0, 0), (-1, -1)}:
        return None
    return {"lat": place[0] or 0.0, "lon": place[1] or 0.0}


def alternates(plate: str, others: Iterable[tuple[Node, float | None]]) -> list[dict[str, Any]]:
    """Return other readings of a plate, the most confident first: each once, only valid plates."""
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
    """Return a reference to a picture; None if it is absent, or is the picture itself."""
    uri = at.value
    if not isinstance(uri, str) or not _is_reference(uri):
        return None
    return {"kind": kind, "uri": uri}


def _is_reference(text: str) -> bool:
    """Return whether a text is a URL or a file name, not a picture in base64."""
    if not 0 < len(text) <= limits.IMAGE_URI_CHARACTERS or any(c.isspace() for c in text):
        return False
    if "://" in text:
        return True
    return text.lower().endswith((".jpg", ".jpeg", ".png", ".bmp", ".webp"))


def id_of(*parts: str) -> str:
    """Return a read's id that depends only on these: 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest("\x1f".join(parts).encode("utf-8", "surrogatepass"))


def make_read(at: Node, site: Site, fields: Mapping[str, Any]) -> Detection:
    """Make the read with these fields, without those that are None or empty.

    Raises AdapterError, at `at`, if there can be no such read.
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
    """Make a read of each result; a result that gives none does not stop the others."""
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
