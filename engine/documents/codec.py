"""The documents from JSON and to JSON, checked.

`null` in an optional field of an input document means that it is absent. What `encode` writes holds
known fields only, and never a null. A DocumentError from here says which field breaks which rule,
and never holds a part of the document: no value, no key that the sender made up.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from engine.documents.fields import AUDIT_EVENTS as AUDIT_EVENTS
from engine.documents.fields import REJECT_REASONS as REJECT_REASONS
from engine.documents.model import (
    Alternate,
    AuditRecord,
    Detection,
    Document,
    Entry,
    Match,
    Policy,
    Reject,
    SuppressionState,
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
    """Compact JSON in UTF-8: known fields only; absent ones are left out."""
    return _ENCODER.encode(document)


def decode_detection(data: bytes | str) -> Detection:
    """A Detection from JSON; DocumentError with reason `invalid_json` or `schema` if it is none."""
    try:  # the one decoder on the path of a read, so without a call in between
        if isinstance(data, bytes) and not data.isascii():
            data.decode()  # the texts of unknown fields are not looked at below
        return _DETECTION.decode(data)
    except _UNREADABLE:
        pass
    return _decode_patiently(data, Detection)


def decode_entry(data: bytes | str) -> Entry:
    """An Entry from JSON; errors as for `decode_detection`."""
    return _decode(_ENTRY, data, Entry)


def entry_of(document: dict[str, Any]) -> Entry:
    """An Entry from the JSON value that its document is; errors as for `decode_detection`."""
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
    """A Policy from JSON; errors as for `decode_detection`."""
    return _decode(_POLICY, data, Policy)


def decode_match(data: bytes | str) -> Match:
    """A Match from JSON, refused where it holds an unknown field; errors as above."""
    return _closed(data, _decode(_MATCH, data, Match))


def decode_reject(data: bytes | str) -> Reject:
    """A Reject from JSON, refused where it holds an unknown field; errors as above."""
    return _closed(data, _decode(_REJECT, data, Reject))


def decode_audit(data: bytes | str) -> AuditRecord:
    """An AuditRecord from JSON, refused where it holds an unknown field; errors as above."""
    return _closed(data, _decode(_AUDIT, data, AuditRecord))


def read_match(data: bytes | str) -> Match:
    """A Match from JSON as somebody wrote it, perhaps a newer version: what it has beside the
    fields that are known is left out. Errors as for `decode_detection`."""
    return _decode(_MATCH, data, Match)


def read_audit(data: bytes | str) -> AuditRecord:
    """An AuditRecord, otherwise as `read_match`."""
    return _decode(_AUDIT, data, AuditRecord)


def decode_suppression(data: bytes | str) -> SuppressionState:
    """A SuppressionState from JSON; errors as for `decode_detection`."""
    return _decode(_SUPPRESSION, data, SuppressionState)


_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
_D = TypeVar("_D", Detection, Entry, Policy, Match, Reject, AuditRecord, SuppressionState)


def _decode(decoder: msgspec.json.Decoder[_D], data: bytes | str, kind: type[_D]) -> _D:
    try:
        if isinstance(data, bytes) and not data.isascii():
            data.decode()
        return decoder.decode(data)
    except _UNREADABLE:
        pass  # outside of the clause, so that no error chain carries the document along
    return _decode_patiently(data, kind)


def _decode_patiently(data: bytes | str, kind: type[_D]) -> _D:
    """Decode what the quick way refused: with `1.0` taken for an integer, or with an error.

    To JSON Schema a number without a fraction is an integer, however it is written.
    """
    message = None
    try:
        return msgspec.convert(_whole_numbers(_PLAIN.decode(data)), kind)
    except msgspec.ValidationError as error:
        message = str(error)
    except _UNREADABLE:
        pass
    if message is not None:
        raise schema_error(message)
    raise DocumentError("invalid_json", rule="must be JSON in UTF-8")


def _whole_numbers(plain: Any) -> Any:
    """The same JSON value with every number that has no fraction as an int."""
    match plain:
        case float():
            return int(plain) if plain.is_integer() else plain
        case list():
            return [_whole_numbers(item) for item in plain]
        case dict():
            return {key: _whole_numbers(value) for key, value in plain.items()}
    return plain


#: What a match takes over from input documents.
_OPEN = (Detection, Entry, Alternate)


def _closed(data: bytes | str, document: _D) -> _D:
    """The output document, if its JSON held nothing that it does not have a place for."""
    try:
        plain = _PLAIN.decode(data)
    except _UNREADABLE:  # what the typed decoder passed over, and so had no place for
        plain = {"": None}
    _check_closed(plain, document, "$", nulls=False)
    return document


def _check_closed(plain: Any, document: msgspec.Struct, path: str, *, nulls: bool) -> None:
    """Refuse unknown fields at any depth, and nulls outside of what is taken over."""
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
