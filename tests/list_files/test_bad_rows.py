"""A bad row is left alone: whatever happens to rows of a file, a sync removes none of theirs.

The oracle reads the damaged row by itself. The entry of a damaged row may go only if that row is
a good row for another entry, or would be one with its other cells as they were.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.documents.purposes import Purposes
from engine.list_files import profile
from engine.list_files.difference import Difference, compare_to_state
from engine.list_files.digests import Names
from engine.list_files.list_state import ListState
from engine.list_files.notes import Notes
from engine.list_files.ownership import Synced
from engine.list_files.parsed_file import FileEntries
from engine.list_files.rows import BadRow, Row, Supplied, read_rows
from engine.list_files.text import UTF_8, EntryFileError

PURPOSES = Purposes.load(None)
NOW_MS = 1_767_225_600_000  # 2026-01-01
FRESH = {
    "requested_by": "jo",
    "created_at": "2026-01-01T00:00:00.000Z",
    "expires_at": "2026-02-01T00:00:00.000Z",
}
FLAGS = {
    "list_id": "l",
    "agency": "a",
    "purpose": "stolen_vehicle",
    "authority": {"kind": "case", "reference": "1"},
}
COUNT = 8


@dataclass(frozen=True)
class Kind:
    """A kind of file: its lines, what the id is made of, and how it is read."""

    name: str
    profile: str
    lines: tuple[str, ...]
    id_places: tuple[int, ...] = ()
    delimiter: str = ""
    flags: tuple[str, ...] = tuple(FLAGS)
    id_names: tuple[str, ...] = ()

    @property
    def header(self) -> int:
        return 1 if self.delimiter and self.profile != "plates" else 0

    def rows(self, data: bytes, notes: Notes | None = None) -> list[Row | BadRow]:
        supplied = Supplied({name: FLAGS[name] for name in self.flags}, FRESH)
        path, used = Path(self.name), profile.load(self.profile)
        return list(read_rows(io.BytesIO(data), path, used, supplied, PURPOSES, UTF_8, notes))

    def file(self, data: bytes) -> FileEntries:
        file, notes = FileEntries(Names()), Notes()
        for row in self.rows(data, notes):
            if isinstance(row, Row):
                file.add(row)
            else:
                file.add_bad(row)
        file.add_left_out(notes)
        return file

    def alone(self, lines: Sequence[bytes]) -> set[str]:
        """The entries that these lines are good rows for."""
        head = [line.encode() for line in self.lines[: self.header]]
        try:
            rows = self.rows(b"\n".join([*head, *lines]))
        except EntryFileError:
            return set()
        return {row.entry.entry_id for row in rows if isinstance(row, Row)}

    def with_other_cells(self, damaged: bytes, place: int) -> set[str]:
        """The entry that a damaged line is for by the cells of its id alone."""
        whole = self.lines[self.header + place]
        if not self.delimiter:
            return self._with_other_fields(damaged, whole)
        try:
            text = damaged.decode(errors="surrogateescape")
            ((*cells,),) = csv.reader([text], delimiter=self.delimiter, strict=True)
        except (csv.Error, ValueError):
            return set()
        was = whole.split(self.delimiter)
        if len(cells) != len(was):
            return set()
        mixed = [cells[at] if at in self.id_places else cell for at, cell in enumerate(was)]
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=self.delimiter).writerow(mixed)
        return self.alone([out.getvalue().encode(errors="surrogateescape")])

    def _with_other_fields(self, damaged: bytes, whole: str) -> set[str]:
        try:
            found = json.loads(damaged.decode(errors="surrogateescape"))
        except ValueError:
            return set()
        own = {name: found[name] for name in self.id_names if name in found}
        was = orjson.loads(whole)
        others = {name: value for name, value in was.items() if name not in self.id_names}
        return self.alone([json.dumps({**others, **own}).encode()])


def table(*rows: str, delimiter: str = ",") -> tuple[str, ...]:
    return tuple(row.replace(",", delimiter) for row in rows)


NUMBERS = range(COUNT)
GIVEN = (
    "entry_id,plate,priority,instructions",
    *(f"e-{n},AB12C{n},{n % 5 + 1},x" for n in NUMBERS),
)
KINDS = [
    *(
        Kind("l.csv", "hotlist", table(*GIVEN, delimiter=delimiter), (0,), delimiter)
        for delimiter in ",;\t"
    ),
    Kind("l.csv", "hotlist", ("plate,priority", *(f"AB12C{n},1" for n in NUMBERS)), (0,), ","),
    Kind(
        "l.csv",
        "hotlist",
        ("list,plate,priority", *(f"l,AB12C{n},1" for n in NUMBERS)),
        (0, 1),
        ",",
    ),
    Kind(
        "l.csv",
        "hotlist",
        ("list,plate,priority", *(f"l,AB12C{n},1" for n in NUMBERS)),
        (0, 1),
        ",",
        flags=("agency", "purpose", "authority"),
    ),
    Kind(
        "l.jsonl",
        "hotlist",
        tuple(f'{{"entry_id":"e-{n}","plate":"AB12C{n}","priority":2}}' for n in NUMBERS),
        id_names=("entry_id",),
    ),
    Kind(
        "l.jsonl",
        "hotlist",
        tuple(f'{{"plate":"AB12C{n}","vehicle":{{"make":"Volvo"}}}}' for n in NUMBERS),
        id_names=("plate",),
    ),
    Kind(
        "l.csv",
        "genetec",
        (
            "Category;PlateState;PlateNumber;EffectiveDate;ExpiryDate",
            *(f"stolen;CA;7ABC12{n};2026-01-02;2026-01-20" for n in NUMBERS),
        ),
        (1, 2),
        ";",
    ),
    Kind(
        "l.jsonl",
        "genetec",
        tuple(
            f'{{"Category":"stolen","PlateState":"NV","PlateNumber":"7ABC12{n}"}}' for n in NUMBERS
        ),
        id_names=("PlateState", "PlateNumber"),
    ),
    Kind(
        "l.csv",
        "ncic",
        (
            "MKE,LIC,LIS,ORI,NIC,OCA,DOT,VMA,MIS",
            *(f"EV,7ABC12{n},CA,CA012{n},V10000000{n},,20260102,VOLV,none" for n in NUMBERS),
        ),
        (1, 2, 3, 4, 5),
        ",",
    ),
    Kind("l.txt", "plates", tuple(f"AB12C{n}" for n in NUMBERS), (0,), ","),
]


def standing(kind: Kind) -> tuple[list[str], list[tuple[bytes, bytes]]]:
    rows = kind.rows("\n".join(kind.lines).encode())
    assert all(isinstance(row, Row) for row in rows)
    good = [row for row in rows if isinstance(row, Row)]
    return [row.entry.entry_id for row in good], [
        (row.entry.entry_id.encode(), row.data) for row in good
    ]


def removed_by(kind: Kind, data: bytes) -> tuple[set[str], Difference]:
    _, records = standing(kind)
    file = kind.file(data)
    state = ListState(file.names)
    state.apply(records)
    state.settle()
    found = compare_to_state(file, state, PURPOSES, NOW_MS, synced=Synced("l"))
    return {state.entry_id(place).decode() for place in found.removed.tolist()}, found


PIECES = st.sampled_from(
    [
        *(b"", b'"', b'""', b",", b";", b"\t", b"\xff", b"\x00", b"\r", b"?", b"x", b"ABC"),
        *(b"UNKNOWN", b"1.00E+05", b"-", b" ", b"\xc3\xbc", b"\xef\xbf\xbd", b"{", b"}"),
        *(b"null", b"7", b":"),
    ]
)
#: The place of a row; the shares of its length between which it is cut; and what is put in.
DAMAGE = st.tuples(st.integers(0, COUNT - 1), st.floats(0, 1), st.floats(0, 0.3), PIECES)


def damaged(line: bytes, start: float, length: float, piece: bytes) -> bytes:
    at = round(start * len(line))
    return line[:at] + piece + line[at + round(length * len(line)) :]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.profile}-{kind.lines[0][:12]}")
@settings(max_examples=60)
@given(damages=st.lists(DAMAGE, min_size=1, max_size=3))
def test_no_damage_to_rows_removes_their_entries(kind: Kind, damages: list[Any]) -> None:
    lines = [line.encode() for line in kind.lines]
    for place, *how in damages:
        lines[kind.header + place] = damaged(lines[kind.header + place], *how)
    try:
        removed, _ = removed_by(kind, b"\n".join(lines))
    except EntryFileError:
        return  # the file as a whole is refused
    for place, entry_id in enumerate(standing(kind)[0]):
        if entry_id not in removed:
            continue
        line = lines[kind.header + place]
        assert line != kind.lines[kind.header + place].encode(), "its row is as it was"
        if line.strip(b' ,;\t"\r\0'):
            others = kind.alone([line]) | kind.with_other_cells(line, place)
            assert others - {entry_id}, "the row is for no other entry"


@pytest.mark.parametrize(
    "row",
    [
        "EXS,7ABC120,CA,CA0120,V100000000,,20260102,VOLV,none",
        "EV,,CA,CA0120,V100000000,,20260102,VOLV,none",
        "EV,UNKNOWN,CA,CA0120,V100000000,,20260102,VOLV,none",
    ],
)
def test_a_row_that_is_left_out_does_not_remove_its_entry(row: str) -> None:
    """Its cell may be damaged: the record is still in the file, by its authority reference."""
    kind = next(each for each in KINDS if each.profile == "ncic")
    # All of one agency: a sync leaves the entries of agencies that it does not name alone.
    kind = replace(kind, lines=tuple(re.sub("CA012.", "CA0120", line) for line in kind.lines))
    lines = list(kind.lines)
    lines[1] = row
    removed, found = removed_by(kind, "\n".join(lines).encode())
    assert (removed, found.unchanged, found.not_removed) == (set(), COUNT - 1, 0)
    # A record that is gone is removed beside it.
    del lines[2]
    removed, _ = removed_by(kind, "\n".join(lines).encode())
    assert removed == {standing(kind)[0][1]}
    # One without any reference may be for any entry.
    lines[1] = lines[1].replace("V100000000", "")
    removed, found = removed_by(kind, "\n".join(lines).encode())
    assert (removed, found.not_removed) == (set(), 2)


GENETEC = "Category;PlateState;PlateNumber;EffectiveDate;ExpiryDate\n"


@pytest.mark.parametrize(
    ("row", "known"),
    [
        # An id made of good cells is known; one made of a bad cell is not.
        ("stolen vehicel;CA;7ABC123;;", True),
        ("stolen;CA;7ABC123;;31/31/2026", True),
        ("stolen;CA;7ABC123;2026-01-20;2026-01-02", True),
        ("stolen;CA;7A*;;", False),
        ("stolen;CA;7AB;;", False),
        ("stolen;CA;;;", False),
        ("stolen;CA;7ABC123", False),
        ("stolen;CA;7ABC123;;;x", False),
        ('stolen;CA;"7ABC123"x;;', False),
    ],
)
def test_which_entry_a_bad_row_is_for(row: str, known: bool) -> None:
    kind = Kind("l.csv", "genetec", ())
    (good,) = kind.rows(f"{GENETEC}stolen;CA;7ABC123;;\n".encode())
    (bad,) = kind.rows(f"{GENETEC}{row}\n".encode())
    assert isinstance(good, Row)
    assert isinstance(bad, BadRow)
    assert bad.entry_id == (good.entry.entry_id if known else None)


def test_a_quote_that_swallows_rows_without_breaking_csv() -> None:
    text = 'plate,instructions,priority\nAB12C1,"x,1\nAB12C2,x,2\nAB12C3,y",3\n'
    kind = Kind("l.csv", "hotlist", ())
    (row,) = kind.rows(text.encode())
    assert row == BadRow(
        2, "a quoted cell includes line 3, which is a row: a quote is missing or out of place"
    )
    # Text of several lines is no row, even with as many commas.
    text = 'plate,instructions,priority\nAB12C1,"x, y\nCall, first, 555\n",3\n'
    (good,) = kind.rows(text.encode())
    assert isinstance(good, Row)
    assert orjson.loads(good.data)["instructions"] == "x, y\nCall, first, 555\n".strip()


def test_rows_of_no_text_are_no_rows() -> None:
    kind = Kind("l.csv", "hotlist", ())
    rows = kind.rows(b"plate,priority,\nAB12C1,1,\n,,\n , ,\nAB12C2,1,\n,,\n")
    assert [(row.line, type(row)) for row in rows] == [(2, Row), (5, Row)]
