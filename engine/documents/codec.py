"""The codec: documents from JSON, checked, and documents to JSON.

A `null` in an optional field of an input document means that the field is absent. `encode` writes
known fields only, and never a null. A DocumentError names the field and the rule. It never holds a
part of the document: neither a value nor a key that the sender made up.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from engine.documents.fields import AUDIT_EVENTS as AUDIT_EVENTS
from engine.documents.fields import REJECT_REASONS as REJECT_REASONS
from engine.documents.model import (
    Alternate,
    AuditRecord,
    Check,
    Detection,
    Document,
    Entry,
    Match,
    Policy,
    Reject,
    SuppressionState,
    Vehicle,
)
from engine.documents.schema_errors import schema_error
from engine.errors import DocumentError

_ENCODER = msgspec.json.Encoder()
_PLAIN = msgspec.json.Decoder()
_DETECTION = msgspec.json.Decoder(Detection)
_ENTRY = msgspec.json.Decoder(Entry)
_POLICY = msgspec.json.Decoder(Policy)
_MATCH = msgspec.json.Decoder(Match)
_REJECT = msgspec.json.Decoder(Reject)
_AUDIT = msgspec.json.Decoder(AuditRecord)
_SUPPRESSION = msgspec.json.Decoder(SuppressionState)


def encode(document: Document) -> bytes:
    """Return compact JSON in UTF-8, with the known fields that are present."""
    return _ENCODER.encode(document)


def encode_part(part: Check | Vehicle) -> bytes:
    """Return a part of a match as `encode` writes it."""
    return _ENCODER.encode(part)


def decode_detection(data: bytes | str) -> Detection:
    """Decode a Detection from JSON.

    Raises DocumentError, with reason `invalid_json` or `schema`, if the JSON is no Detection.
    """
    try:  # the only decoder on the path of a read, so without a further call
        if isinstance(data, bytes) and not data.isascii():
            data.decode()  # because msgspec does not check the texts of unknown fields
        return _DETECTION.decode(data)
    except UNREADABLE:
        pass
    return _decode_patiently(data, Detection)


def decode_entry(data: bytes | str) -> Entry:
    """Decode an Entry from JSON; errors as for `decode_detection`."""
    return _decode(_ENTRY, data, Entry)


def entry_of(document: dict[str, Any]) -> Entry:
    """Convert an Entry from a parsed JSON value; errors as for `decode_detection`."""
    try:
        return msgspec.convert(document, Entry)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(_whole_numbers(document), Entry)
    except msgspec.ValidationError as error:
        message = str(error)
    except RecursionError:
        message = ""
    raise schema_error(message)


def decode_policy(data: bytes | str) -> Policy:
    """Decode a Policy from JSON; errors as for `decode_detection`."""
    return _decode(_POLICY, data, Policy)


def decode_match(data: bytes | str) -> Match:
    """Decode a Match from JSON and refuse unknown fields; errors as for `decode_detection`."""
    return _closed(data, _decode(_MATCH, data, Match))


def decode_reject(data: bytes | str) -> Reject:
    """Decode a Reject from JSON and refuse unknown fields; errors as for `decode_detection`."""
    return _closed(data, _decode(_REJECT, data, Reject))


def decode_audit(data: bytes | str) -> AuditRecord:
    """Decode an AuditRecord, and refuse unknown fields; errors as for `decode_detection`."""
    return _closed(data, _decode(_AUDIT, data, AuditRecord))


def read_match(data: bytes | str) -> Match:
    """Decode a Match from JSON, which a newer version may have written.

    Unknown fields are ignored. Errors as for `decode_detection`.
    """
    return _decode(_MATCH, data, Match)


def read_audit(data: bytes | str) -> AuditRecord:
    """Decode an AuditRecord as `read_match` decodes a Match."""
    return _decode(_AUDIT, data, AuditRecord)


def decode_suppression(data: bytes | str) -> SuppressionState:
    """Decode a SuppressionState from JSON; errors as for `decode_detection`."""
    return _decode(_SUPPRESSION, data, SuppressionState)


#: What msgspec raises for JSON that it cannot decode.
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
_D = TypeVar("_D", Detection, Entry, Policy, Match, Reject, AuditRecord, SuppressionState)


def _decode(decoder: msgspec.json.Decoder[_D], data: bytes | str, kind: type[_D]) -> _D:
    try:
        if isinstance(data, bytes) and not data.isascii():
            data.decode()
        return decoder.decode(data)
    except UNREADABLE:
        pass  # continue outside the clause, so that no error chain holds the document
    return _decode_patiently(data, kind)


def _decode_patiently(data: bytes | str, kind: type[_D]) -> _D:
    """Decode a document that the typed decoder refused, and accept `1.0` as an integer.

    JSON Schema treats a number without a fraction as an integer, however it is written.
    """
    message = None
    try:
        return msgspec.convert(_whole_numbers(_PLAIN.decode(data)), kind)
    except msgspec.ValidationError as error:
        message = str(error)
    except UNREADABLE:
        pass
    if message is not None:
        raise schema_error(message)
    raise DocumentError("invalid_json", rule="must be JSON in UTF-8")


def _whole_numbers(plain: Any) -> Any:
    """Return the same JSON value with every number without a fraction as an int."""
    match plain:
        case float():
            return int(plain) if plain.is_integer() else plain
        case list():
            return [_whole_numbers(item) for item in plain]
        case dict():
            return {key: _whole_numbers(value) for key, value in plain.items()}
    return plain


#: The parts of a match that are copied from input documents.
_OPEN = (Detection, Entry, Alternate)


def _closed(data: bytes | str, document: _D) -> _D:
    """Return the output document if its JSON has no unknown fields; else raise DocumentError."""
    try:
        plain = _PLAIN.decode(data)
    except UNREADABLE:  # something that the typed decoder skipped, so an unknown field
        plain = {"": None}
    _check_closed(plain, document, "$", nulls=False)
    return document


def _check_closed(plain: Any, document: msgspec.Struct, path: str, *, nulls: bool) -> None:
    """Refuse unknown fields at any depth, and nulls outside the parts from input documents."""
    nulls = nulls or isinstance(document, _OPEN)
    for name, value in plain.items():
        if name not in document.__struct_fields__:
            raise DocumentError("schema", field=path, rule="must not have unknown fields")
        if value is None and not nulls:
            raise DocumentError("schema", field=f"{path}.{name}", rule="must not be null")
        known = getattr(document, name)
        if isinstance(known, msgspec.Struct):
            _check_closed(value, known, f"{path}.{name}", nulls=nulls)
        elif isinstance(known, tuple):
            for place, (item, struct) in enumerate(zip(value, known, strict=True)):
                if isinstance(struct, msgspec.Struct):
                    _check_closed(item, struct, f"{path}.{name}[{place}]", nulls=nulls)
