"""How probable each misread is: the counts of a table of misreads, smoothed and scaled.

The model of a reader: it reads the character t correctly with probability a(t), and otherwise as r
with probability q(r|t). It omits and adds characters at the table's rates.

    a(t)   = (t read correctly + RIGHT_WEIGHT * share of correct readings of all)
             / (readings of t + RIGHT_WEIGHT)
    q(r|t) = (t read as r + MISREAD_WEIGHT * prior(r|t)) / (misreadings of t + MISREAD_WEIGHT)

So small counts have little weight. If t has look-alikes, the prior gives half to them and spreads
the rest over all other characters. All characters that the table does not contain share one place,
which counts as a letter.

A better or worse picture scales all errors at once. At scale k, t is read correctly with
probability a(t) to the power of k, and q spreads the rest. In the same way, the probabilities that
a character is not omitted and that none is added are raised to the power of k. Scale 1 is that of
the counts. A read that states its confidence gets the scale at which the probability that
everything is right equals that confidence, which counts as 0.01 if it is less, and as 0.9999 if it
is more.

A character that readers cannot output (`always_read_as`) is read as its plain one as often as that
one is.

Pure. Scales are steps of 3%, and the values of each step are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from string import ascii_uppercase, digits
from typing import Final

#: In readings. With these weights, one half of the shipped counts predicts the other half best (the
#: six similar readings of one photograph stay in one half).
RIGHT_WEIGHT: Final = 40.0
MISREAD_WEIGHT: Final = 24.0
#: Without counts, nineteen characters of twenty are read correctly.
_PRIOR_RIGHT: Final = 19
_PRIOR_READINGS: Final = 20

#: A read's confidence is limited to this range.
LEAST_CONFIDENCE: Final = 0.01
MOST_CONFIDENCE: Final = 0.9999

#: Stands for all characters that the table does not contain.
OTHER: Final = ""
STEPS_AN_E: Final = 1 / math.log(1.03)


class ByCharacter(dict[str, float]):
    """A value for each character; a character that the table does not contain has that of OTHER."""

    def __missing__(self, char: str) -> float:
        return self[OTHER]


class Rates:
    """The model of a table of misreads; see the module and `misreads.Misreads`."""

    def __init__(
        self,
        groups: Sequence[str],
        counts: Mapping[str, Mapping[str, int]],
        *,
        missing_rate: float,
        added_rate: float,
        other_pattern_share: float,
        always_read_as: Collection[tuple[str, str]] = (),
    ) -> None:
        known = {*ascii_uppercase, *digits, *"".join(groups), *counts}
        self.alphabet: tuple[str, ...] = (*sorted(known.union(*counts.values())), OTHER)
        self.characters: int = len(self.alphabet)
        self.other_pattern_share = other_pattern_share
        #: True characters that readers cannot output, with the one that they read always.
        self.always_read_as: frozenset[tuple[str, str]] = frozenset(always_read_as)
        #: The digits of the alphabet; every other character counts as a letter.
        self.digits: frozenset[str] = frozenset(filter(str.isdecimal, self.alphabet))
        self.spread: dict[str, ByCharacter] = {
            char: _spread(char, counts.get(char, {}), groups, self.alphabet)
            for char in self.alphabet
        }
        #: By character -log a(t), the loss of a correct reading at scale 1.
        self.losses: ByCharacter = _losses(counts, self.alphabet)
        self.missing_loss: float = -math.log1p(-missing_rate)
        self.added_loss: float = -math.log1p(-added_rate)
        self._scaled: dict[int, Scaled] = {}

    def choices(self, char: str) -> int:
        """Return how many characters are of this one's kind, letters or digits."""
        digits = len(self.digits)
        return digits if char in self.digits else len(self.alphabet) - digits

    def at(self, plate: str, confidence: float | None) -> Scaled:
        """Return the model at the scale of a read plate's confidence; scale 1 without one."""
        return self.at_loss(self.loss(plate), confidence)

    def loss(self, plate: str) -> float:
        """Return -log of the probability that all of a plate is read correctly at scale 1."""
        loss = sum(map(self.losses.__getitem__, plate))
        loss += len(plate) * self.missing_loss + (len(plate) + 1) * self.added_loss
        return loss

    def at_loss(self, loss: float, confidence: float | None) -> Scaled:
        """Do as `at` for a plate with this `loss`."""
        if confidence is None:
            return self._step(0)
        # Without calls, because each match comes here.
        if confidence < LEAST_CONFIDENCE:
            confidence = LEAST_CONFIDENCE
        elif confidence > MOST_CONFIDENCE:
            confidence = MOST_CONFIDENCE
        return self._step(round(STEPS_AN_E * math.log(-math.log(confidence) / loss)))

    @property
    def scale_count(self) -> int:
        """The number of scales computed so far."""
        return len(self._scaled)

    @property
    def scales(self) -> list[tuple[int, Scaled]]:
        """The scales computed so far, in that order, each with its step."""
        return list(self._scaled.items())

    def _step(self, step: int) -> Scaled:
        scaled = self._scaled.get(step)
        if scaled is None:
            scaled = self._scaled[step] = Scaled(self, math.exp(step / STEPS_AN_E))
        return scaled


