"""The exact match of a plain read, put together from parts that are JSON already.

The bytes are those of `match.found_match`; a test compares the two. What depends on the entry alone
is written once and kept with the entry (`Index.keep_open`). What depends on the read's region or
vehicle is kept for one fetch: nothing of a read outlives it.

For entries without an area and hours. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import orjson

from engine.clock import format_time
from engine.documents.codec import encode, encode_part
from engine.documents.model import Entry, Vehicle
from engine.index.eligibility import ENTRY_REGION, ENTRY_VEHICLE, region_excludes
from engine.matching.lists import Lists
from engine.matching.match import id_head, match_id_of
from engine.matching.outcome import FoundMatch
from engine.matching.plain_reads import PlainRead
from engine.matching.sizes import match_bytes
from engine.matching.vehicles import vehicle_differs
from engine.matching.verification import (
    age_check,
    age_s,
    exact_plate_check,
    region_check,
    vehicle_check,
)
from engine.plates.compiled_confidence import NOT_KNOWN
from engine.plates.confidence import PARTS, exact_confidence
from engine.wire.trace_context import TraceContext

_VEHICLE: Final = msgspec.json.Decoder(Vehicle)


class EntryParts(msgspec.Struct, frozen=True, gc=False):
    """What of an entry's exact matches depends on the entry and its revision alone.

    `id_head` begins what is hashed into a match id, and `loss` is that of `misread_model.Rates` for
    the plate. What is written is JSON: of the match from the entry to before the read, and the
    check of the plate after the plate as read; of the audit's fields those before the list's
    revision, and the purpose. `vehicle` is the vehicle's.
    """

    id_head: str
    created_ms: int
    loss: float
    size_bytes: int
    listed: bytes
    plate_check: bytes
    audited: bytes
    purpose: bytes
    vehicle: bytes | None


class _Compared(NamedTuple):
    """Whether two regions or two vehicles exclude a read, and the JSON of their check."""

    differ: bool
    check: bytes


class _OfSource(NamedTuple):
    """What depends on a read's source alone: the end of a match, from after the count of suppressed
    reads, and of the audit's fields what is before the purpose and behind it."""

    match_end: bytes
    before_purpose: bytes
    after_purpose: bytes


