"""Decompression ahead of the scan, beside `Decompressor` itself."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from engine import limits
from engine.arrays import Bytes
from engine.wire import decompressor_thread
from engine.wire.decompress import Decompressor
from engine.wire.decompressor_thread import DecompressorThread, Group
from engine.wire.record_batch import RawBatch
from tests.fakes.record_batches import (
    CODECS,
    GZIP,
    LZ4,
    NONE,
    SNAPPY,
    ZSTD,
    Sent,
    batch_bytes,
    compress,
    raw_batch,
)

_MANY = 4 * limits.GROUPS_AHEAD + 3


@pytest.fixture
def thread() -> Iterator[DecompressorThread]:
    with closing(DecompressorThread()) as made:
        yield made
    assert not made._thread.is_alive()


def batch(number: int, codec: int, size_bytes: int = 3_000) -> RawBatch:
    value = random.Random(number).randbytes(size_bytes // 2) + bytes(size_bytes // 2)
    return raw_batch(batch_bytes([Sent(b"key", value)], codec=codec, base_offset=number))


def plain(group: Group) -> bytes:
    return bytes(Decompressor().decompress(group[0].codec, *(batch.records for batch in group)))


def taken(thread: DecompressorThread, groups: Sequence[Group]) -> list[bytes | None]:
    with closing(thread.decompressed(groups)) as found:
        result = []
        for number, (group, data) in enumerate(found):
            assert group is groups[number]
            result.append(None if data is None else bytes(data))
        return result


def runs_out_of_memory(call: Callable[[], object]) -> bool:
    """Return whether a call raises MemoryError. One that waits for ever does not."""
    met = threading.Event()

    def run() -> None:
        try:
            call()
        except MemoryError:
            met.set()

    calling = threading.Thread(target=run, daemon=True)
    calling.start()
    calling.join(60)
    return met.is_set()


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("count", [1, 2, _MANY])
def test_groups_come_in_order_with_their_records(
    thread: DecompressorThread, codec: int, count: int
) -> None:
    groups = [[batch(number, codec, 3_000 * (number % 7 + 1))] for number in range(count)]
    assert taken(thread, groups) == [plain(group) for group in groups]
    assert taken(thread, groups[::-1]) == [plain(group) for group in groups[::-1]]
    assert taken(thread, []) == []


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_the_batches_of_a_group_are_joined(thread: DecompressorThread, codec: int) -> None:
    groups = [[batch(number, codec), batch(number + 1, codec)] for number in range(_MANY)]
    assert taken(thread, groups) == [plain(group) for group in groups]


def test_records_are_read_only_and_stay_until_the_next_group(thread: DecompressorThread) -> None:
    groups = [[batch(number, LZ4)] for number in range(_MANY)]
    with closing(thread.decompressed(groups)) as found:
        for number, (group, data) in enumerate(found):
            ahead = min(limits.GROUPS_AHEAD, _MANY - 1 - number)
            deadline_s = time.monotonic() + 60
            while thread._answers.qsize() < ahead:
                assert time.monotonic() < deadline_s
                time.sleep(0.001)
            assert data is not None
            assert not data.flags.writeable
            assert bytes(data) == plain(group)


@pytest.mark.parametrize("fault", ["plain", "broken", "damaged", "old", "large", "unknown"])
def test_what_is_left_to_the_caller(thread: DecompressorThread, fault: str) -> None:
    one = batch(1, LZ4)
    match fault:
        case "plain":
            left = batch(1, NONE)
        case "broken":
            left = raw_batch(batch_bytes(body=b"no frame", codec=LZ4, record_count=1))
        case "damaged":
            left = raw_batch(bytes(one.data), intact=False)
        case "old":
            left = replace(one, magic=1)
        case "large":
            body = compress(ZSTD, bytes(limits.AHEAD_BYTES + 1))
            left = raw_batch(batch_bytes(body=body, codec=ZSTD, record_count=1))
        case _:
            left = raw_batch(batch_bytes(body=b"data", codec=len(CODECS), record_count=1))
    good = [[batch(number, LZ4)] for number in range(_MANY)]
    expected: list[bytes | None] = [plain(group) for group in good]
    for at in (0, 1, _MANY):
        groups = [*good[:at], [left], *good[at:]]
        assert taken(thread, groups) == [*expected[:at], None, *expected[at:]]


@pytest.mark.parametrize("after", range(limits.GROUPS_AHEAD + 2))
def test_who_stops_early_gets_no_answers_of_before(thread: DecompressorThread, after: int) -> None:
    groups = [[batch(number, LZ4)] for number in range(_MANY)]
    with closing(thread.decompressed(groups)) as found:
        for _ in range(after):
            next(found)
    with closing(thread.decompressed(groups)) as found:
        next(found)
        with pytest.raises(ZeroDivisionError), closing(found):
            raise ZeroDivisionError
    assert taken(thread, groups[5:]) == [plain(group) for group in groups[5:]]


def test_a_scrub_leaves_nothing_in_any_buffer(thread: DecompressorThread) -> None:
    with closing(thread.decompressed([[batch(number, LZ4)] for number in range(_MANY)])) as found:
        buffers = [data for _, data in found if data is not None]
    assert all(buffer.any() for buffer in buffers)
    thread.scrub()
    assert not any(buffer.any() for buffer in buffers)
    groups = [[batch(1, ZSTD)]]
    assert taken(thread, groups) == [plain(group) for group in groups]


@pytest.mark.parametrize("at", range(limits.GROUPS_AHEAD + 2))
def test_any_other_error_is_raised_in_the_caller(
    thread: DecompressorThread, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    groups = [[batch(number, LZ4)] for number in range(_MANY)]
    decompress = decompressor_thread._decompress

    def short_of_memory(group: Group, buffer: Decompressor) -> Bytes | None:
        if group is groups[at]:
            raise MemoryError
        return decompress(group, buffer)

    monkeypatch.setattr(decompressor_thread, "_decompress", short_of_memory)
    assert runs_out_of_memory(lambda: taken(thread, groups))
    # What was asked for meanwhile is not an answer to what is asked for next.
    rest = groups[at + 1 :]
    assert taken(thread, rest) == [plain(group) for group in rest]


def test_an_error_of_a_scrub_is_raised_in_the_caller(thread: DecompressorThread) -> None:
    class Broken(Decompressor):
        def scrub(self) -> None:
            raise MemoryError

    thread._buffers[-1] = Broken()
    assert runs_out_of_memory(thread.scrub)
