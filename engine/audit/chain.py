"""The audit's hash chain: how a record is sealed, and how one is opened.

A chain has one writer and is in one partition, in order; its id is the key of its records.
The hash of a record is the SHA-256 over the previous record's hash, as its 64 hexadecimal
digits, followed by the record's canonical JSON without `hash`. Canonical means RFC 8785: members
sorted by name, no blanks, UTF-8. Records have only text and whole numbers, and for these that is
the complete definition. Records sealed here are also written as canonical JSON.

Pure: no Kafka, no clock. Whether the records of a chain belong together is checked by
`verifier`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import orjson
from msgspec import Meta

from engine import limits
from engine.clock import format_time
from engine.documents.codec import read_audit
from engine.documents.fields import (
    AUDIT_EVENTS,
    CODE_PATTERN,
    INTEGER_MAX,
    TIME_PATTERN,
    AuditEvent,
    Count,
    Integer,
)
from engine.documents.model import AuditRecord
from engine.errors import DocumentError

#: The previous hash of a chain's first record.
GENESIS_HASH: Final = "0" * 64

_EVENTS: Final = frozenset(AUDIT_EVENTS)
_NAME: Final = re.compile(CODE_PATTERN)
_TIME: Final = re.compile(TIME_PATTERN)


class Chain:
    """One writer's chain. Records must be sent in the order in which they are sealed.

    `chain_id` is the key of its records. Use it from one thread only.
    """

    __slots__ = ("_at_ms", "_at_text", "_head", "_id", "_id_json", "_sequence")

    def __init__(self, chain_id: str) -> None:
        if not 1 <= len(chain_id) <= limits.AUDIT_CHAIN_CHARACTERS:
            raise ValueError(
                f"a chain's id has 1 to {limits.AUDIT_CHAIN_CHARACTERS} characters, "
                f"not {len(chain_id)}"
            )
        self._id = chain_id
        self._id_json = orjson.dumps(chain_id)
        self._sequence = 0
        self._head = GENESIS_HASH
        self._at_ms = 0
        self._at_text = format_time(0)

    @property
    def id(self) -> str:
        return self._id

    @property
    def sequence(self) -> int:
        """The number of the next record."""
        return self._sequence

    @property
    def head(self) -> str:
        """The hash of the last record; GENESIS_HASH before the first."""
        return self._head

    def seal(self, event: str, fields: Mapping[str, str | int], at_ms: int) -> bytes:
        """Return the chain's next record, about an AuditEvent, as JSON.

        Raises ValueError if it would not be an AuditRecord; the chain is then unchanged.
        """
        if at_ms != self._at_ms:
            self._at_text = format_time(at_ms)  # the records of a batch share their time
            self._at_ms = at_ms
        fault = _fault(event, fields)
        if fault:
            raise ValueError(f"not an audit record: {fault}")
        try:
            front, back = _around_hash(
                self._id_json, event, fields, self._head, self._at_text, self._sequence
            )
        except orjson.JSONEncodeError as error:  # half of a surrogate pair
            raise ValueError(f"not an audit record: {error}") from None
        self._head = _hash(self._head, front, back)
        self._sequence += 1
        return b"".join((front, b'"hash":"', self._head.encode(), b'",', back))


_Fields = Annotated[
    dict[str, Annotated[str, Meta(max_length=limits.AUDIT_FIELD_CHARACTERS)] | Integer],
    Meta(max_length=limits.AUDIT_FIELDS),
]


class _Checked(msgspec.Struct, array_like=True):
    """Fields to be checked. A class, because msgspec looks up any other type by a slow hash."""

    fields: _Fields


class SealedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An AuditRecord as it was read. Its hashes are unchecked text."""

    chain: Annotated[str, Meta(min_length=1, max_length=limits.AUDIT_CHAIN_CHARACTERS)]
    event: AuditEvent
    fields: _Fields
    hash: str
    previous_hash: str
    recorded_at: str
    sequence: Count


_SEALED: Final = msgspec.json.Decoder(SealedRecord)


