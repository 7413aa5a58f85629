"""The optional fields of a read, from the forms that vendors have for them.

A value that is missing or that breaks its rule is left out: optional data never costs a read. Only
references to pictures are carried, never pictures.

Pure: no clock, no I/O, no state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from engine import limits
from engine.documents.fields import REGION_PATTERN
from engine.errors import DocumentError
from engine.ingest.adapters.message import AdapterError, Node
from engine.plates.normal_form import normalize

_REGION: Final = re.compile(REGION_PATTERN.removesuffix("$"))
_T = TypeVar("_T")


def optional(make: Callable[[], _T]) -> _T | None:
    """Return what `make` makes of optional data; None if the data is malformed."""
    try:
        return make()
    except AdapterError:
        return None


def share(at: Node, whole: float = 1) -> float | None:
    """Convert a confidence from 0 to `whole` to one from 0 to 1; None if it is none."""
    number = optional(at.number)
    if number is None or not 0 <= number <= whole:
        return None
    return round(number / whole, 4)


def region(*candidates: str | None) -> str | None:
    """Return the first of these that is a valid region, in any case; None if none is."""
    for candidate in candidates:
        if candidate is not None and _REGION.fullmatch(candidate.upper()):
            return candidate.upper()
    return None


def location(lat: Node, lon: Node) -> dict[str, float] | None:
    """Return a location; None if it is not set, which several vendors write as 0/0 or -1/-1."""
    place = optional(lat.number), optional(lon.number)
    if None in place or place in {(0, 0), (-1, -1)}:
        return None
    return {"lat": place[0] or 0.0, "lon": place[1] or 0.0}


def alternates(plate: str, others: Iterable[tuple[Node, float | None]]) -> list[dict[str, Any]]:
    """Return other readings of a plate, the most confident first: each once, only valid plates."""
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    own = _normal(plate)
    for at, confidence in others:
        text = optional(at.text)
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
