"""Nanoseconds a read in the scanner, by length of the hot list.

Cold means that the table comes from memory and the reads from cache, as after decompression.
"""

from __future__ import annotations

from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.micro.material import batch_of, reads, table_of
from benchmarks.micro.timing import cold_s, warm_s
from engine.matching.scanner import Scanner
from engine.wire.decompress import Decompressor

_BATCH_READS = 850
_SAMPLE_EVERY = 1024


def measure(sizes: tuple[int, ...]) -> list[MeasuredCase]:
    """One case a length."""
    batch = batch_of(reads(_BATCH_READS), "none")
    data = Decompressor().decompress(batch.codec, batch.records)
    scanner = Scanner(_SAMPLE_EVERY)
    cases = []
    for entries in sizes:
        table = table_of(entries)

        def scan(table: object = table) -> None:
            scanner.scan([batch], data, table)  # type: ignore[arg-type]

        a_read = 1e9 / _BATCH_READS
        cases.append(
            MeasuredCase(
                case=f"{entries:,} entries",
                figures=[
                    Figure(name="warm", unit="ns a read", values=[warm_s(scan) * a_read]),
                    Figure(name="cold", unit="ns a read", values=[cold_s(scan, data.sum) * a_read]),
                    Figure(name="table", unit="MiB", values=[table.size_bytes / 2**20]),
                ],
            )
        )
    return cases
