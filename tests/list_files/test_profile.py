"""Column profiles: what those that we ship make of a file, and what a bad one is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.documents.codec import encode
from engine.documents.fields import REGION_PATTERN
from engine.errors import ConfigError
from engine.list_files import profile
from engine.list_files.entry_fields import FIELDS
from engine.list_files.identity import derived_id
from engine.list_files.profile import Profile
from engine.list_files.profile_files import shipped
from engine.list_files.rows import BadRow, Supplied, read_rows
from engine.list_files.text import encoding_of
from tests.list_files.test_rows import FLAGS, PURPOSES

DATA = Path(__file__).parents[1] / "data"
FRESH = {
    "requested_by": "jo",
    "created_at": "2026-01-20T00:00:00.000Z",
    "expires_at": "2026-03-01T00:00:00.000Z",
}


DELIMITER_IN_PLATE = "platenumber '{}': holds a delimiter: does the profile have the right one?"


def documents_of(path: Path, used: Profile, flags: dict[str, Any] = FLAGS) -> list[Any]:
    """The documents of a file without what flags and clock have put there; or the problems."""
    found: list[Any] = []
    with path.open("rb") as file:
        encoding = encoding_of(file, "auto", str(path))
        for row in read_rows(file, path, used, Supplied(flags, FRESH), PURPOSES, encoding):
            if isinstance(row, BadRow):
                found.append((row.line, row.problem))
                continue
            document = orjson.loads(encode(row.entry))
            given = {**flags, **FRESH}
            found.append({k: v for k, v in document.items() if v != given.get(k)})
    return found


def test_those_that_we_ship() -> None:
    assert shipped() == [
        "cammra", "cloudrunner", "flock", "genetec", "hotlist", "ncic", "nedap", "plates", "rdw",
        "trassir", "verkada", "vigilant",
    ]  # fmt: skip
    for name in shipped():
        used = profile.load(name)
        assert used.name == name
        assert used.title
        for code in used.values.get("purpose", {}).values():
            assert PURPOSES.get(code) is not None, (name, code)


@pytest.mark.parametrize("name", ["genetec", "ncic", "flock", "vigilant"])
def test_regions_are_regions(name: str) -> None:
    regions = profile.load(name).values["region"]
    assert len(set(regions.values())) > 65
    for region in regions.values():
        assert re.fullmatch(REGION_PATTERN, region)


def test_our_own_has_every_field_under_its_name() -> None:
    columns = profile.load().columns
    assert {name: columns[name] for name in FIELDS} == {name: name for name in FIELDS}


def test_genetec() -> None:
    assert documents_of(DATA / "genetec.csv", profile.load("genetec")) == [
        {
            "entry_id": derived_id("list", "7ABC123", "US-CA", "agency"),
            "plate": "7ABC123",
            "region": "US-CA",
            "starts_at": "2026-01-31T00:00:00.000Z",
            "expires_at": "2026-06-01T00:00:00.000Z",
        },
        {
            "entry_id": derived_id("list", "DEF228", "CA-QC", "agency"),
            "plate": "DEF228",
            "purpose": "endangered_person",
            "region": "CA-QC",
            "starts_at": "2026-02-01T00:00:00.000Z",
        },
        # The same plate of another state is another entry.
        {
            "entry_id": derived_id("list", "7ABC123", "US-NV", "agency"),
            "plate": "7ABC123",
            "purpose": "stolen_plate",
            "region": "US-NV",
            "expires_at": "2026-07-01T00:00:00.000Z",
        },
        {
            "entry_id": derived_id("list", "345ABG", "", "agency"),
            "plate": "345ABG",
            "purpose": "permit",
            "starts_at": "2026-01-31T08:00:00.000Z",
            "expires_at": "2026-07-25T18:30:00.000Z",
        },
    ]


def test_genetec_without_a_header() -> None:
    first, second = documents_of(DATA / "genetec_without_header.txt", profile.load("genetec"))
    assert (first["plate"], first["region"], first["purpose"]) == ("DEF228", "CA-QC", "permit")
    assert second["expires_at"] == "2026-07-26T00:00:00.000Z"


def test_dates_are_of_the_time_zone() -> None:
    used = profile.load("genetec", "America/Montreal")
    first, *_ = documents_of(DATA / "genetec_without_header.txt", used)
    # The last day of May ends when June begins there; in January the clocks are an hour back.
    assert first["expires_at"] == "2026-06-01T04:00:00.000Z"
    assert first["starts_at"] == "2026-01-31T05:00:00.000Z"


def test_ncic() -> None:
    flags = {"list_id": "list"}
    assert documents_of(DATA / "ncic.csv", profile.load("ncic"), flags) == [
        {
            "entry_id": derived_id("list", "V100000001", "7ABC123", "US-CA", "CA0000000"),
            "plate": "7ABC123",
            "agency": "CA0000000",
            "purpose": "stolen_vehicle",
            "authority": {"kind": "ncic", "reference": "V100000001"},
            "region": "US-CA",
            "starts_at": "2026-01-15T00:00:00.000Z",
            "vehicle": {"make": "Ford", "model": "FOC", "color": "gray", "type": "four-door"},
        },
        {
            "entry_id": derived_id("list", "P100000002", "NEB4567", "US-NE", "NE0000000"),
            "plate": "NEB4567",
            "agency": "NE0000000",
            "purpose": "stolen_plate",
            "authority": {"kind": "ncic", "reference": "P100000002"},
            "region": "US-NE",
            "starts_at": "2026-01-16T00:00:00.000Z",
        },
        # No NIC: the agency's own case. Codes that nobody listed stay.
        {
            "entry_id": derived_id("list", "W-77", "DEF228", "CA-QC", "VT0000000"),
            "plate": "DEF228",
            "agency": "VT0000000",
            "purpose": "wanted_person",
            "authority": {"kind": "ncic", "reference": "W-77"},
            "region": "CA-QC",
            "vehicle": {"make": "ZZZZ", "color": "XXX", "type": "station wagon"},
        },
        {
            "entry_id": derived_id("list", "M100000003", "LMN456", "MX", "TX0000000"),
            "plate": "LMN456",
            "agency": "TX0000000",
            "purpose": "endangered_person",
            "authority": {"kind": "ncic", "reference": "M100000003"},
            "region": "MX",
            "starts_at": "2026-01-17T00:00:00.000Z",
            "vehicle": {"make": "Toyota", "color": "blue"},
        },
    ]


def test_ncic_as_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(
        b'{"LIC":"7ABC123","LIS":"CA","MKE":"ev","NIC":"V1","ORI":"X","LIY":2026,"VIN":null}\n'
        b'{"LIC":"7ABC123","FOO":1}\n{"LIC":["A"]}\n{"LIC":"A","lic":"B"}\n'
    )
    good, *bad = documents_of(path, profile.load("ncic"))
    assert good["authority"] == {"kind": "case", "reference": "V1"}  # a flag before a constant
    assert good["region"] == "US-CA"
    assert bad == [
        (2, "unknown column 'FOO'"),
        (3, "LIC: must be a text, a number, true or false"),
        (4, "column lic twice"),
    ]


def test_bare_list_of_plates() -> None:
    found = documents_of(DATA / "plates.txt", profile.load("plates"))
    assert [document["plate"] for document in found] == ["AB12CD", "EF34GH", "MÜ99?1"]


def test_windows_1252_is_found_out() -> None:
    assert documents_of(DATA / "windows_1252.csv", profile.load()) == [
        {
            "entry_id": derived_id("Café", "MÜ1234", "agency"),
            "list_id": "Café",
            "plate": "MÜ1234",
            "instructions": "grün – nur ansehen",
        }
    ]


def test_own_documents() -> None:
    (document,) = documents_of(DATA / "hotlist.jsonl", profile.load(), {})
    assert document["entry_id"] == "e-1"
    assert "vendor_field" not in document


@pytest.mark.parametrize(
    ("used", "content", "problem"),
    [
        (
            "genetec",
            "Parking;CA;7ABC123;;",
            (
                "category 'Parking': is not among the values.purpose of profile genetec; "
                "a profile of your own can add it"
            ),
        ),
        (
            "genetec",
            "Stolen;CA;7AB*123;;",
            "platenumber '7AB*123': * cannot be listed; ? stands for one character",
        ),
        ("genetec", "Stolen;CA;--;;", "platenumber '--': must have 1 to 16 letters and digits"),
        (
            "genetec",
            "Stolen;CA;7ABC123;31.01.2026;",
            "effectivedate '31.01.2026': must be a date such as 2026-01-31",
        ),
        (
            "genetec",
            "Stolen;CA;7ABC123;2026-02-30;",
            "effectivedate '2026-02-30': must be a date such as 2026-01-31",
        ),
        (
            "genetec",
            "Stolen;CA;7ABC123;;9999-12-31",
            "expirydate '9999-12-31': must be a date such as 2026-01-31",
        ),
        ("genetec", "Stolen;CA;7ABC123\nStolen;CA", "2 cells, but 3 columns"),
        ("genetec", "Stolen;CA;;;;", "plate: is required"),
        ("plates", "AB12CD,x", "2 cells, but 1 columns"),
        ("plates", "A" * 17, "plate 'AAAAAAAAAAAAAAAAA': must have 1 to 16 letters and digits"),
        ("plates", "?" * 17, "plate '?????????????????': must have 1 to 16 letters and digits"),
        (
            "plates",
            "AB?",
            "plate 'AB?': must have at least 4 known characters for stolen_vehicle, not 2",
        ),
        ("genetec", "Stolen;CA;7ABC|123;;", DELIMITER_IN_PLATE.format("7ABC|123")),
        ("genetec", "Stolen;CA;7ABC,123;;", DELIMITER_IN_PLATE.format("7ABC,123")),
        (
            "ncic",
            "MKE,LIC,ORI,NIC,DOT\nEV,7ABC123,X,V1,01152026",
            "dot '01152026': must be a date such as 20260131",
        ),
    ],
)
def test_rows_that_are_refused(used: str, content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content + "\n")
    *_, bad = documents_of(path, profile.load(used))
    assert bad == (content.count("\n") + 1, problem)


OWN = """
base = "genetec"
delimiter = ","
[columns]
Reason = "purpose"
category = false
"*" = false
[values.purpose]
"Parking" = "permit"
[unlisted]
region = "drop"
purpose = "keep"
[dates]
forms = ["%d.%m.%Y"]
[constants]
priority = 2
confusables = true
"""


def test_a_profile_of_ones_own_on_top_of_another(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    (tmp_path / "top.toml").write_text('base = "own.toml"\n[constants]\npriority = 1\n')
    path = tmp_path / "x.csv"
    path.write_text(
        "Reason,Category,PlateState,PlateNumber,EffectiveDate,Colour\n"
        "parking,whatever,ZZ,AB-1234,31.01.2026,red\nunpaid_toll,,nv,AB-1235,,\n"
    )
    first, second = documents_of(path, profile.load(str(tmp_path / "top.toml")))
    assert (first["purpose"], first["plate"]) == ("permit", "AB1234")
    assert (first["priority"], first["confusables"]) == (1, True)
    assert first["starts_at"] == "2026-01-31T00:00:00.000Z"
    assert "region" not in first
    assert (second["purpose"], second["region"]) == ("unpaid_toll", "US-NV")


FIELD_LIST = ", ".join(FIELDS)
KEYS = (
    "columns, title, base, endings, header, delimiter, fixed, skip_lines, no_plate, values, "
    "unlisted, constants, normalize, id, json, dates"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = [", "is not TOML in UTF-8: Invalid value (at end of document)"),
        ("\xff", "is not TOML in UTF-8: see line 1"),
        ("", "columns: is required"),
        ("colums = 1", f"colums: unknown field; there are {KEYS}"),
        ("columns = 1", "columns: must be a table"),
        ("[columns]", "columns: must name a column that fills a field"),
        ("[columns]\nA = false", "columns: must name a column that fills a field"),
        ("[columns]\nA = 'plat'", f"columns.A: 'plat' is no field; fields are {FIELD_LIST}"),
        ("[columns]\nA = true", f"columns.A: True is no field; fields are {FIELD_LIST}"),
        ("[columns]\n'' = 'plate'", "columns.: a column must have a name"),
        (
            "[columns]\nA = 'plate'\na = 'region'",
            "columns.a: the same column twice, in other letters",
        ),
        (
            "[columns]\n'*' = 'plate'",
            "columns.*: must be false: all other columns are read past",
        ),
        ("title = ' '\n[columns]\nA = 'plate'", "title: must be a text that is not empty"),
        ("header = 1\n[columns]\nA = 'plate'", 'header: must be true or false or "auto"'),
        (
            "delimiter = '&'\n[columns]\nA = 'plate'",
            'delimiter: must be "," or ";" or ":" or "|" or "tab" or "auto"',
        ),
        ("normalize = 'yes'\n[columns]\nA = 'plate'", "normalize: must be true or false"),
        ("json = 'x'\n[columns]\nA = 'plate'", 'json: must be "columns" or "documents"'),
        (
            "endings = ['.xls']\n[columns]\nA = 'plate'",
            "endings: must be a list of .csv, .tsv, .txt, .jsonl",
        ),
        ("id = 'plate'\n[columns]\nA = 'plate'", "id: must be a list of fields"),
        ("id = ['x']\n[columns]\nA = 'plate'", f"id: 'x' is no field; fields are {FIELD_LIST}"),
        ("values = 1\n[columns]\nA = 'plate'", "values: must be a table"),
        (
            "[columns]\nA = 'plate'\n[values.x]",
            f"values.x: 'x' is no field; fields are {FIELD_LIST}",
        ),
        (
            "[columns]\nA = 'plate'\n[values.region]\nx = 1",
            "values.region.x: must be a text; an empty one drops it",
        ),
        (
            "[columns]\nA = 'plate'\n[values.region]\nx = 'NL'\nX = 'BE'",
            "values.region.X: the same value twice",
        ),
        (
            "[columns]\nA = 'plate'\n[unlisted]\nregion = 'x'",
            'unlisted.region: must be "refuse", "keep", "drop" or "leave_out"',
        ),
        (
            "[columns]\nA = 'plate'\n[constants]\npriority = 'high'",
            "constants.priority: must be a number",
        ),
        (
            "[columns]\nA = 'plate'\n[constants]\nregion = []",
            "constants.region: must be a text, a number, true or false",
        ),
        (
            "[columns]\nA = 'plate'\n[dates]\nform = 1",
            "dates.form: unknown field; there are forms, time_zone, through",
        ),
        (
            "[columns]\nA = 'plate'\n[dates]\nforms = '%Y'",
            "dates.forms: must be a list of forms such as %Y-%m-%d",
        ),
        (
            "[columns]\nA = 'plate'\n[dates]\nforms = ['%Y-%m-%d']\nthrough = ['plate']",
            "dates.through: must be a list of created_at, expires_at, starts_at",
        ),
        (
            "[columns]\nA = 'plate'\n[dates]\nforms = ['%Y-%m-%d']\ntime_zone = 'Mars'",
            "dates.time_zone: 'Mars' is no time zone such as America/Chicago",
        ),
        (
            "[columns]\nA = 'plate'\n[dates]\nforms = ['%Y-%m-%d']\ntime_zone = 1",
            "dates.time_zone: 1 is no time zone such as America/Chicago",
        ),
        ("[columns]\nA='plate'\n[dates]\nforms=['%q']", "dates.forms: %q is none of %Y %m %d %H"),
        ("no_plate = 'x'\n[columns]\nA='plate'", 'no_plate: must be "refuse" or "leave_out"'),
        ("skip_lines = -1\n[columns]\nA='plate'", "skip_lines: must be a number from 0 to 100"),
        (
            "[columns]\nA='plate'\n[fixed]\nB = [0, 8]",
            "fixed.B: is none of the columns",
        ),
        (
            "[columns]\nA='plate'\n[fixed]\nA = [0]",
            "fixed.A: must be [start, length] in characters, the first character being 0",
        ),
        (
            "delimiter = ','\n[columns]\nA='plate'\n[fixed]\nA = [0, 8]",
            "fixed: a file has either fixed columns or a delimiter",
        ),
        ("base = 1", "base: must be the name of a profile, or a path"),
        ("base = 'own.toml'", "base: more than 5 profiles on top of each other"),
    ],
)
def test_a_bad_profile_is_one_error(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        profile.load(str(path))
    assert str(caught.value).startswith(f"{path}: {message}")


def test_profiles_that_are_not_there(tmp_path: Path) -> None:
    for name, message in (
        (
            "genetek",
            (
                "there is no profile 'genetek'; did you mean genetec? there are cammra, "
                "cloudrunner, flock, genetec, hotlist, ncic, nedap, plates, rdw, trassir, "
                "verkada, vigilant, and files whose names end in .toml"
            ),
        ),
        (
            str(tmp_path / "x.toml"),
            f"{tmp_path / 'x.toml'}: cannot be read: No such file or directory",
        ),
        (f"{tmp_path}/", f"{tmp_path}: cannot be read: Is a directory"),
        ("north_america", "north_america.toml: columns: is required"),
    ):
        with pytest.raises(ConfigError) as caught:
            profile.load(name)
        assert str(caught.value) == message
    (tmp_path / "big.toml").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="is larger than 1 MiB"):
        profile.load(str(tmp_path / "big.toml"))


def test_time_zone_of_the_command() -> None:
    with pytest.raises(ConfigError) as caught:
        profile.load("genetec", "Mars")
    assert str(caught.value) == "--time-zone: 'Mars' is no time zone such as America/Chicago"
    with pytest.raises(ConfigError) as caught:
        profile.load("hotlist", "UTC")
    assert str(caught.value) == "--time-zone: profile hotlist has no dates without a zone"


def test_several_columns_for_one_field(tmp_path: Path) -> None:
    """The first that is not empty in the profile's order counts, whatever the file's order."""
    path = tmp_path / "x.csv"
    path.write_text("OCA,NIC,LIC,MKE,ORI\nO,N,AB12CD,EV,a\nO,,AB12CE,EV,a\n")
    found = documents_of(path, profile.load("ncic"), {"list_id": "l"})
    assert [document["authority"]["reference"] for document in found] == ["N", "O"]
