"""The matcher's reads, with none of them plain: Python decodes and decides every one."""

from __future__ import annotations

from collections.abc import Iterator

from engine.arrays import Bytes
from engine.documents.read_scan import IS_PLAIN
from engine.matching.plain_reads import PlainReads, PlainStep
from engine.wire.record_decoder import Rows


class NoPlainReads(PlainReads):
    """See the module."""

    def steps(self, data: Bytes, rows: Rows, look_every: int) -> Iterator[PlainStep]:
        for step in super().steps(data, rows, look_every):
            step.found[:, IS_PLAIN] = 0
            yield PlainStep(data.data, step.rows, step.found, step.written)
