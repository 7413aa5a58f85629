"""What the contract's oracle is given: how plates resemble each other, and the shipped purposes.

`RULES` compares plates as the engine does, by its own functions; other tests hold these.
`PLAIN_RULES` are for reads of many kinds, and share with the engine how sure a match is, and
nothing else: likeness and conditions are those of `tests.models.naive`, alternates among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

import engine
from engine.documents.codec import decode_entry
from engine.index.eligibility import region_excludes
from engine.plates.confidence import confidence
from engine.plates.likeness import compare
from engine.plates.misreads import Misreads
from tests.fakes.documents import as_bytes
from tests.models import naive
from tests.models.contract_admission import Document, Purpose
from tests.models.contract_oracle import Near, Rules
from tests.models.contract_plates import normal_form
from tests.models.contract_records import Likeness
from tests.models.naive_conditions import narrowed_out
from tests.models.oracle import texts_like, texts_of
from tests.models.real_confidence import how_sure

MISREADS = Misreads.load()
#: "a closer likeness": the closest first.
_RANKS = {"exact": 0, "confusable": 1, "distance": 2, "partial": 3}


@cache
def _likeness(
    plate: str, region: str | None, stated: float | None, entry: bytes
) -> Likeness | None:
    listed = decode_entry(entry)
    misreads = MISREADS.in_region(listed.region or region)
    like = compare(
        plate,
        listed.plate,
        confusables=bool(listed.confusables),
        distance=listed.distance or 0,
        misreads=misreads,
    )
    if like is None:
        return None
    is_plain = plate.isascii() and listed.plate.isascii()
    sure = confidence(like, listed.plate, plate, stated, MISREADS if is_plain else misreads)
    return Likeness(like.match_type, _RANKS[like.match_type], sure)


def likeness(read: Document, entry: Document) -> Likeness | None:
    """How the read's own plate resembles the entry's, by the engine's table of misreads."""
    plate, stated = normal_form(read["plate"]), read.get("confidence")
    return _likeness(plate, read.get("region"), stated, as_bytes(entry))


def conditions(read: Document, entry: Document) -> bool:
    """Whether the entry's region admits the read; no other condition is drawn here."""
    return not region_excludes(entry.get("region"), read.get("region"))


def _purposes() -> dict[str, Purpose]:
    shipped = json.loads(
        Path(engine.__file__).with_name("data").joinpath("purposes.json").read_text()
    )
    return {
        code: Purpose(purpose["longest_term_days"], purpose["known_characters_floor"])
        for code, purpose in shipped.items()
    }


RULES = Rules(_purposes(), likeness=likeness, conditions=conditions)


_plain_plate = lru_cache(maxsize=1 << 16)(naive.plain_plate)


@lru_cache(maxsize=1 << 17)
def _plain_likeness(
    text: str, plate: str, confusables: bool, distance: int
) -> naive.Likeness | None:
    entry = {"plate": plate, "confusables": confusables, "distance": distance}
    return naive.likeness(text, entry)


def _texts(read: Document) -> Iterator[tuple[str, float | None]]:
    """The texts of a read in the order in which they are tried, with their stated confidences."""
    yield _plain_plate(read["plate"]), read.get("confidence")
    for alternate in read.get("alternates", ()):
        yield _plain_plate(alternate["plate"]), alternate.get("confidence")


def _first_like(read: Document, entry: Document) -> tuple[str, float | None, naive.Likeness] | None:
    plate, alike = entry["plate"], bool(entry.get("confusables"))
    distance = entry.get("distance") or 0
    for text, stated in _texts(read):
        like = _plain_likeness(text, plate, alike, distance)
        if like is not None:
            return text, stated, like
    return None


def _plain_alike(read: Document, entry: Document) -> Likeness | None:
    found = _first_like(read, entry)
    if found is None:
        return None
    text, stated, like = found
    # Of an entry that suppresses nothing, no match is compared with another one.
    sure = 1.0 if entry.get("suppress_s") == 0 else how_sure(dict(entry), like, text, stated)
    return Likeness(like.match_type, _RANKS[like.match_type], sure)


def _plate(read: Document, entry: Document) -> str:
    """The text that is like a partial plate: "each plate is suppressed separately" (lists.md)."""
    found = _first_like(read, entry) if "?" in entry["plate"] else None
    return str(entry["plate"]) if found is None else found[0]


def with_asked_alternates(read: Document, headers: tuple[bytes, ...]) -> Document:
    """The read with those alternates alone that its record's headers ask for, in their order."""
    if "alternates" not in read:
        return read
    asked = naive.asked_alternates(dict(read), naive.plain_plate(read["plate"]), headers)
    kept = []
    for _, (plate, stated) in asked:
        kept.append({"plate": plate} if stated is None else {"plate": plate, "confidence": stated})
    return {**read, "alternates": kept}


#: Reads are given to it as `with_asked_alternates` makes them.
PLAIN_RULES = Rules(
    _purposes(),
    likeness=_plain_alike,
    conditions=lambda read, entry: narrowed_out(dict(entry), dict(read)) is None,
    plate=_plate,
    near=Near(texts_of, texts_like),
)