class Opener:
    """Opens records, in a few microseconds each; caches what many of them have in common."""

    def __init__(self) -> None:
        self._id = ""
        self._id_json = b""
        self._at_text = ""

    def open(self, value: bytes) -> tuple[SealedRecord, str]:
        """Return a record and the hash of its content; its own `hash` may differ.

        Accepts an AuditRecord in any spelling of JSON. Raises DocumentError if it is not one, or
        if it has a field twice, because two readers could then see two different records.
        """
        try:
            record = _SEALED.decode(value)
            if self._is_known_form(record):
                front, back = self._parts(record)
                if value == b'%b"hash":"%b",%b' % (front, record.hash.encode(), back):
                    return record, _hash(record.previous_hash, front, back)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            pass
        return self._open_slowly(value)

    def _is_known_form(self, record: SealedRecord) -> bool:
        """Return whether the time and the names of the fields are well-formed.

        The hashes are not checked here: a hash is right if it equals a computed one.
        """
        if record.recorded_at != self._at_text:
            if not _TIME.fullmatch(record.recorded_at):
                return False
            self._at_text = record.recorded_at
        return not _fault_of_names(record.fields)

    def _parts(self, record: SealedRecord) -> tuple[bytes, bytes]:
        if record.chain != self._id:
            self._id_json = orjson.dumps(record.chain)
            self._id = record.chain
        return _around_hash(
            self._id_json,
            record.event,
            record.fields,
            record.previous_hash,
            record.recorded_at,
            record.sequence,
        )

    def _open_slowly(self, value: bytes) -> tuple[SealedRecord, str]:
        """Open a record that is not written as canonical JSON, has fields of a newer version, or
        is not an AuditRecord."""
        found: AuditRecord = read_audit(value)
        plain = _whole(value)
        known = {name: getattr(found, name) for name in found.__struct_fields__}
        record = SealedRecord(**known)
        further = {name: each for name, each in plain.items() if name not in known}
        if further:
            del known["hash"]
            return record, _hash(record.previous_hash, _canonical(known | further), b"")
        return record, _hash(record.previous_hash, *self._parts(record))


def _whole(value: bytes) -> dict[str, Any]:
    """Return all fields of a record. Raises DocumentError if it has a field twice."""
    try:
        found: dict[str, Any] = json.loads(value, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):  # in unknown fields; also a number of thousands of digits
        found = {}
    if not found:
        raise DocumentError("schema", rule="must not be nested so deeply")
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise DocumentError("schema", rule="must not hold a field twice")
    return found


def _canonical(document: dict[str, Any]) -> bytes:
    """Return a record's canonical JSON with all of its fields: unknown ones count too, so that
    changing them is noticed."""
    try:
        if _is_plain(document):
            return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError):  # half of a surrogate pair, a long number
        pass
    raise DocumentError("schema", rule="must hold text and whole numbers only")


def _is_plain(value: Any) -> bool:
    """Return whether there is one way to write a value: a fraction can be written in several
    ways, and names beyond ASCII can be sorted in several ways."""
    if isinstance(value, dict):
        return all(name.isascii() and _is_plain(each) for name, each in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return not isinstance(value, float)


def _around_hash(
    id_json: bytes,
    event: str,
    fields: Mapping[str, str | int],
    previous: str,
    at_text: str,
    sequence: int,
) -> tuple[bytes, bytes]:
    """Return a record's canonical JSON, in two parts between which `hash` belongs."""
    about = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    return (
        b'{"chain":%b,"event":"%b","fields":%b,' % (id_json, event.encode(), about),
        b'"previous_hash":"%b","recorded_at":"%b","sequence":%d}'
        % (previous.encode(), at_text.encode(), sequence),
    )


def _hash(previous: str, front: bytes, back: bytes) -> str:
    return hashlib.sha256(b"".join((previous.encode(), front, back))).hexdigest()


#: Well-formed names of fields, as a cache. Bounded, because names are read from other writers.
_names: set[str] = set()
_NAMES_KEPT: Final = 256


def _fault(event: str, fields: Mapping[str, Any]) -> str:
    """Return why this is not a valid AuditRecord; empty if it is."""
    if event not in _EVENTS:
        return f"{event!r} is not an event"
    try:
        msgspec.convert((fields,), _Checked)
    except msgspec.ValidationError:
        return _fault_of_fields(fields)
    return _fault_of_names(fields)


def _fault_of_fields(fields: Mapping[str, Any]) -> str:
    """Return what makes the fields invalid, in words."""
    if len(fields) > limits.AUDIT_FIELDS:
        return f"{len(fields)} fields, more than {limits.AUDIT_FIELDS}"
    for name, value in fields.items():
        if type(value) is str:
            if len(value) > limits.AUDIT_FIELD_CHARACTERS:
                return f"{name} has more than {limits.AUDIT_FIELD_CHARACTERS} characters"
        elif type(value) is not int:
            return f"{name} is neither text nor a whole number"
        elif not -INTEGER_MAX <= value <= INTEGER_MAX:
            return f"{name} is out of range"
    return "a field has another form"


def _fault_of_names(fields: Mapping[str, Any]) -> str:
    if fields.keys() <= _names:
        return ""
    for name in fields:
        if not _NAME.fullmatch(name):
            return f"{name!r} is not the name of a field"
        if len(_names) < _NAMES_KEPT:
            _names.add(name)
    return ""
