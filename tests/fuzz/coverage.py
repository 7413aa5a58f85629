"""Which lines of the engine an input is the first to reach.

By `sys.settrace`, told to be silent where there is nothing left to learn: code outside of the
engine is traced for its call alone, and a function of which every line has been reached is not
traced at all. What is compiled (numba, msgspec, the codecs) cannot be seen; targets run the
scanner as plain Python beside it, and tell the outcome of an input as a feature of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import engine

_ENGINE = str(Path(engine.__file__).parent)


class Coverage:
    """Counts lines while it is entered; `found_new` says whether any of them was new."""

    def __init__(self) -> None:
        self.found_new = False
        self._missing: dict[CodeType, set[int]] = {}
        self._before: Any = None

    @property
    def lines(self) -> int:
        """Lines reached so far."""
        return sum(_count(code) - len(missing) for code, missing in self._missing.items())

    def __enter__(self) -> Coverage:
        self.found_new = False
        self._before = sys.gettrace()
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _on_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        missing = self._missing.get(code)
        if missing is None:
            ours = code.co_filename.startswith(_ENGINE)
            missing = self._missing[code] = _lines(code) if ours else set()
        return self._on_line if missing else None

    def _on_line(self, frame: FrameType, event: str, argument: Any) -> Any:
        missing = self._missing[frame.f_code]
        if event == "line" and frame.f_lineno in missing:
            missing.remove(frame.f_lineno)
            self.found_new = True
        return self._on_line


def _lines(code: CodeType) -> set[int]:
    return {line for _, _, line in code.co_lines() if line is not None}


def _count(code: CodeType) -> int:
    return len(_lines(code)) if code.co_filename.startswith(_ENGINE) else 0
