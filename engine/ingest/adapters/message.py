"""What all adapters share: parsing a vendor's message carefully, and making reads from it.

Messages come from outside and are not trusted. If a field that an adapter needs is missing or
malformed, that is an AdapterError with the field and the rule, never with the field's value.
A byte order mark before a message and the `json=` of a form's body are passed over.

Pure: no clock, no I/O, no state.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
import xxhash

from engine import limits
from engine.clock import EPOCH, format_time
from engine.documents.model import Detection
from engine.documents.schema_errors import schema_error
from engine.errors import DocumentError, HotlistError
from engine.plates.normal_form import normalize

_EARLIEST_MS: Final = -2_208_988_800_000  # 1900, the first year that a document may have
_LATEST_MS: Final = 32_503_680_000_000  # 3000, the first year that it may not have
_MS_IN: Final = {"s": Decimal(1000), "ms": Decimal(1), "us": Decimal("1e-3"), "ns": Decimal("1e-6")}
_REQUIRED: Final = ("read_id", "plate", "captured_at", "source", "camera")
_FORM_FIELD: Final = b"json="

#: Why a message, or a part of it, gives no read.
Reason = Literal[
    "not_json",
    "not_xml",
    "not_form",
    "too_long",
    "other_vendor",
    "missing_field",
    "bad_value",
    "no_read",
]

#: What a message may lack, and what then stands for it.
Fallback = Literal["utc", "time_zone", "camera", "device", "date_order"]

#: What to say, once for each, to the people who run the cameras.
FALLBACKS: Final[dict[Fallback, str]] = {
    "utc": "times without a zone are taken as UTC; --time-zone names another zone",
    "time_zone": "times without a zone are taken in the zone of --time-zone",
    "camera": "messages without a camera are taken as reads of the one that --camera names",
    "device": "messages without a camera are taken as reads of a camera named by their sender's "
    "id; --camera gives another name",
    "date_order": "dates such as 10/01/2026 are read with the month first, or with the day first "
    "if --country names a country that writes them so",
}


class AdapterError(HotlistError):
    """A vendor's message, or a part of it, gives no read.

    `field` is the path in the message, such as `$.data.results[0].plate`, and `rule` is what is
    required there. Neither has any of the message's values. `reason` is one of a few, to count by.
    """

    def __init__(self, field: str, rule: str, reason: Reason = "bad_value") -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule
        self.reason: Reason = reason


class Site(NamedTuple):
    """What a vendor's messages do not say, or only some of them.

    `source` owns the cameras, as the policies name it. `country`, ISO 3166-1, is that of messages
    that name only its states; None if no country is implied. `camera` and `zone` are those of
    messages without them; None leaves the message's own device, and UTC.
    """

    source: str
    country: str | None = None
    camera: str | None = None
    zone: tzinfo | None = None


class Car(NamedTuple):
    """A car that is reported several times, each time perhaps with another plate.

    `key` identifies the car, `gone` marks the last report.
    """

    key: str
    gone: bool


class Adapted(NamedTuple):
    """The result of a message: its reads, the parts that gave none, its car, if the vendor
    reports each car several times, and which fallbacks its reads have; see FALLBACKS."""

    reads: tuple[Detection, ...] = ()
    problems: tuple[AdapterError, ...] = ()
    car: Car | None = None
    fallbacks: frozenset[Fallback] = frozenset()


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
            raise self.error("is required", "missing_field")
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

    def error(self, rule: str, reason: Reason = "bad_value") -> AdapterError:
        """Return an error at this path."""
        return AdapterError(self.path, rule, reason)


def parse_json(message: bytes) -> Node:
    """Parse a JSON message. Raises AdapterError if it is not JSON, or too long."""
    check_size(message)
    value = json_value(message)
    if not isinstance(value, dict):
        raise AdapterError("$", "must be a JSON object in UTF-8", "not_json")
    return Node(value)


def json_value(message: bytes) -> Any:
    """Return the JSON value that a message is; None if it is none."""
    text = message.removeprefix(codecs.BOM_UTF8)
    if text.startswith(_FORM_FIELD):
        text = text.removeprefix(_FORM_FIELD)
        if not text.lstrip().startswith(b"{"):
            text = unquote_to_bytes(text.replace(b"+", b" "))
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def check_size(message: bytes) -> None:
    """Raise AdapterError if a message is too long."""
    if len(message) > limits.INGEST_MESSAGE_BYTES:
        rule = f"must have at most {limits.INGEST_MESSAGE_BYTES} bytes"
        raise AdapterError("$", rule, "too_long")


def time_of(at: Node, unit: Literal["s", "ms", "us", "ns"]) -> str:
    """Convert a time that is a number since 1970 to the documents' form."""
    if at.number() is None:
        raise at.error("is required", "missing_field")
    # Not through a float, which has too few digits for nanoseconds.
    ms = Decimal(str(at.value)) * _MS_IN[unit]
    if not _EARLIEST_MS <= ms < _LATEST_MS:
        raise at.error("must be a time between 1900 and 2999")
    return format_time(math.floor(ms))


def moment(when: datetime) -> str:
    """Convert a time with its zone to the documents' form; ValueError if it is out of range."""
    since = when.astimezone(UTC) - EPOCH
    ms = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    if not _EARLIEST_MS <= ms < _LATEST_MS:
        raise ValueError
    return format_time(ms)


def id_of(*parts: str) -> str:
    """Return a read's id that depends only on these: 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest("\x1f".join(parts).encode("utf-8", "surrogatepass"))


def make_read(at: Node, site: Site, fields: Mapping[str, Any]) -> Detection:
    """Make the read with these fields, without those that are None or empty.

    An optional field that breaks its rule is left out. Raises AdapterError, at `at`, if there can
    be no such read.
    """
    present = {name: value for name, value in fields.items() if value not in (None, [], {})}
    present["source"] = site.source
    read = _read(present)
    if isinstance(read, DocumentError):
        needed = {name: value for name, value in present.items() if name in _REQUIRED}
        read = _read(needed)
        for name in present.keys() - needed.keys():
            more = _read({**needed, name: present[name]})
            if isinstance(more, Detection):
                needed[name] = present[name]
                read = more
    if isinstance(read, Detection):
        return read
    rule = f"gives no read ({read.field.removeprefix('$.')} {read.rule})"
    raise AdapterError(at.path, rule, "no_read")


def _read(fields: Mapping[str, Any]) -> Detection | DocumentError:
    try:
        read = msgspec.convert(fields, Detection)
        normalize(read.plate)
    except msgspec.ValidationError as error:
        return schema_error(str(error))
    except DocumentError as error:
        return error
    return read


def each(found: Iterable[Node], make: Callable[[Node], Detection | None]) -> Adapted:
    """Make a read of each result; a result that gives none does not stop the others.

    Raises AdapterError, the first result's, if results failed and none gave a read.
    """
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
    if problems and not reads:
        raise problems[0]
    return Adapted(tuple(reads), tuple(problems))
