"""`python -m benchmarks`: run the benchmarks, show what they gave."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

import click
import msgspec

from benchmarks import readme as pages
from benchmarks import results, runner, targets
from benchmarks.definitions import load_definitions
from benchmarks.measures import figures
from benchmarks.measures.definition import MeasureDefinition, load_measures
from benchmarks.reads import count_expected


@click.group()
def main() -> None:
    """How fast the engine is, and what it is measured against."""
    # What clients have to say while they connect or end is not part of the figures.
    logging.basicConfig(level=logging.ERROR)


@main.command(name="list")
def list_definitions() -> None:
    """Name the benchmarks and their engines."""
    for name, definition in load_definitions().items():
        click.echo(f"{name}: {definition.title}\n  {', '.join(definition.engines)}")
    for name, measure in load_measures().items():
        click.echo(f"{name}: {measure.title}")


@main.command()
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Little input, one round: does everything work?")
@click.option("--bootstrap", metavar="HOST:PORT", help="A Kafka that runs; else one is started.")
@click.option("--rounds", type=click.IntRange(min=1), help="Instead of the definition's number.")
@click.option("--engine", "engines", multiple=True, help="Only this engine; may be repeated.")
def run(
    names: tuple[str, ...],
    quick: bool,
    bootstrap: str | None,
    rounds: int | None,
    engines: tuple[str, ...],
) -> None:
    """Measure NAMES, or all benchmarks. Ends with status 1 where an engine failed."""
    known = load_definitions()
    measures = load_measures()
    for name in names:
        if name not in known and name not in measures:
            every = ", ".join([*known, *measures])
            raise click.UsageError(f"no benchmark {name!r}; there are: {every}")
    failures = []
    wanted = names or (*known, *(() if engines else measures))
    needs_broker = any(name in known or measures[name].broker for name in wanted)
    with _broker(bootstrap) if needs_broker else contextlib.nullcontext("") as address:
        for name in wanted:
            if name in measures:
                failures += _measure(measures[name], address, quick, rounds)
                continue
            definition = known[name].narrowed(engines, rounds)
            if not definition.engines:
                continue
            result = runner.run(
                definition, address, quick=quick, say=lambda text: click.echo(text, err=True)
            )
            # A part of the engines is no whole picture, so it does not replace one.
            path = results.save(result, results.PASSING if engines else None)
            click.echo(results.table(result))
            click.echo(f"written to {path}", err=True)
            failures += result.failures
    for failure in failures:
        click.echo(f"FAILED: {failure}", err=True)
    sys.exit(1 if failures else 0)


def _measure(
    definition: MeasureDefinition, address: str, quick: bool, rounds: int | None
) -> list[str]:
    from benchmarks.measures.run import run as run_measure

    result = run_measure(
        definition,
        address,
        quick=quick,
        rounds=rounds,
        say=lambda text: click.echo(text, err=True),
    )
    path = figures.save(result)
    click.echo(figures.table(result))
    click.echo(f"written to {path}", err=True)
    return result.failures


@main.command()
def expected() -> None:
    """Count the matches that every case must give, for its definition's file."""
    for name, definition in load_definitions().items():
        for case in definition.cases:
            for quick in (False, True):
                count = count_expected(definition.input_of(case, quick=quick))
                kind = "quick_expected" if quick else "expected"
                text = f"{{ reads = {count.reads}, once = {count.once}, short = {count.short} }}"
                click.echo(f"{name}: {case.name}: {kind} = {text}")
    from benchmarks.measures.run import settings_of

    for name, measure in load_measures().items():
        for quick in (False, True) if measure.broker else ():
            count = count_expected(settings_of(measure, quick=quick).input)
            text = f"{{ reads = {count.reads}, once = {count.once}, short = {count.short} }}"
            click.echo(f"{name}: {'quick ' if quick else ''}expected = {text}")


@main.command()
def report() -> None:
    """Show the newest kept results, write the table of goals, and draw the plots."""
    verdicts = targets.kept_verdicts()
    page = targets.with_goals(targets.README.read_text(), verdicts)
    targets.README.write_text(page)
    click.echo(targets.table(verdicts))
    try:
        from benchmarks import plots
        from benchmarks.measures import plots as measure_plots
    except ImportError as error:
        raise click.ClickException(f"{error}; install the dependency group bench") from error
    for result in results.newest():
        click.echo(results.table(result))
        for path in plots.draw(result):
            click.echo(f"drawn: {path}", err=True)
    for measured in figures.newest():
        click.echo(figures.table(measured))
        for path in measure_plots.draw(measured):
            click.echo(f"drawn: {path}", err=True)


@main.command()
@click.option("--bootstrap", metavar="HOST:PORT", help="A Kafka that runs; else one is started.")
@click.option("--rounds", type=click.IntRange(min=1), help="Instead of the definition's number.")
@click.option("--check", is_flag=True, help="Measure nothing; is README's table the kept one?")
def readme(bootstrap: str | None, rounds: int | None, check: bool) -> None:
    """Measure README's figures and write them into it."""
    if not check:
        with _broker(bootstrap) as address:
            result = runner.run(
                *(pages.definition(rounds), address),
                quick=False,
                say=lambda text: click.echo(text, err=True),
            )
        result = msgspec.structs.replace(result, hot_path=pages.hot_path())
        path = results.save(result)
        click.echo(results.table(result))
        click.echo(f"written to {path}", err=True)
        if failures := result.without_figures:
            raise click.ClickException("README is left as it was; " + "; ".join(failures))
        pages.README.write_text(pages.with_figures(pages.README.read_text(), result))
    kept = pages.newest()
    if kept is None:
        raise click.ClickException("no figures for README are kept; run: make bench-readme")
    try:
        pages.check(pages.README.read_text(), kept)
    except pages.BadPageError as error:
        raise click.ClickException(str(error)) from None
    if changed := pages.changed_since(kept, pages.hot_path()):
        click.echo(
            f"README's figures are of {kept.date}; since then {len(changed)} files of the hot path "
            f"have changed: {', '.join(changed[:5])}{', ...' if len(changed) > 5 else ''}; "
            "to measure again, run: make bench-readme",
            err=True,
        )


@contextlib.contextmanager
def _broker(bootstrap: str | None) -> Iterator[str]:
    if bootstrap is not None:
        yield bootstrap
        return
    from tests.kafka.broker import RealBroker

    reason = RealBroker.unavailable_reason()
    if reason is not None:
        raise click.ClickException(f"no Kafka can be started: {reason}; give --bootstrap")
    with RealBroker() as broker:
        yield broker.bootstrap


if __name__ == "__main__":
    main()
