"""The tests on a real Kafka, on several versions of it, and a table: `make test-brokers`.

The versions are the first one with KRaft for production, the last one of Kafka 3, the one that is
developed with, and the newest that Maven finds. `FILES` is what a version of the broker can
change: protocol, topics, rights, groups, transactions, and a cluster that loses brokers. What only
this project's own programs decide (pages, deployments, benchmarks) is not run again for each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

from tests.kafka import jars

_ROOT: Final = Path(__file__).resolve().parents[2]
#: In place of a version: what Maven finds.
NEWEST: Final = "newest"
VERSIONS: Final = ("3.3.2", "3.9.2", jars.pinned_version(), NEWEST)
FILES: Final = (
    "cli/test_audit_commands.py",
    "cli/test_cli.py",
    "cli/test_doctor.py",
    "cli/test_open_transactions.py",
    "control",
    "delivery",
    "kafka",
    "observability/test_lag_monitor.py",
    "observability/test_open_transactions.py",
    "transport",
    "worker/test_cluster.py",
    "worker/test_errors.py",
    "worker/test_main_job.py",
    "worker/test_mixed_versions.py",
    "worker/test_outages.py",
    "worker/test_shutdown.py",
    "worker/test_state.py",
)


class Row(NamedTuple):
    """What the tests came to on a version; `failed` names each that failed."""

    version: str
    passed: int
    skipped: int
    failed: Sequence[str]
    took_s: float


def main() -> int:
    """Run them; 0 if all pass on all versions."""
    options = _parser().parse_args()
    chosen = [
        jars.newest_version() if version == NEWEST else version
        for version in options.versions.split(",")
    ]
    rows = []
    for version in dict.fromkeys(chosen):
        print(f"== Kafka {version}", flush=True)
        rows.append(_tested(version, options.jobs, options.pytest))
    print(f"\n{table(rows)}")
    for row in rows:
        for name in row.failed:
            print(f"Kafka {row.version}: {name} failed", file=sys.stderr)
    return 1 if any(row.failed or not row.passed for row in rows) else 0


def table(rows: Iterable[Row]) -> str:
    """The table in Markdown."""
    lines = [
        "| Kafka | passed | skipped | failed | took |",
        "|---|---|---|---|---|",
        *(
            f"| {row.version} | {row.passed} | {row.skipped} | {len(row.failed)} "
            f"| {row.took_s:.0f} s |"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def read_report(version: str, report: str) -> Row:
    """Return what pytest's report in JUnit's XML says."""
    passed = skipped = 0
    failed = []
    suites = ET.fromstring(report)
    for case in suites.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    took_s = sum(float(suite.get("time", 0)) for suite in suites.iter("testsuite"))
    return Row(version, passed, skipped, failed, took_s)


def _tested(version: str, jobs: str, more: Sequence[str]) -> Row:
    variables = {"HOTLIST_TEST_KAFKA_VERSION": version, "HOTLIST_REQUIRE_KAFKA": "1"}
    files = more or [f"tests/kafka/{name}" for name in FILES]
    with tempfile.TemporaryDirectory(prefix="hotlist-matrix-") as directory:
        report = Path(directory) / "report.xml"
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-n", jobs, "--dist", "loadfile"),
                *(f"--junitxml={report}", "-p", "no:cacheprovider", *files),
            ],
            cwd=_ROOT,
            env={**os.environ, **variables},
            check=False,
        )
        if not report.exists():
            return Row(version, 0, 0, ["pytest wrote no report"], 0.0)
        return read_report(version, report.read_text())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kafka.matrix",
        description="Run the tests on a real Kafka on several versions of it.",
    )
    parser.add_argument(
        "--versions",
        default=",".join(VERSIONS),
        metavar="VERSION,...",
        help="(%(default)s)",
    )
    parser.add_argument("--jobs", default="2", help="processes at a time (%(default)s)")
    parser.add_argument("pytest", nargs="*", help="files or options for pytest, in place of FILES")
    return parser


if __name__ == "__main__":
    sys.exit(main())
