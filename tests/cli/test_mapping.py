"""`hotlist ingest generic --mapping FILE --dry-run`: what a mapping makes of a sample."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from engine.cli import main

_MAPPING = 'plate = "plate"\ntime = "at"\ntime_format = "ms"\ncamera = "=gate"\n'


def run(tmp_path: Path, *words: str, mapping: str = _MAPPING) -> tuple[int, str, str]:
    (tmp_path / "mapping.toml").write_text(mapping)
    (tmp_path / "sample.jsonl").write_text(
        '{"plate": "KRT447", "at": 1795363200000}\n'
        '{"plate": "", "at": 1795363201000}\n'
        '{"registration": "KRT448", "at": 1795363202000}\n'
    )
    files = ["ingest", "generic", str(tmp_path / "sample.jsonl"), "--source", "city", "--dry-run"]
    result = CliRunner().invoke(main, [*files, *words])
    return result.exit_code, result.stdout, result.stderr


def test_what_it_made_of_each_message(tmp_path: Path) -> None:
    status, out, err = run(tmp_path, "--mapping", str(tmp_path / "mapping.toml"))
    assert status == 1
    [read] = [json.loads(line) for line in out.splitlines()]
    assert (read["plate"], read["camera"], read["captured_at"]) == (
        *("KRT447", "gate"),
        "2026-11-22T16:00:00.000Z",
    )
    assert "line 2: no read\n" in err
    assert "line 3: $.plate: is not there; a no_read condition says when it may be missing" in err


def test_a_mistake_in_the_mapping_is_one_line(tmp_path: Path) -> None:
    words = ("--mapping", str(tmp_path / "mapping.toml"))
    status, out, err = run(tmp_path, *words, mapping='plate = "a["\ntime = "at"\n')
    assert (status, out) == (2, "")
    assert "mapping.toml: plate: must be a path such as data.results[*].plate" in err
    assert len(err.splitlines()) == 1


def test_generic_needs_a_mapping(tmp_path: Path) -> None:
    status, _, err = run(tmp_path)
    assert status == 2
    assert "--mapping: is required with generic" in err
