"""The registry of benchmarks and engines, as data.

A definition (`definitions/NAME.toml`) says what goes in, which engines run, how many matches
must come out and what the figure shows and hides. `engines.toml` says how each engine is
started. Both are read strictly: an unknown or missing field is an error, not a default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

DIRECTORY = Path(__file__).parent
#: What a run may leave on disk between runs: built peers, their environments, quick results.
WORK = DIRECTORY / "work"

Count = Annotated[int, Meta(ge=1)]
Codec = Literal["none", "gzip", "snappy", "lz4", "zstd"]
#: `reads` is the whole topic; `once` one of the distinct reads alone and `short` one of the first
#: of them, for engines so slow that the whole would take minutes.
Topic = Literal["reads", "once", "short"]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Input(_Strict, frozen=True, kw_only=True):
    """What the topics hold.

    `reads` go to the topic, made of `distinct_reads` reads over and over; these stand once on a
    topic of their own, and the first `short_reads` of them on another. `batch_bytes` is a record
    batch before compression. `hit_rate` is the share of reads that show a listed plate, whatever
    the policies allow. Beside the `entries`, the lists have so many that match look-alikes, have
    unknown characters or allow one more misread. With `suppress_s` or `is_daily` each repetition
    of the reads is a day after the one before; without `suppress_s` every read makes its matches.
    """

    reads: Count
    short_reads: Count
    distinct_reads: Count
    partitions: Count
    codec: Codec
    batch_bytes: Annotated[int, Meta(ge=1024)]
    entries: Count
    sources: Count
    hit_rate: Annotated[float, Meta(ge=0, le=1)]
    look_alike_entries: Annotated[int, Meta(ge=0)] = 0
    partial_entries: Annotated[int, Meta(ge=0)] = 0
    distance_entries: Annotated[int, Meta(ge=0)] = 0
    suppress_s: Annotated[int, Meta(ge=0)] = 0
    is_daily: bool = False

    def __post_init__(self) -> None:
        if self.reads % self.distinct_reads:
            raise ValueError("reads must be a multiple of distinct_reads")
        if self.short_reads > self.distinct_reads:
            raise ValueError("short_reads must be at most distinct_reads")

    @property
    def repeats(self) -> int:
        """How often the distinct reads are sent."""
        return self.reads // self.distinct_reads

    def records(self, topic: Topic) -> int:
        """Reads on one of the topics."""
        return {"reads": self.reads, "once": self.distinct_reads, "short": self.short_reads}[topic]


class Expected(_Strict, frozen=True, kw_only=True):
    """Matches that must come out of each topic."""

    reads: Annotated[int, Meta(ge=0)]
    once: Annotated[int, Meta(ge=0)]
    short: Annotated[int, Meta(ge=0)]


class Case(_Strict, frozen=True, kw_only=True):
    """One input of a definition: what differs from the definition's, and what must come out."""

    name: str
    expected: Expected
    quick_expected: Expected
    input: dict[str, Any] = msgspec.field(default_factory=dict)


class _Quick(_Strict, frozen=True, kw_only=True):
    rounds: Count
    input: dict[str, Any]


class Definition(_Strict, frozen=True, kw_only=True):
    """One benchmark. `shows` and `bias` are paragraphs for people."""

    name: str
    title: str
    shows: str
    bias: str
    engines: tuple[str, ...]
    rounds: Count
    input: dict[str, Any]
    quick: _Quick
    cases: Annotated[tuple[Case, ...], Meta(min_length=1)]

    def input_of(self, case: Case, *, quick: bool) -> Input:
        """The whole input of a case. Raises msgspec.ValidationError where it makes no sense."""
        fields = self.input | (self.quick.input if quick else {}) | case.input
        return msgspec.convert(fields, Input)

    def expected_of(self, case: Case, *, quick: bool) -> Expected:
        """The matches that must come out of a case."""
        return case.quick_expected if quick else case.expected

    def narrowed(self, engines: tuple[str, ...], rounds: int | None) -> Definition:
        """The same with only some of its engines (none named: all) and other rounds."""
        chosen = tuple(name for name in self.engines if not engines or name in engines)
        changed = msgspec.structs.replace(self, engines=chosen)
        if rounds is not None:
            quick = msgspec.structs.replace(self.quick, rounds=rounds)
            changed = msgspec.structs.replace(changed, rounds=rounds, quick=quick)
        return changed


class Engine(_Strict, frozen=True, kw_only=True):
    """How one engine is started; exactly one of `module` and `maven`, unless `unavailable`.

    `module` is a Python module run with `-m`. With `requirements` (a file beside engines.toml)
    it runs in an environment of its own, because its pins disagree with ours. `maven` is a
    project's directory, built once into a jar with its dependencies. `matches` is False for
    what only reads. `unavailable` says why there is no figure.
    """

    title: str
    topic: Topic
    module: str | None = None
    requirements: str | None = None
    maven: str | None = None
    java_options: tuple[str, ...] = ()
    matches: bool = True
    unavailable: str | None = None

    def __post_init__(self) -> None:
        if self.unavailable is None and (self.module is None) == (self.maven is None):
            raise ValueError("an engine has either a module or a maven project")


def load_definitions(directory: Path = DIRECTORY / "definitions") -> dict[str, Definition]:
    """All definitions by name, in order of the name.

    Raises msgspec.ValidationError for a wrong file, ValueError for a name that is not its
    file's or an engine that is not in `engines.toml`.
    """
    engines = load_engines()
    found = {}
    for path in sorted(directory.glob("*.toml")):
        definition = msgspec.toml.decode(path.read_bytes(), type=Definition)
        if definition.name != path.stem:
            raise ValueError(f"{path.name}: the name in it is {definition.name!r}")
        unknown = sorted(set(definition.engines) - set(engines))
        if unknown:
            raise ValueError(f"{path.name}: unknown engines: {', '.join(unknown)}")
        for case in definition.cases:
            for quick in (False, True):
                definition.input_of(case, quick=quick)
        found[definition.name] = definition
    return found


def load_engines(path: Path = DIRECTORY / "engines.toml") -> dict[str, Engine]:
    """All engines by name, in the order of the file. Raises msgspec.ValidationError."""
    return msgspec.toml.decode(path.read_bytes(), type=dict[str, Engine])
