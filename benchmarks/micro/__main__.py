"""`python -m benchmarks.micro`: all microbenchmarks, one JSON file and table each."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Callable

import click

from benchmarks.machine import describe_machine, describe_versions
from benchmarks.measures import figures
from benchmarks.measures.figures import MeasuredCase, MeasuredResult
from benchmarks.micro import (
    algebra,
    delivery,
    hit,
    library,
    load,
    lookup,
    policies,
    records,
    scanner,
    shared_table,
)

_SIZES = (1_000, 1_000_000, 10_000_000)
_QUICK_SIZES = (1_000, 100_000)
#: Where an object is made of each entry.
_LIBRARY_SIZES = (1_000, 1_000_000)
#: Sources, and the agencies that the policy of each one names.
_POLICIES = ((300, 1_000), (10_000, 1_000))
_QUICK_POLICIES = ((10, 100),)
_BIAS = (
    "One process on an otherwise idle machine, one thread, no broker: what a part costs alone, "
    "which is less than what it costs among the others."
)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Short lists: does everything work?")
def main(names: tuple[str, ...], quick: bool) -> None:
    """Run the microbenchmarks NAMES, or all of them."""
    sizes = _QUICK_SIZES if quick else _SIZES
    every: dict[str, tuple[str, str | None, Callable[[], list[MeasuredCase]]]] = {
        "scanner": ("The scanner", scanner.__doc__, lambda: scanner.measure(sizes)),
        "hit": ("A listed plate read", hit.__doc__, hit.measure),
        "lookup": ("One plate asked for", lookup.__doc__, lambda: lookup.measure(sizes)),
        "algebra": ("The whole list at once", algebra.__doc__, lambda: algebra.measure(sizes)),
        "policies": (
            "Policies of many sources",
            policies.__doc__,
            lambda: policies.measure(_QUICK_POLICIES if quick else _POLICIES),
        ),
        "library": (
            "The library",
            library.__doc__,
            lambda: library.measure(_QUICK_SIZES[:1] if quick else _LIBRARY_SIZES),
        ),
        "load": (
            "The lists loaded",
            load.__doc__,
            lambda: load.measure(_QUICK_SIZES[:1] if quick else _LIBRARY_SIZES[1:]),
        ),
        "shared_table": (
            "A table that workers share",
            shared_table.__doc__,
            lambda: shared_table.measure(_QUICK_SIZES[1:] if quick else _LIBRARY_SIZES[1:]),
        ),
        "decompress": ("Decompression", records.__doc__, records.decompression),
        "compress": ("Compression", records.__doc__, records.compression),
        "delivery": ("The delivery of a match", delivery.__doc__, delivery.measure),
        "documents": ("Documents", records.__doc__, records.documents),
    }
    for name in names:
        if name not in every:
            raise click.UsageError(f"no microbenchmark {name!r}; there are: {', '.join(every)}")
    for name in names or every:
        title, shows, measure = every[name]
        result = MeasuredResult(
            measure=f"micro-{name}",
            title=title,
            shows=inspect.cleandoc(shows or ""),
            bias=_BIAS,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            quick=quick,
            rounds=1,
            machine=describe_machine(),
            versions=describe_versions(),
            cases=measure(),
        )
        path = figures.save(result)
        click.echo(figures.table(result))
        click.echo(f"written to {path}", err=True)


if __name__ == "__main__":
    main()
