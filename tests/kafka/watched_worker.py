"""A worker that shows what it holds: every log line at debug level, and its heap when asked.

Run as `python -m tests.kafka.watched_worker DIRECTORY worker ...`. When a file named `wanted`
comes into the directory, every text and every buffer that is reachable in the process goes into
a file named after what `wanted` holds.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from engine.cli import main
from engine.transport import memory
from engine.worker import main as worker_main

_POLL_S = 0.05
#: Each piece of a dump begins at a multiple of this, so that numbers in it can be looked for.
_ALIGNED = 8


def heap(own_threads: Iterable[int] = ()) -> Iterator[bytes]:
    """The bytes of every text, bytes and buffer that is reachable, whole ones where it is a view.

    All objects that Python's collector knows, what the frames of all threads hold (but for
    `own_threads`), and whatever these refer to.
    """
    gc.unfreeze()  # what is frozen is not shown
    found: list[Any] = [
        each for each in gc.get_objects() if not (isinstance(each, FrameType) and _is_ours(each))
    ]
    for thread, frame in sys._current_frames().items():
        if thread not in own_threads:
            found += _frames(frame)
    own = {id(found)}
    seen: set[int] = set()
    while found:
        thing = found.pop()
        if id(thing) in seen or id(thing) in own:
            continue
        seen.add(id(thing))
        data = _data(thing)
        if data is not None:
            yield data
        if isinstance(thing, FrameType):
            found.extend(thing.f_locals.values())
        elif isinstance(thing, np.ndarray):
            found.append(thing.base)
        elif isinstance(thing, memoryview):
            with contextlib.suppress(ValueError):  # of one that is released
                found.append(thing.obj)
        if not isinstance(thing, FrameType):
            found.extend(gc.get_referents(thing))


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename == __file__


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _data(thing: object) -> bytes | None:
    """What lies in a text or a buffer; None for anything else."""
    if isinstance(thing, str):
        return thing.encode(errors="surrogatepass")
    if isinstance(thing, np.ndarray):
        return ctypes.string_at(thing.ctypes.data, thing.nbytes) if _is_owner(thing) else None
    if isinstance(thing, bytes | bytearray):
        return bytes(thing)
    try:
        return bytes(memoryview(thing))  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return None


def _is_owner(array: np.ndarray[Any, Any]) -> bool:
    """Whether the memory is the array's own: a view's lies in its base."""
    return array.base is None and array.dtype != object


def _watch(directory: Path) -> None:
    wanted = directory / "wanted"
    while True:
        time.sleep(_POLL_S)
        try:
            name = wanted.read_text()
            wanted.unlink()
        except OSError:
            continue
        dump(directory / name)


def dump(path: Path) -> None:
    """Write the heap to a file, which is there when it is whole."""
    gc.collect()
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        for data in heap({threading.get_ident()}):
            file.write(data)
            file.write(b"\n" * (_ALIGNED - len(data) % _ALIGNED))
    unfinished.rename(path)


def run() -> None:
    """Run the command line; nothing that it does sets a log level."""
    directory = Path(sys.argv.pop(1))

    def begin_and_watch() -> None:
        memory.settle_memory()  # before there are threads
        threading.Thread(target=_watch, args=(directory,), daemon=True).start()

    vars(worker_main)["settle_memory"] = begin_and_watch
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    logging.Logger.setLevel = lambda self, level: None  # type: ignore[method-assign]
    # The compiler's own log: a hundred megabytes before the first read, where nothing is cached.
    logging.getLogger("numba").propagate = False
    main()


if __name__ == "__main__":
    run()
