"""`engine.cli.site`: what messages of `hotlist ingest` lack, and what stands for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.ingest.adapters import FALLBACKS

_DATA = {
    "camera_id": None,
    "timestamp": "2026-07-01 12:00:00",
    "results": [{"plate": "fx482xz", "score": 0.9}],
}
_SNAPSHOT = {"hook": {"id": 479, "event": "image.done"}, "data": _DATA}


def ingest(vendor: str, file: Path, *options: str, env: dict[str, str] | None = None) -> Result:
    arguments = ["ingest", vendor, str(file), "--source", "city", "--dry-run", *options]
    return CliRunner().invoke(main, arguments, env=env)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "messages.jsonl"
    path.write_text(f"{json.dumps(_SNAPSHOT)}\n" * 3, "utf-8")
    return path


def reads(result: Result) -> list[tuple[str, str]]:
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [(read["camera"], read["captured_at"]) for read in found]


def test_each_fallback_is_named_once(file: Path) -> None:
    result = ingest("platerecognizer", file)
    assert reads(result) == [("479", "2026-07-01T12:00:00.000Z")] * 3
    assert result.stderr.splitlines() == [f"note: {FALLBACKS[kind]}" for kind in ("device", "utc")]


def test_the_flags_name_the_camera_and_the_zone(file: Path) -> None:
    result = ingest("platerecognizer", file, "--camera", "lot", "--time-zone", "Europe/Berlin")
    assert reads(result) == [("lot", "2026-07-01T10:00:00.000Z")] * 3
    assert len(result.stderr.splitlines()) == 2


def test_the_variables_do_too(file: Path) -> None:
    env = {"HOTLIST_CAMERA": "lot", "HOTLIST_TIME_ZONE": "America/New_York"}
    assert (
        reads(ingest("platerecognizer", file, env=env)) == [("lot", "2026-07-01T16:00:00.000Z")] * 3
    )


def test_a_message_that_lacks_nothing_says_nothing(file: Path) -> None:
    data = {**_DATA, "camera_id": "gate", "timestamp": "2026-07-01T12:00:00Z"}
    file.write_text(json.dumps({**_SNAPSHOT, "data": data}), "utf-8")
    result = ingest("platerecognizer", file, "--camera", "lot", "--time-zone", "Europe/Berlin")
    assert reads(result) == [("gate", "2026-07-01T12:00:00.000Z")]
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ("--time-zone", "Mars/Phobos"),
            "--time-zone: 'Mars/Phobos' is not an IANA time zone, such as Europe/Berlin or UTC",
        ),
        (
            ("--time-zone", "../etc/passwd"),
            "--time-zone: '../etc/passwd' is not an IANA time zone, such as Europe/Berlin or UTC",
        ),
        (
            ("--time-zone", ""),
            "--time-zone: '' is not an IANA time zone, such as Europe/Berlin or UTC",
        ),
        (("--camera", ""), "--camera: must have 1 to 128 characters"),
        (("--camera", "c" * 129), "--camera: must have 1 to 128 characters"),
        (("--country", "USA"), "--country: must be two letters, such as US"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_error(
    file: Path, options: tuple[str, str], error: str
) -> None:
    result = ingest("platerecognizer", file, *options)
    assert result.exit_code == 2
    assert (result.stdout, result.stderr) == ("", f"hotlist: {error}\n")


@pytest.mark.parametrize("prefix", ["json=", "\ufeff"])
def test_lines_that_begin_as_the_bodies_of_forms_do(file: Path, prefix: str) -> None:
    file.write_text(
        f"{prefix}{json.dumps(_SNAPSHOT)}\n" + f"json={json.dumps(_SNAPSHOT)}\n", "utf-8"
    )
    assert len(reads(ingest("platerecognizer", file))) == 2


def test_a_vendor_of_xml_takes_json_lines(file: Path) -> None:
    read = {"PlateRead": "AXA7D2", "SourceUrl": "S1", "Timestamp": "2026-07-01T12:00:00Z"}
    file.write_text(f"{json.dumps(read)}\n" * 2, "utf-8")
    assert reads(ingest("genetec", file)) == [("S1", "2026-07-01T12:00:00.000Z")] * 2


def test_a_message_of_another_vendor_names_its_command(file: Path) -> None:
    result = ingest("axis", file)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == (
        f"{file}: line 1: $: looks like a Plate Recognizer webhook, "
        "which hotlist ingest platerecognizer takes"
    )
