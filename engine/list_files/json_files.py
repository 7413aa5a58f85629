"""JSON Lines files of entries: a document of each line, or what is wrong with it.

A line is an entry's document, or an object by column, as the profile says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from engine.list_files.columns import Columns, LeftOut, Unread, object_document
from engine.list_files.csv_files import ROW_BYTES
from engine.list_files.entry_fields import quoted
from engine.list_files.identity import paths_without_text
from engine.list_files.notes import Notes
from engine.list_files.plate_cells import check_plate_cell
from engine.list_files.profile import Profile
from engine.list_files.text import UTF_8, Encoding, numbered_lines


def json_documents(
    file: BinaryIO, profile: Profile, encoding: Encoding, notes: Notes
) -> Iterator[tuple[int, dict[str, Any] | Unread | LeftOut]]:
    """Yield the line and the document of each line that is not blank."""
    layouts: dict[tuple[str, ...], Columns] = {}
    for line, content in numbered_lines(file, ROW_BYTES):
        if content is None:
            yield line, Unread(f"longer than {ROW_BYTES} bytes")
            continue
        problem = None
        try:
            if encoding is not UTF_8:
                document = orjson.loads(content.decode(encoding.codec))
            else:
                document = orjson.loads(content)
        except (orjson.JSONDecodeError, UnicodeDecodeError) as error:
            document, problem = _not_json(content, error, encoding)
        if not isinstance(document, dict):
            yield line, Unread(problem or "must be a JSON object")
        elif not profile.json_documents:
            yield line, object_document(profile, document, layouts, encoding, notes, line)
        elif problem is not None:
            yield line, Unread(problem, document, tuple(paths_without_text(document)))
        elif problem := _not_a_plate(document, encoding):
            yield line, Unread(problem, document, ("plate",))
        else:
            yield line, document


def _not_a_plate(document: dict[str, Any], encoding: Encoding) -> str | None:
    plate = document.get("plate")
    if isinstance(plate, str):
        try:
            check_plate_cell(plate, guessed=encoding.guessed)
        except ValueError as error:
            return f"plate {quoted(plate)}: {error}"
    return None


def _not_json(content: bytes, error: ValueError, encoding: Encoding) -> tuple[Any, str]:
    """Return what a line says in spite of bytes that are not text, and what is wrong with it."""
    try:
        content.decode(encoding.codec)
    except UnicodeDecodeError:
        try:
            text = content.decode(encoding.codec, errors="surrogateescape")
            return json.loads(text), encoding.problem
        except (ValueError, RecursionError):
            return None, encoding.problem
    return None, f"not valid JSON at column {getattr(error, 'colno', 1)}"
