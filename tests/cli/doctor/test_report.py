"""`engine.cli.doctor.report`: findings stand below each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from engine.cli.doctor.findings import Finding
from engine.cli.doctor.report import DoctorError, report_findings


async def findings() -> AsyncGenerator[Finding, None]:
    yield Finding("lag", "ok", "WHAT is found")
    yield Finding("transactions", "note", "WHAT is found", "TODO about it")
    yield Finding("workers", "problem", "WHAT is found", "TODO about it")


def test_what_is_found_stands_in_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DoctorError, match=r"^b1:9092: found one problem$"):
        report_findings(findings(), as_json=False, where="b1:9092")
    lines = capsys.readouterr().out.splitlines()
    assert len({line.index("WHAT") for line in lines if "WHAT" in line}) == 1
    assert len({line.index("TODO") for line in lines if "TODO" in line}) == 1
