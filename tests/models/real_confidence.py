"""How sure a match is, by the engine's own model, for the naive model, which has none."""

from __future__ import annotations

from typing import cast

from engine.plates.confidence import confidence
from engine.plates.likeness import Likeness, MatchType, Misread, MisreadKind
from engine.plates.misreads import Misreads
from tests.models import naive

MISREADS = Misreads.load()


def how_sure(
    entry: naive.Document,
    like: naive.Likeness,
    plate: str,
    stated: float | None,
    region: str | None = None,
) -> float:
    """See `tests.models.naive.HowSure`."""
    misread = None
    if like.misread is not None:
        kind, position = like.misread
        misread = Misread(cast(MisreadKind, kind), position)
    real = Likeness(cast(MatchType, like.match_type), like.look_alikes, misread)
    misreads = MISREADS
    if not (plate + entry["plate"]).isascii():
        misreads = misreads.in_region(entry.get("region") or region)
    return confidence(real, entry["plate"], plate, stated, misreads)
