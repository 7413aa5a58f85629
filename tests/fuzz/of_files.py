"""Targets on what people write into files.

imports   a file of entries; its first line here says ending, profile and encoding
settings  hotlist.toml, a purposes file, a table of misreads, a column profile
"""

from __future__ import annotations

import codecs
import io
import json
import random
import tempfile
import tomllib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from engine import limits
from engine.config import SETTINGS, Settings, read_file
from engine.documents.admission import check_entry
from engine.documents.codec import encode
from engine.documents.purposes import Purposes
from engine.errors import ConfigError, HotlistError
from engine.list_files import profile
from engine.list_files.profile import Profile
from engine.list_files.profile_files import shipped
from engine.list_files.rows import BadRow, Row, Supplied, read_rows
from engine.list_files.text import EntryFileError, encoding_of
from engine.plates.misreads import Misreads
from engine.plates.normal_form import is_normal
from tests.fuzz.fuzzer import Target, agree
from tests.fuzz.json_texts import json_value
from tests.fuzz.mutations import (
    TEXTS,
    any_of,
    behind_first_line,
    change_bytes,
    change_json,
    words,
)
from tests.list_files.test_profile import FRESH
from tests.list_files.test_rows import FLAGS, PURPOSES
from tests.repository.schemas import validator

_FIRSTS: Final = tuple(
    f"{ending} {name} {encoding}"
    for name in ("hotlist", "ncic", "genetec", "plates")
    for ending in (".csv", ".jsonl", ".txt")
    for encoding in ("auto", "utf-8", "windows-1252")
)
_SUPPLIED: Final = Supplied(FLAGS, FRESH)
_PROFILES: Final = {name: profile.load(name) for name in shipped()}

# ---- files of entries


def _run_imports(data: bytes) -> Iterable[Hashable]:
    first, _, content = data.partition(b"\n")
    ending, name, wanted = [*first.decode("ascii", "replace").split(" "), "", "", ""][:3]
    used = _PROFILES.get(name, _PROFILES["hotlist"])
    if wanted not in ("auto", "utf-8", "windows-1252"):
        wanted = "auto"
    path = Path(f"list{ending}" if ending in (".csv", ".jsonl", ".txt") else "list.csv")
    file = io.BytesIO(content)
    rows: list[Row | BadRow] = []
    try:
        encoding = encoding_of(file, wanted, str(path))
        rows.extend(read_rows(file, path, used, _SUPPLIED, PURPOSES, encoding))
    except EntryFileError as error:
        _check_error(error)
        return [(path.suffix, error.what[:20])]
    lines = [row.line for row in rows]
    agree(lines, sorted(set(lines)), "each row has a line of its own")
    for row in rows:
        if isinstance(row, BadRow):
            assert row.problem, "says why"
            assert "\n" not in row.problem, "in one line"
        else:
            _check_entry(row)
    if encoding.codec == "utf-8-sig" and used is _PROFILES["hotlist"]:
        if path.suffix == ".jsonl":
            _check_json(content, rows)
        elif path.suffix == ".csv":
            _check_csv(content, rows, used)
    return [
        row.problem.rpartition(": ")[2][:25]
        if isinstance(row, BadRow)
        else ("good", row.entry.purpose, row.fresh)
        for row in rows[:20]
    ]


def _check_error(error: HotlistError) -> None:
    text = str(error)
    assert text.isprintable(), repr(text)


def _check_entry(row: Row) -> None:
    """A row that is taken is admissible, and is what will be sent."""
    is_json, document = json_value(row.data)
    assert is_json
    validator("entry").validate(document)
    assert row.data == encode(row.entry)
    if not row.fresh & 8:
        check_entry(row.entry, PURPOSES)


def _check_json(content: bytes, rows: list[Row | BadRow]) -> None:
    """Every line that is not blank is a row, and what it says stands in the entry."""
    content = content.removeprefix(codecs.BOM_UTF8)
    lines = dict(enumerate(content.split(b"\n"), 1))
    if any(len(line) > limits.READ_VALUE_BYTES for line in lines.values()):
        return
    wanted = [number for number, line in lines.items() if line.strip(b" \t\r\x0b\x0c")]
    agree([row.line for row in rows], wanted, "lines")
    for row in rows:
        if isinstance(row, Row):
            _, said = json_value(lines[row.line])
            found = json.loads(row.data)
            for name in ("entry_id", "plate", "expires_at", "region"):
                if said.get(name) is not None:
                    agree(found[name], said[name], name)


