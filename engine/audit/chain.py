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

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Annotated, Any, Final, Protocol

import msgspec
import orjson
from msgspec import Meta

from engine import limits
from engine.audit.record_fields import Fields, fault_of_names, written_fields
from engine.clock import format_time
from engine.documents.codec import read_audit
from engine.documents.fields import (
    AUDIT_EVENTS,
    TIME_PATTERN,
    AuditEvent,
    Count,
)
from engine.documents.model import AuditRecord
from engine.errors import DocumentError

#: The previous hash of a chain's first record.
GENESIS_HASH: Final = "0" * 64

_TIME: Final = re.compile(TIME_PATTERN)
#: What stands before the hashes in a record.
TO_HASH: Final = b',"hash":"'
TO_PREVIOUS: Final = b',"previous_hash":"'


class Event(Protocol):
    """What a record is made of: an AuditEvent, when it took effect, and what it is about, by name
    or, for a match, as canonical JSON."""

    @property
    def event(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def fields(self) -> Mapping[str, str | int] | bytes: ...


class AuditedEvent(msgspec.Struct, frozen=True, gc=False):
    """An Event as plain data."""

    event: str
    at_ms: int
    fields: Mapping[str, str | int] | bytes


class Chain:
    """One writer's chain. Records must be sent in the order in which they are sealed.

    `chain_id` is the key of its records. Use it from one thread only.
    """

    __slots__ = ("_at_ms", "_fronts", "_head", "_id", "_middle", "_sequence")

    def __init__(self, chain_id: str) -> None:
        if not 1 <= len(chain_id) <= limits.AUDIT_CHAIN_CHARACTERS:
            raise ValueError(
                f"a chain's id has 1 to {limits.AUDIT_CHAIN_CHARACTERS} characters, "
                f"not {len(chain_id)}"
            )
        self._id = chain_id
        self._sequence = 0
        self._head = GENESIS_HASH.encode()
        self._at_ms = 0
        self._middle = _between_hash_and_sequence(0)
        #: What a record begins with, by its event.
        self._fronts = {
            event: b'{"chain":%b,"event":"%b","fields":' % (orjson.dumps(chain_id), event.encode())
            for event in AUDIT_EVENTS
        }

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
        return self._head.decode()

    def seal(self, event: str, fields: Mapping[str, str | int] | bytes, at_ms: int) -> bytes:
        """Return the chain's next record, about an AuditEvent, as JSON.

        The fields of a match may come as canonical JSON. Raises ValueError if it would not be an
        AuditRecord; the chain is then unchanged.
        """
        return next(self.seal_each([AuditedEvent(event, at_ms, fields)]))

    def seal_each(self, events: Iterable[Event]) -> Iterator[bytes]:
        """Do as `seal` for several records, each when it is asked for."""
        # Not a call for each: with the calls, sealing a match costs half as much again.
        fronts, join = self._fronts, b"".join
        for one in events:
            event, at_ms = one.event, one.at_ms
            about, fault = written_fields(one.fields)
            if fault or event not in fronts:
                raise ValueError(f"not an audit record: {fault or f'{event!r} is not an event'}")
            if at_ms != self._at_ms:
                self._turn_to(at_ms)  # a batch's have one time
            front, previous, sequence = fronts[event], self._head, self._sequence
            middle, end = self._middle, b"%d}" % sequence
            hashed = join((previous, front, about, TO_PREVIOUS, previous, middle, end))
            head = self._head = sha256(hashed).hexdigest().encode()
            self._sequence = sequence + 1
            yield join((front, about, TO_HASH, head, b'"', TO_PREVIOUS, previous, middle, end))

    def around(self, event: str, at_ms: int) -> tuple[bytes, bytes]:
        """Return what stands in a record before its fields, and between the previous hash and its
        number."""
        self._turn_to(at_ms)
        return self._fronts[event], self._middle

    def go_on(self, count: int, head: bytes) -> None:
        """Go on behind records that were sealed by other code; `head` is the last one's hash."""
        self._sequence += count
        self._head = head

    def _turn_to(self, at_ms: int) -> None:
        self._middle = _between_hash_and_sequence(at_ms)
        self._at_ms = at_ms


def _between_hash_and_sequence(at_ms: int) -> bytes:
    """Return what stands in a record between the previous hash and its number."""
    return b'","recorded_at":"%b","sequence":' % format_time(at_ms).encode()


class SealedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An AuditRecord as it was read. Its hashes are unchecked text."""

    chain: Annotated[str, Meta(min_length=1, max_length=limits.AUDIT_CHAIN_CHARACTERS)]
    event: AuditEvent
    fields: Fields
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
        return not fault_of_names(record.fields)

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
    return sha256(b"".join((previous.encode(), front, back))).hexdigest()
