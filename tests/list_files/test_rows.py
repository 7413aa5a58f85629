"""Files of entries: every row arrives as it was written, and bad ones by their line."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.documents.admission import Purposes
from engine.documents.codec import encode
from engine.documents.model import Entry
from engine.list_files import profile
from engine.list_files.csv_files import ROW_BYTES
from engine.list_files.entry_fields import FIELDS
from engine.list_files.identity import derived_id
from engine.list_files.notes import Notes
from engine.list_files.profile import Profile
from engine.list_files.rows import (
    CREATED,
    DERIVED,
    EXPIRES,
    REQUESTED,
    UNCHECKED,
    BadRow,
    Row,
    Supplied,
    read_rows,
)
from engine.list_files.text import UTF_8, WINDOWS_1252, Encoding, EntryFileError
from engine.list_files.unfilled import UnfilledError

PURPOSES = Purposes.load(None)

FLAGS: dict[str, Any] = {
    "list_id": "list",
    "agency": "agency",
    "purpose": "stolen_vehicle",
    "authority": {"kind": "case", "reference": "2026-1"},
}
FRESH = {
    "requested_by": "jo",
    "created_at": "2026-01-01T00:00:00.000Z",
    "expires_at": "2026-02-01T00:00:00.000Z",
}
SUPPLIED = Supplied(FLAGS, FRESH)
HOTLIST = profile.load()


def rows_of(
    data: str | bytes,
    name: str = "list.csv",
    *,
    columns: Profile = HOTLIST,
    encoding: Encoding = UTF_8,
    supplied: Supplied = SUPPLIED,
    notes: Notes | None = None,
) -> list[Row | BadRow]:
    content = data.encode() if isinstance(data, str) else data
    file = io.BytesIO(content)
    return list(read_rows(file, Path(name), columns, supplied, PURPOSES, encoding, notes))


def entries_of(
    data: str | bytes,
    name: str = "list.csv",
    *,
    columns: Profile = HOTLIST,
    encoding: Encoding = UTF_8,
) -> list[Entry]:
    rows = rows_of(data, name, columns=columns, encoding=encoding)
    assert [row for row in rows if isinstance(row, BadRow)] == []
    return [row.entry for row in rows if isinstance(row, Row)]


def written_csv(header: list[str], rows: list[list[str]], delimiter: str, end: str) -> str:
    text = io.StringIO()
    # Quoted throughout, because the writer forgets to quote a lone carriage return.
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def test_row_takes_from_the_flags_what_it_lacks() -> None:
    (entry,) = entries_of("plate,agency,expires_at,authority_reference\nAB12CD,own,,own-ref\n")
    assert entry.agency == "own"
    assert entry.list_id == "list"
    assert entry.authority.kind == "case"
    assert entry.authority.reference == "own-ref"
    assert entry.expires_at == FRESH["expires_at"]


def test_rows_do_not_leak_into_each_other() -> None:
    first, second = entries_of("plate,authority_reference\nAB12CD,own\nAB12CE,\n")
    assert first.authority.reference == "own"
    assert second.authority.reference == "2026-1"
    assert FLAGS["authority"] == {"kind": "case", "reference": "2026-1"}


def test_jsonl_row_takes_from_the_flags_what_it_lacks() -> None:
    line = b'{"plate":"AB12CD","agency":null,"authority":{"kind":"warrant"},"vendor":[1]}\n'
    (entry,) = entries_of(line, "list.jsonl")
    assert entry.agency == "agency"
    assert (entry.authority.kind, entry.authority.reference) == ("warrant", "2026-1")


def test_every_column_reaches_its_field() -> None:
    cells = {
        "entry_id": "e-1",
        "list_id": "l-1",
        "plate": "AB?2CD",
        "agency": "a-1",
        "purpose": "stolen_plate",
        "authority_kind": "warrant",
        "authority_reference": "w-1",
        "requested_by": "r-1",
        "created_at": "2026-01-02T00:00:00Z",
        "expires_at": "2026-01-09T00:00:00Z",
        "starts_at": "2026-01-03T00:00:00Z",
        "region": "US-CA",
        "confusables": "Yes",
        "distance": "0",
        "vehicle_make": "Volvo",
        "vehicle_model": "240",
        "vehicle_color": "red",
        "vehicle_type": "estate",
        "priority": "1",
        "instructions": "stop; with care",
        "area": "52.1 4.25 500 | -33 18.5 20",
        "hours": "mon-wed 08:00-18:00|sat,sun 22:00-05:00 America/Los_Angeles",
        "suppress_s": "0",
    }
    assert set(cells) == set(FIELDS)
    (entry,) = entries_of(written_csv(list(cells), [list(cells.values())], ";", "\r\n"))
    assert orjson.loads(encode(entry)) == {
        "entry_id": "e-1",
        "list_id": "l-1",
        "plate": "AB?2CD",
        "agency": "a-1",
        "purpose": "stolen_plate",
        "authority": {"kind": "warrant", "reference": "w-1"},
        "requested_by": "r-1",
        "created_at": "2026-01-02T00:00:00Z",
        "expires_at": "2026-01-09T00:00:00Z",
        "starts_at": "2026-01-03T00:00:00Z",
        "region": "US-CA",
        "confusables": True,
        "distance": 0,
        "vehicle": {"make": "Volvo", "model": "240", "color": "red", "type": "estate"},
        "priority": 1,
        "instructions": "stop; with care",
        "area": [
            {"lat": 52.1, "lon": 4.25, "radius_m": 500},
            {"lat": -33, "lon": 18.5, "radius_m": 20},
        ],
        "hours": {
            "time_zone": "America/Los_Angeles",
            "windows": [
                {"days": ["mon", "tue", "wed"], "start": "08:00", "end": "18:00"},
                {"days": ["sat", "sun"], "start": "22:00", "end": "05:00"},
            ],
        },
        "suppress_s": 0,
    }


@pytest.mark.parametrize("cell", ["true", "1", "YES", "True"])
def test_true(cell: str) -> None:
    assert entries_of(f"plate,confusables\nAB12CD,{cell}\n")[0].confusables is True


@pytest.mark.parametrize(
    ("cell", "value"), [("false", False), ("0", False), ("No", False), ("", None)]
)
def test_false(cell: str, value: bool | None) -> None:
    assert entries_of(f"plate,confusables\nAB12CD,{cell}\n")[0].confusables is value


@pytest.mark.parametrize(
    ("header", "row", "problem"),
    [
        (
            "plate,confusables",
            "AB12CD,perhaps",
            "confusables 'perhaps': must be true or false (or 1, 0, yes, no)",
        ),
        ("plate,priority", "AB12CD,high", "priority 'high': must be a number"),
        ("plate,priority", "AB12CD,0", "priority 0: must be at least 1"),
        ("plate,priority", "AB12CD,9", "priority 9: must be at most 5"),
        ("plate,priority", "AB12CD,1.5", "priority 1.5: must be an integer or null, not a number"),
        ("plate,suppress_s", "AB12CD,-1", "suppress_s -1: must be at least 0"),
        ("plate,suppress_s", "AB12CD,86401", "suppress_s 86401: must be at most 86400"),
        ("plate,distance", "AB12CD,2", "distance 2: must be at most 1"),
        ("plate,distance", "AB12CD,one", "distance 'one': must be a number"),
        (
            "plate,distance",
            "AB?12CD,1",
            "distance 1: a plate with unknown characters takes no distance",
        ),
        (
            "plate,hours",
            "AB12CD,weekdays",
            (
                "hours 'weekdays': must be hours such as mon-fri 08:00-18:00|sat 10:00-14:00 "
                "America/Los_Angeles"
            ),
        ),
        (
            "plate,hours",
            "AB12CD,mon 25:00-26:00 UTC",
            "hours.windows[0].start '25:00': must be a time of day such as 08:00",
        ),
        (
            "plate,hours",
            "AB12CD,mon 08:00-09:00 Mars/Olympus",
            (
                "hours.time_zone 'Mars/Olympus': must be a time zone of the IANA database such as "
                "America/Los_Angeles"
            ),
        ),
        ("plate,area", "AB12CD,52 4", "area '52 4': must be LAT LON RADIUS_M"),
        ("plate,area", "AB12CD,1 1 x", "area '1 1 x': must be a number"),
        ("plate,area", "AB12CD,99 4 1", "area[0].lat 99: must be at most 90"),
        (
            "plate,purpose",
            "AB12CD,fun",
            (
                "purpose 'fun': is not in the purposes file, which has stolen_vehicle, "
                "stolen_plate, missing_person, endangered_person, wanted_person, "
                "protection_order, unpaid_toll, permit, access"
            ),
        ),
        (
            "plate,purpose",
            "AB12CD,Stolen Vehicle",
            (
                "purpose 'Stolen Vehicle': must be lower-case letters, digits and _, at most 64, a "
                "letter first"
            ),
        ),
        (
            "plate,authority_kind",
            "AB12CD,whim",
            "authority.kind 'whim': must be case or warrant or ncic or statute or contract",
        ),
        (
            "plate,expires_at",
            "AB12CD,soon",
            "expires_at 'soon': must be a time in UTC such as 2026-01-31T12:00:00.000Z",
        ),
        (
            "plate,created_at,expires_at",
            "AB12CD,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z",
            "expires_at '2026-01-01T00:00:00Z': must be after created_at, 2026-01-01T00:00:00Z",
        ),
        (
            "plate,expires_at",
            "AB12CD,2028-01-01T00:00:00Z",
            (
                "expires_at '2028-01-01T00:00:00Z': must be at most 365 days after created_at, "
                "2026-01-01T00:00:00.000Z, for stolen_vehicle"
            ),
        ),
        (
            "plate,starts_at",
            "AB12CD,2026-02-01T00:00:00Z",
            (
                "starts_at '2026-02-01T00:00:00Z': must be before expires_at, "
                "2026-02-01T00:00:00.000Z"
            ),
        ),
        (
            "plate,starts_at",
            "AB12CD,2026-02-30T00:00:00Z",
            (
                "starts_at '2026-02-30T00:00:00Z': must be a time in UTC such as "
                "2026-01-31T12:00:00.000Z"
            ),
        ),
        (
            "plate,region",
            "AB12CD,California",
            (
                "region 'California': must be an ISO 3166-2 code such as US-CA, or a country "
                "such as NL"
            ),
        ),
        ("plate,entry_id", 'AB12CD,"a\tb"', "entry_id 'a\\tb': must not hold control characters"),
        ("plate", "ab12cd", "plate 'ab12cd': must be in normal form, which is AB12CD"),
        (
            "plate",
            "A????",
            "plate 'A????': must have at least 4 known characters for stolen_vehicle, not 1",
        ),
        ("plate", "A" * 17, f"plate '{'A' * 17}': must have at most 16 characters"),
        ("plate,agency", "AB12CD", "1 cells, but 2 columns"),
        ("plate,agency", "AB12CD,a,b", "3 cells, but 2 columns"),
        ("plate,agency", 'AB12CD,"a"b', "not valid CSV: ',' expected after '\"'"),
        ("plate,agency", 'AB12CD,"a', "not valid CSV: unexpected end of data"),
    ],
)
def test_bad_row_names_field_value_and_rule(header: str, row: str, problem: str) -> None:
    (bad,) = rows_of(f"{header}\n{row}\n")
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.problem) == (2, problem)


@pytest.mark.parametrize(
    "field",
    [
        "list_id",
        "agency",
        "purpose",
        "authority",
        "authority.kind",
        "authority.reference",
        "requested_by",
        "created_at",
        "expires_at",
    ],
)
def test_what_nobody_said_is_missed_by_its_name(field: str) -> None:
    flags = {**FLAGS, "authority": dict(FLAGS["authority"])}
    fresh = dict(FRESH)
    if "." in field:
        del flags["authority"][field.removeprefix("authority.")]
    flags.pop(field, None)
    fresh.pop(field, None)
    supplied = Supplied(flags, fresh)
    (bad,) = rows_of('{"plate": "AB12CD"}\n', "list.jsonl", supplied=supplied)
    assert isinstance(bad, BadRow)
    assert bad.problem == f"{field}: is required"
    if field == "created_at":  # which the clock gives always
        return
    # In a table it is the same for every row.
    with pytest.raises(UnfilledError) as error:
        rows_of("plate\nAB12CD\nAB12CE\n", supplied=supplied)
    missing = ["authority.kind", "authority.reference"] if field == "authority" else [field]
    assert list(error.value.paths) == missing
    assert str(error.value) == f"list.csv: no column gives {' or '.join(missing)}"
    assert rows_of("plate\n", supplied=supplied) == [], "no row lacks anything"


def test_a_table_without_plates_is_one_error() -> None:
    with pytest.raises(UnfilledError, match=r"^list\.csv: no column gives plate$"):
        rows_of("agency\nPD01\n")


def test_long_values_are_cut_in_errors() -> None:
    (bad,) = rows_of(f"plate\n{'A' * 500}\n")
    assert isinstance(bad, BadRow)
    assert len(bad.problem) < 120


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not valid JSON at column"),
        (b"[]", "must be a JSON object"),
        (b'{"plate":"\xff"}', "not UTF-8 text"),
        (b'{"plate":7}', "plate 7: must be a string, not an integer"),
        (b'{"plate":"AB12CD","authority":"x"}', "authority 'x': must be an object"),
        (b" " * ROW_BYTES + b"{}", f"longer than {ROW_BYTES} bytes"),
    ],
)
def test_bad_json_line(line: bytes, problem: str) -> None:
    good = b'{"plate":"AB12CD"}'
    before, bad, after = rows_of(b"\n".join([good, b"", line, good]), "list.jsonl")
    assert isinstance(before, Row)
    assert isinstance(after, Row)
    assert isinstance(bad, BadRow)
    assert (before.line, bad.line, after.line) == (1, 3, 4)
    assert bad.problem.startswith(problem)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        ("", "x.csv", "x.csv: line 1: no header row with the names of the columns"),
        (",\n", "x.csv", "x.csv: line 1: no header row with the names of the columns"),
        (
            "plate,kolor\n",
            "x.csv",
            "x.csv: line 1: unknown column 'kolor'; in a profile of your own with base =",
        ),
        ("plate,,agency\n", "x.csv", "x.csv: line 1: unknown column ''; known columns: entry"),
        ("plate,list,LIST\n", "x.csv", "x.csv: line 1: column list twice"),
        ('"plate"x\n', "x.csv", "x.csv: line 1: not valid CSV: ',' expected after '\"'"),
        ("pl\xe4te,b\n".encode("cp1252"), "x.csv", "x.csv: line 1: not UTF-8 text; save th"),
        ("plate\nAB12CD\n".encode("utf-16-le"), "x.csv", "x.csv: line 1: not UTF-8 text; save"),
        ("plate\n" + "A" * ROW_BYTES, "x.csv", f"x.csv: line 2: longer than {ROW_BYTES} char"),
        ("plate\n", "x.txt", "x.txt: must end in .csv or .jsonl"),
    ],
)
def test_file_that_cannot_be_read_as_a_whole(data: str | bytes, name: str, message: str) -> None:
    with pytest.raises(EntryFileError) as caught:
        rows_of(data, name)
    assert str(caught.value).startswith(message)


def test_row_that_is_not_utf8_is_that_row_only() -> None:
    good, bad, after = rows_of(b"plate,vehicle_make\nAB12CD,a\nAB12CE,\xff\nAB12CF,b\n")
    assert isinstance(good, Row)
    assert bad == BadRow(
        3,
        "vehicle_make '\\udcff': not UTF-8 text",
        derived_id("list", "AB12CE", "agency"),
        "list",
        derived_id("list", "AB12CE"),
    )
    assert isinstance(after, Row)


def test_id_is_derived_from_list_plate_and_agency_alone() -> None:
    (first,) = entries_of("plate,priority\nAB12CD,1\n")
    (second,) = entries_of('{"plate":"AB12CD","agency":"agency","region":"NL"}', "x.jsonl")
    assert first.entry_id == second.entry_id == derived_id("list", "AB12CD", "agency")
    (other,) = entries_of('{"plate":"AB12CD","agency":"b"}', "x.jsonl")
    assert other.entry_id == derived_id("list", "AB12CD", "b")
    assert derived_id("list", "AB12CE", "agency") != first.entry_id != other.entry_id
    assert derived_id("lis", "tAB12CD", "agency") != first.entry_id


@pytest.mark.parametrize("field", ["instructions", "agency", "vehicle_make", "authority_reference"])
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
@pytest.mark.parametrize("control", ["\0", "\x1b", "\x7f", "\x85"])
def test_control_characters_are_refused(field: str, name: str, control: str) -> None:
    document: dict[str, Any] = {"plate": "AB12CD"}
    FIELDS[field].put(document, f"a{control}b")
    data = json.dumps(document) if name == "x.jsonl" else f"plate,{field}\nAB12CD,a{control}b\n"
    (bad,) = rows_of(data, name)
    assert isinstance(bad, BadRow)
    path = FIELDS[field].path
    assert bad.problem == f"{path} {f'a{control}b'!r}: must not hold control characters"
    # The agency is a part of the id.
    known = derived_id("list", "AB12CD", "agency")
    assert bad.entry_id == (None if field == "agency" else known)


def test_instructions_may_have_lines() -> None:
    (entry,) = entries_of('plate,instructions\nAB12CD,"one\r\ntwo\tthree – é"\n')
    assert entry.instructions == "one\r\ntwo\tthree – é"


def test_spreadsheet_exports() -> None:
    data = b"\xef\xbb\xbfPlate;List;Authority_Ref;;\r\n AB12CD ;own;r-1;;\r\n\r\n"
    (entry,) = entries_of(data)
    assert (entry.plate, entry.list_id, entry.authority.reference) == ("AB12CD", "own", "r-1")


PLATES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=4, max_size=16).filter(
    lambda plate: any(map(str.isdigit, plate))  # words may stand for no plate
)
TEXTS = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
    .map(str.strip)
    .filter(bool)
)
NEWLINES = st.sampled_from(["\n", "\r\n", "\r"])
DELIMITERS = st.sampled_from([",", ";", "\t"])


@given(
    rows=st.lists(st.tuples(PLATES, TEXTS, TEXTS), max_size=6),
    delimiter=DELIMITERS,
    end=NEWLINES,
    mark=st.booleans(),
)
def test_csv_round_trip(
    rows: list[tuple[str, str, str]], delimiter: str, end: str, mark: bool
) -> None:
    header = ["plate", "instructions", "agency"]
    text = written_csv(header, [list(row) for row in rows], delimiter, end)
    found = entries_of(text.encode("utf-8-sig" if mark else "utf-8"))
    assert [(entry.plate, entry.instructions, entry.agency) for entry in found] == rows


@given(rows=st.lists(st.tuples(PLATES, TEXTS), max_size=6), mark=st.booleans())
def test_jsonl_round_trip(rows: list[tuple[str, str]], mark: bool) -> None:
    lines = [orjson.dumps({"plate": plate, "instructions": text}) for plate, text in rows]
    data = b"\n".join(lines)
    found = entries_of((b"\xef\xbb\xbf" if mark else b"") + data, "x.jsonl")
    assert [(entry.plate, entry.instructions) for entry in found] == rows


@given(
    rows=st.lists(st.tuples(st.booleans(), TEXTS), max_size=8),
    delimiter=DELIMITERS,
    end=NEWLINES,
)
def test_line_numbers_hold_with_line_ends_inside_cells(
    rows: list[tuple[bool, str]], delimiter: str, end: str
) -> None:
    text = written_csv(["plate", "instructions"], [], delimiter, end)
    expected = []
    for good, instructions in rows:
        line = len(re.findall(r"\r\n|\r|\n", text)) + 1
        expected.append((line, good))
        plate = "AB12CD" if good else "ab"
        text += written_csv([plate, instructions], [], delimiter, end)
    assert [(row.line, isinstance(row, Row)) for row in rows_of(text)] == expected


@given(
    columns=st.permutations(sorted(FIELDS)).flatmap(
        lambda names: st.integers(1, len(names)).map(lambda count: names[:count])
    ),
    delimiter=DELIMITERS,
)
def test_delimiter_is_found_by_the_header(columns: list[str], delimiter: str) -> None:
    cells = ["AB12CD" if name == "plate" else "" for name in columns]
    found = rows_of(written_csv(columns, [cells], delimiter, "\n"))
    # Spreadsheets write rows of empty cells at the end: no row, as a blank line is none.
    assert [type(row) for row in found] == ([Row] if "plate" in columns else [])


@given(
    data=st.binary(max_size=200),
    name=st.sampled_from(["x.csv", "x.jsonl"]),
    which=st.sampled_from(["hotlist", "genetec", "ncic", "plates"]),
    encoding=st.sampled_from([UTF_8, WINDOWS_1252]),
)
def test_any_bytes_give_rows_or_one_error(
    data: bytes, name: str, which: str, encoding: Encoding
) -> None:
    headers = {
        "hotlist": b"plate,agency\n",
        "genetec": b"Category;PlateState;PlateNumber;ExpiryDate\n",
        "ncic": b"MKE,LIC,LIS,DOT,NIC\n",
        "plates": b"",
    }
    prefix = headers[which] if name == "x.csv" else b""
    assume(which != "plates" or name == "x.csv")
    rows: list[Row | BadRow] = []
    problems = []
    try:
        rows = rows_of(prefix + data, name, columns=profile.load(which), encoding=encoding)
    except EntryFileError as error:
        problems.append(str(error))
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    problems += [row.problem for row in rows if isinstance(row, BadRow)]
    assert all("\n" not in problem for problem in problems)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
JSON_NAMES = st.sampled_from([*FIELDS, "authority", "vehicle", "LIC", "MKE", "x"])


@given(
    documents=st.lists(st.dictionaries(JSON_NAMES, JSON_VALUES, max_size=6), max_size=3),
    which=st.sampled_from(["hotlist", "ncic", "genetec"]),
)
def test_any_json_gives_rows(documents: list[dict[str, Any]], which: str) -> None:
    data = b"\n".join(json.dumps(document).encode() for document in documents)
    notes = Notes()
    rows = rows_of(data, "x.jsonl", columns=profile.load(which), notes=notes)
    assert len(rows) + notes.left_out == len(documents)
    assert all("\n" not in row.problem for row in rows if isinstance(row, BadRow))


def test_what_a_row_did_not_say_itself_is_told() -> None:
    def fresh(line: str) -> int:
        (row,) = rows_of(line, "x.jsonl")
        assert isinstance(row, Row)
        return row.fresh

    assert fresh('{"plate":"AB12CD"}') == CREATED | EXPIRES | REQUESTED | DERIVED
    assert fresh('{"plate":"AB12CD","requested_by":"x"}') == CREATED | EXPIRES | DERIVED
    times = '"created_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-05T00:00:00Z"'
    assert fresh(f'{{"plate":"AB12CD",{times}}}') == REQUESTED | DERIVED
    assert fresh(f'{{"entry_id":"e","plate":"AB12CD",{times}}}') == REQUESTED
    # An entry that ended before now: whether it was made in time is for its state to tell.
    gone = '{"plate":"AB12CD","expires_at":"2025-06-01T00:00:00Z"}'
    assert fresh(gone) == CREATED | REQUESTED | UNCHECKED | DERIVED


def test_bad_rows_tell_the_id_that_they_name() -> None:
    named, derived, unknown = rows_of("entry_id,plate,expires_at\ne-1,ab,\n,AB12CD,soon\n,AB12CD\n")
    assert isinstance(named, BadRow)
    assert isinstance(derived, BadRow)
    assert isinstance(unknown, BadRow)
    assert named.entry_id == "e-1"
    assert derived.entry_id == derived_id("list", "AB12CD", "agency")
    assert unknown.entry_id is None


def test_windows_1252() -> None:
    text = "plate;instructions\nMÜ1234;grün – „nur“ ansehen\n"
    for name, data in (
        ("x.csv", text.encode("cp1252")),
        ("x.jsonl", '{"plate":"MÜ1234","instructions":"grün – „nur“ ansehen"}'.encode("cp1252")),
    ):
        (entry,) = entries_of(data, name, encoding=WINDOWS_1252)
        assert (entry.plate, entry.instructions) == ("MÜ1234", "grün – „nur“ ansehen")
        (bad,) = [row for row in rows_of(data, name) if isinstance(row, BadRow)]
        assert bad.problem.endswith("not UTF-8 text")


def test_bytes_that_windows_1252_does_not_have_are_one_rows_problem() -> None:
    data = b"plate,vehicle_make\nAB12CD,a\nAB12CE,\x81\nAB12CF,b\n"
    good, bad, after = rows_of(data, encoding=WINDOWS_1252)
    assert isinstance(good, Row)
    assert bad == BadRow(
        3,
        "vehicle_make '\\udc81': not Windows-1252 text",
        derived_id("list", "AB12CE", "agency"),
        "list",
        derived_id("list", "AB12CE"),
    )
    assert isinstance(after, Row)
    (bad,) = rows_of(b'{"plate":"AB12CD","region":"\x81"}', "x.jsonl", encoding=WINDOWS_1252)
    assert bad == BadRow(
        1,
        "not Windows-1252 text",
        derived_id("list", "AB12CD", "agency"),
        "list",
        derived_id("list", "AB12CD"),
    )
