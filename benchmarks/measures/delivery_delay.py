"""Measure `delivery_delay`: what delivery exactly once adds to the delay of a match.

The paced runs are those of `delay`; the two deliveries take turns within a round.
"""

from __future__ import annotations

import uuid

from benchmarks import fill
from benchmarks.measure import ProcessFailedError
from benchmarks.measures.delay import SHARES, DelayRun, Settings, curve, in_short, run_once
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.scenery import quantiles
from benchmarks.runner import Say, WrongCountError

_DELIVERIES = ("at_least_once", "exactly_once")


def measure(bootstrap: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """Measure both deliveries at the settings' pace of single records."""
    runs: dict[str, list[DelayRun]] = {delivery: [] for delivery in _DELIVERIES}
    failures: dict[str, str] = {}
    reads_per_s = settings.reads_per_min / 60
    for _ in range(rounds):
        for delivery in _DELIVERIES:
            prefix = f"bench-{uuid.uuid4().hex[:8]}."
            try:
                one = run_once(
                    bootstrap, prefix, settings, reads_per_s, batches=False, delivery=delivery
                )
            except (ProcessFailedError, WrongCountError) as error:
                failures[delivery] = str(error)
                say(f"  {delivery}: FAILED: {error}")
                continue
            finally:
                fill.remove(bootstrap, prefix)
            runs[delivery].append(one)
            say(f"  {delivery}: {in_short(one)}")
    return [
        MeasuredCase(case=delivery, failure=failures[delivery])
        if delivery in failures
        else _case(delivery, runs[delivery], settings)
        for delivery in _DELIVERIES
    ]


def _case(delivery: str, runs: list[DelayRun], settings: Settings) -> MeasuredCase:
    matched = [quantiles(list(run.matches.values())) for run in runs]
    rates = [run.paced.reads / run.paced.took_s * 60 / 1e6 for run in runs]
    figures = [
        Figure(name="samples", unit="", values=[float(len(run.matches)) for run in runs]),
        *(
            Figure(name=f"match {label}", unit="ms", values=[one[share] for one in matched])
            for label, share in SHARES.items()
        ),
        Figure(name="produced", unit="M reads/min", values=rates),
    ]
    share = sum(run.paced.matches for run in runs) / sum(run.paced.reads for run in runs)
    about = (
        f"{settings.reads_per_min / 1e6:g} M reads a minute for {settings.paced_s:g} s; "
        f"{share:.3%} of the reads match; the first {settings.warm_up_s:g} s left aside."
    )
    curves = {"read to visible match": curve([run.matches for run in runs])}
    return MeasuredCase(case=delivery, about=about, figures=figures, curves=curves)
