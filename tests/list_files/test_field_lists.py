"""Lists in the shapes that real systems write, each with its public source and what becomes of it.

`tests/data/field/lists/<system>/cases.toml` has the cases of a system, and its files lie beside it.
Each `[[cases]]` has `file`, `product`, `source` (the public address that the file's shape comes
from) and `profile` (the name of one that we ship) or `own_profile` (the text of one). `flags` names
the values that the user gives for all rows. What becomes of the file is `entries` (every field but
those that flags, clock and derived ids give), `bad` (line and problem), `left_out` (rows) and
`notes`, or `error` if the file as a whole is refused. The words and data are ours.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.documents.codec import encode
from engine.list_files import profile
from engine.list_files.notes import Notes
from engine.list_files.rows import BadRow, Supplied, read_rows
from engine.list_files.text import EntryFileError, encoding_of
from tests.list_files.test_rows import FLAGS as IN_FLAGS
from tests.list_files.test_rows import PURPOSES

FIELD = Path(__file__).parents[1] / "data" / "field" / "lists"
FLAGS: dict[str, Any] = {**IN_FLAGS, "agency": "PD01"}
FRESH = {
    "requested_by": "jo",
    "created_at": "2026-11-20T00:00:00.000Z",
    "expires_at": "2027-01-15T00:00:00.000Z",
}
KEYS = {"file", "product", "source", "profile", "own_profile", "flags", "time_zone"}
RESULTS = {"entries", "bad", "left_out", "notes", "error"}


def cases() -> list[Any]:
    found = []
    for path in sorted(FIELD.glob("*/cases.toml")):
        for case in tomllib.loads(path.read_text("utf-8"))["cases"]:
            name = f"{path.parent.name}/{case['file']}"
            found.append(pytest.param(path.parent, case, id=name))
    return found


def outcome(directory: Path, case: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """What becomes of a case's file, in the words of cases.toml."""
    path, name = directory / case["file"], case.get("profile", "own.toml")
    if "own_profile" in case:
        name = str(tmp_path / "own.toml")
        Path(name).write_text(case["own_profile"], "utf-8")
    flags = {key: FLAGS[key] for key in case.get("flags", FLAGS)}
    notes, given = Notes(), {**flags, **FRESH}
    found: dict[str, Any] = {"entries": [], "bad": []}
    try:
        used = profile.load(name, case.get("time_zone"))
        with path.open("rb") as file:
            encoding = encoding_of(file, "auto", case["file"])
            supplied = Supplied(flags, FRESH)
            rows = read_rows(file, Path(case["file"]), used, supplied, PURPOSES, encoding, notes)
            for row in rows:
                if isinstance(row, BadRow):
                    found["bad"].append({"line": row.line, "problem": row.problem})
                    continue
                document = orjson.loads(encode(row.entry))
                del document["entry_id"]
                found["entries"].append(
                    {key: value for key, value in document.items() if value != given.get(key)}
                )
    except EntryFileError as error:
        return {"error": str(error)}
    return {**found, "left_out": notes.left_out, "notes": list(notes.lines())}


@pytest.mark.parametrize(("directory", "case"), cases())
def test_what_becomes_of_a_list(directory: Path, case: dict[str, Any], tmp_path: Path) -> None:
    empty: dict[str, Any] = {"entries": [], "bad": [], "left_out": 0, "notes": []}
    wanted = {key: value for key, value in case.items() if key in RESULTS}
    assert outcome(directory, case, tmp_path) == (
        wanted if "error" in wanted else {**empty, **wanted}
    )


@pytest.mark.parametrize(("directory", "case"), cases())
def test_a_case_says_what_it_is(directory: Path, case: dict[str, Any]) -> None:
    assert set(case) <= KEYS | RESULTS
    assert set(case) & RESULTS, "what becomes of it"
    assert ("profile" in case) != ("own_profile" in case)
    assert case["product"]
    assert case["source"].startswith(("https://", "http://"))
    assert (directory / case["file"]).is_file()


def test_there_are_files_of_many_systems_and_each_has_a_case() -> None:
    files = {path for path in FIELD.glob("*/*") if path.name != "cases.toml"}
    named = {directory / case["file"] for directory, case in (each.values for each in cases())}
    assert files == named
    assert len(files) >= 40
    assert len({path.parent for path in files}) >= 8
