"""Files of entries: every row arrives as it was written, and bad ones by their line."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents import Entry, encode
from engine.entry_csv import COLUMNS, ROW_BYTES, EntryFileError
from engine.entry_files import BadRow, Row, SeenIds, derived_id, read_rows
from engine.rules import Purposes

PURPOSES = Purposes.load(None)

SUPPLIED: dict[str, Any] = {
    "list_id": "list",
    "agency": "agency",
    "purpose": "stolen_vehicle",
    "authority": {"kind": "case", "reference": "2026-1"},
    "requested_by": "jo",
    "created_at": "2026-01-01T00:00:00.000Z",
    "expires_at": "2026-02-01T00:00:00.000Z",
}


def rows_of(
    data: str | bytes, name: str = "list.csv", supplied: dict[str, Any] = SUPPLIED
) -> list[Row | BadRow]:
    content = data.encode() if isinstance(data, str) else data
    return list(read_rows(io.BytesIO(content), Path(name), supplied, PURPOSES))


def entries_of(data: str | bytes, name: str = "list.csv") -> list[Entry]:
    rows = rows_of(data, name)
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
    assert entry.expires_at == SUPPLIED["expires_at"]


def test_rows_do_not_leak_into_each_other() -> None:
    first, second = entries_of("plate,authority_reference\nAB12CD,own\nAB12CE,\n")
    assert first.authority.reference == "own"
    assert second.authority.reference == "2026-1"
    assert SUPPLIED["authority"] == {"kind": "case", "reference": "2026-1"}


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
        "vehicle_make": "Volvo",
        "vehicle_model": "240",
        "vehicle_color": "red",
        "vehicle_type": "estate",
        "priority": "1",
        "instructions": "stop; with care",
        "area": "52.1 4.25 500 | -33 18.5 20",
        "suppress_s": "0",
    }
    assert set(cells) == set(COLUMNS)
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
        "vehicle": {"make": "Volvo", "model": "240", "color": "red", "type": "estate"},
        "priority": 1,
        "instructions": "stop; with care",
        "area": [
            {"lat": 52.1, "lon": 4.25, "radius_m": 500},
            {"lat": -33, "lon": 18.5, "radius_m": 20},
        ],
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
        ("plate,confusables", "AB12CD,perhaps", "confusables 'perhaps': must be true or false"),
        ("plate,priority", "AB12CD,high", "priority 'high': must be a number"),
        ("plate,priority", "AB12CD,9", "priority 9: must be at most 5"),
        ("plate,priority", "AB12CD,1.5", "priority 1.5: must be an integer or null, not a number"),
        ("plate,area", "AB12CD,52 4", "area '52 4': must be LAT LON RADIUS_M"),
        ("plate,area", "AB12CD,99 4 1", "area[0].lat 99: must be at most 90"),
        ("plate,purpose", "AB12CD,fun", "purpose 'fun': is not in the purposes file"),
        ("plate,authority_kind", "AB12CD,whim", "authority.kind 'whim': must be case or"),
        ("plate,expires_at", "AB12CD,soon", "expires_at 'soon': must be a time in UTC"),
        ("plate", "ab12cd", "plate 'ab12cd': must be in normal form, which is AB12CD"),
        ("plate", "A????", "plate 'A????': must have at least"),
        ("agency", "x", "plate: is required"),
        ("plate,agency", "AB12CD", "1 cells under a header of 2"),
        ("plate,agency", "AB12CD,a,b", "3 cells under a header of 2"),
        ("plate,agency", 'AB12CD,"a"b', "not valid CSV: ',' expected after '\"'"),
        ("plate,agency", 'AB12CD,"a', "not valid CSV: unexpected end of data"),
    ],
)
def test_bad_row_names_field_value_and_rule(header: str, row: str, problem: str) -> None:
    (bad,) = rows_of(f"{header}\n{row}\n")
    assert isinstance(bad, BadRow)
    assert bad.line == 2
    assert bad.problem.startswith(problem)


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
        ("plate,kolor\n", "x.csv", "x.csv: line 1: unknown column 'kolor'; known columns: entr"),
        ("plate,,agency\n", "x.csv", "x.csv: line 1: unknown column ''; known columns: entry"),
        ("plate,list,list_id\n", "x.csv", "x.csv: line 1: column list_id twice"),
        ("plate\nAB12CD\n".encode("utf-16"), "x.csv", "x.csv: line 1: not UTF-8 text; save th"),
        ("plate\n" + "A" * ROW_BYTES, "x.csv", f"x.csv: line 2: longer than {ROW_BYTES} char"),
        ("plate\n", "x.txt", "x.txt: must end in .csv or .jsonl"),
    ],
)
def test_file_that_cannot_be_read_as_a_whole(data: str | bytes, name: str, message: str) -> None:
    with pytest.raises(EntryFileError) as caught:
        rows_of(data, name)
    assert str(caught.value).startswith(message)


def test_row_that_is_not_utf8_is_that_row_only() -> None:
    good, bad, after = rows_of(b"plate,agency\nAB12CD,a\nAB12CE,\xff\nAB12CF,b\n")
    assert isinstance(good, Row)
    assert bad == BadRow(3, "not UTF-8 text")
    assert isinstance(after, Row)


def test_id_is_derived_from_list_and_plate_alone() -> None:
    (first,) = entries_of("plate,priority\nAB12CD,1\n")
    (second,) = entries_of('{"plate":"AB12CD","agency":"b"}', "x.jsonl")
    assert first.entry_id == second.entry_id == derived_id("list", "AB12CD")
    assert derived_id("list", "AB12CE") != first.entry_id != derived_id("lis", "tAB12CD")


def test_spreadsheet_exports() -> None:
    data = b"\xef\xbb\xbfPlate;List;Authority_Ref;;\r\n AB12CD ;own;r-1;;\r\n\r\n"
    (entry,) = entries_of(data)
    assert (entry.plate, entry.list_id, entry.authority.reference) == ("AB12CD", "own", "r-1")


PLATES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=4, max_size=16)
TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
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
    columns=st.permutations(sorted(COLUMNS)).flatmap(
        lambda names: st.integers(1, len(names)).map(lambda count: names[:count])
    ),
    delimiter=DELIMITERS,
)
def test_delimiter_is_found_by_the_header(columns: list[str], delimiter: str) -> None:
    cells = ["AB12CD" if name == "plate" else "" for name in columns]
    found = rows_of(written_csv(columns, [cells], delimiter, "\n"))
    # Without a plate the row is one of empty cells; a file of one column is of no delimiter.
    if "plate" in columns:
        assert [type(row) for row in found] == [Row]
    elif len(columns) > 1:
        assert found == [BadRow(2, "plate: is required")]


@given(data=st.binary(max_size=200), name=st.sampled_from(["x.csv", "x.jsonl"]))
def test_any_bytes_give_rows_or_one_error(data: bytes, name: str) -> None:
    prefix = b"plate,agency\n" if name == "x.csv" else b""
    rows: list[Row | BadRow] = []
    problems = []
    try:
        rows = rows_of(prefix + data, name)
    except EntryFileError as error:
        problems.append(str(error))
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    problems += [row.problem for row in rows if isinstance(row, BadRow)]
    assert all("\n" not in problem for problem in problems)


@given(ids=st.lists(st.sampled_from(["a", "b", "c", "d", "é"]), max_size=12))
def test_repeated_ids_name_the_first_row(ids: list[str]) -> None:
    seen = SeenIds()
    first: dict[str, int] = {}
    expected = {}
    for line, entry_id in enumerate(ids, start=2):
        seen.add(line, entry_id)
        if entry_id in first:
            expected[line] = first[entry_id]
        first.setdefault(entry_id, line)
    assert seen.repeats() == expected
    assert list(seen.repeats()) == sorted(expected)
