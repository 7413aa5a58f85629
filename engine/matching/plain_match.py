"""The match of a plain read, put together from parts that are JSON already.

The bytes are those of `match.found_match`; a test compares the two. What depends on the entry alone
is written once and kept with the entry (`Index.keep_open`). What depends on the read's region or
vehicle is kept for one fetch: nothing of a read outlives it.

For entries without an area and hours. Pure.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final, NamedTuple

import msgspec
import orjson

from engine.audit.record_fields import written_fields
from engine.clock import format_time
from engine.documents.codec import encode, encode_part
from engine.documents.model import Entry, Vehicle
from engine.documents.read_scan import (
    AT,
    CAPTURED_MS,
    END,
    IS_KEY,
    IS_PLAIN,
    PLATE_AT,
    PLATE_END,
    READ_ID_AT,
    READ_ID_END,
)
from engine.index.eligibility import ENTRY_REGION, ENTRY_VEHICLE, region_excludes
from engine.matching.lists import Lists
from engine.matching.match import id_part, match_id_of
from engine.matching.outcome import FoundMatch
from engine.matching.plain_reads import PlainRead
from engine.matching.sizes import match_bytes
from engine.matching.suppression_key import key_front, window_ms_of
from engine.matching.vehicles import vehicle_differs
from engine.matching.verification import (
    age_check,
    age_s,
    exact_plate_check,
    region_check,
    vehicle_check,
)
from engine.plates.confidence import PARTS, exact_confidence
from engine.plates.likeness import MatchType
from engine.wire.trace_context import TraceContext

_VEHICLE: Final = msgspec.json.Decoder(Vehicle)
_words: Final = attrgetter(*Vehicle.__struct_fields__)


class EntryParts(msgspec.Struct, frozen=True, gc=False):
    """What of an entry's matches depends on the entry and its revision alone.

    All that its next match needs is here, because the entry itself is seldom in the processor's
    cache. `key` is that of a match's record, `id_part` is hashed into a match id, and `loss` is
    that of `misread_model.Rates` for the plate. What is written is JSON: of the match from the
    entry to before the read; of the audit's fields those before the list's revision. `vehicle` is
    the vehicle's. `window_ms` is `window_ms_of` the entry, and `key_front` is that of the
    keys of its matches.
    """

    key: bytes
    id_part: bytes
    created_ms: int
    loss: float
    size_bytes: int
    region: str | None
    purpose: str
    listed: bytes
    audited: bytes
    vehicle: bytes | None
    window_ms: int
    key_front: bytes


class _Compared(NamedTuple):
    """Why a region or a vehicle excludes a read, None if neither does; and the JSON of their
    checks, up to the age of the entry."""

    denial: str | None
    checks: bytes


class _OfSource(NamedTuple):
    """What depends on a read's source, an entry's purpose, the count of suppressed reads and the
    type of the match: what is hashed into a match id, the end of a match from after the read's age,
    and that of the audit's fields from after the match's id."""

    id_part: bytes
    match_end: bytes
    audit_end: bytes


class PlainMatches:
    """Writes the matches of the plain reads of one fetch."""

    def __init__(self, now_ms: int, lists: Lists) -> None:
        self.now_ms: Final = now_ms
        self.matched_at: Final = format_time(now_ms)
        self._lists = lists
        self._before_confidence = self._to_confidence("exact")
        self._before_id = b',"list_revision":%d,"match_id":"' % lists.list_revision
        # By what reads and entries have, for this fetch alone.
        self._compared: dict[tuple[str | None, str | None, bytes | None, bytes | None], _Compared]
        self._compared = {}
        self._differs: dict[tuple[tuple[str | None, ...], bytes], bool] = {}
        self._sources: dict[tuple[str, str, int, MatchType], _OfSource] = {}

    def parts(self, entry: Entry, revision: int) -> EntryParts:
        """Write what depends on the entry alone."""
        authority = entry.authority
        audited = {
            "agency": entry.agency,
            "authority": f"{authority.kind} {authority.reference}",
            "entry_id": entry.entry_id,
            "entry_revision": revision,
            "list_id": entry.list_id,
        }
        return EntryParts(
            key=entry.entry_id.encode(),
            id_part=id_part(entry.entry_id, revision),
            created_ms=entry.created_ms,
            loss=self._lists.misreads.rates.loss(entry.plate),
            size_bytes=match_bytes(entry),
            region=entry.region,
            purpose=entry.purpose,
            listed=b',"entry":%b,"entry_revision":%d,"read":' % (encode(entry), revision),
            audited=orjson.dumps(audited).removesuffix(b"}"),
            vehicle=None if entry.vehicle is None else encode_part(entry.vehicle),
            window_ms=window_ms_of(entry),
            key_front=key_front(entry),
        )

    def compared(self, parts: EntryParts, read: PlainRead) -> _Compared:
        """Compare the entry's region and vehicle with the read's."""
        compared = read.region, parts.region, read.vehicle, parts.vehicle
        found = self._compared.get(compared)
        if found is None:
            found = self._compared[compared] = _compare(*compared)
        return found

    def excluded(self, entry: Entry, read: PlainRead) -> str | None:
        """Return why the entry's region or vehicle excludes the read, or None."""
        if region_excludes(entry.region, read.region):
            return ENTRY_REGION
        wanted, seen = entry.vehicle, read.vehicle
        if wanted is None or seen is None:
            return None
        key = _words(wanted), seen
        differs = self._differs.get(key)
        if differs is None:
            differs = self._differs[key] = vehicle_differs(_VEHICLE.decode(seen), wanted)
        return ENTRY_VEHICLE if differs else None

    def confidence(self, parts: EntryParts, read: PlainRead) -> float:
        """Return the confidence of the match."""
        known = read.exact_confidence
        if known >= 0:
            return known
        return exact_confidence(read.key, parts.loss, read.confidence, self._lists.misreads)

    def found(
        self,
        parts: EntryParts,
        read: PlainRead,
        checks: bytes,
        confidence: float,
        suppressed: int,
        trace: TraceContext | None,
        plate_check: bytes | None = None,
        match_type: MatchType = "exact",
    ) -> FoundMatch:
        """Write the match of an entry and a read; `checks` are what `compared` has written, and
        `plate_check` is the JSON of the plate's check if the match is no exact one."""
        now_ms, columns, text = self.now_ms, read.columns, read.text_bytes
        source_part, match_end, audit_end = self.of_source(
            read.source, parts.purpose, suppressed, match_type
        )
        read_id = text[columns[READ_ID_AT] : columns[READ_ID_END]]
        match_id = match_id_of(parts.id_part, source_part, read_id)
        id_bytes = match_id.encode()
        checked: tuple[bytes, ...]
        if plate_check is None:
            before = self._before_confidence
            plate = text[columns[PLATE_AT] : columns[PLATE_END]]
            listed = plate if columns[IS_PLAIN] == IS_KEY else read.key.encode()
            checked = _TO_PLATE, plate, _TO_LISTED, listed, _TO_CHECKS
        else:
            before = self._to_confidence(match_type)
            checked = _BEFORE_CHECKS, plate_check
        value = (
            TO_ID,
            id_bytes,
            before,
            _CONFIDENCES[round(confidence * PARTS)],
            parts.listed,
            text[columns[AT] : columns[END]],
            *checked,
            checks,
            b"%d" % age_s(parts.created_ms, now_ms),
            _TO_READ_AGE,
            b"%d" % age_s(columns[CAPTURED_MS], now_ms),
            match_end,
        )
        audit = parts.audited, self._before_id, id_bytes, audit_end
        return FoundMatch(
            b"".join(value),
            match_id,
            self.matched_at,
            match_type,
            parts.key,
            parts.purpose,
            b"".join(audit),
            read.timestamp_ms,
            trace,
        )

    @property
    def fixed(self) -> tuple[bytes, ...]:
        """What all matches have, in order: up to the id; to the confidence; around the plate as
        read and as listed, to the checks; to the read's age; and in the audit's fields to the
        id."""
        return (
            *(TO_ID, self._before_confidence, _TO_PLATE, _TO_LISTED, _TO_CHECKS, _TO_READ_AGE),
            self._before_id,
        )

    def is_auditable(self, parts: EntryParts, source: str) -> bool:
        """Return whether what the audit records of the matches of an entry and a source may be in
        an audit record."""
        id_and_end = b"0" * 32, self.of_source(source, parts.purpose).audit_end
        audited = b"".join((parts.audited, self._before_id, *id_and_end))
        return not written_fields(audited)[1]

    def of_source(
        self, source: str, purpose: str, suppressed: int = 0, match_type: MatchType = "exact"
    ) -> _OfSource:
        """Return what depends on these alone."""
        key = source, purpose, suppressed, match_type
        of_source = self._sources.get(key)
        if of_source is None:
            of_source = self._sources[key] = self._of_source(*key)
        return of_source

    def _to_confidence(self, match_type: MatchType) -> bytes:
        return (
            f'","matched_at":"{self.matched_at}","match_type":"{match_type}","confidence":'.encode()
        )

    def _of_source(
        self, source: str, purpose: str, suppressed: int, match_type: MatchType
    ) -> _OfSource:
        lists = self._lists
        revision = lists.eligibility.revision_of(source)
        policy = f'"suppressed":{suppressed},"policy":{{"source":"{source}","revision":{revision}}}'
        audit_end = (
            f'","match_type":"{match_type}","policy_revision":{revision},"purpose":"{purpose}",'
            f'"source":"{source}","suppressed":{suppressed}}}'
        )
        return _OfSource(
            id_part(source),
            f'}}]}},{policy},"list_revision":{lists.list_revision}}}'.encode(),
            audit_end.encode(),
        )


