"""How sure a match is, as the docstrings of `engine.plates` say it, computed again from the counts.

The contract has no rule for a match's confidence; the docstrings of `plates.confidence` and
`plates.misread_model` define it. This shares no code with them, nor with the compiled way. It
knows nothing of scales that lie on a ladder, nor of what is computed once.
"""

from __future__ import annotations

import itertools
import math
from string import ascii_uppercase, digits

from engine.plates.misread_model import OTHER
from engine.plates.misreads import Misreads
from engine.plates.normal_form import WILDCARD

KNOWN = ascii_uppercase + digits
ALPHABET = (*KNOWN, OTHER)


class ConfidenceOracle:
    """Bayes' rule at one scale of the errors, from the counts of a table."""

    def __init__(self, misreads: Misreads, scale: float) -> None:
        self.misreads = misreads
        counts, readings = misreads.counts, [*misreads.counts.values()]
        all_right = sum(counts[char][char] for char in counts)
        share = (all_right + 19) / (sum(sum(of_char.values()) for of_char in readings) + 20)
        self.right: dict[str, float] = {}
        for char in ALPHABET:
            of_char = counts.get(char, {})
            right = (of_char.get(char, 0) + 40 * share) / (sum(of_char.values()) + 40)
            self.right[char] = math.pow(right, scale)
        self.missing = 1 - math.pow(1 - misreads.table.missing_rate, scale)
        self.added = (1 - math.pow(1 - misreads.table.added_rate, scale)) / len(ALPHABET)

    def reading(self, true: str, read: str) -> float:
        if true == read:
            return self.right[true]
        counts = self.misreads.counts.get(true, {})
        group = next((group for group in self.misreads.groups if true and true in group), true)
        prior = 1 / (36 if true else 37)  # an unknown one may be read as another such one
        if len(group) > 1:
            prior = prior / 2 + (0.5 / (len(group) - 1) if read and read in group else 0)
        wrong = sum(counts.values()) - counts.get(true, 0)
        return (1 - self.right[true]) * (counts.get(read, 0) + 24 * prior) / (wrong + 24)

    def channel(self, true: tuple[str, ...], plate: str) -> float:
        """P(r|t), at most one character missing or added; what is added is read rightly."""

        def each(chars: tuple[str, ...], read: str) -> float:
            return math.prod(self.reading(*pair) for pair in zip(chars, read, strict=True))

        if len(true) == len(plate):
            return each(true, plate)
        if len(true) > len(plate):
            places = range(len(true))
            return self.missing * sum(each(true[:n] + true[n + 1 :], plate) for n in places)
        return self.added * sum(
            each(true, plate[:n] + plate[n + 1 :]) * self.right[read]
            for n, read in enumerate(plate)
        )

    def all_of(self, pattern: str, plate: str) -> float:
        """The sum over all plates as long as `pattern`, each as rare as its pattern is.

        Characters are read independently, so it is a product if the lengths are the same.
        """
        if len(pattern) != len(plate):
            return self.by_trying(pattern, plate)
        rarer = self.misreads.table.other_pattern_share
        return math.prod(
            sum(
                self.reading(true, read) * (1 if true.isdigit() == kind.isdigit() else rarer)
                for true in ALPHABET
            )
            for kind, read in zip(pattern, plate, strict=True)
        )

    def by_trying(self, pattern: str, plate: str) -> float:
        """The same sum, with each plate tried; only for short ones."""
        rarer, kinds = self.misreads.table.other_pattern_share, [char.isdigit() for char in pattern]
        return sum(
            self.channel(true, plate)
            * math.pow(rarer, sum(map(bool.__ne__, kinds, (char.isdigit() for char in true))))
            for true in itertools.product(ALPHABET, repeat=len(pattern))
        )

    def confidence(self, plate: str, listed: str) -> float:
        same_length = len(plate) == len(listed)
        choices = [
            [char]
            if char != WILDCARD
            else [one for one in ALPHABET if one.isdigit() == plate[at].isdigit()]
            for at, char in enumerate(listed)
        ]
        fitting = [self.channel(true, plate) for true in itertools.product(*choices)]
        this = sum(fitting) / len(fitting)
        filled = "".join(plate[at] if char == WILDCARD else char for at, char in enumerate(listed))
        pattern = self.all_of(filled, plate)
        if same_length:
            beyond = (len(plate) + 1) * self.missing * 37 / 2 + len(plate) * self.added
            beyond *= pattern
        else:
            beyond = self.all_of(plate, plate)
        others = pattern - this + self.misreads.table.other_length_share * beyond
        return this / (this + self.misreads.table.plate_density * others)

    def scaled_to(self, plate: str, stated: float) -> float:
        """The scale at which the probability that all of the plate is read right is the stated one.

        `self` has scale 1. No character may be missing, and none added between or around them.
        """
        table, length = self.misreads.table, len(plate)
        right = sum(math.log(self.right[char]) for char in plate)
        right += length * math.log1p(-table.missing_rate)
        right += (length + 1) * math.log1p(-table.added_rate)
        return math.log(min(max(stated, 0.01), 0.9999)) / right
