"""A read that matches nothing leaves nothing behind.

A worker takes reads of every kind and in every codec; none of them matches. Each has a text of its
own in each of its fields and headers. Then all that the worker wrote and all that it holds is
searched for these texts and for the hashes of the plates: the topics, the log at debug level, the
metrics in each format, the status page, the spans, every file, and the heap. The same search finds
what may be found: a plate that is listed and a read that matched.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import limits
from engine.kafka.topics import Topics
from engine.plates.plate_hash import hash_of
from tests.fakes.collector import collecting
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import sent
from tests.kafka.records import ToSend, produce, read_topic, until
from tests.kafka.worker_process import WorkerProcess
from tests.serving.test_registry import FORMATS

#: Uncompressed last, because what a fetch brought may be held on to until the next one comes.
_CODECS = ("gzip", "snappy", "lz4", "zstd", None)
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
#: How all plates and read ids here begin, so that one search finds all of them.
_PLATE_MARK, _READ_MARK = "QZX", "rid-"
_MARKED = re.compile(rb"(?i)QZX[A-Z0-9-]{10,12}|rid-[0-9a-f]{16}")
#: Reads of each kind, in each codec and partition.
_READS = 300
_ODD_READS = 8


class Traces:
    """What is looked for: plates as they were sent, read ids, and hashes of plates."""

    def __init__(self) -> None:
        self.texts: set[bytes] = set()
        self.hashes: set[bytes] = set()

    def plate(self) -> str:
        """A plate that nobody else has."""
        plate = _PLATE_MARK + "".join(secrets.choice(_LETTERS) for _ in range(10))
        self.texts.add(plate.encode())
        self.hashes.add(hash_of(plate.encode()).to_bytes(8, sys.byteorder))
        return plate

    def text(self) -> str:
        """A text that no other field has."""
        text = _READ_MARK + secrets.token_hex(8)
        self.texts.add(text.encode())
        return text

    def read(self, plate: str, **fields: Any) -> bytes:
        """A read as JSON, with a text of its own in each field that takes one."""
        self.texts.add(plate.encode())
        marked = {
            "read_id": self.text(),
            "source": self.text(),
            "camera": self.text(),
            "vehicle": {"make": self.text(), "color": self.text()},
            "images": [{"kind": "plate", "uri": f"https://{self.text()}/"}],
            self.text(): self.text(),
        }
        return orjson.dumps(a_read(**{"plate": plate, **marked, **fields}))

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """Headers of a sampled trace, with a text of their own."""
        parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        return ("traceparent", parent.encode()), ("tracestate", f"a={self.text()}".encode())

    def found_in(self, data: bytes) -> set[bytes]:
        """Those of the texts that the data holds, and hashes that lie in it as numbers."""
        texts = self.texts & {found.group() for found in _MARKED.finditer(data)}
        return texts | {each for each in self._hashed(data) if each in self.hashes}

    def _hashed(self, data: bytes) -> Iterable[bytes]:
        # Where a hash lies, it lies in an array of numbers or of rows of numbers.
        return (data[at : at + 8] for at in range(0, len(data) - 7, 8)) if self.hashes else ()


class Town:
    """An entry whose plate is read and matches, one that a policy denies, and all the others."""

    def __init__(self) -> None:
        self.allowed = Traces()
        self.traces = Traces()
        self.listed, self.denied = self.allowed.plate(), self.allowed.plate()
        self.entries = sent(
            an_entry(plate=self.listed), an_entry(entry_id="E-2", plate=self.denied)
        )
        self.match = ToSend(
            self.listed.encode(),
            self.allowed.read(self.listed, source="city"),
            self.allowed.headers(),
        )

    def reads(self) -> dict[int, list[ToSend]]:
        """Reads for each partition, of which none matches."""
        return {partition: list(self._of_partition()) for partition in range(4)}

    def _of_partition(self) -> Iterable[ToSend]:
        traces = self.traces
        for number in range(_READS):
            plate = traces.plate()
            yield ToSend(plate.encode(), traces.read(plate))
            if number >= _ODD_READS:
                continue
            spelled = traces.plate().lower()
            yield ToSend(None, traces.read(spelled))  # no key
            yield ToSend(spelled.encode(), traces.read(spelled))  # a key that is not normal
            yield ToSend(b"\xff" + plate.encode(), traces.read(plate))  # nor text
            # Listed, but the source has no policy. The plate itself lies in the lists.
            denied = f"{self.denied[:6].lower()}-{self.denied[6:].lower()}"
            yield ToSend(self.denied.encode(), traces.read(denied), traces.headers())
            # Rejects: another plate than the key says, no JSON, a field too few.
            yield ToSend(self.denied.encode(), traces.read(traces.plate()))
            yield ToSend(None, b'{"plate": "' + traces.plate().encode())
            yield ToSend(None, orjson.dumps({"plate": traces.plate()}))
            yield ToSend(None, b"x" * limits.READ_VALUE_BYTES + traces.plate().encode())
            yield ToSend(None, b"\0\0\0\0\7" + traces.read(traces.plate()))
            yield ToSend(
                None, orjson.dumps({"op": "c", "after": traces.read(traces.plate()).decode()})
            )
            # What the worker counts and logs of a producer, and nothing of the read.
            yield ToSend(None, b"\xef\xbb\xbf" + traces.read(traces.plate()))
            camera = traces.text()
            yield ToSend(camera.encode(), traces.read(traces.plate(), camera=camera))


class Watched:
    """A worker that dumps its heap when asked, in directories of its own."""

    def __init__(self, directory: Path, bootstrap: str, prefix: str, *options: str) -> None:
        self.home = directory / "home"
        self._dumps = directory / "dumps"
        for made in (self.home, self._dumps, directory / "temporary"):
            made.mkdir()
        self.directories = (self.home, directory / "temporary")
        self._count = 0
        self.process = WorkerProcess(
            self.home / "worker.log",
            bootstrap,
            prefix,
            *("--verify-keys", "8", "--log-format", "json", "--log-level", "debug"),
            *options,
            environment={
                "HOME": str(self.home),
                "TMPDIR": str(directory / "temporary"),
                "no_proxy": "127.0.0.1",
            },
            program=("-m", "tests.kafka.watched_worker", str(self._dumps)),
        )

    async def heap(self) -> bytes:
        """Every text and buffer that the process holds now."""
        self._count += 1
        path = self._dumps / f"heap-{self._count}"
        asked = self._dumps / "asked"
        asked.write_text(path.name)
        asked.rename(self._dumps / "wanted")

        async def there() -> bool:
            await self.process.alive()
            return path.exists()

        await until(there, "the heap is dumped", self.process.log)
        return path.read_bytes()

    def files(self) -> dict[str, bytes]:
        """All that lies in its directories, the log among it."""
        return {
            str(path): path.read_bytes()
            for directory in self.directories
            for path in directory.rglob("*")
            if path.is_file()
        }


async def records_of(bootstrap: str, topic: str) -> bytes:
    """Everything in the records of a topic, in one piece."""
    return b"\n".join(
        repr((record.key, record.value, record.headers)).encode()
        for record in await read_topic(bootstrap, topic)
    )


async def test_a_read_that_matches_nothing_leaves_nothing_behind(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    town = Town()
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, town.entries)
    await produce(real_kafka, topics.policies, sent(a_policy()))
    with collecting() as collector:
        watched = Watched(tmp_path, real_kafka, prefix, *("--otlp-endpoint", collector.endpoint))
        await _search(watched, town, real_kafka, topics)
        spans = b"".join(body for _, _, body in collector.requests)
    assert len(collector.spans()) == 1
    assert town.traces.found_in(spans) == set()


async def _search(watched: Watched, town: Town, real_kafka: str, topics: Topics) -> None:
    async with watched.process as worker:
        await worker.ready()
        await produce(real_kafka, topics.detections, {0: [town.match]})
        processed = 1
        for codec in _CODECS:
            reads = town.reads()
            await produce(real_kafka, topics.detections, reads, codec=codec)
            processed += sum(map(len, reads.values()))
        await worker.has_processed(processed)
        await _is_delivered(worker)
        assert len(town.traces.texts) > 2 * _READS * 4 * len(_CODECS)

        heap = await _heap_without_traces(watched, town.traces)
        # The search finds what may be there: the list is in memory.
        assert town.allowed.found_in(heap) >= {town.listed.encode(), town.denied.encode()}

        for accept in FORMATS:
            _, metrics = await worker.get("/metrics", accept)
            assert 'hotlist_rejects_total{reason="key_mismatch"}' in metrics
            assert 'hotlist_producer_faults_total{fault="key_is_camera"}' in metrics
            assert "_created" not in metrics
            assert town.traces.found_in(metrics.encode()) == set()
            assert town.allowed.found_in(metrics.encode()) == set()
        for path in ("/", "/status.json"):
            _, shown = await worker.get(path)
            assert "Ready" in shown
            assert town.traces.found_in(shown.encode()) == set(), path
            assert town.allowed.found_in(shown.encode()) == set(), path
        await worker.stop()

    files = watched.files()
    log = files[str(watched.home / "worker.log")]
    assert b"DEBUG:aiokafka" in log
    assert b"DEBUG:faust" in log
    # The libraries' debug lines in our own form, which a worker never lets that far, too.
    assert b'"level":"debug","logger":"aiokafka' in log
    assert b'"level":"debug","logger":"engine' in log
    assert b"have keys that look like cameras" in log
    for path, data in files.items():
        assert town.traces.found_in(data) == set(), path
        assert town.allowed.found_in(data) == set(), path

    for topic in set(topics.all) - {topics.detections}:
        assert town.traces.found_in(await records_of(real_kafka, topic)) == set(), topic
    matches = await records_of(real_kafka, topics.matches)
    assert town.allowed.found_in(matches) > {town.listed.encode()}, "the search finds the match"
    rejects = await records_of(real_kafka, topics.rejects)
    assert rejects.count(b"key_mismatch") == _ODD_READS * 4 * len(_CODECS)


async def _is_delivered(worker: WorkerProcess) -> None:
    """The match and all rejects are out, so that nothing waits any more."""
    expected = 4 * len(_CODECS) * _ODD_READS * 6

    async def delivered() -> bool:
        return (
            await worker.metric("hotlist_matches_total") == 1
            and await worker.metric("hotlist_rejects_total") == expected
        )

    await until(delivered, f"a match and {expected} rejects are delivered", worker.log)


async def _heap_without_traces(watched: Watched, traces: Traces) -> bytes:
    """The heap, as soon as nothing of these reads is in it any more."""
    heap, found = b"", {b""}

    async def nothing_found() -> bool:
        nonlocal heap, found
        await asyncio.sleep(limits.SCRUB_INTERVAL_S)
        heap = await watched.heap()
        found = traces.found_in(heap)
        return not found

    def what() -> str:
        return f"{len(found)} of {len(traces.texts)}, such as {sorted(found)[:3]}"

    await until(nothing_found, "no trace of the reads is left in the heap", what)
    return heap


@pytest.mark.skipif(sys.platform != "linux", reason="looks into a process as Linux shows it")
async def test_what_is_left_in_memory_that_is_not_in_use(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Most of it is gone too, some seconds after the reads: the whole memory of the process,
    what was given back to the C library among it. README says what is not promised."""
    town = Town()
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, town.entries)
    await produce(real_kafka, topics.policies, sent(a_policy()))
    watched = Watched(tmp_path, real_kafka, prefix)
    async with watched.process as worker:
        await worker.ready()
        processed = 0
        for codec in _CODECS:
            reads = town.reads()
            await produce(real_kafka, topics.detections, reads, codec=codec)
            processed += sum(map(len, reads.values()))
        await worker.has_processed(processed)
        # What is left lies at the edges of freed blocks, whose pages hold others too: mostly a
        # hundredth, and up to a twentieth if many blocks of the last fetches had such neighbours.
        most = len(town.traces.texts) // 10
        found = -1

        async def little_left() -> bool:
            nonlocal found
            await asyncio.sleep(limits.SCRUB_INTERVAL_S)
            memory = _memory(worker.pid)
            assert town.listed.encode() in memory, "the search finds the list"
            found = len(town.traces.texts & set(_MARKED.findall(memory)))
            return found <= most

        await until(little_left, "little of the reads is in memory", lambda: f"{found} are")


def _memory(pid: int) -> bytes:
    """All writable memory of a process."""
    pieces = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, allowed, *_ = line.split()
            if not allowed.startswith("rw"):
                continue
            start, end = (int(each, 16) for each in place.split("-"))
            try:
                memory.seek(start)
                pieces.append(memory.read(end - start))
            except (OSError, OverflowError):
                continue  # the kernel's own
    return b"\n".join(pieces)
