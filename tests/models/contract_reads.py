"""What of a read the contract keeps, written from its text and not from the engine.

"an optional field that breaks its rule is dropped, counted and named in the match, never the reason
for a lost match". What counts as an optional field is a field of the read, of an alternate or of
the vehicle that the public schema does not require, and an item of a list: dropping more could lose
a match by another alternate.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

REQUIRED = ("read_id", "plate", "captured_at", "source", "camera")
MOST_ITEMS = 16  # detection.v1.json: "maxItems": 16

Document = Mapping[str, Any]


def kept(detection: Document) -> tuple[dict[str, Any], set[str]]:
    """Return the read without what breaks its rule, and the fields that lost a part."""
    read = {name: value for name, value in detection.items() if name in REQUIRED}
    broken = set()
    for name, judge in _RULES.items():
        stated = detection.get(name)
        if stated is None:
            continue
        good, whole = judge(stated)
        if good is not None:
            read[name] = good
        if not whole:
            broken.add(name)
    return read, broken


def captured_ms(text: str) -> int:
    """Milliseconds since 1970 of a time of RFC 3339, whatever its offset; finer digits go.

    RFC 3339, section 5.6: "T" and "Z" may be lower case, and a space may stand for the "T". A
    second 60 is a leap second; here it is the first second of the next minute.
    """
    to_minute, rest = text[:10] + " " + text[11:16], text[16:]
    found = re.fullmatch(r":([0-9]{2})[.]?([0-9]*)(.*)", rest)
    assert found is not None, text
    seconds, decimals, zone = found.groups()
    offset = "+00:00" if zone in ("Z", "z") else zone
    minute = datetime.fromisoformat(to_minute + offset)
    return int(minute.timestamp()) * 1000 + int(seconds) * 1000 + int((decimals + "000")[:3])


#: Returns what is kept of a value, None for nothing, and whether that is all of it.
_Judge = Callable[[Any], tuple[Any, bool]]


def _only(accepts: Callable[[Any], bool]) -> _Judge:
    return lambda value: (value, True) if accepts(value) else (None, False)


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_text(value: Any, least: int, most: int) -> bool:
    return isinstance(value, str) and least <= len(value) <= most


def _is_region(value: Any) -> bool:
    """ "ISO 3166-2 such as `US-CA`, or ISO 3166-1 alone such as `NL`" """
    return isinstance(value, str) and bool(
        re.fullmatch(r"[A-Z][A-Z](-[A-Z0-9]{1,3})?", value, re.ASCII)
    )


def _is_place(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_number(value.get("lat"), -90, 90)
        and _is_number(value.get("lon"), -180, 180)
    )


def _is_image(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("kind") in ("plate", "overview")
        and _is_text(value.get("uri"), 1, 2048)
    )


def _traits(value: Any) -> tuple[Any, bool]:
    if not isinstance(value, dict):
        return None, False
    stated = {name: value.get(name) for name in ("make", "model", "color", "type")}
    good = {name: text for name, text in stated.items() if _is_text(text, 0, 64)}
    whole = all(name in good or text is None for name, text in stated.items())
    return (good if good or whole else None), whole


def _alternate(value: Any) -> tuple[Any, bool]:
    if not isinstance(value, dict) or not _is_text(value.get("plate"), 1, 64):
        return None, False
    good = {"plate": value["plate"]}
    sure = value.get("confidence")
    if _is_number(sure, 0, 1):
        good["confidence"] = sure
    return good, sure is None or "confidence" in good


def _items(judge: _Judge) -> _Judge:
    def items(value: Any) -> tuple[Any, bool]:
        if not isinstance(value, list):
            return None, False
        judged = [judge(item) for item in value[:MOST_ITEMS]]
        whole = len(value) <= MOST_ITEMS and all(is_whole for _, is_whole in judged)
        good = [item for item, _ in judged if item is not None]
        return (good if good or whole else None), whole

    return items


_RULES: dict[str, _Judge] = {
    "region": _only(_is_region),
    "confidence": _only(lambda value: _is_number(value, 0, 1)),
    "alternates": _items(_alternate),
    "location": _only(_is_place),
    "heading": _only(lambda value: _is_number(value, 0, 360)),
    "vehicle": _traits,
    "images": _items(_only(_is_image)),
}
