"""The types of the commands' own flags and arguments, with answers in words.

click's own types list the values without saying which was meant, and give the range of a number as
an inequality.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import click

from engine.cli.groups import no_such


class OneOf(click.Choice[str]):
    """One of some words; `what` says what each of them is, such as `vendor`."""

    def __init__(self, what: str, words: Sequence[str]) -> None:
        super().__init__(words)
        self._what = what

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return what is wrong with a value, with the word that is most like it."""
        return no_such(self._what, str(value), list(self.choices))


class Count(click.ParamType):
    """A whole number of at least 1."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        number = int(value) if str(value).isdecimal() else 0
        if number < 1:
            self.fail(f"{str(value)!r} is not a whole number of at least 1", param, ctx)
        return number


class Amount(click.ParamType):
    """A number from `least` to `most`, or above `above`."""

    name = "amount"

    def __init__(self, least: float = 0, most: float = math.inf, *, above: bool = False) -> None:
        self._least, self._most, self._above = least, most, above

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        enough = number > self._least if self._above else number >= self._least
        if not enough or number > self._most or math.isinf(number):
            self.fail(f"{str(value)!r} is not a number {self._rule}", param, ctx)
        return number

    @property
    def _rule(self) -> str:
        if math.isinf(self._most):
            return f"{'above' if self._above else 'of at least'} {self._least:g}"
        return f"from {self._least:g} to {self._most:.12g}"
