"""The contract with aiokafka's fetcher: what the seam stands on, and what it delivers.

A log of batches is read through aiokafka's own fetch handling with the seam in it; only the
network is played. The log answers as a broker does: from the batch that holds the position,
whole or cut off at the end.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import itertools
import random
import struct
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from hypothesis import given
from hypothesis import strategies as st

from engine.kafka import raw_fetcher
from engine.kafka.raw_fetcher import deliver_batches, parse
from engine.limits import CORRUPT_BATCH_FETCHES
from engine.wire.batch_splitter import BatchSplitter, Damaged
from engine.wire.record_batch import BatchError, RawBatch, RawFetch, Record
from tests.fakes.record_batches import (
    CODECS,
    FIRST_MS,
    GZIP,
    LZ4,
    NONE,
    SNAPPY,
    TOPIC,
    Sent,
    batch_bytes,
    control_batch,
    legacy_bytes,
    raw_batch,
    raw_fetch,
)

_TP = TopicPartition(TOPIC, 0)
_READ_COMMITTED = 1


@dataclass
class Log:
    """A partition: batches as (first offset, last offset, bytes), in order."""

    batches: list[tuple[int, int, bytes]] = field(default_factory=list)
    aborted: list[tuple[int, int]] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.batches[-1][1] + 1 if self.batches else 0

    def add(self, count: int, **options: Any) -> RawBatch:
        """Append a batch of `count` records; it, as the seam should deliver it."""
        first = self.end
        records = [Sent(b"KEY%d" % (first + at), b"v") for at in range(count)]
        data = batch_bytes(records, base_offset=first, **options)
        return self.add_bytes(first, first + count - 1, data)

    def add_bytes(self, first: int, last: int, data: bytes) -> RawBatch:
        self.batches.append((first, last, data))
        return raw_batch(data) if data[16] == 2 else SimpleNamespace()  # type: ignore[return-value]

    def fetch(self, position: int, size_bytes: int) -> bytes:
        """At least one whole batch, and no more than `size_bytes` beyond that."""
        wanted = [data for _, last, data in self.batches if last >= position]
        return b"".join(wanted)[: max(size_bytes, len(wanted[0]))] if wanted else b""


class Reader:
    """aiokafka's fetch handling, the seam in it, over a log."""

    def __init__(
        self,
        log: Log,
        *,
        position: int = 0,
        size_bytes: int = 1 << 20,
        wants: Callable[[str], bool] = lambda _: True,
        isolation: int = _READ_COMMITTED,
    ) -> None:
        self._log = log
        self._size_bytes = size_bytes
        self.fetches = 0
        self._state = SimpleNamespace(
            has_valid_position=True, paused=False, position=position, consumed_to=self._consumed_to
        )
        self._assignment = SimpleNamespace(active=True, state_value=lambda _: self._state)
        self._fetcher: Any = SimpleNamespace(
            _client=SimpleNamespace(send=self._send),
            _client_rack=None,
            _records={},
            _key_deserializer=None,
            _value_deserializer=None,
            _check_crcs=True,
            _isolation_level=isolation,
            _prefetch_backoff=0.1,
            _max_partition_fetch_bytes=size_bytes,
        )
        self.open = deliver_batches(SimpleNamespace(_fetcher=self._fetcher), wants)

    @property
    def position(self) -> int:
        position: int = self._state.position
        return position

    def fetch(self) -> list[Any]:
        """What one fetch delivers."""
        self.fetches += 1
        request = SimpleNamespace(topics=[(TOPIC, [(0, self.position, 0)])])
        finish(self._fetcher._proc_fetch_request(self._assignment, 0, request))
        result = self._fetcher._records.pop(_TP, None)
        delivered: list[Any] = [] if result is None else result.getall()
        return delivered

    def read_all(self, fetches: int = 50) -> list[Any]:
        """Everything, in so many fetches at the most."""
        delivered: list[Any] = []
        while self.position < self._log.end:
            assert self.fetches < fetches, f"stands still at {self.position}"
            delivered += self.fetch()
        return delivered

    def _consumed_to(self, position: int) -> None:
        self._state.position = position

    async def _send(self, _node: int, request: Any) -> Any:
        [(_, [(_, position, _)])] = request.topics
        data: bytes | memoryview = self._log.fetch(position, self._size_bytes)
        if self.fetches % 2:  # as a large one is received
            data = memoryview(data)
        aborted = [
            (producer, first) for producer, first in self._log.aborted if first < self._log.end
        ]
        part = (0, 0, self._log.end, self._log.end, aborted, data)
        return SimpleNamespace(API_VERSION=4, topics=[(TOPIC, [part])])


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the fetch handling waits for something else now")


