"""Targets on what producers send: record batches, the codecs, and whole fetches.

    scanner   one batch: the scanner, compiled and as plain Python, beside aiokafka's parser
    codecs    a codec's number and compressed bytes, beside the library that aiokafka uses
    fetches   the batches of a fetch through the matcher, beside the naive model

An input is batches of format v2 as they lie on the wire; what a run wants to know beside them
stands in a field of the header that nobody reads (the partition leader's epoch). Checksums and
lengths of batches are put right before a run: aiokafka and the broker see to those.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from engine import limits
from engine.documents.fields import ALTERNATES_HEADER
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression
from engine.wire.batch_reader import BatchReader
from engine.wire.decompress import CodecError, Decompressor
from engine.wire.record_batch import V2_HEADER_BYTES, BatchError, RawBatch, RawFetch, Record
from tests.documents.test_model import _VALIDATORS as VALIDATORS
from tests.fakes.documents import NOW_MS, as_bytes, at, entry_json, policy_json
from tests.fakes.record_batches import (
    CODECS,
    GZIP,
    SNAPPY,
    compress,
    raw_batch,
    raw_fetch,
    with_checksum,
)
from tests.fuzz.fuzzer import Target, agree
from tests.fuzz.json_texts import json_value
from tests.fuzz.mutations import TEXTS, any_of, change_bytes, change_json
from tests.matching.test_scanner import _LISTED, _SOME_ASKING, check
from tests.models.naive import Naive, plain_plate
from tests.models.real_confidence import how_sure
from tests.models.real_matcher import FLOORS, MISREADS, PURPOSES, matched, ordered
from tests.repository.schemas import validator
from tests.wire.test_decompress import _DECODERS

#: What is made of a batch for a run is no longer than this, or the interpreter takes too long.
_PLAIN_BYTES: Final = 8 * 1024
_EPOCH_AT: Final = 12
_MAGIC_AT: Final = 16
_ATTRIBUTES_AT: Final = 22
_COUNT_AT: Final = 57


def _varint(number: int) -> bytes:
    raw = (number << 1 ^ number >> 63) & ((1 << 64) - 1)
    out = bytearray()
    while raw >= 0x80:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


_VARINTS: Final = (
    *map(_varint, (0, -1, -2, 1, 6, 7, 10, 63, 64, -64, 10_000, 2**31 - 1, 2**31, -(2**31))),
    *map(_varint, (-(2**31) - 1, 2**32, 2**53, 2**62, 2**63 - 1, -(2**63))),
    b"\x80\x00",
    b"\x81\x80\x00",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 9 + b"\x7f",
    b"\x80" * 9 + b"\x00",
    b"\x80" * 10,
    b"\xff" * 20,
)
_NAMES: Final = (
    b"alternates",
    b"alternate",
    b"Alternates",
    b"alternates\0",
    b"\xff",
    b"",
    "é".encode(),
)
_KEYS: Final = (b"ABC123", b"A8C123", b"ABC12", b"7XYZ890", b"abc123", b"A\0", b"", "МÜ12".encode())


def intact(data: bytes) -> bytes:
    """The batch with everything in its header right that says where it ends."""
    data = data.ljust(V2_HEADER_BYTES, b"\0")
    head = data[:8] + struct.pack(">i", len(data) - 12) + data[12:_MAGIC_AT] + b"\x02"
    return with_checksum(head + data[_MAGIC_AT + 1 :])


def batches_in(data: bytes) -> Iterator[bytes]:
    """The batches of an input, by their own lengths as long as these make sense."""
    while data:
        length = 12 + int.from_bytes(data[8:12], "big", signed=True)
        if not V2_HEADER_BYTES <= length <= len(data):
            length = len(data)
        yield intact(data[:length])
        data = data[length:]


class _Piece(NamedTuple):
    """A part of a record: a number, or the bytes that the number before it counts."""

    is_number: bool
    data: bytes


def _pieces(body: bytes) -> tuple[list[list[_Piece]], bytes]:
    """Records as parts, without their lengths, and the rest that is none."""
    records = []
    at = 0
    while at < len(body):
        try:
            length, begin = _read(body, at)
            record, end = [_Piece(False, body[begin : begin + 1])], begin + 1
            for _ in range(2):
                end = _number(body, end, record)
            for _ in range(2):
                end = _counted(body, end, record)
            count, _ = _read(body, end)
            end = _number(body, end, record)
            for _ in range(2 * min(max(count, 0), 1000)):
                end = _counted(body, end, record)
        except IndexError:
            break
        if end != begin + length:
            break
        records.append(record)
        at = end
    return records, body[at:]


def _read(body: bytes, at: int) -> tuple[int, int]:
    raw = shift = 0
    while True:
        byte = body[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return raw >> 1 ^ -(raw & 1), at
        shift += 7


def _number(body: bytes, at: int, record: list[_Piece]) -> int:
    _, end = _read(body, at)
    record.append(_Piece(True, body[at:end]))
    return end


def _counted(body: bytes, at: int, record: list[_Piece]) -> int:
    length, begin = _read(body, at)
    end = begin + max(length, 0)
    if end > len(body):
        raise IndexError
    record += _Piece(True, body[at:begin]), _Piece(False, body[begin:end])
    return end


def _change_records(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Changes a batch inside of its records, which may be compressed."""
    batches = list(batches_in(data)) or [intact(b"")]
    place = chance.randrange(len(batches))
    batch = bytearray(batches[place])
    codec = batch[_ATTRIBUTES_AT] & 7
    try:
        plain = bytes(Decompressor(limits.MIB).decompress(codec, memoryview(batch)[61:]))
    except CodecError:
        return change_bytes(chance, data, pool)
    records, rest = _pieces(plain)
    count = int.from_bytes(batch[_COUNT_AT:61], "big", signed=True)
    if not records:
        rest = change_bytes(chance, rest, pool)
    else:
        number = chance.randrange(len(records))
        match chance.randrange(8):
            case 0:
                del records[number]
            case 1:
                records.insert(number, list(records[number]))
            case 2 | 3:
                _change_number(chance, records[number])
            case 4 if len(records[number]) > 8:
                del records[number][8:10]
            case 4 | 5:
                header = _header(chance)
                records[number] += header
                records[number][7] = _Piece(True, _varint((len(records[number]) - 8) // 4))
            case _:
                _change_content(chance, records[number], pool)
    body = b"".join(_joined(chance, record) for record in records) + rest
    if chance.random() < 0.9:
        count = len(records) + bool(rest)
    if chance.random() < 0.2:
        codec = chance.choice(CODECS)
    batch[_ATTRIBUTES_AT] = batch[_ATTRIBUTES_AT] & ~7 | codec
    batch[_COUNT_AT:61] = struct.pack(">i", count)
    batches[place] = intact(bytes(batch[:61]) + compress(codec, body))
    return b"".join(batches)


def _change_number(chance: random.Random, record: list[_Piece]) -> None:
    place = chance.choice([place for place, piece in enumerate(record) if piece.is_number])
    record[place] = _Piece(True, chance.choice(_VARINTS))


def _change_content(chance: random.Random, record: list[_Piece], pool: Sequence[bytes]) -> None:
    """Another key, value or header, with the number before it put right, mostly."""
    place = chance.choice([at for at in range(4, len(record)) if not record[at].is_number])
    content = record[place].data
    if content[:1] == b"{" and chance.random() < 0.9:
        content = change_json(chance, content, pool)
    elif chance.random() < 0.5:
        content = chance.choice((*_KEYS, *(text.encode("utf-8", "replace") for text in TEXTS)))
    else:
        content = change_bytes(chance, content, pool)
    record[place] = _Piece(False, content)
    if chance.random() < 0.95:
        record[place - 1] = _Piece(True, _varint(len(content)))


def _header(chance: random.Random) -> list[_Piece]:
    name = chance.choice(_NAMES)
    parts = chance.choices((*_KEYS, b"NOTHERE", b"B"), k=chance.choice((0, 1, 2, 16, 17)))
    value = b",".join(parts)
    return [
        _Piece(True, _varint(len(name))),
        _Piece(False, name),
        _Piece(True, _varint(len(value))),
        _Piece(False, value),
    ]


def _joined(chance: random.Random, record: list[_Piece]) -> bytes:
    content = b"".join(piece.data for piece in record)
    length = _varint(len(content)) if chance.random() < 0.97 else chance.choice(_VARINTS)
    return length + content


def _change_header(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Changes a batch's header, or which batches there are."""
    batches = list(batches_in(data)) or [intact(b"")]
    place = chance.randrange(len(batches))
    match chance.randrange(4):
        case 0:
            batches.insert(place, chance.choice(list(batches_in(chance.choice(pool))) or batches))
        case 1 if len(batches) > 1:
            del batches[place]
        case _:
            batch = batches[place]
            batches[place] = intact(change_bytes(chance, batch[:61], pool)[:61] + batch[61:])
    return b"".join(batches[:8])


_mutate = any_of(_change_records, _change_records, _change_records, _change_header, change_bytes)


# ---- the scanner


def _run_scanner(data: bytes) -> Iterable[Hashable]:
    whole = next(batches_in(data), None)
    if whole is None:
        return ["nothing"]
    batch = raw_batch(whole, from_offset=int.from_bytes(whole[12:14], "big", signed=True))
    options = whole[15]
    try:
        plain = bytes(Decompressor(_PLAIN_BYTES).decompress(batch.codec, batch.records))
    except CodecError as error:
        if error.reason != "batch_too_large":
            _must_be_refused(batch)
        return [error.reason]
    same = _with_records(batch, plain)
    accepted = check(same, _LISTED, (0, 1, 2, 1024)[options & 3], _SOME_ASKING[: options >> 2 & 7])
    records, refused = _parsed(same)
    assert not (accepted and refused)
    if not _is_unknown_to_aiokafka(batch):
        assert (records, refused) == _parsed(batch), "the codec changes nothing"
        _check_batch_reader(batch, records, refused)
    return [(accepted, refused, min(len(records), 3)), *_shapes(records)]


def _with_records(batch: RawBatch, plain: bytes) -> RawBatch:
    """The same batch, its records as they are."""
    whole = bytearray(bytes(batch.data[:V2_HEADER_BYTES]) + plain)
    whole[_ATTRIBUTES_AT] &= ~7 & 0xFF
    return raw_batch(intact(bytes(whole)), from_offset=batch.from_offset)


def _is_unknown_to_aiokafka(batch: RawBatch) -> bool:
    """Java's snappy streams of no blocks or of another version, which Java reads and it does
    not."""
    head = bytes(batch.records[:16])
    return (
        batch.codec == SNAPPY
        and head[:8] == b"\x82SNAPPY\0"
        and (len(batch.records) == 16 or head[8:] != struct.pack(">ii", 1, 1))
    )


def _must_be_refused(batch: RawBatch) -> None:
    """What we cannot decompress, aiokafka's parser cannot read either; but for gzip and snappy, of
    which it takes more than their formats allow."""
    if batch.codec in (GZIP, SNAPPY):
        return
    records, refused = _parsed(batch)
    assert refused or not records, "decompressed by aiokafka, and not by us"


def _parsed(batch: RawBatch) -> tuple[list[Record], str]:
    """The records by aiokafka's parser, and why it stopped before the end, if it did."""
    records: list[Record] = []
    try:
        records.extend(parse(batch))
    except BatchError as error:
        return records, error.reason
    return records, ""


def _check_batch_reader(batch: RawBatch, records: list[Record], refused: str) -> None:
    """The same records for the control topics, or none."""
    try:
        unpacked = BatchReader(parse).records(batch, headers_from=0)
    except BatchError:
        assert refused
        return
    assert not refused
    cut = limits.CONTROL_HEADERS
    assert [record._replace(headers=record.headers[:cut]) for record in unpacked] == [
        record._replace(headers=record.headers[:cut]) for record in records
    ]


def _shapes(records: list[Record]) -> Iterator[Hashable]:
    """What may be told apart of records, roughly."""
    for record in records:
        names = [name for name, _ in record.headers]
        yield (
            None if record.key is None else min(len(record.key), 18),
            record.value is None,
            names.count(ALTERNATES_HEADER),
            min(len(names), 3),
        )


# ---- the codecs


def _run_codecs(data: bytes) -> Iterable[Hashable]:
    if not data:
        return ["nothing"]
    codec, packed = data[0] % 7, data[1:]
    limit = 64 * limits.KIB
    try:
        plain = bytes(Decompressor(limit).decompress(codec, memoryview(packed)))
    except CodecError as error:
        return [(codec, error.reason)]
    assert len(plain) <= max(limit, len(packed))
    if packed:
        assert plain == _DECODERS[codec](packed)
    return [(codec, len(plain).bit_length())]


def _change_packed(chance: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Another way of packing, or one frame more."""
    codec = data[0] % 7 if data else 0
    if not 1 <= codec <= 4:
        return bytes([chance.choice((1, 2, 3, 4))]) + data[1:]
    if chance.random() < 0.3:
        return data + compress(codec, chance.choice(pool) * chance.choice((0, 1, 100)))
    others = [other[1:] for other in pool if other[:1] == data[:1]] or [b""]
    at = chance.randrange(len(data))
    return data[: at + 1] + chance.choice(others) + data[at + 1 :]


# ---- whole fetches

_MINUTE_MS = 60_000
_LISTS: Final[tuple[dict[str, Any], ...]] = (
    entry_json(entry_id="exact", plate="ABC123"),
    entry_json(entry_id="again", plate="ABC123", agency="AG2", suppress_s=0),
    entry_json(entry_id="alike", plate="A8C123", confusables=True),
    entry_json(entry_id="apart", plate="ABC1234", distance=1, suppress_s=0),
    entry_json(entry_id="partial", plate="AB?1?3", region="US-CA"),
    entry_json(entry_id="ended", plate="7XYZ890", expires_at=at(-1)),
    entry_json(entry_id="later", plate="7XYZ890", starts_at=at(_MINUTE_MS)),
    # No vehicles: the naive model does not know all the words for them.
    entry_json(entry_id="cyrillic", plate="MÜ12"),
    entry_json(
        entry_id="placed",
        plate="7XYZ891",
        area=[{"lat": 52.0, "lon": 5.0, "radius_m": 500}],
        suppress_s=0,
    ),
    entry_json(entry_id="too wide", plate="A??", purpose="missing_person"),
)
_POLICIES: Final = (
    policy_json(),
    policy_json(source="S2", rules=[{"agencies": ["AG2"], "purposes": "*"}]),
    policy_json(source="S3", regions=["US"]),
    policy_json(source="S4", rules=[]),
)


def _lists_and_model() -> tuple[Lists, Naive]:
    lists, naive = Lists(PURPOSES, MISREADS), Naive(FLOORS, how_sure)
    for offset, entry in enumerate(_LISTS):
        key = entry["entry_id"].encode()
        record = ControlRecord(ControlKind.ENTRY, 0, offset, NOW_MS, key, as_bytes(entry))
        lists.apply([record], NOW_MS, Phase.FOLLOWING)
        naive.put(offset, entry["entry_id"], entry)
    for offset, policy in enumerate(_POLICIES):
        key = policy["source"].encode()
        record = ControlRecord(ControlKind.POLICY, 0, offset, NOW_MS, key, as_bytes(policy))
        lists.apply([record], NOW_MS, Phase.FOLLOWING)
        naive.put_policy(policy["source"], policy)
    return lists, naive


_lists, _naive = _lists_and_model()


def _run_fetches(data: bytes) -> Iterable[Hashable]:
    batches = []
    offset = 0
    for whole in batches_in(data):
        # In a log, offsets grow from batch to batch, and none ends before it begins.
        last_delta = int.from_bytes(whole[23:27], "big") & 0x7FFFFFFF
        head = struct.pack(">q", offset) + whole[8:23] + struct.pack(">i", last_delta)
        batches.append(raw_batch(intact(head + whole[27:])))
        offset += 1 << 32
    if not batches:
        return ["nothing"]
    checked, unchecked = (_processed(raw_fetch(*batches), sample_every) for sample_every in (1, 0))
    _naive.emitted.clear()
    _naive.suppressed.clear()
    wanted = _Wanted()
    for batch in batches:
        wanted.take(batch)
    if any(map(_is_unknown_to_aiokafka, batches)):
        return ["streams that aiokafka does not read"]
    if sorted(set(wanted.offsets)) != wanted.offsets or max(wanted.offsets, default=0) > 1 << 52:
        return ["offsets that no broker gives"]  # the same one again is the same read again
    if any(abs(arrived_ms - NOW_MS) > _MINUTE_MS for arrived_ms in wanted.arrived_ms):
        return ["reads that come late"]  # of whose folding the model knows nothing
    rejects = [(reject.offset, reject.reason) for reject in checked.rejects]
    agree(_roughly(rejects), _roughly(wanted.rejects), "rejects")
    agree(ordered(matched(checked)), ordered(wanted.matches), "matches")
    agree(checked.denied, wanted.denied, "denied")
    agree(checked.suppressed, wanted.suppressed, "suppressed")
    agree(checked.reads, wanted.reads, "reads")
    # Where no value is opened without need, the answer is the same, and fewer faults are seen.
    agree(ordered(matched(unchecked)), ordered(wanted.matches), "matches without a check")
    assert {(reject.offset, reject.reason) for reject in unchecked.rejects} <= set(rejects)
    for outcome in (checked, unchecked):
        _check_pointers(outcome)
    return [
        *(reason for _, reason in rejects),
        *((match.entry_id, match.likeness, match.alternate is None) for match in wanted.matches),
        *wanted.denied,
        ("suppressed", wanted.suppressed > 0),
    ]


def _processed(fetch: RawFetch, sample_every: int) -> Outcome:
    """What a fetch comes to, in however many parts."""
    matcher = Matcher(_lists, sample_every, parse, Suppression())
    whole = matcher.process(fetch, NOW_MS)
    following = whole.next_offset
    while following is not None:
        part = matcher.process(fetch.since(following), NOW_MS)
        assert part.next_offset is None or part.next_offset > following
        following = part.next_offset
        whole.reads += part.reads
        whole.suppressed += part.suppressed
        whole.matches = [*whole.matches, *part.matches]
        whole.rejects += part.rejects
        whole.denied += part.denied
    return whole


def _roughly(rejects: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Where and why; which of two faults of a value is told first is nobody's promise."""
    return [
        (offset, "no read" if reason in ("invalid_json", "schema") else reason)
        for offset, reason in rejects
    ]


def _check_pointers(outcome: Outcome) -> None:
    """Every reject is one by its schema, and says nothing that a sender wrote."""
    for reject in outcome.rejects:
        told = {name: getattr(reject, name) for name in reject.__struct_fields__}
        validator("reject").validate({name: v for name, v in told.items() if v is not None})


class _Wanted:
    """What must come of a fetch in which every value is looked at, by aiokafka's parser, the
    schema and the naive model."""

    def __init__(self) -> None:
        self.reads = 0
        self.offsets: list[int] = []
        self.arrived_ms: list[int] = []
        self.rejects: list[tuple[int, str]] = []
        self.matches: list[Any] = []
        self.denied: Counter[str] = Counter()
        self.suppressed = 0

    def take(self, batch: RawBatch) -> None:
        """One batch."""
        try:
            plain = bytes(Decompressor().decompress(batch.codec, batch.records))
        except CodecError as error:
            self.rejects.append((batch.first_offset, error.reason))
            return
        records, refused = _parsed(_with_records(batch, plain))
        for record in records:
            self.reads += 1
            self.offsets.append(record.offset)
            self.arrived_ms.append(record.timestamp_ms)
            self._read(record)
        if refused:
            last = batch.next_offset - 1
            following = records[-1].offset + 1 if records else batch.first_offset
            self.rejects.append((min(following, last), refused))

    def _read(self, record: Record) -> None:
        reason = self._judge(record)
        if reason is not None:
            self.rejects.append((record.offset, reason))

    def _judge(self, record: Record) -> str | None:
        if record.value is None:
            return "value_missing"
        if len(record.value) > limits.READ_VALUE_BYTES:
            return "value_too_large"
        is_json, read = json_value(record.value)
        if not is_json:
            return "invalid_json"
        if not VALIDATORS["detection"].is_valid(read):
            return "schema"
        read = {name: value for name, value in read.items() if value is not None}
        plate = plain_plate(read["plate"])
        if not 1 <= len(plate) <= 16:
            return "plate_length"
        if _is_normal(record.key) and record.key != plate.encode():
            return "key_mismatch"
        headers = [value or b"" for name, value in record.headers if name == ALTERNATES_HEADER]
        answer = _naive.read(read, NOW_MS, key=record.key, headers=headers)
        self.matches += answer.matches
        self.denied += answer.denied
        self.suppressed += answer.suppressed
        return answer.rejected


def _is_normal(key: bytes | None) -> bool:
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return False
    return 1 <= len(text) <= 16 and plain_plate(text) == text


TARGETS: Final = (
    Target("scanner", _run_scanner, _mutate),
    Target("codecs", _run_codecs, any_of(change_bytes, change_bytes, _change_packed)),
    Target("fetches", _run_fetches, _mutate),
)