def _check_csv(content: bytes, rows: list[Row | BadRow], used: Profile) -> None:
    """Where a plainer reader sees a table too, it sees the same rows and the same cells."""
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        return
    delimiter = ",;\t"[0]
    names = text.partition("\n")[0].rstrip("\r")
    for each in ",;\t":
        if names.count(each) > names.count(delimiter):
            delimiter = each
    if any(sign in text for sign in ",;\t".replace(delimiter, "")) or "\0" in text:
        return  # what separates cells is a matter of opinion
    table = plain_csv(text, delimiter)
    if table is None or not table or len(text) >= limits.READ_VALUE_BYTES:
        return
    _, header = table.pop(0)
    table = [(line, cells) for line, cells in table if any(cell.strip() for cell in cells)]
    agree([row.line for row in rows], [line for line, _ in table], "lines")
    fields = [used.columns.get(cell.strip().casefold()) for cell in header]
    for row, (_, cells) in zip(rows, table, strict=True):
        if isinstance(row, Row):
            _check_cells(row, fields, cells)


def _check_cells(row: Row, fields: list[str | None], cells: list[str]) -> None:
    for name in ("entry_id", "plate", "list_id", "agency", "region", "expires_at"):
        if fields.count(name) == 1:
            cell = cells[fields.index(name)].strip()
            if cell:
                agree(getattr(row.entry, name), cell, name)


def plain_csv(text: str, delimiter: str) -> list[tuple[int, list[str]]] | None:
    """The rows of a table by RFC 4180, each with the line that it begins in; blank ones left
    out. None where a quote stands in the middle of a cell, or is never closed."""
    rows: list[tuple[int, list[str]]] = []
    cells: list[str] = []
    line, begins = 1, 1
    at = 0
    while at < len(text):
        cell = ""
        is_quoted = text[at] == '"'
        if is_quoted:
            at += 1
            while True:
                end = text.find('"', at)
                if end < 0:
                    return None
                cell += text[at:end]
                at = end + 1
                if text[at : at + 1] != '"':
                    break
                cell, at = cell + '"', at + 1
            line += _ends(cell)
        else:
            begin = at
            while at < len(text) and text[at] not in delimiter + "\r\n":
                if text[at] == '"':
                    return None
                at += 1
            cell = text[begin:at]
        cells.append(cell)
        if text[at : at + 1] == delimiter:
            at += 1
            if at == len(text) or text[at] in "\r\n":
                cells.append("")
            else:
                continue
        if at < len(text) and text[at] not in "\r\n":
            return None
        at += 2 if text[at : at + 2] == "\r\n" else 1
        if cells != [""] or is_quoted:
            rows.append((begins, cells))
        line += 1
        cells, begins = [], line
    return rows


def _ends(text: str) -> int:
    """Line ends of any kind."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


_CELLS: Final = (
    *TEXTS,
    '"',
    '""',
    '"a\nb"',
    '"a""b"',
    '"a"b',
    'a"b',
    "'",
    "ABC123",
    "AB?123",
    "A",
    "stolen_vehicle",
    "2026-03-01T00:00:00Z",
    "52.1 5.2 300|1 2 3",
    "mon-fri 08:00-18:00 UTC",
    "yes",
    "1e3",
    "12345678901234567890",
    "x" * 3000,
)


def _change_cells(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Changes a cell, a row, the delimiter, the line ends or the encoding of a table."""
    text = data.decode("utf-8", "surrogateescape")
    lines = text.splitlines(keepends=True) or [""]
    row = chance.randrange(len(lines))
    match chance.randrange(8):
        case 0:
            lines.insert(row, chance.choice(lines))
        case 1:
            lines[row] = chance.choice(("\n", "\r\n", "\r", " \n", ",,,\n", '""\n'))
        case 2:
            text = text.replace(chance.choice(",;\t"), chance.choice(",;\t"))
            return text.encode("utf-8", "surrogatepass")
        case 3:
            end = chance.choice(("\r\n", "\n", "\r", "\u2028", "\x0b"))
            lines[row] = lines[row].rstrip("\r\n") + end
        case 4 if chance.random() < 0.2:
            codec = chance.choice(("utf-16", "utf-16-le", "cp1252", "utf-8-sig", "utf-32"))
            return text.encode(codec, "replace")
        case _:
            delimiter = next((each for each in ",;\t" if each in lines[0]), ",")
            cells = lines[row].rstrip("\r\n").split(delimiter)
            place = chance.randrange(len(cells))
            if chance.random() < 0.1:
                cells.insert(place, "")
            else:
                cells[place] = chance.choice(_CELLS)
            lines[row] = delimiter.join(cells) + "\n"
    return "".join(lines).encode("utf-8", "surrogatepass")


