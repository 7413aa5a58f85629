"""Any JSON, XML or form by a mapping, a file of the operator: which path is which field.

For a product that has no adapter, and for a site whose vendor has changed its messages. The mapping
is checked when it is read: `make_adapter` raises ConfigError with the file, the field and the rule.
What a message lacks then is an AdapterError, as with any vendor.

A read's id follows from the camera, the plate and the mapping's `id`, or the time if there is none.

Pure: no clock, no I/O, no state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import msgspec

from engine.clock import zone_named
from engine.documents.model import Detection
from engine.errors import ConfigError
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.form_message import parse_form
from engine.ingest.adapters.mapping import MappedImage, Mapping, NoRead
from engine.ingest.adapters.message import (
    Adapted,
    Adapter,
    AdapterError,
    Node,
    Site,
    check_size,
    id_of,
    json_value,
    make_read,
    time_of,
)
from engine.ingest.adapters.optional_fields import (
    alternates,
    image,
    location,
    optional,
    region,
    share,
)
from engine.ingest.adapters.paths import Path, PathError
from engine.ingest.adapters.values import country, plate_text, text_at
from engine.ingest.adapters.xml_message import parse_xml
from engine.resources import as_struct

_UNITS: Final = ("s", "ms", "us", "ns")
#: A time whose parts all differ, to try a pattern with.
_SAMPLE: Final = datetime(2026, 11, 22, 17, 4, 58, tzinfo=UTC)
_ABSENT: Final = "is not there; a no_read condition says when it may be missing"


def make_adapter(mapping: Mapping, where: str) -> Adapter:
    """Return the adapter of a mapping. Raises ConfigError, with `where` as the file's name."""
    return _Generic(mapping, where).adapt