def _compare(
    read_region: str | None,
    listed_region: str | None,
    read_vehicle: bytes | None,
    listed_vehicle: bytes | None,
) -> _Compared:
    seen, wanted = (
        None if each is None else _VEHICLE.decode(each) for each in (read_vehicle, listed_vehicle)
    )
    differ = seen is not None and wanted is not None and vehicle_differs(seen, wanted)
    checks = region_check(read_region, listed_region), vehicle_check(seen, wanted)
    written = b",".join((b"", *map(encode_part, checks), _ENTRY_AGE))
    if region_excludes(listed_region, read_region):
        return _Compared(ENTRY_REGION, written)
    return _Compared(ENTRY_VEHICLE if differ else None, written)


#: What a match begins with, up to its id.
TO_ID: Final = b'{"match_id":"'
#: What stands in the check of the plate around the plate as read and the plate as listed; and in a
#: match before the former.
_BEFORE_READ, _TO_LISTED, _TO_CHECKS = encode_part(exact_plate_check("?", "?")).split(b"?")
_BEFORE_CHECKS: Final = b',"verification":{"required":true,"checks":['
_TO_PLATE: Final = _BEFORE_CHECKS + _BEFORE_READ
#: Checks of ages up to the age, which comes last, with what is before them.
_ENTRY_AGE: Final = encode_part(age_check("entry_age", 0)).removesuffix(b"0}")
_TO_READ_AGE: Final = b"}," + encode_part(age_check("read_age", 0)).removesuffix(b"0}")
#: Confidences as they are written, by their ten-thousandths.
_CONFIDENCES: Final = tuple(repr(parts / PARTS).encode() for parts in range(PARTS))
