"""Values that several vendors write alike: no plate, an unknown trait, a country.

Pure: no clock, no I/O, no state.
"""

from __future__ import annotations

from typing import Final

from engine.ingest.adapters.countries import ALPHA_2
from engine.ingest.adapters.message import AdapterError, Node
from engine.ingest.adapters.optional_fields import optional

#: What products write for a plate that they could not read, without spaces and in lower case. None
#: of them is a plate that a product would report for another reason: they are in its manual.
_NO_PLATE: Final = frozenset(
    {
        "noplate",
        "noplates",
        "notdefined",
        "unknow",
        "unknown",
        "unlicensed",
        "unrecognized",
        "无牌",
        "无牌车",
        "无车牌",
        "未识别",
        "未知",
    }
)
#: What products write for a trait that they could not tell.
_UNKNOWN: Final = frozenset(
    {"unknown", "unknow", "other", "others", "none", "null", "n/a", "-", "vehicle"}
)
_TWO_LETTERS: Final = frozenset(ALPHA_2.values())


def plate_text(*candidates: Node) -> str | None:
    """Return the first of these that is a plate; None if none is: absent, empty, `unknown`, `--`.

    Raises AdapterError if one that comes before is no text.
    """
    for at in candidates:
        text = at.text()
        if text is not None and is_plate(text):
            return text
    return None


def is_plate(text: str) -> bool:
    """Return whether a text has a letter or digit and is not a product's word for no plate."""
    word = "".join(text.split()).strip("<>").lower()
    return any(c.isalnum() for c in word) and word not in _NO_PLATE


def country(text: str | None) -> str | None:
    """Return a country that is written as two or three letters of ISO 3166-1; None for others.

    A vendor's own number of a country is none: a wrong country would keep matches back.
    """
    code = (text or "").upper()
    return code if code in _TWO_LETTERS else ALPHA_2.get(code)


def inside(node: Node, *names: str) -> Node:
    """Return the optional node at a path; absent if anything on the path is no object."""
    try:
        for name in names:
            node = node[name]
    except AdapterError:
        return Node(None, node.path)
    return node


def text_at(node: Node, *names: str) -> str | None:
    """Return the optional text at a path; None if it is absent, malformed, or `unknown`."""
    text = optional(inside(node, *names).text)
    return None if text is None or text.lower() in _UNKNOWN else text


def traits(**found: Node) -> dict[str, str]:
    """Return the traits of a vehicle that are known: make, model, color and type."""
    return known(**{name: text_at(at) for name, at in found.items()})


def known(**texts: str | None) -> dict[str, str]:
    """Return these texts by their names, without those that are not known."""
    return {name: text for name, text in texts.items() if text is not None}
