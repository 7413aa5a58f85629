"""Settings for all tests: how long Hypothesis searches, and which process runs which file.

`HYPOTHESIS_PROFILE=thorough make test` searches much longer than the default `quick`.
Neither has a deadline: how long a case takes says more about the machine than about the code.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from engine import limits

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.schedule import Schedule

# How long a machine takes over an example is no property of the code.
settings.register_profile(
    "quick", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough",
    max_examples=5_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# Compiled code decides what it can however few the reads of a test are, which are also decided by
# the models beside it.
vars(limits)["ROWS_FEWEST"] = vars(limits)["PLAIN_ROWS_FEWEST"] = 1

# A shell without job control ignores Ctrl-C for what it starts in the background. The processes
# that tests start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer | None) -> Schedule | None:
    """The order of `tests.schedule`, where whole files are given to the processes."""
    from tests.schedule import Schedule

    return Schedule(config, log) if config.getoption("dist") == "loadfile" else None
