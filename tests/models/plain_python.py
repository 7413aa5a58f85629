"""Compiled functions run as plain Python, where a position out of bounds shows itself.

Numba checks no bounds, and numpy takes a negative position for one from the end. `plain` gives
the source of a compiled function to the interpreter, with all compiled functions that it calls
made plain too; `Checked` is an array that takes no position but those that it has.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np


def plain(compiled: Any) -> Any:
    """The Python function from which a numba function was compiled, all the way down."""
    function = compiled.py_func
    names = {
        name: plain(value) if hasattr(value, "py_func") else value
        for name, value in function.__globals__.items()
        if name in function.__code__.co_names
    }
    names["__builtins__"] = __builtins__
    copy = types.FunctionType(function.__code__, names, function.__name__)

    def run(*arguments: Any) -> Any:
        with np.errstate(over="ignore"):  # the arithmetic is that of machine words
            return copy(*arguments)

    return run


class Checked:
    """An array that raises IndexError for every position that is not plainly inside."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, at: Any) -> Any:
        return self._values[self._inside(at)]

    def __setitem__(self, at: Any, value: Any) -> None:
        self._values[self._inside(at)] = value

    def _inside(self, at: Any) -> Any:
        places = at if isinstance(at, tuple) else (at,)
        for place, length in zip(places, self._values.shape, strict=False):
            if not 0 <= int(place) < length:
                raise IndexError(f"position {at} of {self._values.shape}")
        return at if isinstance(at, tuple) else int(at)