def keys(delivered: Iterable[RawBatch]) -> list[bytes | None]:
    return [record.key for batch in delivered for record in parse(batch)]


# What the seam stands on.


def test_the_version_that_the_seam_was_made_for() -> None:
    version = importlib.metadata.version("aiokafka")
    assert version.startswith("0.14."), "run all tests of this module, then move the pin"


def test_the_names_that_the_seam_replaces() -> None:
    method = aiokafka_fetcher.Fetcher._proc_fetch_request
    assert {"MemoryRecords", "PartitionRecords"} <= set(method.__code__.co_names)
    assert method.__closure__ is None, "a closure would keep the old meanings"
    assert inspect.iscoroutinefunction(method)
    assert list(inspect.signature(aiokafka_fetcher.PartitionRecords.__init__).parameters) == [
        "self",
        "tp",
        "records",
        "aborted_transactions",
        "fetch_offset",
        "key_deserializer",
        "value_deserializer",
        "check_crcs",
        "isolation_level",
    ]
    walk = set(aiokafka_fetcher.PartitionRecords._unpack_records.__code__.co_names)
    known = {
        "has_next",
        "next_batch",
        "validate_crc",
        "producer_id",
        "is_control_batch",
        "is_transactional",
        "base_offset",
        "next_offset",
        "offset",
        "next_fetch_offset",
        "_consumer_record",
    }
    assert known <= walk
    used = {name for name in walk if not name.startswith("_") and name.islower()}
    assert used <= known | {"debug", "discard", "log"}, "the walk asks a batch for more than before"


def test_another_aiokafka_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def _proc_fetch_request(self: Any, *arguments: Any) -> bool:
        return False

    monkeypatch.setattr(aiokafka_fetcher.Fetcher, "_proc_fetch_request", _proc_fetch_request)
    with pytest.raises(RuntimeError, match="another fetcher"):
        Reader(Log())


def test_a_consumer_that_has_not_started_is_refused() -> None:
    consumer: Any = SimpleNamespace(_fetcher=None)
    with pytest.raises(RuntimeError):
        deliver_batches(consumer, lambda _: True)


def test_nothing_is_patched_for_others() -> None:
    before = (
        aiokafka_fetcher.Fetcher._proc_fetch_request,
        aiokafka_fetcher.MemoryRecords,
        aiokafka_fetcher.PartitionRecords,
    )
    log = Log()
    log.add(3)
    Reader(log).read_all()
    assert before == (
        aiokafka_fetcher.Fetcher._proc_fetch_request,
        aiokafka_fetcher.MemoryRecords,
        aiokafka_fetcher.PartitionRecords,
    )


def test_a_topic_that_does_not_opt_in_gives_records_as_always() -> None:
    log = Log()
    log.add(3, codec=LZ4)
    records = Reader(log, wants=lambda topic: topic != TOPIC).read_all()
    assert [(record.offset, record.key) for record in records] == [
        (0, b"KEY0"),
        (1, b"KEY1"),
        (2, b"KEY2"),
    ]


# What it delivers.


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("append_ms", [None, FIRST_MS + 5])
def test_batches_come_as_they_are(codec: int, append_ms: int | None) -> None:
    log = Log()
    expected = [log.add(count, codec=codec, append_ms=append_ms) for count in (3, 1, 20)]
    delivered = Reader(log).read_all()
    assert [bytes(batch.data) for batch in delivered] == [bytes(batch.data) for batch in expected]
    assert [batch.from_offset for batch in delivered] == [0, 3, 4]
    for batch, like in zip(delivered, expected, strict=True):
        assert (batch.magic, batch.codec, batch.record_count) == (2, codec, like.record_count)
        assert (batch.base_offset, batch.next_offset) == (like.base_offset, like.next_offset)
        assert (batch.first_ms, batch.append_ms) == (FIRST_MS, append_ms)
        assert batch.intact
        assert bytes(batch.records) == bytes(batch.data[61:])
    assert keys(delivered) == [b"KEY%d" % at for at in range(24)]


