"""Confidence: how probable it is that the plate on the vehicle is the listed one.

It follows from Bayes' rule and the model of a reader in `misread_model`. The model assumes that
every vehicle is equally likely to pass, that the listed plate exists, and that other plates exist
that could have been read the same way. With P(r|t) the probability that plate t is read as r,

    confidence = P(r|listed) / (P(r|listed) + sum over other plates t of exists(t) * P(r|t))

A plate with the listed one's pattern (its positions of letters and digits) exists with probability
`plate_density`. Each character of the other kind makes a plate rarer by `other_pattern_share`, and
a length that differs by one makes it rarer by `other_length_share`. Characters are read
independently. So the sum over all plates of one length is a product over the positions, and no
plate is enumerated: each factor sums over the characters that may have been there. At most one
missing or added character is considered, at any position.

If the read states a confidence, that is taken as the probability that its whole text is right, and
the error rates are scaled to it. Otherwise the errors are as frequent as in the counts.

An unknown character (`?`) of the listed plate may be any of its kind, so all plates that differ
only there fit as well. The confidence of such a match is low, because it is the probability that
this is the wanted vehicle, not that the plate fits. The region, the vehicle and the place are not
considered.

Pure.
"""

from __future__ import annotations

from itertools import accumulate
from math import prod
from operator import mul
from typing import Final

from engine.plates.likeness import Likeness
from engine.plates.misread_model import Rates, Scaled
from engine.plates.misreads import Misreads
from engine.plates.normal_form import WILDCARD

#: No match is certain, and no match that the entry asks for is impossible.
LEAST: Final = 0.0001
MOST: Final = 0.9999

#: Confidences have four digits.
PARTS: Final = 10_000
#: How far from a whole number of parts a confidence is rounded without doubt.
NEARLY_HALF: Final = 0.4999999


def confidence(
    likeness: Likeness,
    listed: str,
    plate: str,
    plate_confidence: float | None,
    misreads: Misreads,
) -> float:
    """Return the probability that the plate is the listed one: 0.0001 to 0.9999, four digits.

    `plate` is the text that resembles the listed plate, and `likeness` says how. `plate_confidence`
    is the confidence that the reader states for that text: the read's, or the alternate's.
    """
    rates = misreads.rates
    if likeness.match_type == "exact":
        return exact_confidence(plate, rates.loss(plate), plate_confidence, misreads)
    scaled = rates.at(plate, plate_confidence)
    misread = likeness.misread
    if misread is None or misread.kind == "substituted":
        this, pattern = _substituted(listed, plate, scaled, rates)
        beyond = pattern * _of_other_lengths(len(plate), scaled, rates)
    else:
        one_end = _missing if misread.kind == "missing" else _added
        this, pattern = one_end(listed, plate, scaled, rates)
        beyond = _of_any_pattern(plate, scaled)
    return _probability(this, pattern, beyond, misreads)


def exact_confidence(
    plate: str, loss: float, plate_confidence: float | None, misreads: Misreads
) -> float:
    """Do as `confidence` does for a plate that is the listed one; `loss` is that of `Rates`."""
    rates = misreads.rates
    scaled = rates.at_loss(loss, plate_confidence)
    pattern = prod(map(scaled.alike.__getitem__, plate))
    beyond = pattern * _of_other_lengths(len(plate), scaled, rates)
    return _probability(1.0, pattern, beyond, misreads)


def _probability(this: float, pattern: float, beyond: float, misreads: Misreads) -> float:
    """Return the confidence from P(r|listed), from the sum over all plates of the listed pattern
    and from that over plates of other lengths."""
    table = misreads.table
    others = pattern - this + table.other_length_share * beyond
    found = this / (this + table.plate_density * others)
    if found < LEAST:
        return LEAST
    return MOST if found > MOST else four_digits(found)


def four_digits(share: float) -> float:
    """Return `round(share, 4)` of a number from 0 to 1, in a quarter of the time."""
    parts = share * PARTS
    whole = int(parts + 0.5)
    # The product is off by less than 1e-11, so only a number near a half could be rounded wrongly.
    return whole / PARTS if abs(parts - whole) < NEARLY_HALF else round(share, 4)


def _of_other_lengths(length: int, scaled: Scaled, rates: Rates) -> float:
    """Return by how much plates of one character more or less multiply the sum of a pattern."""
    longer = (length + 1) * scaled.missing * rates.characters / 2
    return longer + length * scaled.added


def _of_any_pattern(plate: str, scaled: Scaled) -> float:
    """Return the sum over all plates with the pattern that was read."""
    return prod(map(scaled.alike.__getitem__, plate))


# Each of these returns P(r|listed) and the sum of P(r|t) over all plates of the listed pattern.


def _substituted(listed: str, plate: str, scaled: Scaled, rates: Rates) -> tuple[float, float]:
    this = pattern = 1.0
    for true, read in zip(listed, plate, strict=True):
        if true == WILDCARD:
            of_read = scaled.alike[read]
            this *= of_read / rates.choices(read)
        else:
            of_read = scaled.column(true)[read]
            if true != read:
                this *= scaled.instead(true, read)
        pattern *= of_read
    return this, pattern


def _missing(listed: str, plate: str, scaled: Scaled, rates: Rates) -> tuple[float, float]:
    this, pattern = _around_each_place(listed, plate, listed[1:], plate, scaled)
    characters, rarer = rates.characters, rates.other_pattern_share
    choices = (own + rarer * (characters - own) for own in map(rates.choices, listed))
    return scaled.missing * sum(this), scaled.missing * sum(map(mul, choices, pattern))


def _added(listed: str, plate: str, scaled: Scaled, _: Rates) -> tuple[float, float]:
    this, pattern = _around_each_place(listed, plate, listed, plate[1:], scaled)
    return scaled.added * sum(this), scaled.added * sum(pattern)


def _around_each_place(
    listed: str, plate: str, listed_behind: str, plate_behind: str, scaled: Scaled
) -> tuple[list[float], list[float]]:
    """Return P(r|listed) and the sum, for each position at which one plate may shift by one.

    Both come from the pairs of characters before that position and after it.
    """
    before, behind = (
        list(zip(listed, plate, strict=False)),
        list(zip(listed_behind, plate_behind, strict=False)),
    )
    return (
        _joined(
            *([scaled.instead(true, read) for true, read in part] for part in (before, behind))
        ),
        _joined(*([scaled.column(true)[read] for true, read in part] for part in (before, behind))),
    )


def _joined(before: list[float], behind: list[float]) -> list[float]:
    """Return, for each position, the product of `before` up to it and of `behind` from it on."""
    heads = accumulate(before, mul, initial=1.0)
    tails = list(accumulate(reversed(behind), mul, initial=1.0))
    return list(map(mul, heads, reversed(tails)))
