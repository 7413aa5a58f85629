"""Settings for all tests: how long Hypothesis searches.

`HYPOTHESIS_PROFILE=thorough make test` searches much longer than the default `quick`.
Neither has a deadline: how long a case takes says more about the machine than about the code.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

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
