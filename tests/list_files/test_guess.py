"""What is proposed for a file that no profile describes, and that every proposal can be used."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.list_files import profile
from engine.list_files.column_names import probable_field, profile_line
from engine.list_files.entry_fields import FIELDS
from engine.list_files.guess import Guess, guess_profile
from engine.list_files.rows import BadRow, Row, read_rows
from engine.list_files.text import EntryFileError, encoding_of
from tests.list_files.test_field_lists import FIELD
from tests.list_files.test_rows import PURPOSES, SUPPLIED
from tests.list_files.test_xlsx_files import at, workbook


def guess(content: str | bytes, name: str = "list.csv") -> Guess:
    data = content.encode() if isinstance(content, str) else content
    file = io.BytesIO(data)
    return guess_profile(file, Path(name), encoding_of(file, "auto", name))


def rows_with(found: Guess, content: str | bytes, name: str, tmp_path: Path) -> list[Row | BadRow]:
    own = tmp_path / "own.toml"
    own.write_text(found.text, "utf-8")
    data = content.encode() if isinstance(content, str) else content
    file = io.BytesIO(data)
    encoding = encoding_of(file, "auto", name)
    used = profile.load(str(own))
    return list(read_rows(file, Path(name), used, SUPPLIED, PURPOSES, encoding))


DATES = "Kennzeichen;Ablauf;gültig bis\nM-AB 1234;{};{}\n"


@pytest.mark.parametrize(
    ("content", "name", "wanted"),
    [
        ("plate,instructions\nABC1234,x\n", "list.csv", {"base": "hotlist", "delimiter": ","}),
        (
            "License Plate|State|Reason\n7ABC123|CA|x\n123XYZ|NV|y\n",
            "list.txt",
            {
                "base": "north_america",
                "delimiter": "|",
                "normalize": True,
                "endings": [".csv", ".txt"],
                "columns": {
                    "License Plate": "plate",
                    "State": "region",
                    "Reason": "instructions",
                },
            },
        ),
        (
            "Stolen vehicle,CA,7ABC123,2026-1-5\nStolen plate,NV,123XYZ,2026-1-6\n",
            "list.csv",
            {
                "base": "categories",
                "delimiter": ",",
                "normalize": True,
                "header": False,
                "columns": {
                    "column1": "purpose",
                    "column2": "region",
                    "column3": "plate",
                    "column4": "starts_at",
                },
                "dates": {
                    "time_zone": "UTC",
                    "through": ["expires_at"],
                    "forms": ["%Y-%-m-%-d"],
                },
            },
        ),
        (
            "Watch list;;\n\nprinted;;\nKennzeichen;Marke;Unklar\nM-AB 123;FORD;q\n",
            "list.csv",
            {
                "skip_lines": 3,
                "normalize": True,
                "delimiter": ";",
                "columns": {"Kennzeichen": "plate", "Marke": "vehicle_make", "Unklar": False},
            },
        ),
        (
            '{"vrm":"AB12 CDE","make":"FORD"}\n{"vrm":"AB12 CDF","colour":"red"}\n',
            "list.jsonl",
            {
                "normalize": True,
                "columns": {"vrm": "plate", "make": "vehicle_make", "colour": "vehicle_color"},
            },
        ),
        (
            "sep=;\nTag;Alert Level\nABC1234;1\n",
            "list.csv",
            {
                "normalize": True,
                "delimiter": ";",
                "columns": {"Tag": "plate", "Alert Level": "priority"},
            },
        ),
        (
            workbook(["Plate", "Expires"], ["ABC1234", at(2026, 12, 31)]),
            "list.xlsx",
            {
                "normalize": True,
                "columns": {"Plate": "plate", "Expires": "expires_at"},
                "dates": {"time_zone": "UTC", "forms": ["%Y-%m-%dT%H:%M:%SZ"]},
            },
        ),
    ],
)
def test_what_is_proposed(
    content: str | bytes, name: str, wanted: dict[str, Any], tmp_path: Path
) -> None:
    found = guess(content, name)
    table = tomllib.loads(found.text)
    assert table.pop("title")
    assert table == wanted
    assert found.whole
    rows = rows_with(found, content, name, tmp_path)
    assert rows
    assert [row for row in rows if isinstance(row, BadRow)] == []


def test_a_day_that_may_be_a_month_is_asked_for_and_not_guessed(tmp_path: Path) -> None:
    found = guess("Plate,Expires\nABC1234,03/04/2026\nABC1235,5/6/2026\n")
    assert not found.whole
    assert '# forms = ["%-m/%-d/%Y"]\n# forms = ["%-d/%-m/%Y"]\nforms = []' in found.text
    assert found.remarks == (
        "dates such as '03/04/2026' may have the day or the month first: choose in dates.forms",
    )
    (tmp_path / "own.toml").write_text(found.text)
    with pytest.raises(ConfigError, match=r"dates\.forms: must be a list of forms"):
        profile.load(str(tmp_path / "own.toml"))
    # One date that can be read in one way only decides.
    assert (
        '\nforms = ["%-d/%-m/%Y"]'
        in guess(
            "Plate,Expires\nA1B2C3,3/4/2026\nA1B2C4,31/1/26\n".replace("/26\n", "/2026\n")
        ).text
    )


@pytest.mark.parametrize(
    ("content", "remark"),
    [
        ("Plate,Alert\nABC1234,Gang\n", "categories without a purpose: 'Gang'; give each one"),
        ("Plate,Expires\nABC1234,soon\n", "dates that no form reads: 'soon'; set dates.forms"),
        ("Name,Street\nJo Doe,Main\n", 'no column looks like plates: set one of them to "plate"'),
        ("Plate,Country\nABC1234,Holland\n", "regions are not in ISO 3166"),
        ("MÜ1234\nMÜ1235\n".encode("cp1252"), "the text is Windows-1252; set --encoding"),
    ],
)
def test_what_a_proposal_leaves_open_is_said(content: str | bytes, remark: str) -> None:
    assert any(remark in each for each in guess(content).remarks)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_rows_is_one_error(content: str) -> None:
    with pytest.raises(EntryFileError, match=r"list\.csv: has no rows to go by"):
        guess(content)


@given(
    data=st.binary(max_size=200)
    | st.text(st.sampled_from('plate,;:\t\n"A1/2026-'), max_size=99).map(str.encode),
    ending=st.sampled_from([".csv", ".txt", ".jsonl"]),
)
@settings(deadline=None)
def test_any_file_gives_a_proposal_or_one_error(
    data: bytes, ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        found = guess(data, f"list{ending}")
    except EntryFileError:
        return
    tomllib.loads(found.text)
    if found.whole:
        own = tmp_path_factory.mktemp("own") / "own.toml"
        own.write_text(found.text, "utf-8")
        profile.load(str(own))


FILES = sorted(path for path in FIELD.glob("*/*") if path.name != "cases.toml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_each_list_of_the_field_gets_a_proposal_that_finds_its_plates(
    path: Path, tmp_path: Path
) -> None:
    found = guess(path.read_bytes(), path.name)
    if path.name not in ("fixed.txt", "spaces.txt", "wildcard.csv"):
        assert '= "plate"' in found.text or 'base = "' in found.text
    if found.whole:
        (tmp_path / "own.toml").write_text(found.text, "utf-8")
        profile.load(str(tmp_path / "own.toml"))


def test_names_of_columns_propose_fields_that_there_are() -> None:
    assert probable_field("Licence-Plate No.") == "plate"
    assert probable_field("Gültig bis") == "expires_at"
    assert probable_field("VEHICLE_MAKE") == "vehicle_make"
    assert probable_field("whatever") is None
    assert all(probable_field(field) is not None for field in FIELDS)
    assert profile_line('Odd "name"', None) == '"Odd \\"name\\"" = false'
    assert tomllib.loads(profile_line("a\tb", "plate")) == {"a\tb": "plate"}
