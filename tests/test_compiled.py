"""`engine.compiled`: one version of a function for all numbers of a type."""

from __future__ import annotations

import numba

from engine.compiled import compiled, inner


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
