"""The fuzzer: inputs made of other inputs, kept where they show something new.

A mutator of our own over a corpus, not a general one: most of what is attacked here is a format
with lengths and checksums or a document, in which a random byte shows the same refusal again and
again. So each target brings mutations that know its format, beside those of plain bytes, and an
oracle that says more than "it did not crash". An input that reaches a new line of the engine, or
whose outcome is a new one, joins the pool for the rest of the run.

All that is random comes from the seed and the target's name, so a run with the same corpus does
the same in the same order, and ends where its time does.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import signal
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from tests.fuzz.coverage import Coverage

CORPUS: Final = Path(__file__).parent.parent / "data" / "corpus"
#: What is not worth a place in the repository, however much it shows.
KEPT_BYTES: Final = 4096
#: Inputs are not made longer than this; what must be larger is an attack of its own.
INPUT_BYTES: Final = 256 * 1024
_SHRINK_S: Final = 5.0
#: No input takes a hundredth of this, on the slowest machine.
_HANGS_S: Final = 60.0
#: Of an input and of an error, in a report.
_SHOWN_BYTES: Final = 500
_SHOWN_CHARACTERS: Final = 1000

#: Holds an input against the target's oracle: raises where they disagree, else says what came of
#: it in a few words. A word that no other input had makes the input worth keeping.
Run = Callable[[bytes], Iterable[Hashable]]
#: Makes another input of one; the last are others, to take parts of.
Mutate = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed, how inputs for it are made, and the oracle."""

    name: str
    run: Run
    mutate: Mutate

    @property
    def corpus(self) -> list[Path]:
        """The inputs that are kept, by name."""
        folder = CORPUS / self.name
        return sorted(path for path in folder.iterdir() if path.is_file())


@dataclass(slots=True)
class Result:
    """What a run came to: inputs tried, their outcomes, the lines of the engine that they reached,
    those with something new in the order in which they came and of these the ones that reached
    new lines, and the one that failed, with how."""

    tried: int = 0
    outcomes: set[Hashable] = field(default_factory=set)
    lines: int = 0
    found: list[bytes] = field(default_factory=list)
    reached: list[bytes] = field(default_factory=list)
    failing: bytes | None = None
    error: Exception | None = None


def fuzz(target: Target, seconds: float, seed: int, *, guided: bool = True) -> Result:
    """Fuzz a target for so long, or until an input fails; without `guided`, no lines are looked
    at, which is faster and learns from the outcomes alone."""
    chance = random.Random(f"{seed}/{target.name}")
    result, coverage = Result(), Coverage()
    pool: list[bytes] = []

    def attempt(data: bytes) -> bool:
        """Try an input; whether it showed anything new."""
        result.tried += 1
        try:
            with _watched(), coverage if guided else contextlib.nullcontext():
                outcome = set(target.run(data))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
            result.failing, result.error = data, error
            return False
        is_new = not outcome <= result.outcomes
        result.outcomes |= outcome
        return is_new or (guided and coverage.found_new)

    for path in target.corpus:
        pool.append(path.read_bytes())
        attempt(pool[-1])
        if result.failing is not None:
            break
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and result.failing is None:
        # Half of them from the latest: what is new has not been tried yet.
        recent = pool[-(len(pool) // 4 + 1) :] if chance.random() < 0.5 else pool
        data = chance.choice(recent)
        for _ in range(1 + int(chance.expovariate(1.0))):
            data = target.mutate(chance, data, pool)[:INPUT_BYTES]
        if attempt(data):
            pool.append(data)
            result.found.append(data)
            if coverage.found_new:
                result.reached.append(data)
    result.lines = coverage.lines
    if result.failing is not None and result.error is not None:
        result.failing = _shrunk(target, result.failing, type(result.error))
    return result


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """TimeoutError where an input is never done, on systems that can tell."""

    def too_long(*_: object) -> NoReturn:
        raise TimeoutError(f"not done within {_HANGS_S:g} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, _HANGS_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def agree(found: object, wanted: object, what: str) -> None:
    """Raise AssertionError, with both, where the engine's answer is not the oracle's."""
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}")


def _shrunk(target: Target, data: bytes, kind: type[Exception]) -> bytes:
    """A shorter input that fails in the same way, as far as time allows."""

    def fails(shorter: bytes) -> bool:
        try:
            target.run(shorter)
        except Exception as error:  # noqa: BLE001 - compared just below
            return type(error) is kind
        return False

    deadline = time.monotonic() + _SHRINK_S
    size = len(data) // 2
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if time.monotonic() > deadline:
                return data
            if fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data


def name_of(data: bytes) -> str:
    """What an input is called that nobody has named."""
    return hashlib.sha256(data).hexdigest()[:16]


def report(target: Target, result: Result, seed: int, folder: Path) -> str:
    """Write the failing input into a folder; what to tell of it."""
    assert result.failing is not None, "only failures are reported"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target.name}-{name_of(result.failing)}"
    path.write_bytes(result.failing)
    size = f"{len(result.failing)} bytes"
    if len(result.failing) > _SHOWN_BYTES:
        size = f"{size}, cut"
    error = f"{type(result.error).__name__}: {str(result.error)[:_SHOWN_CHARACTERS]}"
    return f"""\
{target.name} fails with seed {seed} at input {result.tried}: {error}
input ({size}): {result.failing[:_SHOWN_BYTES]!r}
written to {path}
replay:  python -m tests.fuzz {target.name} --replay {path}
keep:    cp {path} {CORPUS / target.name}/a-name-that-says-what-it-shows"""
