"""The flags for the fields of a read, except its plate."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import with_options
from engine.cli.output import plain
from engine.clock import format_time, parse_time
from engine.documents.fields import REGION_PATTERN

if TYPE_CHECKING:
    from engine.matching.explain import DescribedRead

_VEHICLE = ("make", "model", "color", "type")


class _Region(click.ParamType):
    """A region in the form that reads have."""

    name = "region"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(REGION_PATTERN, value, re.ASCII):
            self.fail(f"{value!r} is no region; write US-CA or a country such as NL", param, ctx)
        return str(value)


class _Place(click.ParamType):
    """A place as latitude and longitude."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            text = value
            number = r"(-?[0-9]{1,3}(?:\.[0-9]{1,15})?)"
            found = re.fullmatch(f"{number},{number}", value, re.ASCII)
            value = tuple(map(float, found.groups())) if found else (91.0, 181.0)
            if not (-90 <= value[0] <= 90 and -180 <= value[1] <= 180):
                self.fail(
                    f"{text!r} is no place; write LAT,LON such as 37.7749,-122.4194", param, ctx
                )
        return value


class _Time(click.ParamType):
    """A time in UTC, in milliseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_time(value)
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)


_OPTIONS = (
    click.option(
        "--region",
        type=_Region(),
        metavar="CODE",
        help="The plate's region as read, such as US-CA. Fields without a flag are absent.",
    ),
    *(
        click.option(f"--vehicle-{part}", metavar="TEXT", help=f"The vehicle's {part} as read.")
        for part in _VEHICLE
    ),
    click.option("--location", type=_Place(), metavar="LAT,LON", help="Where the read was made."),
    click.option(
        "--captured-at",
        "captured_ms",
        type=_Time(),
        metavar="TIME",
        help="When the read was made, RFC 3339 in UTC; default: now.",
    ),
)


def read_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags for what a read says."""
    return with_options(command, _OPTIONS)


def said_by(values: Mapping[str, Any], now_ms: int) -> DescribedRead:
    """Return what these flags, by their names, say."""
    from engine.documents.model import Location, Vehicle
    from engine.matching.explain import DescribedRead

    look = {part: values[f"vehicle_{part}"] for part in _VEHICLE}
    place, captured_ms = values["location"], values["captured_ms"]
    return DescribedRead(
        captured_ms=now_ms if captured_ms is None else captured_ms,
        region=values["region"],
        vehicle=Vehicle(**look) if any(look.values()) else None,
        location=None if place is None else Location(lat=place[0], lon=place[1]),
    )


def as_json(said: DescribedRead) -> dict[str, Any]:
    """Return the same as fields of a JSON document."""
    place, vehicle = said.location, said.vehicle
    look = {part: getattr(vehicle, part, None) for part in _VEHICLE}
    return {
        "region": said.region,
        "vehicle": vehicle and {part: plain(text) for part, text in look.items() if text},
        "location": place and {"lat": place.lat, "lon": place.lon},
        "captured_at": format_time(said.captured_ms),
    }