def test_a_fetch_says_what_it_covers() -> None:
    log = Log()
    sizes = [len(log.add(count).data) for count in (10, 5)]
    fetch = RawFetch(TOPIC, 0, tuple(Reader(log, position=4).read_all()))
    assert (fetch.first_offset, fetch.last_offset) == (4, 14)
    assert fetch.size_bytes == sum(sizes)
    gap = raw_fetch(raw_batch(batch_bytes([Sent(b"A", b"")], base_offset=9), from_offset=5))
    assert (gap.first_offset, gap.last_offset) == (9, 9)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.integers(0, 40),
    st.integers(1, 600),
)
def test_every_record_once_from_any_position_and_in_fetches_of_any_size(
    counts: list[int], position: int, size_bytes: int
) -> None:
    log = Log()
    for count in counts:
        log.add(count)
    position %= log.end
    delivered = Reader(log, position=position, size_bytes=size_bytes).read_all()
    assert keys(delivered) == [b"KEY%d" % at for at in range(position, log.end)]


def test_offsets_that_compaction_took() -> None:
    log = Log()
    log.add(2)
    kept = batch_bytes([Sent(b"KEPT", b"v", delta=3)], base_offset=2, last_delta=9)
    log.add_bytes(2, 11, kept)
    log.add_bytes(12, 19, batch_bytes(base_offset=12, last_delta=7))  # nothing is left in it
    log.add(1)
    reader = Reader(log)
    delivered = reader.read_all()
    assert keys(delivered) == [b"KEY0", b"KEY1", b"KEPT", b"KEY20"]
    assert [batch.next_offset for batch in delivered] == [2, 12, 20, 21]
    assert reader.position == 21


def log_with_transactions() -> Log:
    """Eleven offsets, of which five records are delivered."""
    log = Log()
    log.add(2)
    log.add(3, transactional=True, producer_id=7)  # aborted
    log.add(1, transactional=True, producer_id=8)  # committed
    log.aborted.append((7, 2))
    log.add_bytes(6, 6, control_batch(6, 7, commit=False))
    log.add(2, transactional=True, producer_id=7)  # the same producer, committed
    log.add_bytes(9, 9, control_batch(9, 8, commit=True))
    log.add_bytes(10, 10, control_batch(10, 7, commit=True))
    return log


def test_aborted_transactions_and_control_batches_are_passed() -> None:
    reader = Reader(log_with_transactions())
    delivered = reader.read_all()
    assert keys(delivered) == [b"KEY0", b"KEY1", b"KEY5", b"KEY7", b"KEY8"]
    assert reader.position == 11


@pytest.mark.parametrize("size_bytes", [1, 150, 300, 10_000])
@pytest.mark.parametrize("position", [0, 1, 3])
def test_what_is_passed_is_accounted_for(size_bytes: int, position: int) -> None:
    """Each batch accounts for the log from where the one before ended, in whatever fetches."""
    log = log_with_transactions()
    log.add_bytes(11, 19, batch_bytes(base_offset=11, last_delta=8))  # compaction left nothing
    log.add(2)
    reader = Reader(log, position=position, size_bytes=size_bytes)
    for batch in reader.read_all():
        assert batch.covered_from == position
        position = batch.next_offset
    assert position == log.end == 22


def test_after_a_seek_nothing_is_accounted_for_that_was_not_fetched() -> None:
    log = log_with_transactions()
    log.add(2)
    reader = Reader(log, size_bytes=1)
    assert [batch.covered_from for batch in reader.fetch()] == [0]
    reader._consumed_to(5)
    [batch] = reader.fetch()
    assert (batch.first_offset, batch.covered_from) == (5, 5)


