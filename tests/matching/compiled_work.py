"""What `test_compiled_work` counts: the compiled loops over the same reads, case by case.

Without an argument it only compiles the loop. With `counted` it must run under callgrind. It calls
`getppid` before and after each case, so that callgrind writes one file for each part, and prints
the names of the cases in their order.
"""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from engine import limits
from engine.documents.fields import ALTERNATES_HEADER
from engine.index.fuzzy_index import NOTHING_SIMILAR, ScanTables, Similar
from engine.index.hash_table import HashTable, hashes_of
from engine.matching.scanner import Scanner
from engine.plates.misreads import Misreads
from engine.wire.decompress import Decompressor
from tests.fakes.documents import NOW_MS
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch, raw_fetch
from tests.matching.test_work import LISTED, a_matcher, reads

#: Enough that the call itself, which is Python, is less than a hundredth of a case.
READS: Final = 4_000
ENTRIES: Final = 1_000
_LETTERS: Final = "ABCDEFGHJKLMNPRSTUVWXYZ"
_VALUE: Final = b"{" + b" " * 300 + b"}"


class _Asking(NamedTuple):
    plate: str
    confusables: bool = False
    distance: int = 0
    region: str | None = None


class Case(NamedTuple):
    """One case: the keys of the reads, and the tables that are asked for them."""

    name: str
    reads: Sequence[Sent]
    table: HashTable
    scan_tables: ScanTables


def cases() -> list[Case]:
    """All cases. They are the same in every process."""
    chance = random.Random(2026)

    def plate() -> str:
        return "".join(chance.choices(_LETTERS, k=3)) + f"{chance.randrange(10_000):04}"

    listed = [plate() for _ in range(ENTRIES)]
    table = HashTable()
    table.push_many(
        hashes_of(listed),
        np.arange(ENTRIES, dtype=np.int32),
        np.zeros(ENTRIES, dtype=np.int32),
    )
    others = [_read(plate()) for _ in range(READS)]
    hits = [_read(listed[number % ENTRIES]) for number in range(READS)]
    asking = [each._replace(headers=((ALTERNATES_HEADER, plate().encode()),)) for each in others]
    alike = _similar([_Asking(each, confusables=True) for each in listed])
    apart = _similar([_Asking(each, distance=1) for each in listed])
    partial = _similar([_Asking(f"{each[:2]}?{each[3:5]}??") for each in listed])
    return [
        Case("not listed", others, table, NOTHING_SIMILAR),
        Case("listed", hits, table, NOTHING_SIMILAR),
        Case("with an alternate", asking, table, NOTHING_SIMILAR),
        Case("beside look-alikes", others, table, alike),
        Case("beside one misread", others, table, apart),
        Case("beside partial plates", others, table, partial),
    ]


def _read(plate: str) -> Sent:
    return Sent(key=plate.encode(), value=_VALUE)


def _similar(asking: Sequence[_Asking]) -> ScanTables:
    similar = Similar(Misreads.load())
    similar.put(enumerate(asking))
    return similar.scan_tables


def main() -> None:
    """Do each case once between two calls of `getppid`."""
    prepared = [*map(_prepared, cases()), ("matched", _matched())]
    gc.disable()
    if sys.argv[1:] == ["counted"]:
        # Only now: callgrind would take half a minute for the imports.
        subprocess.run(
            ["callgrind_control", "--instr=on", str(os.getpid())], check=True, capture_output=True
        )
    for name, call in prepared:
        os.getppid()
        call()
        os.getppid()
        print(name)
    sys.stdout.flush()
    os._exit(0)  # nothing that follows is of interest


def _prepared(case: Case) -> tuple[str, Callable[[], object]]:
    batch = raw_batch(batch_bytes(case.reads))
    data = Decompressor().decompress(batch.codec, batch.records)
    scan = partial(Scanner(0).scan, [batch], data, case.table, case.scan_tables)
    scan()
    return case.name, scan


def _matched() -> Callable[[], object]:
    """What matches reads of listed plates, Python's part among it: all of them are like earlier
    ones."""
    vars(limits)["OUTCOME_BYTES"] = limits.MIB * READS  # all of them in one outcome
    fetch = raw_fetch(raw_batch(batch_bytes(reads(LISTED * (READS // len(LISTED))))))
    match = partial(a_matcher().process, fetch, NOW_MS)
    for _ in range(3):
        outcome = match()
    assert len(outcome.matches) == READS
    return match


if __name__ == "__main__":
    main()