class _Generic:
    """A mapping with its paths parsed."""

    def __init__(self, mapping: Mapping, where: str) -> None:
        self._where = where
        self._format = mapping.format
        self._each = self._path("each", mapping.each)
        self._plate = self._path("plate", mapping.plate)
        self._time = self._path("time", mapping.time)
        self._time_of_day = self._maybe("time_of_day", mapping.time_of_day)
        self._time_format = self._checked_format(mapping.time_format)
        self._zone = self._checked_zone(mapping.time_zone)
        self._camera = self._maybe("camera", mapping.camera)
        self._id = self._maybe("id", mapping.id)
        self._confidence = self._maybe("confidence", mapping.confidence)
        self._confidence_of = mapping.confidence_of
        self._region = self._maybe("region", mapping.region)
        self._country = self._maybe("country", mapping.country)
        self._heading = self._maybe("heading", mapping.heading)
        self._others = mapping.alternates
        if (others := mapping.alternates) is not None:
            self._others_each = self._path("alternates.each", others.each)
            self._others_plate = self._path("alternates.plate", others.plate)
            self._others_confidence = self._maybe("alternates.confidence", others.confidence)
        place, traits = mapping.location, mapping.vehicle
        self._place = place and (
            self._path("location.lat", place.lat),
            self._path("location.lon", place.lon),
        )
        self._traits = {
            name: self._path(f"vehicle.{name}", path)
            for name, path in (msgspec.structs.asdict(traits) if traits else {}).items()
            if path is not None
        }
        pictures = self._tables("images", MappedImage, mapping.images)
        self._images = [
            (each.kind, self._path(f"images[{place}].path", each.path))
            for place, each in enumerate(pictures)
        ]
        self._no_read = [
            self._condition(place, each)
            for place, each in enumerate(self._tables("no_read", NoRead, mapping.no_read))
        ]

    def adapt(self, message: bytes, site: Site) -> Adapted:
        """Return the read of each item that has a plate."""
        root = self._parse(message)
        fallbacks = Fallbacks(site if self._zone is None else site._replace(zone=self._zone))

        def read(item: Node) -> Detection | None:
            if any(holds(item, root) for holds in self._no_read):
                return None
            return self._read(item, root, site, fallbacks)

        items = list(self._each.all(root, root))
        if not items and any(holds(root, root) for holds in self._no_read):
            return Adapted()
        if not items and not self._each.is_there(root, root):
            raise self._each.first(root, root).error(_ABSENT, "missing_field")
        adapted = fallbacks.each(items, read)
        if self._zone is not None:  # nothing is lacking: the mapping says it
            adapted = adapted._replace(fallbacks=adapted.fallbacks - {"time_zone"})
        return adapted

    def _parse(self, message: bytes) -> Node:
        if self._format == "form":
            return parse_form(message)
        if self._format == "xml":
            return parse_xml(message, attributes=True)[1]
        check_size(message)
        value = json_value(message)
        if not isinstance(value, dict | list):
            raise AdapterError("$", "must be a JSON object or array in UTF-8", "not_json")
        return Node(value)

    def _read(self, item: Node, root: Node, site: Site, fallbacks: Fallbacks) -> Detection | None:
        def at(path: Path | None) -> Node:
            return Node(None, item.path) if path is None else path.first(item, root)

        plate = plate_text(at(self._plate))
        if plate is None:
            if not self._plate.is_there(item, root):
                raise at(self._plate).error(_ABSENT, "missing_field")
            return None
        camera = fallbacks.camera(at(self._camera))
        captured_at = self._captured_at(item, root, fallbacks)
        named = optional(at(self._id).text) or captured_at
        return make_read(
            item,
            site,
            {
                "read_id": id_of("generic", camera, named, plate),
                "plate": plate,
                "captured_at": captured_at,
                "camera": camera,
                "region": _region(text_at(at(self._region)), text_at(at(self._country)), site),
                "confidence": share(at(self._confidence), self._confidence_of),
                "alternates": alternates(plate, self._alternates(item, root)),
                "location": self._place and location(at(self._place[0]), at(self._place[1])),
                "heading": optional(at(self._heading).number),
                "vehicle": {
                    name: text
                    for name, path in self._traits.items()
                    if (text := text_at(at(path))) is not None
                },
                "images": list(
                    filter(None, (image(kind, at(path)) for kind, path in self._images))
                ),
            },
        )

    def _captured_at(self, item: Node, root: Node, fallbacks: Fallbacks) -> str:
        at = self._time.first(item, root)
        if self._time_of_day is not None:
            time = self._time_of_day.first(item, root)
            at = Node(f"{at.needed()} {time.needed()}", at.path)
        if self._time_format == "iso":
            return fallbacks.time(at)
        if self._time_format in _UNITS:
            return time_of(at, self._time_format)  # type: ignore[arg-type]
        try:
            when = datetime.strptime(at.needed(), self._time_format)  # noqa: DTZ007
        except ValueError:
            raise at.error("must be a time as the mapping's time_format says") from None
        return fallbacks.moment(when, at)

    def _alternates(self, item: Node, root: Node) -> Iterator[tuple[Node, float | None]]:
        if self._others is None:
            return
        for other in self._others_each.all(item, root):
            confidence = self._others_confidence
            yield (
                self._others_plate.first(other, root),
                None
                if confidence is None
                else share(confidence.first(other, root), self._others.confidence_of),
            )

    def _path(self, field: str, written: str) -> Path:
        try:
            return Path(written)
        except PathError as error:
            raise ConfigError(str(error), where=f"{self._where}: {field}") from None

    def _maybe(self, field: str, written: str | None) -> Path | None:
        return None if written is None else self._path(field, written)

    def _tables(self, field: str, kind: type[Any], tables: list[Any]) -> list[Any]:
        """Return the tables of an array as Structs."""
        return [
            as_struct(kind, table, f"{self._where}: {field}[{place}]")
            for place, table in enumerate(tables)
        ]

    def _condition(self, place: int, condition: NoRead) -> Callable[[Node, Node], bool]:
        field = f"no_read[{place}]"
        path = self._path(f"{field}.path", condition.path)
        said = [bool(condition.equals), bool(condition.not_equals), condition.missing]
        if sum(said) != 1:
            rule = "must have equals, not_equals or missing, one of them"
            raise ConfigError(rule, where=f"{self._where}: {field}")

        def holds(item: Node, root: Node) -> bool:
            texts = [optional(node.text) for node in path.values(item, root)]
            if condition.missing:
                return not any(texts)
            if condition.equals:
                return any(text in condition.equals for text in texts)
            return not any(text in condition.not_equals for text in texts)

        return holds

    def _checked_format(self, pattern: str) -> str:
        if pattern == "iso" or pattern in _UNITS:
            return pattern
        try:
            found = datetime.strptime(_SAMPLE.strftime(pattern), pattern)  # noqa: DTZ007
        except ValueError:
            found = None
        if found is None or (found.year, found.month, found.day) != (2026, 11, 22):
            rule = "must be iso, s, ms, us, ns, or a pattern with year, month and day"
            raise ConfigError(rule, where=f"{self._where}: time_format")
        return pattern

    def _checked_zone(self, name: str | None) -> tzinfo | None:
        if name is None:
            return None
        try:
            return zone_named(name)
        except ValueError:
            rule = "must be a time zone such as Europe/Madrid"
            raise ConfigError(rule, where=f"{self._where}: time_zone") from None


def _region(part: str | None, whole: str | None, site: Site) -> str | None:
    """Return `us-ca`; or `ca` of the message's or the site's country; or that country alone."""
    land = country(whole)
    if part is not None and "-" in part:
        return region(part)
    if part is not None and (of := land or site.country) is not None:
        return region(f"{of}-{part}", land)
    return land
