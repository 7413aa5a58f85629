"""`engine.compiled`: one version of a function for all numbers of a type."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from engine.compiled import compiled, digest_of_code, inner


@inner
def _plus(number: int, other: int) -> int:
    return number + other


@compiled
def _doubled(number: int) -> int:
    return number + number


@numba.njit()  # not cached, so that what it calls is compiled here
def _sum_of(count: int) -> int:
    total = 0
    for _ in range(count):
        total = _plus(total, 1)
    return _plus(total, 2) + _doubled(3)


def test_a_constant_is_a_number() -> None:
    assert _sum_of(4) == 12
    assert (len(_plus.signatures), len(_doubled.signatures)) == (1, 1)


def test_python_calls_a_compiled_function_with_the_same_version() -> None:
    assert _sum_of(0) == 8
    assert _doubled(21) == 42
    assert len(_doubled.signatures) == 1


_CALLING = """
import part
from engine.compiled import compiled
from numbers_of_it import FEW, WEIGHTS, make

@compiled
def weighed(count):
    return part.times(count) * part.FACTOR + FEW[1] + WEIGHTS[0] + later(count)

later = make(5)

weighed(1)
print(weighed(1), sum(weighed._cache_hits.values()), sum(weighed._cache_misses.values()))
"""
_PART = """
from engine.compiled import inner

FACTOR = 100

@inner
def _once(count):
    return 2 * count

@inner
def times(count):
    return _once(count)
"""
_NUMBERS = """
import numpy as np
from engine.compiled import inner

FEW = (10, 20)
WEIGHTS = np.array([3, 4])

def make(number):
    @inner
    def made(count):
        return number * count
    return made
"""


def test_machine_code_is_made_again_when_what_it_was_made_of_has_changed(tmp_path: Path) -> None:
    """Not only its own file: whoever updates a checkout gets new files beside old ones."""

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-B", "calling.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def change(name: str, before: str, after: str) -> None:
        path = tmp_path / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    (tmp_path / "calling.py").write_text(_CALLING)
    (tmp_path / "part.py").write_text(_PART)
    (tmp_path / "numbers_of_it.py").write_text(_NUMBERS)
    assert run() == "228 0 1"
    assert run() == "228 1 0"
    change("part.py", "2 * count", "3 * count")
    assert run() == "328 0 1"
    change("part.py", "100", "1000")
    assert run() == "3028 0 1"
    change("numbers_of_it.py", "(10, 20)", "(10, 30)")
    assert run() == "3038 0 1"
    change("numbers_of_it.py", "[3, 4]", "[6, 4]")
    assert run() == "3041 0 1"
    change("numbers_of_it.py", "number * count", "number - count")
    assert run() == "3040 0 1"
    change("part.py", "FACTOR", "# Nothing that counts.\nFACTOR")
    assert run() == "3040 1 0"


def test_a_digest_is_the_same_in_each_process() -> None:
    program = (
        "from engine.matching.scanner import _scan; from engine.compiled import digest_of_code; "
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program + "print(digest_of_code(_scan.py_func))"],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_a_digest_has_each_function_that_is_compiled_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = digest_of_code(_sum_of.py_func)
    monkeypatch.setitem(globals(), "_plus", _doubled)
    assert digest_of_code(_sum_of.py_func) != before
