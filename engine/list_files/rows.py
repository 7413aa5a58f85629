"""Files of entries: each row becomes an admissible Entry, or a problem with its line number.

A file is JSON Lines (`.jsonl`, one entry on each line) or CSV, as its column profile says. A row
passes from bytes (`text`) to cells (`csv_files`) to a document (`columns`); a line of JSON becomes
a document in `json_files`. Here the document is completed from `Supplied`, gets an id if it has
none, and passes the checks of any other entry: schema (`documents.model`), rules (`admission`).

A bad row names its entry too, if that can be known: see `identity`.

Rows are read one at a time and are not kept. A file that cannot be read raises EntryFileError.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from engine.documents.admission import Purposes, check_entry
from engine.documents.codec import encode, entry_of
from engine.documents.model import Entry
from engine.errors import DocumentError, RuleError
from engine.list_files.columns import Columns, LeftOut, Unread
from engine.list_files.csv_files import CsvRow, csv_table
from engine.list_files.entry_fields import FIELDS, Field, quoted
from engine.list_files.identity import Identity, error_path, paths_without_text
from engine.list_files.json_files import json_documents
from engine.list_files.notes import Notes
from engine.list_files.plate_cells import CONTROL
from engine.list_files.profile import Profile, check_kind
from engine.list_files.text import UTF_8, Encoding
from engine.list_files.unfilled import if_filled
from engine.list_files.xlsx_files import xlsx_table

#: Values that the row did not give, as bits: they come from the clock or the operator, and an
#: entry that is already listed keeps its own. UNCHECKED: admissible only with a date that it keeps.
#: DERIVED: the row gave no id.
CREATED: Final = 1
EXPIRES: Final = 2
REQUESTED: Final = 4
UNCHECKED: Final = 8
DERIVED: Final = 16
_BITS: Final = {"created_at": CREATED, "expires_at": EXPIRES, "requested_by": REQUESTED}


@dataclass(frozen=True, slots=True)
class Supplied:
    """The values that complete rows, as parts of an entry's document.

    `flags` are the values that the user gave for all rows. `fresh` has `created_at`, `expires_at`
    and `requested_by` for a new entry.
    """

    flags: Mapping[str, Any]
    fresh: Mapping[str, str]


class Row(NamedTuple):
    """A good row: the line on which it begins, its entry, that as JSON, and its `fresh` bits.

    If the id is derived, `former_id` is the one that earlier versions derived. If the row names
    another list than the user, `spared_ids` are its ids on the user's list: a sync refuses the row,
    but does not remove that entry.
    """

    line: int
    entry: Entry
    data: bytes
    fresh: int
    former_id: str | None = None
    spared_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not an entry: the line on which it begins, and why, in one line.

    `entry_id` is the id of the row's entry, None if it cannot be known. If the row gave no id,
    `list_id` is the list for which one was derived, and `former_id` the one that earlier versions
    derived. A sync does not remove that entry.
    """

    line: int
    problem: str
    entry_id: str | None = None
    list_id: str | None = None
    former_id: str | None = None


class Filling:
    """Completes the documents of one file and makes entries from them."""

    def __init__(self, profile: Profile, supplied: Supplied, purposes: Purposes) -> None:
        self._purposes = purposes
        self._identity = Identity(profile, purposes)
        self._supplied: dict[str, Any] = {}
        _fill(self._supplied, supplied.flags)
        constants: dict[str, Any] = {}
        for name, value in profile.constants.items():
            FIELDS[name].put(constants, value)
        _fill(self._supplied, constants)
        self._list_id: str | None = supplied.flags.get("list_id")
        self._fresh = [(name, value, _BITS[name]) for name, value in supplied.fresh.items()]

    def gives(self, field: Field) -> bool:
        """Whether rows without the field get it."""
        fresh = [name for name, *_ in self._fresh]
        return field.path in fresh or field.of(self._supplied) is not None

    def entry(self, document: dict[str, Any]) -> tuple[Entry, bytes, int]:
        """Return the entry of one row, completed in place and checked, with its JSON and its
        fresh bits. Raises RuleError or DocumentError; `problem_of` makes a line from either."""
        fresh = self._complete(document)
        entry = entry_of(document)
        try:
            data = encode(entry)
        except UnicodeEncodeError:
            raise DocumentError("invalid_json", rule="not text") from None
        if _MAYBE_CONTROL.search(data):
            _check_characters(document)
        try:
            check_entry(entry, self._purposes)
        except RuleError:
            # An entry that expired long ago may already be listed, created before it expired.
            if not (fresh & CREATED and entry.expires_ms <= entry.created_ms):
                raise
            fresh |= UNCHECKED
        return entry, data, fresh

    def row(self, line: int, document: dict[str, Any]) -> Row | BadRow:
        """Return the row of a document, which is completed in place."""
        derived = document.get("entry_id") is None
        try:
            entry, data, fresh = self.entry(document)
        except (DocumentError, RuleError) as error:
            bad = [error_path(error), *paths_without_text(document)]
            return self._bad(line, problem_of(error, document), document, bad, derived=derived)
        spared: tuple[str, ...] = ()
        if derived and self._list_id not in (None, entry.list_id):
            there = {**document, "list_id": self._list_id}
            spared = self._identity.derive(there), self._identity.former(there)
        return Row(line, entry, data, fresh, self.former_id(document, fresh), spared)

    def former_id(self, document: dict[str, Any], fresh: int) -> str | None:
        """Return the id that earlier versions derived for the document, None if it gives one."""
        return self._identity.former(document) if fresh & DERIVED else None

    def bad_row(self, line: int, unread: Unread) -> BadRow:
        """Return the row of what is not a document."""
        document = unread.document
        if document is None:
            return BadRow(line, unread.problem)
        derived = self._complete(document) & DERIVED > 0
        return self._bad(line, unread.problem, document, unread.bad_paths, derived=derived)

    def _bad(
        self,
        line: int,
        problem: str,
        document: dict[str, Any],
        bad_paths: Iterable[str],
        *,
        derived: bool,
    ) -> BadRow:
        if derived and self._list_id is not None:
            # Whatever the row says: a sync removes entries of this list only.
            document = {**document, "list_id": self._list_id}
            document["entry_id"] = self._identity.derive(document)
            bad_paths = [path for path in bad_paths if path != "list_id"]
        entry_id = self._identity.of_bad_row(document, filter(None, bad_paths), derived=derived)
        if entry_id is None or not derived:
            return BadRow(line, problem, entry_id)
        former_id = self._identity.former(document)
        return BadRow(line, problem, entry_id, document["list_id"], former_id)

    def _complete(self, document: dict[str, Any]) -> int:
        """Fill in what the row lacks; return its fresh bits."""
        _fill(document, self._supplied)
        fresh = 0
        for name, value, bit in self._fresh:
            if document.get(name) is None:
                document[name] = value
                fresh |= bit
        if document.get("entry_id") is None:
            document["entry_id"] = self._identity.derive(document)
            fresh |= DERIVED
        return fresh


