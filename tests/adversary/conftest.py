"""Both sides with the policies that most cases need; a file may have a `sides` of its own."""

from __future__ import annotations

import pytest

from tests.adversary.sides import Sides


@pytest.fixture
def sides() -> Sides:
    made = Sides()
    made.policy("S1")
    made.policy("S2")
    return made
