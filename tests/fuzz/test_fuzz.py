"""The whole corpus, a few seconds of fuzzing for each target, and that the fuzzer finds things.

`make fuzz SECONDS=600` fuzzes for longer; `HOTLIST_FUZZ_SECONDS` changes what is done here.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Hashable, Iterable
from pathlib import Path

import pytest

from engine.documents.hours import parse_hours
from tests.fuzz import fuzzer
from tests.fuzz.coverage import Coverage
from tests.fuzz.fuzzer import Result, Target, fuzz, name_of, report
from tests.fuzz.mutations import any_of, change_bytes, change_json, words
from tests.fuzz.of_files import plain_csv
from tests.fuzz.targets import TARGETS

_SECONDS = float(os.environ.get("HOTLIST_FUZZ_SECONDS", "1.5"))
#: Another one each time; what fails tells it.
#: The same in every run, so that no change fails for what it has not done; `make fuzz` goes on.
_SEED = int(os.environ.get("HOTLIST_FUZZ_SEED", "20261122"))
#: The largest input that the corpus keeps.
_CORPUS_BYTES = 16 * 1024


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_that_is_kept(name: str) -> None:
    target = TARGETS[name]
    assert target.corpus
    for path in target.corpus:
        data = path.read_bytes()
        assert len(data) <= _CORPUS_BYTES, f"{path} is too large to be kept"
        try:
            list(target.run(data))
        except Exception as error:
            error.add_note(f"replay: python -m tests.fuzz {name} --replay {path}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_some_seconds_of_fuzzing(name: str, tmp_path: Path) -> None:
    result = fuzz(TARGETS[name], _SECONDS, _SEED)
    if result.failing is not None:
        folder = Path(os.environ.get("HOTLIST_FUZZ_FAILURES", str(tmp_path)))
        pytest.fail(report(TARGETS[name], result, _SEED, folder), pytrace=False)
    assert result.tried > len(TARGETS[name].corpus), "there was time for more than the corpus"


# ---- the fuzzer itself


def planted(data: bytes) -> Iterable[Hashable]:
    """Fails for inputs with an A somewhere before a B, and says how far each one came."""
    before, found, behind = data.partition(b"A")
    if found and b"B" in behind:
        raise ZeroDivisionError("a planted fault")
    return [found, b"B" in before]


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setattr(fuzzer, "CORPUS", tmp_path / "corpus")
    folder = tmp_path / "corpus" / "planted"
    folder.mkdir(parents=True)
    (folder / "some-text").write_bytes(b"something else")
    return Target("planted", planted, any_of(change_bytes, words("A", "B")))


@pytest.mark.parametrize("guided", [False, True])
def test_a_planted_fault_is_found_made_short_and_told(
    target: Target, tmp_path: Path, guided: bool
) -> None:
    result = fuzz(target, 60, 7, guided=guided)
    assert result.failing == b"AB"
    assert isinstance(result.error, ZeroDivisionError)
    told = report(target, result, 7, tmp_path / "failures")
    path = tmp_path / "failures" / f"planted-{name_of(b'AB')}"
    assert path.read_bytes() == b"AB"
    assert told.splitlines() == [
        f"planted fails with seed 7 at input {result.tried}: ZeroDivisionError: a planted fault",
        "input (2 bytes): b'AB'",
        f"written to {path}",
        f"replay:  python -m tests.fuzz planted --replay {path}",
        f"keep:    cp {path} {tmp_path}/corpus/planted/a-name-that-says-what-it-shows",
    ]


def test_the_same_seed_does_the_same(target: Target) -> None:
    def run(seed: int) -> Result:
        return fuzz(target, 60, seed)

    one, same, another = run(7), run(7), run(8)
    assert one.tried == same.tried
    assert one.found == same.found
    assert one.found != another.found


def test_an_input_of_the_corpus_that_fails_is_no_longer_than_it_must_be(target: Target) -> None:
    (fuzzer.CORPUS / "planted" / "fails").write_bytes(b"xxA" + b"y" * 1000 + b"Bzz")
    result = fuzz(target, 0, 7)
    assert result.failing == b"AB"


def test_lines_of_the_engine_are_seen_once() -> None:
    coverage = Coverage()

    def finds_new(text: str) -> bool:
        with coverage, contextlib.suppress(ValueError):
            parse_hours(text)
        return coverage.found_new

    assert finds_new("mon 08:00-09:00 UTC")
    reached = coverage.lines
    assert reached > 10
    assert not finds_new("tue 08:00-09:00 UTC")
    assert coverage.lines == reached
    assert finds_new("x")
    assert coverage.lines > reached


def test_mutations_make_other_inputs_and_hold_to_their_chances() -> None:
    """Of anything, and the same by the same chances."""
    samples = [b"", b"{}", b'{"a": [1, "x", null], "b": {"c": 1.5}}', b"[" * 5000, b"\xff\x00"]
    for mutate in (change_bytes, change_json, words("x"), words()):
        for sample in samples:
            made = [mutate(random.Random(seed), sample, samples) for seed in range(40)]
            assert made == [mutate(random.Random(seed), sample, samples) for seed in range(40)]
            assert sum(each != sample for each in made) >= 20


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2\n", [(1, ["a", "b"]), (2, ["1", "2"])]),
        ('a\r\n"x\ny"\r\n\r\nz', [(1, ["a"]), (2, ["x\ny"]), (5, ["z"])]),
        ('"a""b",\r""\n', [(1, ['a"b', ""]), (2, [""])]),
        ('a"b\n', None),
        ('"a"b\n', None),
        ('"a', None),
        (",\n", [(1, ["", ""])]),
        ("", []),
    ],
)
def test_the_plain_reader_of_tables(text: str, rows: list[tuple[int, list[str]]] | None) -> None:
    assert plain_csv(text, ",") == rows
