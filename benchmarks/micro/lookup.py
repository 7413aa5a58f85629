"""One plate asked for, in nanoseconds: the index beside dict, set and pyroaring alone.

Plates are asked for in random order, half of them listed. Cold means that 1,000 plates are asked
for after the caches were emptied, warm that the same 1,000 are asked for again. What Python calls
per plate pays Python's price for a call; the engine's scanner asks the table from compiled code,
which is the last row.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

from pyroaring import BitMap

from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.micro.material import SEED, plates
from benchmarks.micro.timing import cold_s, warm_s
from engine.index.hash_table import HashTable, hashes_of
from engine.plates.plate_hash import hash_of

_ASKED = 1_000


def measure(sizes: tuple[int, ...]) -> list[MeasuredCase]:
    """A case for each structure and length."""
    return [case for entries in sizes for case in _of_size(entries)]


def _of_size(entries: int) -> list[MeasuredCase]:
    import numpy as np

    every = plates(2 * entries)
    listed = every[:entries]
    chance = random.Random(SEED)
    asked = chance.sample(listed, _ASKED // 2) + chance.sample(every[entries:], _ASKED // 2)
    chance.shuffle(asked)
    hashes = hashes_of(listed)
    as_dict = {plate: slot for slot, plate in enumerate(listed)}
    as_set = set(listed)
    # A bitmap holds numbers, not plates: the low half of the hash stands for the plate, and
    # what it finds is a candidate at best.
    bits = BitMap((hashes & np.uint64(0xFFFFFFFF)).astype(np.uint32))
    table = HashTable()
    table.push_many(
        hashes, np.arange(entries, dtype=np.int32), np.full(entries, -1, dtype=np.int32)
    )
    asked_hashes = hashes_of(asked)
    string_bytes = sum(map(sys.getsizeof, listed[:1000])) / 1000
    a_set_slot = sys.getsizeof(as_set) / entries
    a_dict_slot = sys.getsizeof(as_dict) / entries + sys.getsizeof(1 << 20)
    bitmap_bytes = len(bits.serialize()) / entries
    table_bytes = table.size_bytes / entries

    def ask_dict() -> None:
        for plate in asked:
            as_dict.get(plate)

    def ask_set() -> None:
        for plate in asked:
            _ = plate in as_set

    def ask_bitmap() -> None:
        for plate in asked:
            _ = hash_of(plate.encode()) & 0xFFFFFFFF in bits

    def ask_table() -> None:
        for plate in asked:
            table.get(hash_of(plate.encode()))

    def ask_many() -> None:
        table.get_many(asked_hashes)

    found = {slot for slot in table.get_many(asked_hashes).tolist() if slot >= 0}
    assert found == {as_dict[plate] for plate in asked if plate in as_set}
    return [
        _case(f"dict, {entries:,}", ask_dict, a_dict_slot + string_bytes),
        _case(f"set, {entries:,}", ask_set, a_set_slot + string_bytes),
        _case(f"pyroaring of hashes, {entries:,}", ask_bitmap, bitmap_bytes),
        _case(f"plate table from Python, {entries:,}", ask_table, table_bytes),
        _case(f"plate table, compiled, {entries:,}", ask_many, table_bytes),
    ]


def _case(name: str, ask: Callable[[], None], bytes_each: float) -> MeasuredCase:
    each = 1e9 / _ASKED
    return MeasuredCase(
        case=name,
        figures=[
            Figure(name="warm", unit="ns a plate", values=[warm_s(ask) * each]),
            Figure(name="cold", unit="ns a plate", values=[cold_s(ask) * each]),
            Figure(name="memory", unit="bytes a plate", values=[bytes_each]),
        ],
    )
