"""The rules of the structure: each finds what breaks it, and lets alone what does not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.repository import (
    boundaries,
    compiled_calls,
    reaching,
    shape,
    structure,
    words,
)
from tests.repository.source import Source, Violation


def _keys(violations: Iterable[Violation]) -> list[str]:
    return [violation.key for violation in violations]


# ---- boundaries


def _imported(statement: str, public: str, importer: str = "engine__top__a") -> list[str]:
    source = Source.of(
        engine__low=f'"""A package."""\n__all__ = {public}\n',
        engine__low__b="def f(): ...\n",
        **{importer: statement},
    )
    return _keys(boundaries.private_imports(source, {}))


def test_a_private_module_is_imported_by_its_own_package_alone() -> None:
    statement = "from engine.low.b import f\n"
    assert _imported(statement, "['b']") == []
    assert _imported(statement, "[]") == ["engine.top.a imports engine.low.b"]
    assert _imported("from engine.low import b\n", "[]") == ["engine.top.a imports engine.low.b"]
    assert _imported(statement, "[]", importer="engine__low__c") == []


def test_a_private_name_is_imported_by_nobody() -> None:
    assert _imported("from engine.low.b import _f\n", "['b']") == [
        "engine.top.a imports engine.low.b._f"
    ]


def test_an_exception_that_is_not_needed_is_a_violation() -> None:
    source = Source.of(engine__top__a="from engine.low.b import f\n", engine__low__b="")
    assert (
        _keys(boundaries.private_imports(source, {("engine.top.a", "engine.low.b"): "fast"})) == []
    )
    assert _keys(boundaries.private_imports(source, {("engine.x", "engine.y"): "fast"}))[1:] == [
        "engine.x may import engine.y"
    ]


def test_a_list_of_public_names_is_there_true_and_needed() -> None:
    source = Source.of(
        engine="__all__ = []\n",
        engine__low="g = 1\n__all__ = ['b', 'c', 'g', 'h']\n",
        engine__low__b="",
        engine__low__c="",
        engine__top__a="from engine.low import b\n",
    )
    assert _keys(boundaries.wrong_lists(source)) == ["engine.low.c", "engine.low.h", "engine.top"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from engine.a import f, g\n@compiled\ndef h():\n    return f()\n", []),
        ("from engine.a import f, g\ndef h():\n    return g() + f.py_func()\n", []),
        ("from engine.a import f\ndef h():\n    return f()\n", ["engine.b calls f"]),
        ("from engine import a\na.f()\n", ["engine.b calls a.f"]),
        ("from engine.a import g\ndef f(): ...\nf()\n", []),
    ],
)
def test_python_calls_no_function_without_a_wrapper(text: str, found: list[str]) -> None:
    engine = Source.of(engine__a="@inner\ndef f(): ...\n@compiled\ndef g(): ...\n", engine__b=text)
    assert _keys(compiled_calls.inner_calls(engine)) == found


# ---- shape


def test_a_long_module_gives_its_reason() -> None:
    def found(docstring: str, lines: int) -> list[str]:
        text = f'"""{docstring}"""\n' + "x = 1\n" * lines
        return _keys(shape.long_modules(Source.of(engine__a=text)))

    assert found("Short.", 299) == []
    assert found("Long.", 300) == ["engine.a"]
    assert found("Long.\n\nLong because\nit must be.", 400) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("class A:\n    def __init__(self, a, b, c, d, e, f): ...\n", []),
        ("class A:\n    def __init__(self, a, b, c, *, d, e, f, g): ...\n", ["A.__init__"]),
        ("def make_a(a, b, c, d, e, f, g): ...\n", ["make_a"]),
        ("def matched(a, b, c, d, e, f, g): ...\n", []),
        ("@numba.njit(nogil=True)\ndef make_a(a, b, c, d, e, f, g): ...\n", []),
    ],
)
def test_a_constructor_takes_few_parameters(text: str, found: list[str]) -> None:
    wide = _keys(shape.wide_constructors(Source.of(engine__a=text)))
    assert wide == [f"engine.a.{name}" for name in found]


def test_a_public_name_is_defined_once() -> None:
    source = Source.of(
        engine__a="class Row: ...\nclass _Own: ...\n@click.command()\ndef show(): ...\n",
        engine__b="class Row: ...\nclass _Own: ...\n@group.command('show')\ndef show(): ...\n",
        engine__c="def main(): ...\n",
        engine__d="def main(): ...\n",
    )
    assert _keys(shape.names_twice(source)) == ["Row"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("_PAUSE_S = 0.5\n", ["engine.a._PAUSE_S"]),
        ("_PAUSE_MS: Final = 60 * 5\n", ["engine.a._PAUSE_MS"]),
        ("_PAUSE_S = limits.PAUSE_S\n", []),
        ("_DAY_MS = 24 * 3600\n", []),
        ("await asyncio.sleep(0)\n", []),
        ("await asyncio.sleep(0.5)\n", ["engine.a sleep(0.5)"]),
        ("await asyncio.sleep(limits.PAUSE_S)\n", []),
        ("async with asyncio.timeout(3): ...\n", ["engine.a timeout(3)"]),
        ("await asyncio.wait_for(f, 3)\n", ["engine.a wait_for(3)"]),
        ("await asyncio.wait_for(f, timeout=3)\n", ["engine.a wait_for(timeout=3)"]),
        ("Consumer(retry_backoff_ms=100)\n", ["engine.a Consumer(retry_backoff_ms=100)"]),
        ("queue.get(timeout=None)\n", []),
    ],
)
def test_times_stand_in_limits(text: str, found: list[str]) -> None:
    assert (
        _keys(shape.times_outside(Source.of(engine__a=text, engine__limits="X_S = 5\n"))) == found
    )


# ---- tests that reach


@pytest.mark.parametrize(
    ("test", "reached", "found"),
    [
        ("tests__low__test_b", "b._own", []),
        ("tests__kafka__low__test_b", "b._own", []),
        ("tests__low__test_c", "b._own", ["tests.low.test_c _own"]),
        ("tests__models__world", "b._own", ["tests.models.world _own"]),
        ("tests__low__test_c", "b._somebodys", []),
        ("tests__low__test_c", "monkeypatch.setattr(b, '_own', 1)", ["tests.low.test_c _own"]),
        ("tests__low__test_c", "b.__class__", []),
    ],
)
def test_a_test_looks_into_its_own_module_alone(test: str, reached: str, found: list[str]) -> None:
    engine = Source.of(engine__low__b="class B:\n    def __init__(self):\n        self._own = 1\n")
    assert _keys(reaching.private_reaches(engine, Source.of(**{test: f"{reached}\n"}))) == found


# ---- words


def test_a_word_of_the_glossary_is_in_use() -> None:
    source = Source.of(engine__a='"""The hot list."""\ndef match_read(): ...\n')
    assert list(words.unused({"hot list": "", "match": "", "gate": ""}, source)) == ["gate"]


def test_a_replaced_word_is_found_in_names_and_in_prose() -> None:
    found = words.replaced_words(
        {"a": "The heart. self._heart = Heart()", "b": "EPOCH producer_epoch"}
    )
    assert sum(map(len, found.values())) == 3


# ---- the list of what is known


def test_what_is_known_may_only_shrink() -> None:
    known = {"long_modules": {"engine.a": 1, "engine.b": 1}, "replaced_words": {}}
    found = {
        "long_modules": [Violation("engine.a", "a is long"), Violation("engine.c", "c is long")]
    }
    word = next(iter(words.REPLACED))
    assert list(structure.complaints(found, {word: ["x.py"]}, known)) == [
        "long_modules: c is long",
        (
            f"replaced_words: {word!r} stands 1 times, more than before (x.py, ...); "
            f"say instead: {words.REPLACED[word]}"
        ),
        "long_modules: known.toml has 'engine.b', which is mended; run with --shrink",
    ]
    now = structure.counted(found, {word: ["x.py"]})
    assert structure.shrunk(known, now) == {"long_modules": {"engine.a": 1}, "replaced_words": {}}