def test_it_is_known_which_transactions_have_come_in_part() -> None:
    """After each batch; those that overlap, too."""
    log = Log()
    opened: list[set[int]] = []

    def then(*producers: int) -> None:
        opened.append(set(producers))

    def marker(producer: int, *, commit: bool) -> None:
        log.add_bytes(log.end, log.end, control_batch(log.end, producer, commit=commit))

    log.add(2)
    then()
    log.add(2, transactional=True, producer_id=7)
    then(7)
    log.add(1)
    then(7)
    log.add(2, transactional=True, producer_id=8)
    then(7, 8)
    log.add(2, transactional=True, producer_id=7)
    then(7, 8)
    marker(7, commit=True)
    then(8)
    log.aborted.append((9, log.end))
    log.add(2, transactional=True, producer_id=9)  # aborted, so never delivered
    then(8)
    marker(9, commit=False)
    then(8)
    log.add(1, transactional=True, producer_id=7)
    then(7, 8)
    marker(8, commit=True)
    then(7)
    marker(7, commit=True)
    then()
    log.add(1)
    then()
    reader = Reader(log, size_bytes=1)
    found = []
    flags = []
    for _ in opened:
        flags += [batch.is_transactional for batch in reader.fetch()]
        found.append(reader.open[_TP].copy())
    assert found == opened
    assert flags == [False, True, False, True, True, True, False]
    assert reader.position == log.end


def test_transactions_are_not_watched_where_they_do_not_count() -> None:
    log = Log()
    log.add(2, transactional=True, producer_id=7)
    reader = Reader(log, isolation=0)
    assert len(reader.read_all()) == 1
    assert reader.open[_TP] == set()


def test_a_log_of_nothing_but_control_batches() -> None:
    log = Log()
    for offset in range(3):
        log.add_bytes(offset, offset, control_batch(offset, 7, commit=True))
    reader = Reader(log)
    assert reader.read_all() == []
    assert reader.position == 3


# Damage.


def damaged(data: bytes, at: int, byte: int | None = None) -> bytes:
    """The batch with one byte changed."""
    changed = bytearray(data)
    changed[at] = changed[at] ^ 0xFF if byte is None else byte
    return bytes(changed)


def damaged_log(before: int, bad: int, after: int, damage: Callable[[bytes], bytes]) -> Log:
    log = Log()
    for count in (before, bad, after):
        if count:
            log.add(count)
    place = 1 if before else 0
    first, last, data = log.batches[place]
    log.batches[place] = (first, last, damage(data))
    return log


def check_damaged(log: Log, bad: int, fetches: int = 60) -> list[RawBatch]:
    """The good batches come once each, the damaged one is delivered as such and passed."""
    reader = Reader(log)
    delivered: list[RawBatch] = reader.read_all(fetches)
    first, last, _ = next(batch for batch in log.batches if batch[1] - batch[0] + 1 == bad)
    good = [batch for batch in delivered if batch.intact]
    assert keys(good) == [b"KEY%d" % at for at in range(log.end) if not first <= at <= last]
    pointed = [
        offset
        for batch in delivered
        if not batch.intact
        for offset in range(max(batch.base_offset, batch.from_offset), batch.next_offset)
    ]
    assert pointed == list(range(first, last + 1)), "every offset of it, once"
    return [batch for batch in delivered if not batch.intact]


def test_a_damaged_batch_is_withheld_twice_then_delivered_as_damaged() -> None:
    log = damaged_log(3, 5, 2, lambda data: damaged(data, -1))
    reader = Reader(log)
    assert keys(reader.fetch()) == [b"KEY0", b"KEY1", b"KEY2"]
    assert CORRUPT_BATCH_FETCHES == 3
    assert reader.position == 3
    assert reader.fetch() == []
    assert reader.position == 3
    bad, good = reader.fetch()
    assert not bad.intact
    assert (bad.base_offset, bad.next_offset) == (3, 8)
    assert good.intact
    assert keys([good]) == [b"KEY8", b"KEY9"]
    assert reader.position == 10


