"""Groups decompressed and scanned by two threads, beside one scanner alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import NamedTuple

import pytest

from engine import limits
from engine.index.fuzzy_index import NOTHING_SIMILAR
from engine.index.hash_table import HashTable
from engine.matching import group_scans
from engine.matching.group_scans import (
    Group,
    GroupScanner,
    GroupScans,
    ScanArguments,
    Scanned,
)
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
#: All reads are sampled, so that each has a row.
_ALL = ScanArguments(HashTable(), NOTHING_SIMILAR, 1)
_NONE = ScanArguments(HashTable(), NOTHING_SIMILAR, 0)


class Copied(NamedTuple):
    """A scan that stays."""

    data: bytes
    rows: list[list[int]]
    seen: int


@pytest.fixture
def scans() -> Iterator[GroupScans]:
    with closing(GroupScans()) as made:
        yield made
    assert not made._thread.is_alive()


def batch(number: int, codec: int, size_bytes: int = 3_000) -> RawBatch:
    value = random.Random(number).randbytes(size_bytes // 2) + bytes(size_bytes // 2)
    return raw_batch(batch_bytes([Sent(b"KEY", value)], codec=codec, base_offset=number))


def many() -> list[list[RawBatch]]:
    return [[batch(number, LZ4)] for number in range(_MANY)]


def copied(scan: Scanned | None) -> Copied | None:
    return None if scan is None else Copied(bytes(scan.data), scan.rows.tolist(), scan.seen)


def alone(group: Group, arguments: ScanArguments = _ALL) -> Copied | None:
    return copied(GroupScanner().scan(group, arguments))


def taken(
    scans: GroupScans, groups: Sequence[Group], arguments: ScanArguments = _ALL
) -> list[Copied | None]:
    with scans.of(groups):
        return [copied(scans.get(number, lambda: arguments)) for number in range(len(groups))]


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


@pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("count", [1, 2, _MANY])
def test_groups_come_in_order_with_their_scans(scans: GroupScans, codec: int, count: int) -> None:
    groups = [[batch(number, codec, 3_000 * (number % 7 + 1))] for number in range(count)]
    assert taken(scans, groups) == [alone(group) for group in groups]
    assert taken(scans, groups[::-1]) == [alone(group) for group in groups[::-1]]
    assert taken(scans, []) == []


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_the_batches_of_a_group_are_scanned_at_once(scans: GroupScans, codec: int) -> None:
    groups = [[batch(number, codec), batch(number + 1, codec)] for number in range(_MANY)]
    found = taken(scans, groups)
    assert found == [alone(group) for group in groups]
    assert {scan.seen for scan in found if scan is not None} == {2}


@pytest.mark.parametrize("fault", ["broken", "damaged", "old", "large", "unknown", "many", "short"])
def test_what_is_left_to_the_caller(
    scans: GroupScans, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = batch(1, LZ4)
    match fault:
        case "broken":
            left = raw_batch(batch_bytes(body=b"no frame", codec=LZ4, record_count=1))
        case "damaged":
            left = raw_batch(bytes(one.data), intact=False)
        case "old":
            left = replace(one, magic=1)
        case "large":
            body = compress(ZSTD, bytes(limits.AHEAD_BYTES + 1))
            left = raw_batch(batch_bytes(body=body, codec=ZSTD, record_count=1))
        case "many":
            monkeypatch.setattr(limits, "AHEAD_RECORDS", 1)
            left = raw_batch(batch_bytes([Sent(b"KEY", b"value")] * 2, codec=LZ4))
        case "short":
            left = replace(one, record_count=2)
        case _:
            left = raw_batch(batch_bytes(body=b"data", codec=len(CODECS), record_count=1))
    good = many()
    expected = [alone(group) for group in good]
    for at in (0, 1, _MANY):
        groups = [*good[:at], [left], *good[at:]]
        assert taken(scans, groups) == [*expected[:at], None, *expected[at:]]


@pytest.mark.parametrize("after", range(limits.GROUPS_AHEAD + 2))
def test_who_stops_early_gets_no_scans_of_before(scans: GroupScans, after: int) -> None:
    groups = many()
    with scans.of(groups):
        for number in range(after):
            scans.get(number, lambda: _ALL)
    with suppress(ZeroDivisionError), scans.of(groups):
        scans.get(0, lambda: _ALL)
        raise ZeroDivisionError
    assert taken(scans, groups[5:]) == [alone(group) for group in groups[5:]]


class Trail:
    """Notes which groups are scanned, and by which thread. The other thread waits for `go` with
    each one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, groups: Sequence[Group]) -> None:
        self.caller = threading.current_thread()
        self.by_caller: list[int] = []
        self.began = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        number_of = {id(group): number for number, group in enumerate(groups)}
        scanned = group_scans._scanned

        def noted(scanner: GroupScanner, group: Group, arguments: ScanArguments) -> Scanned | None:
            if threading.current_thread() is self.caller:
                self.by_caller.append(number_of[id(group)])
            else:
                self.began.release()
                assert self.go.acquire(timeout=60)
            return scanned(scanner, group, arguments)

        monkeypatch.setattr(group_scans, "_scanned", noted)

    def other_has_one(self) -> None:
        assert self.began.acquire(timeout=60)


