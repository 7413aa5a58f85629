"""A mapping's file: which path of a message is which field of a read.

The paths are those of `engine.ingest.adapters.paths`; `engine.ingest.adapters.generic` checks and
uses them. Where nothing else is said a path begins at the item of `each`.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

_Path = Annotated[str, Meta(min_length=1, max_length=500, description="a path or =TEXT")]
_Texts = Annotated[list[str], Meta(description="a list of texts")]
_Whole = Annotated[float, Meta(gt=0, description="the number that means certain, such as 100")]


class Alternates(Struct, frozen=True, forbid_unknown_fields=True):
    """Other readings of the plate: where they are, and what each has."""

    each: _Path
    plate: _Path = "."
    confidence: _Path | None = None
    confidence_of: _Whole = 1


class MappedPlace(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the camera is, in degrees."""

    lat: _Path
    lon: _Path


class Traits(Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle."""

    make: _Path | None = None
    model: _Path | None = None
    color: _Path | None = None
    type: _Path | None = None


class MappedImage(Struct, frozen=True, forbid_unknown_fields=True):
    """A reference to a picture."""

    kind: Annotated[Literal["plate", "overview"], Meta(description="plate or overview")]
    path: _Path


class NoRead(Struct, frozen=True, forbid_unknown_fields=True):
    """A condition under which there is no read: `path` has, or has not, one of these texts."""

    path: _Path
    equals: _Texts = []
    not_equals: _Texts = []
    missing: Annotated[bool, Meta(description="true or false")] = False


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping's file."""

    plate: _Path
    time: _Path
    format: Annotated[Literal["json", "xml", "form"], Meta(description="json, xml or form")] = (
        "json"
    )
    each: _Path = "."
    time_of_day: _Path | None = None
    time_format: Annotated[
        str, Meta(description="iso, s, ms, us, ns, or a pattern such as %d/%m/%Y %H:%M:%S")
    ] = "iso"
    time_zone: Annotated[str, Meta(description="a zone such as Europe/Madrid")] | None = None
    camera: _Path | None = None
    id: _Path | None = None
    confidence: _Path | None = None
    confidence_of: _Whole = 1
    region: _Path | None = None
    country: _Path | None = None
    heading: _Path | None = None
    alternates: Alternates | None = None
    location: MappedPlace | None = None
    vehicle: Traits | None = None
    images: Annotated[list[dict[str, str]], Meta(description="a list of {kind, path}")] = []
    no_read: Annotated[
        list[dict[str, Any]], Meta(description="a list of {path, equals, not_equals or missing}")
    ] = []