def test_damage_on_the_way_is_made_good_by_fetching_again() -> None:
    log = damaged_log(1, 4, 1, lambda data: damaged(data, -1))
    reader = Reader(log)
    reader.fetch()
    first, last, data = log.batches[1]
    log.batches[1] = (first, last, damaged(data, -1))
    assert all(batch.intact for batch in reader.read_all())
    # It was forgiven: the next damage at that place is fetched as often as the first.
    log.batches[1] = (first, last, data)
    reader._consumed_to(1)
    assert [reader.fetch(), reader.fetch()] == [[], []]
    assert not reader.fetch()[0].intact


@pytest.mark.parametrize(("before", "after"), [(3, 2), (0, 2), (3, 0), (0, 0)])
def test_damage_anywhere_behind_the_length(before: int, after: int) -> None:
    size = len(damaged_log(before, 5, after, bytes).batches[1 if before else 0][2])
    whole = damaged_log(before, 5, after, bytes).batches
    for at in range(16, size):  # before that, the checksum covers nothing
        for byte in (None, 0, 1, 0x7F, 0xFE):
            if at == 16 and byte not in (0, 1):
                continue  # nor does it cover the magic; aiokafka takes any above 2 for 2
            log = damaged_log(before, 5, after, lambda data: damaged(data, at, byte))  # noqa: B023
            if log.batches != whole:
                check_damaged(log, 5)


@pytest.mark.parametrize("delta", [-(2**31), -5, 0, 1, 3, 5, 1000, 2**20, 2**31 - 1])
@pytest.mark.parametrize("after", [0, 2])
def test_a_damaged_count_of_offsets_neither_skips_nor_stops(delta: int, after: int) -> None:
    def damage(data: bytes) -> bytes:
        return data[:23] + struct.pack(">i", delta) + data[27:]

    check_damaged(damaged_log(3, 5, after, damage), 5)


@pytest.mark.parametrize("length", [-(2**31), -12, -1, 0, 13, 14, 40, 60])
@pytest.mark.parametrize("before", [0, 3])
def test_a_damaged_length_that_is_too_small(length: int, before: int) -> None:
    def damage(data: bytes) -> bytes:
        return data[:8] + struct.pack(">i", length) + data[12:]

    check_damaged(damaged_log(before, 5, 2, damage), 5)


@pytest.mark.parametrize("bad", [2, 5, 40])
def test_a_batch_of_nothing_but_noise(bad: int) -> None:
    """Even its offset is noise: the position goes on past the batch and nowhere else."""
    chance = random.Random(bad)

    def damage(data: bytes) -> bytes:
        return chance.randbytes(8) + data[8:12] + chance.randbytes(len(data) - 12)

    for _ in range(20):
        check_damaged(damaged_log(3, bad, 1, damage), bad, fetches=200)


def test_two_damaged_batches_in_a_row() -> None:
    log = Log()
    for count in (1, 2, 3, 4):
        log.add(count)
    for place in (1, 2):
        first, last, data = log.batches[place]
        log.batches[place] = (first, last, damaged(data, -1))
    delivered = Reader(log).read_all()
    assert [(batch.intact, batch.next_offset) for batch in delivered] == [
        (True, 1),
        (False, 3),
        (False, 6),
        (True, 10),
    ]


def test_from_the_middle_of_a_damaged_batch() -> None:
    log = damaged_log(3, 5, 2, lambda data: damaged(data, -1))
    delivered = Reader(log, position=6).read_all()
    assert [(batch.intact, batch.next_offset) for batch in delivered] == [(False, 8), (True, 10)]
    assert delivered[0].from_offset == 6


@given(st.binary(max_size=120), st.integers(0, 2**40))
def test_arbitrary_bytes_stop_nothing(data: bytes, position: int) -> None:
    damaged: Damaged = {}
    for _ in range(CORRUPT_BATCH_FETCHES):
        walk = BatchSplitter(data, damaged, _TP, position)
        partition = raw_fetcher._BatchesOfPartition(
            _TP, walk, None, position, None, None, True, _READ_COMMITTED
        )
        delivered = list(partition)
        assert partition.next_fetch_offset >= position
        for batch in delivered:
            assert not batch.intact
            assert batch.next_offset > position


# aiokafka's own parser.