def test_the_caller_goes_on_while_the_other_thread_has_the_group_that_it_needs(
    scans: GroupScans, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = many()
    trail = Trail(monkeypatch, groups)
    with scans.of(groups):
        first = copied(scans.get(0, lambda: _ALL))
        trail.other_has_one()
        threading.Timer(0.05, trail.go.release, (_MANY,)).start()
        rest = [copied(scans.get(number, lambda: _ALL)) for number in range(1, _MANY)]
    assert [first, *rest] == [alone(group) for group in groups]
    assert trail.by_caller[0] == 0
    assert len(trail.by_caller) > 1
    assert len(trail.by_caller) < _MANY


def test_nothing_is_scanned_during_a_pause_and_all_of_the_rest_after_it(
    scans: GroupScans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the tables takes effect on each group that is asked for afterwards."""
    groups = many()
    trail = Trail(monkeypatch, groups)
    with scans.of(groups):
        assert copied(scans.get(0, lambda: _NONE)) == alone(groups[0], _NONE)
        trail.other_has_one()
        threading.Timer(0.05, trail.go.release).start()
        scans.pause()
        assert not trail.began.acquire(timeout=0.2)
        trail.go.release(_MANY)
        for number in range(1, _MANY):
            assert copied(scans.get(number, lambda: _ALL)) == alone(groups[number], _ALL)


def test_a_scan_stays_during_a_pause(scans: GroupScans) -> None:
    groups = many()
    with scans.of(groups):
        for number in range(_MANY):
            scan = scans.get(number, lambda: _ALL)
            scans.pause()
            assert copied(scan) == alone(groups[number])


def test_a_scrub_leaves_nothing_in_any_buffer(scans: GroupScans) -> None:
    with scans.of(groups := many()):
        found = [scans.get(number, lambda: _ALL) for number in range(len(groups))]
    buffers = [array for scan in found if scan is not None for array in (scan.data, scan.rows)]
    assert len(buffers) == 2 * _MANY
    assert all(buffer.any() for buffer in buffers)
    scans.scrub()
    assert not any(buffer.any() for buffer in buffers)
    assert taken(scans, [[batch(1, ZSTD)]]) == [alone([batch(1, ZSTD)])]


@pytest.mark.parametrize("at", range(limits.GROUPS_AHEAD + 2))
@pytest.mark.parametrize("is_other", [False, True], ids=["caller", "other thread"])
def test_any_other_error_is_raised_in_the_caller(
    scans: GroupScans, monkeypatch: pytest.MonkeyPatch, at: int, is_other: bool
) -> None:
    groups = many()
    scanned = group_scans._scanned
    other, raised = scans._thread, threading.Event()

    def short_of_memory(  # from a group on, in one thread, which the other one waits for
        scanner: GroupScanner, group: Group, arguments: ScanArguments
    ) -> Scanned | None:
        is_mine = (threading.current_thread() is other) == is_other
        if [*map(id, groups)].index(id(group)) >= at:
            if is_mine:
                raised.set()
                raise MemoryError
            assert raised.wait(60)
        return scanned(scanner, group, arguments)

    monkeypatch.setattr(group_scans, "_scanned", short_of_memory)
    assert runs_out_of_memory(lambda: taken(scans, groups))
    monkeypatch.undo()
    # What was scanned meanwhile is not a scan of what is asked for next.
    rest = groups[at + 1 :]
    assert taken(scans, rest) == [alone(group) for group in rest]


def test_an_error_of_a_scrub_is_raised_in_the_caller(scans: GroupScans) -> None:
    class Broken(GroupScanner):
        def scrub(self) -> None:
            raise MemoryError

    scans._scanners[-1] = Broken()
    assert runs_out_of_memory(scans.scrub)
    assert taken(scans, many()[:1]) == [alone(group) for group in many()[:1]]
