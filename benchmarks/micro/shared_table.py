"""A hash table that several workers of a host would map from one file, as it changes.

The file is mapped copy-on-write: its pages are shared until a worker writes to them. Entries come
that a sync adds, at random places. "private" is how much of the table is the worker's own then.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measures.figures import Figure, MeasuredCase
from engine.index.hash_table import NO_SLOT, HashTable

_CHANGES = (100, 1_000, 10_000)


def measure(sizes: tuple[int, ...]) -> list[MeasuredCase]:
    """A case for each number of entries."""
    return [_of_size(entries) for entries in sizes]


def _of_size(entries: int) -> MeasuredCase:
    chance = np.random.default_rng(2026)
    table = HashTable()
    following = np.full(entries + _CHANGES[-1], NO_SLOT, dtype=np.int32)
    slots = np.arange(len(following), dtype=np.int32)
    hashes = chance.integers(1, 1 << 63, len(following), dtype=np.uint64)
    table.push_many(hashes[:entries], slots[:entries], following)
    figures = [Figure(name="the table", unit="MiB", values=[table.size_bytes / 2**20])]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("hashes", "slots", "marks"):
            path = Path(folder) / f"{name}.npy"
            np.save(path, getattr(table, name))
            setattr(table, name, np.load(path, mmap_mode="c"))
        before_bytes, begin = _private_bytes(), 0
        for end in _CHANGES:
            changed = slice(entries + begin, entries + end)
            table.push_many(hashes[changed], slots[changed], following)
            private = (_private_bytes() - before_bytes) / 2**20
            figures.append(
                Figure(name=f"private after {end:,} changes", unit="MiB", values=[private])
            )
            begin = end
    return MeasuredCase(case=f"{entries:,} entries", figures=figures)


def _private_bytes() -> int:
    text = Path("/proc/self/smaps_rollup").read_text("ascii")
    return 1024 * sum(map(int, re.findall(r"^Private_Dirty:\s+(\d+) kB", text, re.MULTILINE)))
