"""One measure from its definition to its file."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.machine import describe_machine, describe_versions
from benchmarks.measures import (
    backlog,
    calibration,
    control_effect,
    delay,
    delivery_delay,
    footprint,
    list_size,
    misreads,
    rebalance,
    rolling_restart,
    workers,
)
from benchmarks.measures.definition import MeasureDefinition
from benchmarks.measures.figures import MeasuredCase, MeasuredResult
from benchmarks.runner import Say

_Measure = Callable[[str, Any, int, Say], list[MeasuredCase]]

#: The settings and the function of each measure, by its name.
MEASURES: dict[str, tuple[type[msgspec.Struct], _Measure]] = {
    "backlog": (backlog.Settings, backlog.measure),
    "calibration": (calibration.Settings, calibration.measure),
    "control_effect": (control_effect.Settings, control_effect.measure),
    "delay": (delay.Settings, delay.measure),
    "delivery_delay": (delay.Settings, delivery_delay.measure),
    "footprint": (footprint.Settings, footprint.measure),
    "list_size": (list_size.Settings, list_size.measure),
    "misreads": (misreads.Settings, misreads.measure),
    "rebalance": (rebalance.Settings, rebalance.measure),
    "rolling_restart": (rolling_restart.Settings, rolling_restart.measure),
    "workers": (workers.Settings, workers.measure),
}


def settings_of(definition: MeasureDefinition, *, quick: bool) -> Any:
    """The settings of a measure. Raises msgspec.ValidationError where they make no sense."""
    return msgspec.convert(definition.settings_of(quick=quick), MEASURES[definition.name][0])


def run(
    definition: MeasureDefinition,
    bootstrap: str,
    *,
    quick: bool,
    rounds: int | None = None,
    say: Say,
) -> MeasuredResult:
    """Run a measure. A case with a wrong number of matches has a failure and no figures."""
    machine = describe_machine()
    measure = MEASURES[definition.name][1]
    rounds = rounds or definition.rounds_of(quick=quick)
    say(f"{definition.name}: {definition.title}")
    cases = measure(bootstrap, settings_of(definition, quick=quick), rounds, say)
    return MeasuredResult(
        measure=definition.name,
        title=definition.title,
        shows=definition.shows,
        bias=definition.bias,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        quick=quick,
        rounds=rounds,
        machine=machine,
        versions=describe_versions(),
        cases=cases,
    )