@pytest.mark.parametrize(
    ("magic", "codec"),  # but for lz4 in format 0, which no two programs wrote alike
    [(0, NONE), (0, GZIP), (0, SNAPPY), (1, NONE), (1, GZIP), (1, SNAPPY), (1, LZ4)],
)
def test_messages_of_old_formats(magic: Literal[0, 1], codec: int) -> None:
    records = [Sent(b"ABC%d" % at, b"value" * 20, timestamp_ms=FIRST_MS + at) for at in range(5)]
    log = Log()
    log.add(2)
    if codec:
        log.add_bytes(2, 6, legacy_bytes(records, magic, codec=codec, base_offset=2))
    else:  # each message is a batch of its own
        for offset, record in enumerate(records, 2):
            log.add_bytes(offset, offset, legacy_bytes([record], magic, base_offset=offset))
    log.add(1)
    for position in (0, 4):
        delivered = Reader(log, position=position).read_all()
        expected = [b"KEY0", b"KEY1", *(record.key for record in records), b"KEY7"]
        assert keys(delivered) == expected[position:]
        old = [batch for batch in delivered if batch.magic == magic]
        assert old
        parsed = [record for batch in old for record in parse(batch)]
        assert [record.value for record in parsed] == [record.value for record in records][
            max(position - 2, 0) :
        ]
        if magic == 1:
            assert {record.timestamp_ms for record in parsed} <= set(range(FIRST_MS, FIRST_MS + 5))
        assert all(isinstance(record.timestamp_ms, int) for record in parsed)


def test_a_damaged_message_of_an_old_format() -> None:
    log = Log()
    log.add(2)
    log.add_bytes(2, 2, damaged(legacy_bytes([Sent(b"OLD", b"v")], 1, base_offset=2), -1))
    log.add(1)
    delivered = Reader(log).read_all()
    assert [(batch.intact, batch.next_offset) for batch in delivered] == [
        (True, 2),
        (False, 3),
        (True, 4),
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_parse_gives_records_with_all_their_parts(codec: int) -> None:
    records = [
        Sent(b"A", b"v", (("name", b"x"), ("none", None), ("ключ", b""))),
        Sent(None, None, timestamp_ms=FIRST_MS + 7),
    ]
    batch = raw_batch(batch_bytes(records, base_offset=5, codec=codec))
    assert [tuple(record) for record in map(_fields, parse(batch))] == [
        (5, FIRST_MS, b"A", b"v", records[0].headers),
        (6, FIRST_MS + 7, None, None, ()),
    ]


def _fields(record: Record) -> tuple[Any, ...]:
    return (record.offset, record.timestamp_ms, record.key, record.value, record.headers)


def test_parse_names_the_first_record_that_it_could_not_read() -> None:
    whole = batch_bytes([Sent(b"A", b"v")] * 4, base_offset=10)
    cut = batch_bytes(body=whole[61:-3], record_count=4, last_delta=3, base_offset=10)
    records = parse(raw_batch(cut))
    assert [record.offset for record in itertools.islice(records, 3)] == [10, 11, 12]
    with pytest.raises(BatchError) as caught:
        next(records)
    assert (caught.value.reason, caught.value.next_offset) == ("corrupt_batch", 13)
    with pytest.raises(BatchError) as caught:
        list(parse(raw_batch(batch_bytes(body=b"", record_count=1), from_offset=3)))
    assert caught.value.next_offset == 3


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_parse_of_an_unknown_codec(codec: int) -> None:
    with pytest.raises(BatchError) as caught:
        list(parse(raw_batch(batch_bytes([Sent(b"A", b"v")], codec=codec))))
    assert caught.value.reason == "unknown_codec"


@given(st.binary(max_size=80), st.integers(-5, 5), st.sampled_from([*CODECS, 6]))
def test_parse_of_anything_gives_records_or_a_batch_error(
    body: bytes, count: int, codec: int
) -> None:
    batch = raw_batch(batch_bytes(body=body, record_count=count, codec=codec))
    reason = None
    try:
        list(parse(batch))
    except BatchError as error:
        reason = error.reason
    assert reason in (None, "corrupt_batch", "unknown_codec")
