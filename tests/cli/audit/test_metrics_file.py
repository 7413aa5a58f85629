"""`engine.cli.audit.metrics_file`: replaced whole, readable, and refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.cli.audit.files import AuditError
from engine.cli.audit.metrics_file import VerifyMetrics


def test_it_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.prom"
    path.write_text("of the last time\n" * 1000)
    found = VerifyMetrics()
    found.note(problems=2, chains=3, records=650)
    found.write(path, ended_ms=1_700_000_000_500, took_s=1.5)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert lines == [
        "hotlist_audit_verify_time_seconds 1.7000000005e+09",
        "hotlist_audit_verify_duration_seconds 1.5",
        "hotlist_audit_verify_problems 2.0",
        "hotlist_audit_verify_chains 3.0",
        "hotlist_audit_verify_records 650.0",
    ]
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.prom"
    path.mkdir()
    with pytest.raises(AuditError, match=r"audit\.prom: cannot be written: Is a directory"):
        VerifyMetrics().write(path, ended_ms=0, took_s=0.0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("audit.txt", "audit.txt: must end in .prom; node_exporter reads no other files"),
        ("none/audit.prom", "none: is not a directory; create it"),
    ],
)
def test_it_is_refused_before_a_broker_is_asked(tmp_path: Path, name: str, says: str) -> None:
    arguments = ["audit", "verify", "--bootstrap=127.0.0.1:1", f"--metrics-file={tmp_path / name}"]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stderr) == (1, f"hotlist: {tmp_path}/{says}\n")