class PlainMatches:
    """Writes the exact matches of the plain reads of one fetch."""

    def __init__(self, now_ms: int, lists: Lists) -> None:
        self._now_ms = now_ms
        self._matched_at = format_time(now_ms)
        self._lists = lists
        self._before_confidence = (
            f'","matched_at":"{self._matched_at}","match_type":"exact","confidence":'
        ).encode()
        self._before_id = b',"list_revision":%d,"match_id":"' % lists.list_revision
        # By what reads and entries have, for this fetch alone.
        self._regions: dict[tuple[str | None, str | None], _Compared] = {}
        self._vehicles: dict[tuple[bytes | None, bytes | None], _Compared] = {}
        self._sources: dict[str, _OfSource] = {}

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
            id_head=id_head(entry.entry_id, revision),
            created_ms=entry.created_ms,
            loss=self._lists.misreads.rates.loss(entry.plate),
            size_bytes=match_bytes(entry),
            listed=b',"entry":%b,"entry_revision":%d,"read":' % (encode(entry), revision),
            plate_check=encode_part(exact_plate_check("", entry.plate)).removeprefix(_PLATE),
            audited=orjson.dumps(audited).removesuffix(b"}"),
            purpose=b'"%b"' % entry.purpose.encode(),  # a code
            vehicle=None if entry.vehicle is None else encode_part(entry.vehicle),
        )

    def compared(
        self, entry: Entry, parts: EntryParts, read: PlainRead
    ) -> tuple[str | None, bytes]:
        """Return why the entry's region or vehicle excludes the read, None if neither does; and
        the JSON of both checks."""
        regions = read.region, entry.region
        region = self._regions.get(regions)
        if region is None:
            region = self._regions[regions] = _compared_regions(*regions)
        vehicles = read.vehicle, parts.vehicle
        vehicle = self._vehicles.get(vehicles)
        if vehicle is None:
            vehicle = self._vehicles[vehicles] = _compared_vehicles(*vehicles)
        denial = ENTRY_REGION if region.differ else ENTRY_VEHICLE if vehicle.differ else None
        return denial, region.check + vehicle.check

    def confidence(self, parts: EntryParts, read: PlainRead) -> float:
        """Return the confidence of the match."""
        exact_parts = read.exact_parts
        if exact_parts != NOT_KNOWN:
            return exact_parts / PARTS
        return exact_confidence(read.key, parts.loss, read.confidence, self._lists.misreads)

    def found(
        self,
        entry: Entry,
        parts: EntryParts,
        read: PlainRead,
        compared: bytes,
        confidence: float,
        suppressed: int,
        trace: TraceContext | None,
    ) -> FoundMatch:
        """Write the match of an entry and a read; `compared` is what `compared` has written."""
        source, now_ms = read.source, self._now_ms
        of_source = self._sources.get(source)
        if of_source is None:
            of_source = self._sources[source] = self._of_source(source)
        match_id = match_id_of(parts.id_head, source, read.read_id)
        id_bytes = match_id.encode()
        suppressed_bytes = b"%d" % suppressed
        value = (
            *(b'{"match_id":"', id_bytes, self._before_confidence),
            *(_CONFIDENCES[round(confidence * PARTS)], parts.listed, read.written),
            *(_PLATE_CHECK, read.plate_bytes, parts.plate_check, compared, _ENTRY_AGE),
            *(b"%d" % age_s(parts.created_ms, now_ms), _READ_AGE),
            *(b"%d" % age_s(read.captured_ms, now_ms), _SUPPRESSED, suppressed_bytes),
            of_source.match_end,
        )
        audit = (
            *(parts.audited, self._before_id, id_bytes, of_source.before_purpose),
            *(parts.purpose, of_source.after_purpose, suppressed_bytes, b"}"),
        )
        return FoundMatch(
            b"".join(value),
            match_id,
            self._matched_at,
            "exact",
            entry.entry_id,
            entry.purpose,
            b"".join(audit),
            read.timestamp_ms,
            trace,
        )

    def _of_source(self, source: str) -> _OfSource:
        lists = self._lists
        revision = lists.eligibility.revision_of(source)
        policy = f',"policy":{{"source":"{source}","revision":{revision}}}'
        before = f'","match_type":"exact","policy_revision":{revision},"purpose":'
        return _OfSource(
            f'{policy},"list_revision":{lists.list_revision}}}'.encode(),
            before.encode(),
            f',"source":"{source}","suppressed":'.encode(),
        )


def _compared_regions(read: str | None, listed: str | None) -> _Compared:
    check = encode_part(region_check(read, listed))
    return _Compared(region_excludes(listed, read), b",%b," % check)


def _compared_vehicles(read: bytes | None, listed: bytes | None) -> _Compared:
    seen, wanted = (None if each is None else _VEHICLE.decode(each) for each in (read, listed))
    differ = seen is not None and wanted is not None and vehicle_differs(seen, wanted)
    return _Compared(differ, encode_part(vehicle_check(seen, wanted)))


#: A check of the plate up to the plate as read.
_PLATE: Final = encode_part(exact_plate_check("", "")).partition(b'","listed":')[0]
_PLATE_CHECK: Final = b',"verification":{"required":true,"checks":[' + _PLATE
#: Checks of ages up to the age, which comes last, with what is before them.
_ENTRY_AGE: Final = b"," + encode_part(age_check("entry_age", 0)).removesuffix(b"0}")
_READ_AGE: Final = b"}," + encode_part(age_check("read_age", 0)).removesuffix(b"0}")
_SUPPRESSED: Final = b'}]},"suppressed":'
#: Confidences as they are written, by their ten-thousandths.
_CONFIDENCES: Final = tuple(repr(parts / PARTS).encode() for parts in range(PARTS))
