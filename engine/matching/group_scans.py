"""The groups of a fetch's batches, decompressed and scanned by the caller and by one more thread.

The thread that takes a group does both. Its records then stay in the cache of one core. When one
thread decompressed and the other scanned, the two took 40% more processor time.

The caller asks for the groups in order. While the other thread has the group that is asked for, the
caller takes the next one. So two free cores are both used, and nothing is lost if there is one.

A scan depends on the tables of the index. `pause` stops scanning while they change, and drops the
scans that were made ahead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from engine import limits
from engine.arrays import Bytes
from engine.index.fuzzy_index import ScanTables
from engine.index.hash_table import HashTable
from engine.matching.scanner import Scanner
from engine.wire.decompress import CodecError, Decompressor
from engine.wire.record_batch import RawBatch
from engine.wire.record_decoder import Malformed, Rows, TooManyRecords

#: Batches of one codec that are decompressed and scanned at once.
Group = Sequence[RawBatch]

_TO_DO, _TAKEN, _DONE = range(3)


class ScanArguments(NamedTuple):
    """What a scan depends on beside its batches; see `Scanner`."""

    table: HashTable
    scan_tables: ScanTables
    sample_every: int


class Scanned(NamedTuple):
    """A group's records, the rows of those that Python must process, and how many there are."""

    data: Bytes
    rows: Rows
    seen: int


class GroupScanner:
    """Decompresses and scans one group after the other into reused buffers, for one thread at a
    time. Records above the limit are not decompressed."""

    def __init__(self, limit_bytes: int = limits.BATCH_BYTES) -> None:
        self.decompressor: Final = Decompressor(limit_bytes)
        self.scanner: Final = Scanner(0)

    def scan(self, group: Group, arguments: ScanArguments) -> Scanned:
        """Return the scan of a group, valid until the next one.

        Raises CodecError, Malformed and TooManyRecords.
        """
        data = self.decompressor.decompress(group[0].codec, *(batch.records for batch in group))
        table, scan_tables, self.scanner.sample_every = arguments
        return Scanned(data, *self.scanner.scan(group, data, table, scan_tables))

    def scrub(self) -> None:
        """Wipe the buffers. What was scanned last is no longer valid afterwards."""
        self.decompressor.scrub()
        self.scanner.scrub()


class GroupScans:
    """See the module. Belongs to one thread, which closes it at the end."""

    def __init__(self) -> None:
        self._scanners = [GroupScanner(limits.AHEAD_BYTES) for _ in range(limits.GROUPS_AHEAD + 1)]
        #: Guards all that follows.
        self._turn = threading.Condition()
        self._groups: Sequence[Group] = ()
        self._arguments: ScanArguments | None = None  # None while the tables may change
        self._states: list[int] = []
        self._scans: list[Scanned | BaseException | None] = []
        #: The group that was asked for last.
        self._first = 0
        #: What else the thread has to do.
        self._call: Callable[[], None] | None = None
        self._call_error: BaseException | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="scanner", daemon=True)
        self._thread.start()

    @contextmanager
    def of(self, groups: Sequence[Group]) -> Generator[None]:
        """Take scans of these groups within the block."""
        with self._turn:
            self._groups = groups
            self._states = [_TO_DO] * len(groups)
            self._scans = [None] * len(groups)
            self._first = 0
        try:
            yield
        finally:
            self.pause()
            with self._turn:
                self._groups, self._states, self._scans = (), [], []

    def get(self, number: int, arguments: Callable[[], ScanArguments]) -> Scanned | None:
        """Return the scan of a group, valid until the next one is asked for. Ask in order.

        Returns None if the group is damaged, of an old format or too large, or does not follow the
        format. Raises any other error of either thread, such as MemoryError. `arguments` is called
        for the first group, and after each `pause`.
        """
        with self._turn:
            if self._arguments is None:
                self._arguments = arguments()
            self._first = number
            self._turn.notify_all()
        while (mine := self._take(number)) is not None:
            self._do(mine)
        scan = self._scans[number]
        if isinstance(scan, BaseException):
            raise scan
        return scan

    def pause(self) -> None:
        """Stop scanning until the next `get`, and drop what was scanned ahead."""
        with self._turn:
            self._arguments = None
            self._turn.wait_for(lambda: _TAKEN not in self._states)
            for number in range(self._first + 1, len(self._states)):
                self._states[number], self._scans[number] = _TO_DO, None

    def scrub(self) -> None:
        """Wipe the buffers, and what the codecs leave on the thread's stack."""

        def scrub() -> None:
            for scanner in self._scanners:
                scanner.scrub()

        with self._turn:
            self._call, self._call_error = scrub, None
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._call is None)
            if self._call_error is not None:
                raise self._call_error

    def close(self) -> None:
        """End the thread."""
        with self._turn:
            self._is_closed = True
            self._turn.notify_all()
        self._thread.join()

    def _take(self, wanted: int) -> int | None:
        """Take a group for the caller, which needs one of them; None once that is done."""
        with self._turn:
            while self._states[wanted] != _DONE:
                if (mine := self._next()) is not None:
                    return mine
                self._turn.wait()
            return None

    def _next(self) -> int | None:
        """Take the next group whose buffers are free, if there is one. Hold the lock."""
        if self._arguments is not None:
            end = min(self._first + len(self._scanners), len(self._groups))
            for number in range(self._first, end):
                if self._states[number] == _TO_DO:
                    self._states[number] = _TAKEN
                    return number
        return None

    def _do(self, number: int) -> None:
        assert self._arguments is not None
        scan: Scanned | BaseException | None
        try:
            scanner = self._scanners[number % len(self._scanners)]
            scan = _scanned(scanner, self._groups[number], self._arguments)
        except BaseException as error:  # noqa: BLE001 - the caller's, as executors do
            scan = error
        with self._turn:
            self._scans[number], self._states[number] = scan, _DONE
            self._turn.notify_all()

    def _run(self) -> None:
        while True:
            with self._turn:
                while not self._is_closed and self._call is None:
                    if (number := self._next()) is not None:
                        break
                    self._turn.wait()
                if self._is_closed:
                    return
                call = self._call
            if call is None:
                assert number is not None
                self._do(number)
                continue
            error: BaseException | None = None
            try:
                call()
            except BaseException as raised:  # noqa: BLE001 - the caller's, as executors do
                error = raised
            with self._turn:
                self._call, self._call_error = None, error
                self._turn.notify_all()


def _scanned(scanner: GroupScanner, group: Group, arguments: ScanArguments) -> Scanned | None:
    if sum(batch.record_count for batch in group) > limits.AHEAD_RECORDS:
        return None
    if not all(batch.is_scannable for batch in group):
        return None
    try:
        return scanner.scan(group, arguments)
    except (CodecError, Malformed, TooManyRecords):
        return None
