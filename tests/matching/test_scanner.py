"""The scanner beside aiokafka's parser: on valid, damaged and hostile bytes.

What holds: the scanner reads nothing outside of its bytes; what it accepts, the parser accepts
with the same records; what it does not accept, it refuses as Malformed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import limits
from engine.documents.fields import ALTERNATES_HEADER
from engine.index.fuzzy_index import NOTHING_SIMILAR, ScanTables, Similar
from engine.index.hash_table import NO_SLOT, HashTable, hashes_of
from engine.index.pattern_shapes import SUMS
from engine.kafka.raw_fetcher import parse
from engine.matching import scanner as scan
from engine.matching.scanner import Scanner, is_sampled
from engine.plates.likeness import compare
from engine.plates.misreads import Misreads
from engine.plates.plate_hash import hash_of
from engine.wire.decompress import Decompressor
from engine.wire.record_batch import BatchError, RawBatch, Record
from engine.wire.record_decoder import (
    ALTERNATES_TWICE,
    COLUMNS,
    HIT,
    LARGE_VALUE,
    LIKE,
    NO_ALTERNATES,
    NO_APPEND_TIME,
    NO_VALUE,
    ODD_KEY,
    SAMPLED,
    Malformed,
    alternates_span,
)
from tests.fakes.record_batches import (
    CODECS,
    FIRST_MS,
    Sent,
    as_array,
    batch_bytes,
    deltas_of,
    encoded_records,
    raw_batch,
)
from tests.index.test_hash_table import BY_LOW_BITS
from tests.models.plain_python import Checked, plain

_plain_scan = plain(scan._scan)
#: Damage needs more tries than order to find a way in.
_LONG = settings(max_examples=10 * settings().max_examples)


class Row(NamedTuple):
    """A row with what its positions point to. `slot` of a hit alone; `alternates` are what the
    header says where it counts: None without one, "twice" where there are several."""

    kind: int
    slot: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    alternates: bytes | str | None = None


class Asking(NamedTuple):
    """An entry that asks for more than its exact plate."""

    plate: str
    confusables: bool
    distance: int
    region: str | None = None


_MISREADS: Final = Misreads.load()


def table_of(slots: dict[bytes, int]) -> HashTable:
    table = HashTable()
    file(table, {hash_of(key): slot for key, slot in slots.items()})
    return table


def file(table: HashTable, slots: dict[int, int]) -> None:
    """Put slots into a table by their hashes."""
    table.push_many(
        np.array(list(slots), dtype=np.uint64),
        np.array(list(slots.values()), dtype=np.int32),
        np.zeros(max(slots.values()) + 1, dtype=np.int32),
    )


def similar_of(asking: Sequence[Asking]) -> Similar:
    similar = Similar(_MISREADS)
    similar.put(enumerate(asking))
    return similar


def is_like(key: bytes, asking: Sequence[Asking]) -> bool:
    """Whether one of the entries that ask for more is like a plain key: by a loop."""
    return any(
        compare(
            key.decode(),
            entry.plate,
            confusables=entry.confusables,
            distance=entry.distance,
            misreads=_MISREADS.in_region(entry.region),
        )
        for entry in asking
        if entry.confusables or entry.distance or "?" in entry.plate
    )


def rows_of(
    batch: RawBatch,
    table: HashTable,
    sample_every: int = 0,
    scanner: Scanner | None = None,
    scan_tables: ScanTables = NOTHING_SIMILAR,
) -> tuple[list[Row], int]:
    """What the scanner gives for an uncompressed batch; its positions are checked."""
    data = bytes(batch.records)
    rows, seen = (scanner or Scanner(sample_every)).scan(
        [batch], as_array(data), table, scan_tables
    )
    return [readable(row, data) for row in rows.tolist()], seen


def readable(row: Sequence[int], data: bytes) -> Row:
    kind, slot, offset, timestamp_ms, key_at, key_length, value_at, value_length = row
    assert 0 <= key_at <= key_at + max(key_length, 0) <= len(data)
    assert key_at + max(key_length, 0) < value_at <= value_at + max(value_length, 0) < len(data)
    alternates: bytes | str | None = None
    if kind != HIT:
        if slot == ALTERNATES_TWICE:
            alternates = "twice"
        elif slot != NO_ALTERNATES:
            at, length = alternates_span(slot)
            assert value_at < at < at + length <= len(data)
            alternates = data[at : at + length]
        slot = NO_SLOT
    return Row(
        kind,
        slot,
        offset,
        timestamp_ms,
        None if key_length < 0 else data[key_at : key_at + key_length],
        None if value_length < 0 else data[value_at : value_at + value_length],
        alternates,
    )


def plain_rows_of(
    batch: RawBatch, table: HashTable, sample_every: int, scan_tables: ScanTables
) -> tuple[list[Row], int] | None:
    """As `rows_of` by the interpreter, every position checked; None for Malformed."""
    data = bytes(batch.records)
    if not 0 <= batch.record_count <= len(data):
        return None
    rows = np.zeros((batch.record_count, COLUMNS), dtype=np.int64)
    append_ms = NO_APPEND_TIME if batch.append_ms is None else batch.append_ms
    header = (batch.record_count, batch.base_offset, batch.from_offset, batch.first_ms, append_ms)
    filled, seen = _plain_scan(
        Checked(as_array(data)),
        Checked(np.array([header], dtype=np.int64)),
        Checked(table.hashes),
        Checked(table.slots),
        Checked(table.marks),
        table.placing,
        *(Checked(each) if isinstance(each, np.ndarray) else each for each in scan_tables),
        sample_every,
        Checked(np.zeros(limits.PLATE_CHARACTERS, dtype=np.uint64)),
        Checked(np.zeros(SUMS, dtype=np.uint64)),
        Checked(rows),
    )
    return None if filled < 0 else ([readable(row, data) for row in rows[:filled].tolist()], seen)


def is_plain(key: bytes) -> bool:
    return 1 <= len(key) <= 16 and set(key) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def expected_rows(
    records: list[Record], slots: dict[bytes, int], sample_every: int, asking: Sequence[Asking]
) -> list[Row]:
    """The rows that follow from the records, without a look at their bytes."""
    rows = []
    for record in records:
        slot = slots.get(record.key or b"", NO_SLOT)
        key = record.key or b""
        alternates = expected_alternates(record)
        if record.value is None:
            kind = NO_VALUE
        elif len(record.value) > limits.READ_VALUE_BYTES:
            kind = LARGE_VALUE
        elif not is_plain(key):
            kind = ODD_KEY
        elif is_like(key, asking) or asks_for_more(alternates, slots, asking):
            kind = LIKE
        elif slot != NO_SLOT:
            kind = HIT
        elif is_sampled(record.offset, sample_every):
            kind = SAMPLED
        else:
            continue
        rows.append(
            Row(
                kind,
                slot if kind == HIT else NO_SLOT,
                record.offset,
                record.timestamp_ms,
                record.key,
                record.value,
                None if kind in (HIT, SAMPLED) else alternates,
            )
        )
    return rows


def expected_alternates(record: Record) -> bytes | str | None:
    values = [value for name, value in record.headers if name == ALTERNATES_HEADER]
    return "twice" if len(values) > 1 else values[0] or None if values else None


def asks_for_more(
    alternates: bytes | str | None, slots: dict[bytes, int], asking: Sequence[Asking]
) -> bool:
    """Whether a header makes a read one to be looked at."""
    if alternates is None:
        return False
    if isinstance(alternates, str):
        return True
    parts = alternates.split(b",")
    return len(parts) > 16 or any(
        not is_plain(part) or part in slots or is_like(part, asking) for part in parts
    )


def check(
    batch: RawBatch,
    slots: dict[bytes, int],
    sample_every: int,
    asking: Sequence[Asking] = (),
) -> bool:
    """Hold one batch against parser and interpreter; whether the scanner accepted it."""
    table, scan_tables = table_of(slots), similar_of(asking).scan_tables
    by_interpreter = plain_rows_of(batch, table, sample_every, scan_tables)
    try:
        scanned = rows_of(batch, table, sample_every, scan_tables=scan_tables)
    except Malformed:
        assert by_interpreter is None
        return False
    records = list(parse(batch))  # must not raise
    assert scanned == (expected_rows(records, slots, sample_every, asking), len(records))
    assert scanned == by_interpreter
    return True


_LISTED = {b"ABC123": 0, b"7XYZ890": 1, b"A": 2, b"ABCDEFGHIJKLMNOP": 3}
_KEYS = st.one_of(
    st.none(),
    st.sampled_from(sorted(_LISTED)),
    st.sampled_from([b"", b"abc123", b"AB 12", b"ABCDEFGHIJKLMNOPQ", "МÜ12".encode(), b"A\x00"]),
    st.text("ABZ059", min_size=1, max_size=16).map(str.encode),
    st.binary(max_size=20),
)
_VALUES = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.sampled_from([limits.READ_VALUE_BYTES, limits.READ_VALUE_BYTES + 1]).map(bytes),
)
_ALTERNATES = st.one_of(
    st.none(),
    st.lists(st.text("ABZ059", min_size=1, max_size=8).map(str.encode), max_size=4).map(b",".join),
    st.sampled_from(
        [
            b"",
            b",",
            b"ABC123",
            b"NOTHERE,ABC123",
            b"NOTHERE,7XYZ890,B",
            b"NOTHERE,",
            b"NOTHERE,low",
            "NOTHERE,МÜ12".encode(),
            b"\xff",
            b"ABCDEFGHIJKLMNOP",
            b"ABCDEFGHIJKLMNOPQ",
            b",".join([b"NOTHERE"] * 16),
            b",".join([b"NOTHERE"] * 17),
        ]
    ),
    st.binary(max_size=20),
)
_NAMES = st.sampled_from(["alternates", "alternate", "alternates2", "Alternates", "alternatez"])
_HEADERS = st.lists(
    st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5))
    | st.tuples(_NAMES, _ALTERNATES),
    max_size=3,
).map(tuple)
_RECORDS = st.lists(
    st.builds(
        Sent,
        key=_KEYS,
        value=_VALUES,
        headers=st.just(()) | _HEADERS,
        timestamp_ms=st.integers(FIRST_MS - 10**6, FIRST_MS + 10**12),
        delta=st.none(),
    ),
    max_size=8,
)
#: Entries that ask for more than their plate, near the listed ones, each other and the keys.
_ASKING = st.lists(
    st.one_of(
        st.builds(
            Asking,
            st.text("ABZ059", min_size=1, max_size=6),
            st.booleans(),
            st.sampled_from([0, 1]),
        ),
        st.builds(Asking, st.text("ABZ059??", min_size=1, max_size=6), st.booleans(), st.just(0)),
        st.sampled_from(
            [
                Asking("A8C123", True, 0),
                Asking("ABC12", False, 1),
                Asking("7XY?890", False, 0),
                Asking("ABCDEFGHIJKLMN0?", True, 0),
                Asking("ABCDEFGHIJKLMNO", False, 1),
                Asking("BCDEFGHIJKLMNOPQ", True, 1),
                Asking("A?", False, 1),
            ]
        ),
    ),
    max_size=6,
)
_GAPS = st.lists(st.integers(0, 100), min_size=8, max_size=8)
_SAMPLE_EVERY = st.sampled_from([0, 1, 2, 1024])


def with_gaps(records: list[Sent], gaps: list[int]) -> list[Sent]:
    """The records as compaction leaves them."""
    deltas = np.cumsum([gap + 1 for gap in gaps[: len(records)]]) - 1
    return [
        record._replace(delta=int(delta)) for record, delta in zip(records, deltas, strict=True)
    ]


@given(
    _RECORDS,
    _GAPS,
    st.integers(0, 2**40),
    st.integers(-5, 300),
    st.none() | st.integers(0, FIRST_MS * 2),
    _SAMPLE_EVERY,
    _ASKING,
)
def test_valid_batches(
    records: list[Sent],
    gaps: list[int],
    base_offset: int,
    skip: int,
    append_ms: int | None,
    sample_every: int,
    asking: list[Asking],
) -> None:
    data = batch_bytes(with_gaps(records, gaps), base_offset=base_offset, append_ms=append_ms)
    batch = raw_batch(data, from_offset=base_offset + skip)
    accepted = check(batch, _LISTED, sample_every, asking)
    ascii_headers = all(name.isascii() for record in records for name, _ in record.headers)
    assert accepted is ascii_headers, "plain records must take the fast way"


@given(st.lists(_RECORDS, max_size=5), st.lists(st.integers(-5, 10), min_size=5), _SAMPLE_EVERY)
def test_several_batches_in_one_go(
    all_records: list[list[Sent]], skips: list[int], sample_every: int
) -> None:
    """The rows of all, if all are well formed; with one that is not, none."""
    scanner, table = Scanner(sample_every), table_of(_LISTED)
    batches, base_offset = [], 1_000
    for records, skip in zip(all_records, skips, strict=False):
        data = batch_bytes(records, base_offset=base_offset, append_ms=FIRST_MS + base_offset)
        batches.append(raw_batch(data, from_offset=base_offset + skip))
        base_offset += 1_000
    joined = b"".join(bytes(batch.records) for batch in batches)
    try:
        alone = [rows_of(batch, table, sample_every) for batch in batches]
    except Malformed:
        with pytest.raises(Malformed):
            scanner.scan(batches, as_array(joined), table)
        return
    rows, seen = scanner.scan(batches, as_array(joined), table)
    assert [readable(row, joined) for row in rows.tolist()] == [
        row for of_batch, _ in alone for row in of_batch
    ]
    assert seen == sum(seen_alone for _, seen_alone in alone)
    for cut in range(0, len(joined), 7):
        with pytest.raises(Malformed):
            scanner.scan(batches, as_array(joined[:cut]), table)


@_LONG
@given(_RECORDS, st.data())
def test_truncated(records: list[Sent], data: st.DataObject) -> None:
    whole = encoded_records(records)
    body = whole[: data.draw(st.integers(0, len(whole)))]
    accepted = check(raw_batch(batch_bytes(records, body=body)), _LISTED, 2)
    assert not accepted or len(body) == len(whole)


@given(_RECORDS, st.data())
def test_a_wrong_record_count(records: list[Sent], data: st.DataObject) -> None:
    wrong = data.draw(
        st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(0, 12)).filter(
            lambda count: count != len(records)
        )
    )
    assert not check(raw_batch(batch_bytes(records, record_count=wrong)), _LISTED, 2)


_SMALL = st.lists(
    st.builds(
        Sent,
        key=_KEYS,
        value=st.none() | st.binary(max_size=10),
        headers=st.just(()) | _HEADERS,
        timestamp_ms=st.just(FIRST_MS),
        delta=st.none(),
    ),
    min_size=1,
    max_size=4,
)


_SOME_ASKING = [
    Asking("A8C123", True, 0),
    Asking("ABC12", False, 1),
    Asking("7XY?890", False, 0),
    Asking("A", True, 1),
]


@_LONG
@given(_SMALL, st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_bytes(records: list[Sent], damage: list[tuple[int, int]]) -> None:
    body = bytearray(encoded_records(records))
    for at, byte in damage:
        body[at % len(body)] = byte
    check(raw_batch(batch_bytes(records, body=bytes(body))), _LISTED, 2, _SOME_ASKING)


def test_every_bit_of_a_batch_flipped() -> None:
    records = [
        Sent(b"ABC123", b"value", (("name", b"text"), ("none", None))),
        Sent(None, b"", timestamp_ms=FIRST_MS + 70_000),
        Sent(b"NOTHERE", b"v", (("alternates", b"B,A8C124"),)),
        Sent(b"7XYZ890", None),
    ]
    body = encoded_records(records)
    for bit in range(8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        check(raw_batch(batch_bytes(records, body=bytes(flipped))), _LISTED, 2, _SOME_ASKING)


def varint(value: int) -> bytes:
    """A zigzag varint, as long as it takes."""
    raw = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while True:
        byte, raw = raw & 0x7F, raw >> 7
        encoded.append(byte | (0x80 if raw else 0))
        if not raw:
            return bytes(encoded)


_LENGTHS = st.one_of(
    st.integers(-3, 20),
    st.sampled_from([2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**62 - 1, -(2**62), 2**40]),
    st.integers(-(2**63), 2**63 - 1),
)
_PIECES = st.one_of(
    _LENGTHS.map(varint),
    st.binary(max_size=6),
    st.sampled_from([b"\x80" * 9, b"\xff" * 10 + b"\x01", b"\x80\x00", b"\x80" * 8 + b"\x01"]),
)


@_LONG
@given(
    st.lists(_PIECES, max_size=12).map(b"".join),
    st.integers(0, 4),
    st.integers(-(2**62), 2**62),
    st.integers(-(2**62), 2**62),
)
@example(b"\x0c\x00\x00\x00\x01\x01\x00", 1, 0, 0)
def test_hostile_bytes(body: bytes, count: int, base_offset: int, from_offset: int) -> None:
    data = batch_bytes(body=body, record_count=count, base_offset=base_offset)
    check(raw_batch(data, from_offset=from_offset), _LISTED, 1, _SOME_ASKING)


@_LONG
@given(st.lists(_LENGTHS, min_size=6, max_size=6), st.binary(max_size=12), st.booleans())
def test_hostile_lengths_in_a_framed_record(
    fields: list[int], rest: bytes, attributes: bool
) -> None:
    """The record's length is right, so that every field inside gets its turn."""
    inside = bytes([attributes]) + b"".join(varint(field) for field in fields) + rest
    body = varint(len(inside)) + inside
    check(raw_batch(batch_bytes(body=body, record_count=1)), _LISTED, 1)


