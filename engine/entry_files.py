"""Files of entries: each row becomes an admissible Entry, or a problem with its line number.

A file is `.jsonl` (one entry a line) or `.csv` (`,` `;` or tab, found by the header row, whose
columns are `entry_csv.COLUMNS`). Both are UTF-8, with or without a byte order mark. What a
row leaves out is taken from `supplied`; its own value wins. A row without an entry id gets the
one that its list and plate always give, so that the same file sent twice changes the same
entries.

A row goes through the same checks as anywhere else: the schema (`documents`) and the rules
(`rules`). Rows are read one at a time and nothing is kept of them. No Kafka and no terminal
here; a file that cannot be read as a whole is an EntryFileError.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import xxhash

from engine.documents import Entry, decode_entry
from engine.entry_csv import ROW_BYTES, EntryFileError, csv_documents, shown
from engine.errors import DocumentError, RuleError
from engine.line_files import numbered_lines
from engine.rules import Purposes, check_entry


@dataclass(frozen=True, slots=True)
class Row:
    """A good row: the line that it begins in, and its entry."""

    line: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no entry: the line that it begins in, and why, in one line."""

    line: int
    problem: str


def derived_id(list_id: str, plate: str) -> str:
    """The id of an entry that has none of its own: the same for the same list and plate."""
    return xxhash.xxh3_128_hexdigest(f"{list_id}\x1f{plate}".encode(errors="replace"))


def entry_from(document: dict[str, Any], supplied: Mapping[str, Any], purposes: Purposes) -> Entry:
    """The entry of one row, filled up in place from `supplied` and checked.

    Raises RuleError or DocumentError; `problem_of` makes a line of either.
    """
    _fill(document, supplied)
    if document.get("entry_id") is None:
        # Where list or plate is missing too, that is what the schema will complain of.
        document["entry_id"] = derived_id(str(document.get("list_id")), str(document.get("plate")))
    try:
        data = orjson.dumps(document)
    except orjson.JSONEncodeError:
        # Bytes that are not UTF-8 come in as surrogates, which cannot go out again.
        raise DocumentError("invalid_json", rule="not UTF-8 text") from None
    entry = decode_entry(data)
    check_entry(entry, purposes)
    return entry


def problem_of(error: DocumentError | RuleError, document: Mapping[str, Any]) -> str:
    """Field, value and rule in one line; the document is the user's own, so values may show."""
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
    return f"{field} {shown(found)}: {error.rule}"


def read_rows(
    file: BinaryIO, path: Path, supplied: Mapping[str, Any], purposes: Purposes
) -> Iterator[Row | BadRow]:
    """The rows of an open file in order; the name's ending in `path` tells its kind.

    `supplied` is a part of an entry's document. Raises EntryFileError where the file as a
    whole is none of ours.
    """
    if path.suffix.lower() == ".jsonl":
        documents = _jsonl_documents(file)
    elif path.suffix.lower() == ".csv":
        documents = csv_documents(file, path)
    else:
        raise EntryFileError("must end in .csv or .jsonl", where=str(path))
    for line, document in documents:
        if isinstance(document, str):
            yield BadRow(line, document)
            continue
        try:
            yield Row(line, entry_from(document, supplied, purposes))
        except (DocumentError, RuleError) as error:
            yield BadRow(line, problem_of(error, document))


class SeenIds:
    """The entry ids of a file, to find those that occur twice. Takes 16 bytes a row.

    Ids are compared by a 64-bit hash: among a million rows, two different ids are taken for
    the same in one file out of thirty million.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._lines = array("Q")

    def add(self, line: int, entry_id: str) -> None:
        """Note the id of a good row."""
        self._hashes.append(xxhash.xxh3_64_intdigest(entry_id.encode()))
        self._lines.append(line)

    def repeats(self) -> dict[int, int]:
        """By the line of a row whose id came before, the line of that first one."""
        hashes = np.frombuffer(self._hashes, dtype=np.uint64)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        same = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
        found: dict[int, int] = {}
        for place in same.tolist():
            line, before = self._lines[order[place]], self._lines[order[place - 1]]
            found[line] = found.get(before, before)
        return dict(sorted(found.items()))


def _fill(document: dict[str, Any], supplied: Mapping[str, Any]) -> None:
    for field, value in supplied.items():
        own = document.get(field)
        if own is None:
            # A copy, because the next row must not find this one's values in it.
            document[field] = dict(value) if isinstance(value, dict) else value
        elif isinstance(value, dict) and isinstance(own, dict):
            _fill(own, value)


def _jsonl_documents(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for line, content in numbered_lines(file, ROW_BYTES):
        if content is None:
            yield line, f"longer than {ROW_BYTES} bytes"
            continue
        try:
            document = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            yield line, _not_json(content, error)
            continue
        yield line, document if isinstance(document, dict) else "must be a JSON object"


def _not_json(content: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        content.decode()
    except UnicodeDecodeError:
        return "not UTF-8 text"
    return f"not valid JSON at column {error.colno}"