def _change_lines(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Changes one line of JSON."""
    lines = data.split(b"\n")
    row = chance.randrange(len(lines))
    others = [line for other in pool for line in other.split(b"\n")]
    lines[row] = change_json(chance, lines[row], others).replace(b"\n", b" ")
    if chance.random() < 0.1:
        lines.insert(row, chance.choice(others))
    return b"\n".join(lines)


# ---- settings, and the files that an operator may write anew

_FOLDER: Final = tempfile.TemporaryDirectory(prefix="hotlist-fuzz-")
_TABLE: Final = b"plate,list\nABC123,north\nX?Z999,\n"


def _run_settings(data: bytes) -> Iterable[Hashable]:
    first, _, content = data.partition(b"\n")
    kind = first.decode("ascii", "replace")
    if kind not in _SETTINGS:
        kind = "hotlist"
    path = Path(_FOLDER.name) / f"{kind}.toml"
    path.write_bytes(content)
    try:
        return [(kind, *_SETTINGS[kind](path, content))]
    except ConfigError as error:
        _check_error(error)
        return [(kind, error.what[:24])]


def _hotlist(path: Path, content: bytes) -> Iterator[Hashable]:
    found = read_file(path)
    table = tomllib.loads(content.decode("utf-8-sig"))
    agree(set(found), {key.replace("-", "_") for key in table}, "settings")
    known = set(Settings.__dataclass_fields__)
    settings = Settings(**{name: value for name, value in found.items() if name in known})
    for name in known & set(found):
        agree(SETTINGS[name].parse(getattr(settings, name)), getattr(settings, name), name)
    yield from sorted(found)


def _purposes(path: Path, content: bytes) -> Iterator[Hashable]:
    found = Purposes.load(path)
    table = json.loads(content)
    agree(list(found.codes), list(table), "codes")
    for code in found.codes:
        purpose = found.get(code)
        assert purpose is not None
        assert 1 <= purpose.longest_term_days <= 3650
        assert 1 <= purpose.known_characters_floor <= 16
        agree(purpose.longest_term_days, table[code].get("longest_term_days", 365), code)
        yield purpose.longest_term_days, purpose.known_characters_floor


def _misreads(path: Path, content: bytes) -> Iterator[Hashable]:
    found = Misreads.load(path)
    characters = "".join(found.groups)
    assert len(set(characters)) == len(characters), "in one group each"
    for char in characters:
        assert is_normal(char)
        assert found.skeleton(found.skeleton(char)) == found.skeleton(char)
    for group in found.groups:
        assert len({found.skeleton(char) for char in group}) == 1
    yield len(found.groups)
    yield len(found.counts)


def _profile(path: Path, content: bytes) -> Iterator[Hashable]:
    used = profile.load(str(path))
    for suffix in used.endings:
        name = path.with_suffix(suffix)
        try:
            for row in read_rows(io.BytesIO(_TABLE), name, used, _SUPPLIED, PURPOSES):
                if isinstance(row, Row):
                    _check_entry(row)
                yield type(row).__name__
        except EntryFileError as error:
            _check_error(error)
            yield error.what[:20]
    yield used.normalize, used.header, used.delimiter


_SETTINGS: Final[dict[str, Callable[[Path, bytes], Iterator[Hashable]]]] = {
    "hotlist": _hotlist,
    "purposes": _purposes,
    "misreads": _misreads,
    "profile": _profile,
}

TARGETS: Final = (
    Target(
        "imports",
        _run_imports,
        behind_first_line(
            any_of(_change_cells, _change_cells, _change_lines, change_bytes), _FIRSTS
        ),
    ),
    Target(
        "settings",
        _run_settings,
        behind_first_line(
            any_of(
                change_json,
                change_bytes,
                words(
                    *(f"{name} = " for name in (*SETTINGS, "groups", "base", "endings")),
                    *("[columns]", "[counts]", "[dates]", "[values.purpose]", "[constants]"),
                    *('"plate"', "false", "true", '"', "'''", "1e400", "9" * 5000, "[" * 2000),
                    *("\\u0000", '"\\u001b[2J"', "inf", "nan", "2026-01-01", "0x10", "1_0"),
                    *TEXTS,
                ),
            ),
            tuple(_SETTINGS),
        ),
    ),
)
