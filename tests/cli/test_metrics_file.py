"""`engine.cli.metrics_file`: replaced whole, readable, and refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.cli.audit.verify_metrics import VerifyMetrics
from engine.cli.entries.sync_metrics import SyncMetrics
from engine.cli.metrics_file import MetricsFileError, write_metrics


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_it_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.prom"
    path.write_text("of the last time\n" * 1000)
    found = VerifyMetrics()
    found.note(problems=2, chains=3, records=650)
    found.note_end(ended_ms=1_700_000_000_500, took_s=1.5)
    write_metrics(path, found.registry)
    assert lines_of(path) == [
        "hotlist_audit_verify_time_seconds 1.7000000005e+09",
        "hotlist_audit_verify_duration_seconds 1.5",
        "hotlist_audit_verify_problems 2.0",
        "hotlist_audit_verify_chains 3.0",
        "hotlist_audit_verify_records 650.0",
    ]
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def test_a_sync(tmp_path: Path) -> None:
    path = tmp_path / "stolen.prom"
    synced = SyncMetrics()
    counts = {"added": 1, "changed": 2, "removed": 3, "unchanged": 400, "invalid": 5}
    synced.note("stolen", counts, ended_ms=1_700_000_000_500, took_s=1.5)
    write_metrics(path, synced.registry)
    assert lines_of(path) == [
        'hotlist_sync_time_seconds{list="stolen"} 1.7000000005e+09',
        'hotlist_sync_duration_seconds{list="stolen"} 1.5',
        'hotlist_sync_entries{change="added",list="stolen"} 1.0',
        'hotlist_sync_entries{change="changed",list="stolen"} 2.0',
        'hotlist_sync_entries{change="removed",list="stolen"} 3.0',
        'hotlist_sync_entries{change="unchanged",list="stolen"} 400.0',
        'hotlist_sync_invalid_rows{list="stolen"} 5.0',
    ]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.prom"
    path.mkdir()
    with pytest.raises(MetricsFileError, match=r"audit\.prom: cannot be written: Is a directory"):
        write_metrics(path, VerifyMetrics().registry)


@pytest.mark.parametrize("command", [("audit", "verify"), ("entries", "sync", __file__)])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("audit.txt", "audit.txt: must end in .prom; node_exporter reads no other files"),
        ("none/audit.prom", "none: is not a directory; create it"),
    ],
)
def test_it_is_refused_before_a_broker_is_asked(
    tmp_path: Path, command: tuple[str, ...], name: str, says: str
) -> None:
    arguments = [*command, "--bootstrap=127.0.0.1:1", f"--metrics-file={tmp_path / name}"]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stderr) == (1, f"hotlist: {tmp_path}/{says}\n")


def test_a_dry_run_writes_none(tmp_path: Path) -> None:
    path = tmp_path / "stolen.prom"
    arguments = ["entries", "sync", __file__, "--dry-run", f"--metrics-file={path}"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "--dry-run syncs none" in result.stderr
    assert not path.exists()
