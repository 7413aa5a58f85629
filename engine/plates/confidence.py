"""Confidence: how probable it is that the plate that was there is the listed one.

By Bayes' rule, from the model of a reader in `misread_model`. Every vehicle is as likely to pass
as every other, and the listed plate exists; so do others that could have been read the same way.
With P(r|t) the probability that the plate t is read as r,

    confidence = P(r|listed) / (P(r|listed) + sum over other plates t of exists(t) * P(r|t))

A plate of the listed one's pattern (where it has letters and where digits) exists with
`plate_density`; each character of the other kind makes it rarer by `other_pattern_share`, one
character more or less by `other_length_share`. Each character is read by itself, so the sum over
all plates of one length is a product, over the positions, of sums over the characters that may
have been there, and no plate is tried by itself. Of what is missing or added, one character at
the most is thought of, wherever it may stand.

The read's own confidence, where it states one, is taken as the probability that its whole text
is right, over all that the camera reads; errors are scaled to that. Where it states none, they
are as frequent as in the counts.

An unknown character (`?`) of the listed plate may be any of its kind, so all plates that differ
only there fit as well, and the confidence of such a match is low: it is the probability that
this is the vehicle that is sought, not that the plate fits. What a plate does not say, such as
that another region has the same one, is no part of it, and neither are vehicle and place.

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

#: No match is certain, and none that the entry asked for is excluded.
LEAST: Final = 0.0001
MOST: Final = 0.9999


def confidence(
    likeness: Likeness,
    listed: str,
    plate: str,
    plate_confidence: float | None,
    misreads: Misreads,
) -> float:
    """The probability that the plate is the listed one, from 0.0001 to 0.9999, to four digits.

    `plate` is the text that is like the listed plate, `likeness` how it is, and
    `plate_confidence` what the reader states for that text: the read's, or the alternate's.
    """
    rates = misreads.rates
    scaled = rates.at(plate, plate_confidence)
    kind = likeness.misread.kind if likeness.misread is not None else "substituted"
    if kind == "substituted":
        if likeness.match_type == "exact":
            this, pattern = 1.0, _of_any_pattern(plate, scaled)
        else:
            this, pattern = _substituted(listed, plate, scaled, rates)
        longer = (len(plate) + 1) * scaled.missing * len(rates.alphabet) / 2
        beyond = pattern * (longer + len(plate) * scaled.added)
    else:
        one_end = _missing if kind == "missing" else _added
        this, pattern = one_end(listed, plate, scaled, rates)
        beyond = _of_any_pattern(plate, scaled)
    others = pattern - this + misreads.other_length_share * beyond
    return round(min(max(this / (this + misreads.plate_density * others), LEAST), MOST), 4)


def _of_any_pattern(plate: str, scaled: Scaled) -> float:
    """The sum over all plates of the pattern that was read."""
    return prod(map(scaled.alike.__getitem__, plate))


# Each of these gives P(r|listed), and its sum over all plates of the listed one's pattern.


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
    characters, rarer = len(rates.alphabet), rates.other_pattern_share
    choices = (own + rarer * (characters - own) for own in map(rates.choices, listed))
    return scaled.missing * sum(this), scaled.missing * sum(map(mul, choices, pattern))


def _added(listed: str, plate: str, scaled: Scaled, _: Rates) -> tuple[float, float]:
    this, pattern = _around_each_place(listed, plate, listed, plate[1:], scaled)
    return scaled.added * sum(this), scaled.added * sum(pattern)


def _around_each_place(
    listed: str, plate: str, listed_behind: str, plate_behind: str, scaled: Scaled
) -> tuple[list[float], list[float]]:
    """For each place where the two may shift against each other: how the characters before it
    and behind it, side by side, give P(r|listed), and the sum."""
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
    """For each place: the product of `before` up to it and of `behind` from it on."""
    heads = accumulate(before, mul, initial=1.0)
    tails = list(accumulate(reversed(behind), mul, initial=1.0))
    return list(map(mul, heads, reversed(tails)))