#: What JSON in UTF-8 has wherever a text has a control character.
_MAYBE_CONTROL: Final = re.compile(rb"[\\\x7f\xc2]")
#: Instructions may have several lines.
_CONTROL_IN_LINES: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def _check_characters(document: dict[str, Any]) -> None:
    for name, field in FIELDS.items():
        value = field.of(document)
        refused = _CONTROL_IN_LINES if name == "instructions" else CONTROL
        if isinstance(value, str) and refused.search(value):
            raise RuleError(field.path, value, "must not hold control characters")


def problem_of(error: DocumentError | RuleError, document: Mapping[str, Any]) -> str:
    """Return field, value and rule in one line. It may show values: the document is the user's."""
    if isinstance(error, RuleError):
        return str(error)
    if error.field == "$":
        return error.rule
    field = error.field.removeprefix("$.")
    found: Any = document
    for step in re.findall(r"[a-z_]+|\d+", field):
        if isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            found = found.get(step) if isinstance(found, Mapping) else None
    if found is None or isinstance(found, dict | list):
        return f"{field}: {error.rule}"
    return f"{field} {quoted(found)}: {error.rule}"


def read_rows(
    file: BinaryIO,
    path: Path,
    profile: Profile,
    supplied: Supplied,
    purposes: Purposes,
    encoding: Encoding = UTF_8,
    notes: Notes | None = None,
) -> Generator[Row | BadRow, None, None]:
    """Yield the rows of an open file in order; the suffix of `path` decides its format.

    `notes` gets the rows that the profile leaves out, and the values that it drops. Raises
    EntryFileError if the whole file cannot be read as entries.
    """
    filling = Filling(profile, supplied, purposes)
    notes = Notes() if notes is None else notes
    for line, found in _documents(file, path, profile, filling, encoding, notes):
        if isinstance(found, LeftOut):
            notes.leave_out(line, found.column, found.value, found.reference)
        elif isinstance(found, Unread):
            yield filling.bad_row(line, found)
        else:
            yield filling.row(line, found)


def _documents(
    file: BinaryIO,
    path: Path,
    profile: Profile,
    filling: Filling,
    encoding: Encoding,
    notes: Notes,
) -> Iterator[tuple[int, dict[str, Any] | Unread | LeftOut]]:
    ending = check_kind(path, profile)
    if ending == ".jsonl":
        yield from json_documents(file, profile, encoding, notes)
    else:
        opened = (
            xlsx_table(file, path, profile)
            if ending == ".xlsx"
            else csv_table(file, path, profile, encoding)
        )
        with opened as table:
            columns = Columns(profile, table.names, encoding, width=table.width)
            columns.notes = notes
            for row in if_filled(table.rows, path, columns.fields, filling.gives):
                if isinstance(row.cells, str):
                    yield row.line, Unread(row.cells)
                elif row.further and (hidden := _hidden(row, columns, filling)):
                    yield row.line, hidden
                else:
                    yield row.line, columns.document(row.cells, row.line, row.damage)


def _hidden(row: CsvRow, columns: Columns, filling: Filling) -> Unread | None:
    """Return what is wrong with a row of several lines, if one of them is a row by itself."""
    for line, cells in enumerate(row.further, start=row.line + 1):
        if not columns.is_whole(cells):
            continue
        found = columns.document(cells, line)
        unread = Unread("", found) if isinstance(found, dict) else found
        if isinstance(unread, LeftOut) or filling.bad_row(line, unread).entry_id is not None:
            return Unread(
                f"a quoted cell includes line {line}, which is a row: a quote is missing or "
                "out of place"
            )
    return None


def _fill(document: dict[str, Any], supplied: Mapping[str, Any]) -> None:
    for field, value in supplied.items():
        own = document.get(field)
        if own is None:
            # A copy, so that the next row does not get this row's values.
            document[field] = dict(value) if isinstance(value, dict) else value
        elif isinstance(value, dict) and isinstance(own, dict):
            _fill(own, value)