class Scaled:
    """The model at one scale.

    Its probabilities of a read character are relative to the correct reading of that character.
    """

    def __init__(self, rates: Rates, scale: float) -> None:
        self._rates = rates
        self._right = ByCharacter(
            (char, math.exp(-scale * loss)) for char, loss in rates.losses.items()
        )
        #: The probability that a character is missing, and that one given character is added.
        self.missing: float = -math.expm1(-scale * rates.missing_loss)
        self.added: float = -math.expm1(-scale * rates.added_loss) / len(rates.alphabet)
        #: By the read character, the sum over all true characters: if the plate's pattern has a
        #: letter there, if it has a digit, and if it has the kind that was read. Characters of the
        #: other kind are weighted, because such plates are rarer.
        self.letters: ByCharacter = ByCharacter()
        self.digits: ByCharacter = ByCharacter()
        self.alike: ByCharacter = ByCharacter()
        for read in rates.alphabet:
            digits = sum(self.instead(true, read) for true in rates.digits)
            letters = sum(self.instead(true, read) for true in rates.alphabet) - digits
            self.letters[read] = letters + rates.other_pattern_share * digits
            self.digits[read] = digits + rates.other_pattern_share * letters
            self.alike[read] = self.column(read)[read]

    def column(self, true: str) -> ByCharacter:
        """Return the sums for a position whose pattern has a character of this one's kind."""
        return self.digits if true in self._rates.digits else self.letters

    def instead(self, true: str, read: str) -> float:
        """Return the probability that `true` is read as `read`."""
        if true == read or (true, read) in self._rates.always_read_as:
            return 1.0
        spread = self._rates.spread
        share = spread.get(true, spread[OTHER])
        misread = 1 - self._right[true]
        return misread * share[read] / self._right[read]


def _losses(counts: Mapping[str, Mapping[str, int]], alphabet: Sequence[str]) -> ByCharacter:
    readings = {char: sum(counts.get(char, {}).values()) for char in alphabet}
    right = {char: counts.get(char, {}).get(char, 0) for char in alphabet}
    share = (sum(right.values()) + _PRIOR_RIGHT) / (sum(readings.values()) + _PRIOR_READINGS)
    return ByCharacter(
        (char, -math.log((right[char] + RIGHT_WEIGHT * share) / (readings[char] + RIGHT_WEIGHT)))
        for char in alphabet
    )


def _spread(
    true: str, counts: Mapping[str, int], groups: Sequence[str], alphabet: Sequence[str]
) -> ByCharacter:
    """Return q(r|t) of the module, by r.

    A character is no misread of itself, except OTHER, which stands for many.
    """
    others = [char for char in alphabet if char != true or true == OTHER]
    look_alikes = next((group for group in groups if true and true in group), true)
    wrong = sum(counts.values()) - counts.get(true, 0)

    def prior(read: str) -> float:
        even = 1 / len(others)
        if len(look_alikes) <= 1:
            return even
        alike = read != OTHER and read in look_alikes
        return even / 2 + (0.5 / (len(look_alikes) - 1) if alike else 0)

    return ByCharacter(
        (char, (counts.get(char, 0) + MISREAD_WEIGHT * prior(char)) / (wrong + MISREAD_WEIGHT))
        for char in others
    )