@pytest.mark.parametrize("first_ms", [0, -1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("append_ms", [None, 0, -1, 2**63 - 1])
def test_hostile_timestamps(first_ms: int, append_ms: int | None) -> None:
    body = encoded_records([Sent(b"ABC123", b"v"), Sent(b"A", b"v", timestamp_ms=FIRST_MS + 9)])
    data = batch_bytes(body=body, record_count=2, first_ms=first_ms, append_ms=append_ms)
    batch = raw_batch(data)
    scanned, seen = rows_of(batch, table_of(_LISTED))
    assert seen == 2
    assert [row.timestamp_ms for row in scanned] == [record.timestamp_ms for record in parse(batch)]


def test_rows_of_each_kind() -> None:
    records = [
        Sent(b"ABC123", b"{}"),
        Sent(b"NOTHERE", b"{}"),
        Sent(b"abc123", b"{}"),
        Sent(None, b"{}"),
        Sent(b"ABC123", None),
        Sent(b"ABC123", bytes(limits.READ_VALUE_BYTES + 1)),
        Sent("MÜ1".encode(), b"{}"),
    ]
    batch = raw_batch(batch_bytes(records, base_offset=50))
    rows, seen = rows_of(batch, table_of({b"ABC123": 7}))
    assert seen == len(records)
    assert [(row.kind, row.slot, row.offset) for row in rows] == [
        (HIT, 7, 50),
        (ODD_KEY, NO_SLOT, 52),
        (ODD_KEY, NO_SLOT, 53),
        (NO_VALUE, NO_SLOT, 54),
        (LARGE_VALUE, NO_SLOT, 55),
        (ODD_KEY, NO_SLOT, 56),
    ]


@pytest.mark.parametrize(
    ("key", "alternates", "kind"),
    [
        (b"NOTHERE", [], None),
        (b"ABC123", [], HIT),
        (b"NOTHERE", [b""], None),
        (b"NOTHERE", [None], None),
        (b"NOTHERE", [b"NOTHIS,NOTHAT"], None),
        (b"ABC123", [b"NOTHIS,NOTHAT"], HIT),
        (b"NOTHERE", [b",".join([b"NOTHIS"] * 16)], None),
        (b"NOTHERE", [b",".join([b"NOTHIS"] * 17)], LIKE),
        (b"NOTHERE", [b"NOTHIS,ABC123"], LIKE),
        (b"NOTHERE", [b"ABC123,NOTHIS"], LIKE),
        (b"ABC123", [b"ABC123"], LIKE),
        (b"NOTHERE", [b"NOTHIS,XY2"], LIKE),
        (b"XY2", [b"NOTHIS"], LIKE),
        (b"NOTHERE", [b"NOTHIS,"], LIKE),
        (b"NOTHERE", [b"NOTHIS,,NOTHAT"], LIKE),
        (b"NOTHERE", [b"nothis"], LIKE),
        (b"NOTHERE", [b"NOTHIS", b"NOTHAT"], LIKE),
        (b"NOTHERE", [b"", b""], LIKE),
        (b"ABC123", [b"", None], LIKE),
        (b"nothere", [b"NOTHIS"], ODD_KEY),
        (None, [b"NOTHIS", b""], ODD_KEY),
    ],
)
def test_alternates(key: bytes | None, alternates: list[bytes | None], kind: int | None) -> None:
    headers = [("first", b"x"), *((ALTERNATES_HEADER, each) for each in alternates), ("last", None)]
    batch = raw_batch(batch_bytes([Sent(key, b"{}", tuple(headers))]))
    asking = [Asking("XYZ", True, 0)]
    rows, seen = rows_of(
        batch, table_of({b"ABC123": 7}), scan_tables=similar_of(asking).scan_tables
    )
    assert seen == 1
    assert [row.kind for row in rows] == ([] if kind is None else [kind])
    assert check(batch, {b"ABC123": 7}, 0, asking)


def test_a_read_that_is_listed_and_like_another_is_to_be_looked_at() -> None:
    batch = raw_batch(batch_bytes([Sent(b"ABC123", b"{}"), Sent(b"ABC124", b"{}")]))
    asking = [Asking("A8C123", True, 0)]
    rows, _ = rows_of(batch, table_of({b"ABC123": 7}), scan_tables=similar_of(asking).scan_tables)
    assert [(row.kind, row.slot, row.offset) for row in rows] == [(LIKE, NO_SLOT, 0)]


def test_what_is_beyond_ascii_is_found_all_the_same() -> None:
    """Every plain key that an entry beyond ASCII is like gets a row; others may too."""
    asking = [Asking("ÜB123", False, 1), Asking("Ü?123", False, 0), Asking("Ä1?", True, 0)]
    keys = [b"AB123", b"B123", b"NOTHERE"]
    batch = raw_batch(batch_bytes([Sent(key, b"{}") for key in keys]))
    rows, _ = rows_of(batch, HashTable(), scan_tables=similar_of(asking).scan_tables)
    like = [offset for offset, key in enumerate(keys) if is_like(key, asking)]
    assert like == [0, 1]
    assert [row.offset for row in rows if row.kind == LIKE] == like


def test_a_hash_that_was_taken_out_is_no_hit() -> None:
    table = table_of({b"ABC123": 7})
    slots = np.array([7], dtype=np.int32)
    following = np.full(8, NO_SLOT, dtype=np.int32)
    table.unlink_many(hashes_of(["ABC123"]), slots, following)
    batch = raw_batch(batch_bytes([Sent(b"ABC123", b"{}")]))
    assert rows_of(batch, table) == ([], 1)


def test_colliding_places_in_the_table_are_told_apart() -> None:
    """Hashes that begin their probe at the same place, around the table's end."""
    table = HashTable(placing=BY_LOW_BITS)
    wanted = hash_of(b"ABC123")
    last = len(table.hashes) - 1
    # others with the same low bits, filed first
    file(table, {(wanted & last) | (slot + 1) << 40: slot for slot in range(3)})
    batch = raw_batch(batch_bytes([Sent(b"ABC123", b"{}")]))
    assert rows_of(batch, table) == ([], 1)
    file(table, {wanted: 9})
    assert [row.slot for row in rows_of(batch, table)[0]] == [9]


def test_a_probe_goes_round_the_end_of_the_table() -> None:
    table = HashTable(placing=BY_LOW_BITS)
    last = len(table.hashes) - 1
    plate = next(
        plate
        for plate in (f"A{number}".encode() for number in range(100_000))
        if hash_of(plate) & last == last
    )
    file(table, {last: 1, hash_of(plate): 2})
    batch = raw_batch(batch_bytes([Sent(plate, b"{}")]))
    assert [row.slot for row in rows_of(batch, table)[0]] == [2]


def test_rows_are_enough_for_the_largest_batch_and_used_again() -> None:
    scanner = Scanner(0)
    table = table_of({b"A": 1})
    for count in (3, 5000, 1, 2000):
        batch = raw_batch(batch_bytes([Sent(b"A", b"v")] * count))
        rows, seen = rows_of(batch, table, scanner=scanner)
        assert seen == len(rows) == count
        assert [row.offset for row in rows] == list(range(count))


@pytest.mark.parametrize("every", [1, 2, 7, 1024])
def test_sampling_draws_one_in_so_many(every: int) -> None:
    offsets = range(10**6, 10**6 + 200 * every)
    drawn = [offset for offset in offsets if is_sampled(offset, every)]
    assert 150 <= len(drawn) <= 250 or every == 1
    assert every > 1 or len(drawn) == 200
    if every > 2:  # spread: no stretch of offsets goes without
        steps = np.diff([offsets[0], *drawn, offsets[-1]])
        assert max(steps) < 10 * every


def test_sampling_of_none() -> None:
    assert not any(is_sampled(offset, 0) for offset in range(1000))


def test_what_the_parser_refuses_the_scanner_refuses() -> None:
    """One of each structural lie, so that the property tests cannot all look elsewhere."""
    good = Sent(b"ABC123", b"v")
    lies: list[tuple[dict[str, Any], str]] = [
        ({"body": encoded_records([good]) + b"\x00", "record_count": 1}, "trailing byte"),
        ({"body": encoded_records([good])[:-1], "record_count": 1}, "short"),
        ({"body": b"", "record_count": 1}, "empty"),
        ({"body": b"\x0e\x00\x00\x00\x01\x01\x00\x00", "record_count": 1}, "long record"),
        ({"body": b"\x0c\x00\x00\x00\x01\x01\x01", "record_count": 1}, "negative headers"),
    ]
    for lie, what in lies:
        batch = raw_batch(batch_bytes(**lie))
        with pytest.raises(Malformed):
            rows_of(batch, HashTable())
        with pytest.raises(BatchError, match="corrupt_batch"):
            list(parse(batch))
        assert what


def test_deltas_follow_each_other() -> None:
    assert deltas_of([Sent(b"A", b""), Sent(b"A", b"", delta=5), Sent(b"A", b"")]) == [0, 5, 6]


def test_what_is_forgotten_is_wiped() -> None:
    """The rows hold the hashes of keys that are no hit, from which a plate can be found."""
    scanner = Scanner(0)
    batch = raw_batch(batch_bytes([Sent(b"ABC123", b"x"), Sent(b"XYZ789", b"y")]))
    assert rows_of(batch, table_of({b"ZZZ999": 0}), scanner=scanner) == ([], 2)
    hashes = {np.uint64(hash_of(key)).astype(np.int64) for key in (b"ABC123", b"XYZ789")}
    assert hashes <= set(scanner._rows.ravel().tolist())
    similar = similar_of([Asking("AB?", False, 0)]).scan_tables
    rows_of(batch, table_of({b"ZZZ999": 0}), scanner=scanner, scan_tables=similar)
    assert scanner._terms.any()
    scanner.scrub()
    assert not any(each.any() for each in (scanner._rows, scanner._terms, scanner._sums))
    assert rows_of(batch, table_of({b"XYZ789": 0}), scanner=scanner)[1] == 2


def test_the_scan_is_compiled_for_one_kind_of_data() -> None:
    """Else the first batch of another codec is matched some seconds later."""
    for codec in CODECS:
        batch = raw_batch(batch_bytes([Sent(b"AB123", b"{}")], codec=codec))
        data = Decompressor().decompress(batch.codec, batch.records)
        assert Scanner(0).scan([batch], data, HashTable())[1] == 1
    assert len({str(signature) for signature in scan._scan.signatures}) == 1
