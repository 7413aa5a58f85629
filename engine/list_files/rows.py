"""Files of entries: each row becomes an admissible Entry, or a problem with its line number.

A file is JSON Lines (`.jsonl`, one entry on each line) or CSV, as its column profile says. A row
passes from bytes (`text`) to cells (`csv_files`) to a document (`columns`). Here the document is
completed from `Supplied`, gets an id if it has none, and passes the same checks as any other
entry: the schema (`documents.model`) and the rules (`admission`).

Rows are read one at a time and are not kept. Nothing here knows Kafka or the terminal. A file
that cannot be read as a whole raises EntryFileError.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import orjson
import xxhash

from engine.documents.admission import Purposes, check_entry
from engine.documents.codec import encode, entry_of
from engine.documents.model import Entry
from engine.errors import DocumentError, RuleError
from engine.list_files.columns import Columns, object_document
from engine.list_files.csv_files import ROW_BYTES, csv_table
from engine.list_files.entry_fields import FIELDS, quoted
from engine.list_files.profile import Profile
from engine.list_files.text import UTF_8, Encoding, EntryFileError, numbered_lines

#: Values that the row did not give, as bits: they come from the clock or the operator, and an
#: entry that is already listed keeps its own. UNCHECKED: admissible only with a date that it keeps.
CREATED: Final = 1
EXPIRES: Final = 2
REQUESTED: Final = 4
UNCHECKED: Final = 8
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
    """A good row: the line on which it begins, its entry, that as JSON, and its `fresh` bits."""

    line: int
    entry: Entry
    data: bytes
    fresh: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not an entry: the line on which it begins, and why, in one line.

    `entry_id` is set if the row gives one, so that a sync does not remove that entry.
    """

    line: int
    problem: str
    entry_id: str | None = None


def derived_id(*parts: str) -> str:
    """Return the id of an entry without an id of its own. It depends only on the parts that the
    profile chooses, such as list and plate."""
    return xxhash.xxh3_128_hexdigest("\x1f".join(parts).encode(errors="replace"))


class Filling:
    """Completes the documents of one file and makes entries from them."""

    def __init__(self, profile: Profile, supplied: Supplied, purposes: Purposes) -> None:
        self._purposes = purposes
        self._id_fields = [FIELDS[name] for name in profile.id_fields]
        self._supplied: dict[str, Any] = {}
        _fill(self._supplied, supplied.flags)
        constants: dict[str, Any] = {}
        for name, value in profile.constants.items():
            FIELDS[name].put(constants, value)
        _fill(self._supplied, constants)
        self._fresh = [(name, value, _BITS[name]) for name, value in supplied.fresh.items()]

    def entry(self, document: dict[str, Any]) -> tuple[Entry, bytes, int]:
        """Return the entry of one row, completed in place and checked, with its JSON and its
        fresh bits. Raises RuleError or DocumentError; `problem_of` makes a line from either."""
        _fill(document, self._supplied)
        fresh = 0
        for name, value, bit in self._fresh:
            if document.get(name) is None:
                document[name] = value
                fresh |= bit
        if document.get("entry_id") is None:
            # If a required part is missing, the schema will report it.
            parts = [field.of(document) for field in self._id_fields]
            document["entry_id"] = derived_id(
                *("" if part is None else str(part) for part in parts)
            )
        entry = entry_of(document)
        try:
            data = encode(entry)
        except UnicodeEncodeError:
            raise DocumentError("invalid_json", rule="not text") from None
        try:
            check_entry(entry, self._purposes)
        except RuleError:
            # An entry that expired long ago may already be listed, created before it expired.
            if not (fresh & CREATED and entry.expires_ms <= entry.created_ms):
                raise
            fresh |= UNCHECKED
        return entry, data, fresh


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
) -> Generator[Row | BadRow, None, None]:
    """Yield the rows of an open file in order; the suffix of `path` decides its format.

    Raises EntryFileError if the whole file cannot be read as entries.
    """
    filling = Filling(profile, supplied, purposes)
    for line, document in _documents(file, path, profile, encoding):
        if isinstance(document, str):
            yield BadRow(line, document)
            continue
        try:
            yield Row(line, *filling.entry(document))
        except (DocumentError, RuleError) as error:
            problem = problem_of(error, document)
            if isinstance(error, DocumentError) and error.reason == "invalid_json":
                problem = encoding.problem
            own_id = document.get("entry_id")
            yield BadRow(line, problem, own_id if isinstance(own_id, str) else None)


def _documents(
    file: BinaryIO, path: Path, profile: Profile, encoding: Encoding
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    ending = path.suffix.lower()
    if ending not in profile.endings:
        raise EntryFileError(f"must end in {' or '.join(profile.endings)}", where=str(path))
    if ending == ".jsonl":
        yield from _json_documents(file, profile, encoding)
    else:
        with csv_table(file, path, profile, encoding) as table:
            document_of = Columns(profile, table.names).document
            for line, cells in table.rows:
                yield line, cells if isinstance(cells, str) else document_of(cells)


def _fill(document: dict[str, Any], supplied: Mapping[str, Any]) -> None:
    for field, value in supplied.items():
        own = document.get(field)
        if own is None:
            # A copy, so that the next row does not get this row's values.
            document[field] = dict(value) if isinstance(value, dict) else value
        elif isinstance(value, dict) and isinstance(own, dict):
            _fill(own, value)


def _json_documents(
    file: BinaryIO, profile: Profile, encoding: Encoding
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    layouts: dict[tuple[str, ...], Columns] = {}
    for line, content in numbered_lines(file, ROW_BYTES):
        if content is None:
            yield line, f"longer than {ROW_BYTES} bytes"
            continue
        try:
            if encoding is not UTF_8:
                document = orjson.loads(content.decode(encoding.codec))
            else:
                document = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            yield line, _not_json(content, error, encoding)
        except UnicodeDecodeError:
            yield line, encoding.problem
        else:
            if not isinstance(document, dict):
                yield line, "must be a JSON object"
            elif profile.json_documents:
                yield line, document
            else:
                yield line, object_document(profile, document, layouts)


def _not_json(content: bytes, error: orjson.JSONDecodeError, encoding: Encoding) -> str:
    try:
        content.decode(encoding.codec)
    except UnicodeDecodeError:
        return encoding.problem
    return f"not valid JSON at column {error.colno}"
