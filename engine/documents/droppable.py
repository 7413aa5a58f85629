"""A read without those of its optional fields that break their rule.

Producers get optional fields wrong: a region in lower case, a confidence in percent, a location of
nulls. Such a field is dropped, and named; it never costs a match. What is dropped is the smallest
part that the schema can do without: an optional field of the read, an optional field of an
alternate or the vehicle, or an item of a list. A list that is too long keeps its first items. A
required field that breaks its rule is an error, and so is JSON that cannot be parsed.

A good read takes the strict decoder alone. The rest works on the unparsed JSON of each field, so
one field cannot spoil another, and its work is bounded whatever the value holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from engine.documents.codec import UNREADABLE
from engine.documents.fields import DROPPABLE_FIELDS
from engine.documents.model import Detection
from engine.documents.schema_errors import schema_error
from engine.errors import DocumentError

_DETECTION: Final = msgspec.json.Decoder(Detection)
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS: Final = msgspec.structs.fields(Detection)
_REQUIRED: Final = tuple(field.name for field in _FIELDS if field.required)
#: Decodes any optional fields by themselves, with the paths and rules that they have in a read.
_OPTIONAL: Final = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Optional", [(field.name, field.type, None) for field in _FIELDS if not field.required]
    )
)
_LISTS: Final = frozenset({"alternates", "images"})
#: The optional fields of parts of a read, by the part's place.
_INNER: Final = {"alternates": ("confidence",), "vehicle": ("make", "model", "color", "type")}
_ITEMS_MOST: Final = 16

_Raws = dict[str, Any]


class Dropped(NamedTuple):
    """A part of a read that was dropped: its field of the read, its JSON path, the rule."""

    field: str
    path: str
    rule: str


#: A read, and what was dropped from it in the order of the schema.
ToleratedRead = tuple[Detection, tuple[Dropped, ...]]


def decode_read(data: bytes) -> ToleratedRead:
    """Decode a read from JSON, without the optional fields that break their rule.

    Raises DocumentError, with reason `invalid_json` or `schema`, if there is no JSON object or a
    required field is missing or breaks its rule.
    """
    try:  # the path of a good read, so without a further call
        if not data.isascii():
            data.decode()  # because msgspec does not check the texts of unknown fields
        return _DETECTION.decode(data), ()
    except UNREADABLE:
        pass  # continue outside the clause, so that no error chain holds the read
    return _without_bad_fields(data)


def _without_bad_fields(data: bytes) -> ToleratedRead:
    raws, message = _fields(data)
    if raws is None:
        if message is not None:
            raise schema_error(message)
        raise DocumentError("invalid_json", rule="must be JSON in UTF-8")
    kept = {name: raws[name] for name in _REQUIRED if name in raws}
    fault = _fault(_DETECTION, _object(kept))
    if fault is not None:
        raise fault
    dropped: list[Dropped] = []
    for name in DROPPABLE_FIELDS:
        if name in raws:
            raw = _kept_of(name, bytes(raws[name]), dropped)
            if raw is not None:
                kept[name] = raw
    return _DETECTION.decode(_object(kept)), tuple(dropped)


def _fields(data: bytes) -> tuple[_Raws | None, str | None]:
    """Return the fields of a JSON object; or msgspec's message if it is JSON and no object."""
    try:
        data.decode()
        return _OBJECT.decode(data), None
    except msgspec.ValidationError as error:
        message = str(error)
    except UNREADABLE:
        return None, None
    try:  # msgspec stops at the first character of what is no object
        msgspec.json.decode(data, type=msgspec.Raw)
    except UNREADABLE:
        return None, None
    return None, message


def _kept_of(name: str, raw: bytes, dropped: list[Dropped]) -> bytes | None:
    """Return what can be kept of an optional field, None if nothing; add what is dropped."""
    before, after = b'{"' + name.encode() + b'":', b"}"
    fault = _fault(_OPTIONAL, before + raw + after)
    if fault is None:
        return raw
    if name not in _LISTS:
        return _kept_part(name, raw, (before, after), fault, dropped)
    items = _items(raw)
    if items is None:
        dropped.append(_dropped(name, fault))
        return None
    kept = []
    before, after = before + b"[", b"]" + after
    for place, item in enumerate(map(bytes, items[:_ITEMS_MOST])):
        part: bytes | None = item
        fault = _fault(_OPTIONAL, before + item + after)
        if fault is not None:
            of_item: list[Dropped] = []
            part = _kept_part(name, item, (before, after), fault, of_item)
            dropped += [each._replace(path=_at(each.path, place)) for each in of_item]
        if part is not None:
            kept.append(part)
    if len(items) > _ITEMS_MOST:
        dropped.append(Dropped(name, f"$.{name}", f"must have at most {_ITEMS_MOST} items"))
    return b"[" + b",".join(kept) + b"]" if kept else None


def _kept_part(
    name: str,
    raw: bytes,
    around: tuple[bytes, bytes],
    fault: DocumentError,
    dropped: list[Dropped],
) -> bytes | None:
    """Return a part without those of its optional fields that break their rule.

    Returns None if the part breaks a rule without them too. `around` is the JSON before and after
    it in a read.
    """
    before, after = around
    inner = _INNER.get(name, ())
    fields = _fields(raw)[0] if inner else None
    if fields is None:
        dropped.append(_dropped(name, fault))
        return None
    kept = {key: value for key, value in fields.items() if key == "plate"}
    without = _fault(_OPTIONAL, before + _object(kept) + after)
    if without is not None:
        dropped.append(_dropped(name, without))
        return None
    for key in inner:
        if key in fields:
            more = kept | {key: fields[key]}
            wrong = _fault(_OPTIONAL, before + _object(more) + after)
            if wrong is None:
                kept = more
            else:
                dropped.append(_dropped(name, wrong))
    return _object(kept) if kept else None


def _dropped(name: str, fault: DocumentError) -> Dropped:
    """Return what is dropped for a fault. JSON that is nested too deeply has no path of its own."""
    path = fault.field if fault.reason == "schema" else f"$.{name}"
    return Dropped(name, path, fault.rule)


def _items(raw: bytes) -> list[Any] | None:
    try:
        return _LIST.decode(raw)
    except UNREADABLE:
        return None


def _fault(decoder: msgspec.json.Decoder[Any], data: bytes) -> DocumentError | None:
    """Return the error with which a decoder refuses JSON, None if it accepts it."""
    try:
        decoder.decode(data)
    except msgspec.ValidationError as error:
        message = str(error)
    except UNREADABLE:
        return DocumentError("invalid_json", rule="must be JSON in UTF-8")
    else:
        return None
    return schema_error(message)


def _object(fields: Mapping[str, Any]) -> bytes:
    """Return the JSON object with these unparsed values; the names are our own."""
    return b"{" + b",".join(_members(fields.items())) + b"}"


def _members(fields: Iterable[tuple[str, Any]]) -> Iterable[bytes]:
    for name, raw in fields:
        yield b'"' + name.encode() + b'":' + bytes(raw)


def _at(path: str, place: int) -> str:
    """Return the path of an item that was decoded as the only one of its list."""
    return path.replace("[0]", f"[{place}]", 1)
