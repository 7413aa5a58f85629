"""The matrix of broker versions without a broker: what it runs, and what it says of it."""

from __future__ import annotations

import re
from typing import Final

from tests.kafka import jars, matrix
from tests.repository.pages import ROOT

_REPORT: Final = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="5" time="61.5">
<testcase classname="tests.kafka.a" name="test_one" time="1" />
<testcase classname="tests.kafka.a" name="test_two[real]" time="1" />
<testcase classname="tests.kafka.a" name="test_three" time="1"><failure message="x" /></testcase>
<testcase classname="tests.kafka.b" name="test_four" time="1"><error message="x" /></testcase>
<testcase classname="tests.kafka.b" name="test_five" time="1"><skipped message="x" /></testcase>
</testsuite></testsuites>
"""


def test_a_report_becomes_a_row_of_the_table() -> None:
    row = matrix.read_report("3.9.2", _REPORT)
    assert row == matrix.Row(
        "3.9.2", 2, 1, ["tests.kafka.a::test_three", "tests.kafka.b::test_four"], 61.5
    )
    assert matrix.table([row]).splitlines()[-1] == "| 3.9.2 | 2 | 1 | 2 | 62 s |"


def test_what_it_runs_is_there() -> None:
    missing = [name for name in matrix.FILES if not (ROOT / "tests" / "kafka" / name).exists()]
    assert missing == []


def test_each_night_has_the_versions_of_the_matrix() -> None:
    job = (ROOT / ".github" / "workflows" / "brokers.yml").read_text()
    found = re.search(r"kafka: \[(.*)\]", job)
    assert found is not None
    assert tuple(found[1].replace('"', "").split(", ")) == matrix.VERSIONS


def test_the_version_of_development_is_the_poms() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", jars.pinned_version())
