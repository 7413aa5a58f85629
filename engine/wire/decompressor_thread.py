"""Decompression some groups of batches ahead, on a thread of its own.

While the matcher scans a group, without the GIL, the thread decompresses the next ones. It has a
buffer for each of them, and one for the group that is being scanned. A group that is too large for
such a buffer, or that cannot be decompressed, is left to the caller. Any other error of the thread,
such as MemoryError, is raised in the caller: it would otherwise wait for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from queue import SimpleQueue
from typing import Final

from engine import limits
from engine.arrays import Bytes
from engine.wire.decompress import CodecError, Decompressor
from engine.wire.record_batch import RawBatch

#: Batches of one codec that are decompressed and scanned at once.
Group = Sequence[RawBatch]

_PLAIN: Final = 0


class DecompressorThread:
    """See the module. Belongs to one other thread, which closes it at the end."""

    def __init__(self) -> None:
        self._buffers = [Decompressor(limits.AHEAD_BYTES) for _ in range(limits.GROUPS_AHEAD + 1)]
        self._asked: SimpleQueue[Callable[[], Bytes | None] | None] = SimpleQueue()
        self._answers: SimpleQueue[Bytes | BaseException | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="decompressor", daemon=True)
        self._thread.start()

    def decompressed(self, groups: Sequence[Group]) -> Generator[tuple[Group, Bytes | None]]:
        """Yield each group with its records, as `Decompressor.decompress` returns them.

        They are valid until the next group is asked for. None if the caller has to decompress them.
        Close the iterator.
        """
        asked = answered = 0
        try:
            for number, group in enumerate(groups):
                while asked < len(groups) and asked <= number + limits.GROUPS_AHEAD:
                    self._ask(groups[asked], asked)
                    asked += 1
                answered += 1
                yield group, self._answer()
        finally:
            for _ in range(asked - answered):
                self._answers.get()

    def scrub(self) -> None:
        """Wipe the buffers, and what the codecs leave on the thread's stack."""

        def scrub() -> None:
            for buffer in self._buffers:
                buffer.scrub()

        self._asked.put(scrub)
        self._answer()

    def close(self) -> None:
        """End the thread."""
        self._asked.put(None)
        self._thread.join()

    def _ask(self, group: Group, number: int) -> None:
        buffer = self._buffers[number % len(self._buffers)]

        def decompress() -> Bytes | None:
            return _decompress(group, buffer)

        self._asked.put(decompress)

    def _answer(self) -> Bytes | None:
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            answer: Bytes | BaseException | None
            try:
                answer = asked()
            except BaseException as error:  # noqa: BLE001 - the caller's, as executors do
                answer = error
            del asked
            self._answers.put(answer)
            del answer


def _decompress(group: Group, buffer: Decompressor) -> Bytes | None:
    codec = group[0].codec
    if codec == _PLAIN or not all(batch.is_scannable for batch in group):
        return None
    try:
        return buffer.decompress(codec, *(batch.records for batch in group))
    except CodecError:
        return None
