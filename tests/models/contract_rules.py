"""What the contract's oracle is given: how plates resemble each other, and the shipped purposes.

These two are the engine's own; other tests hold them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import engine
from engine.documents.codec import decode_entry
from engine.index.eligibility import region_excludes
from engine.plates.confidence import confidence
from engine.plates.likeness import compare
from engine.plates.misreads import Misreads
from tests.fakes.documents import as_bytes
from tests.models.contract_admission import Document, Purpose
from tests.models.contract_oracle import Rules
from tests.models.contract_plates import normal_form
from tests.models.contract_records import Likeness

MISREADS = Misreads.load()
#: "a closer likeness": the closest first.
_RANKS = {"exact": 0, "confusable": 1, "distance": 2, "partial": 3}


@cache
def _likeness(plate: str, stated: float | None, entry: bytes) -> Likeness | None:
    listed = decode_entry(entry)
    like = compare(
        plate,
        listed.plate,
        confusables=bool(listed.confusables),
        distance=listed.distance or 0,
        misreads=MISREADS,
    )
    if like is None:
        return None
    sure = confidence(like, listed.plate, plate, stated, MISREADS)
    return Likeness(like.match_type, _RANKS[like.match_type], sure)


def likeness(read: Document, entry: Document) -> Likeness | None:
    """How the read's own plate resembles the entry's, by the engine's table of misreads."""
    return _likeness(normal_form(read["plate"]), read.get("confidence"), as_bytes(entry))


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
