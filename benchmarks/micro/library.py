"""The library: a list added, copied, saved, loaded, asked and removed, without Kafka.

`exact` entries match their own plate alone. Of the `mixed` ones a tenth has look-alikes, a
hundredth takes one misread more and a hundredth has an unknown character. Each entry has times
of its own, as if made by hand; those of one import share theirs and are smaller. Memory is
what the process took more for holding the list.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.micro.timing import warm_s
from engine import Detection, HotListIndex
from engine.clock import format_time
from engine.documents.model import Authority, Entry, Policy, Rule

_NOW_MS = 1_790_000_000_000
_DAY_MS = 86_400_000
_ASKED = 200
_PAGE_BYTES = 4096
_STATM = Path("/proc/self/statm")


def measure(sizes: tuple[int, ...]) -> list[MeasuredCase]:
    """A case for each kind of list and length."""
    _of("mixed", _ASKED)  # compiles what is not compiled yet
    return [_of(kind, size) for size in sizes for kind in ("exact", "mixed")]


def _entries(kind: str, count: int) -> Iterator[Entry]:
    model = Entry(
        entry_id="",
        list_id="stolen",
        plate="",
        agency="",
        purpose="stolen_vehicle",
        authority=Authority(kind="case", reference="2026-118"),
        requested_by="j.doe",
        created_at="",
        expires_at="",
    )
    for number in range(count):
        plate = f"F{number:07d}"
        own: dict[str, object] = {}
        if kind == "mixed" and number % 10 == 0:
            own = {"confusables": True}
        elif kind == "mixed" and number % 100 == 1:
            own = {"distance": 1}
        elif kind == "mixed" and number % 100 == 2:
            plate = f"{plate[:4]}?{plate[5:]}"
        yield msgspec.structs.replace(
            model,
            entry_id=f"AG{number % 50:04}-{number:07d}",
            plate=plate,
            agency=f"AG{number % 50:04}",
            created_at=format_time(_NOW_MS - number * 1000 % _DAY_MS),
            expires_at=format_time(_NOW_MS + 30 * _DAY_MS - number * 1000 % _DAY_MS),
            **own,
        )


def _of(kind: str, count: int) -> MeasuredCase:
    given = list(_entries(kind, count))
    index = HotListIndex()
    before_bytes = _resident_bytes()
    add_s = _once_s(lambda: index.add_many(given))
    held_bytes = _resident_bytes() - before_bytes
    assert len(index) == count
    index.set_policy(
        Policy(
            source="city",
            rules=(Rule(agencies="*", purposes="*"),),
            updated_by="j.doe",
            updated_at=format_time(_NOW_MS),
        )
    )
    snapshot = index.snapshot()
    change_s = _once_s(lambda: index.remove_policy("city"))
    asked = [f"F{number:07d}" for number in range(0, count, max(1, count // _ASKED))][:_ASKED]
    others = [f"XX{plate[2:]}" for plate in asked]
    reads = [_read(plate) for plate in asked]
    other_reads = [_read(plate) for plate in others]

    def matched(some: list[Detection]) -> int:
        return sum(len(snapshot.match(read, _NOW_MS)) for read in some)

    assert matched(reads) >= len(asked) * (1 if kind == "exact" else 0.9)
    assert matched(other_reads) == 0
    each_us = 1e6 / len(asked)
    asks = {
        "find, listed": warm_s(lambda: [snapshot.find(plate) for plate in asked]),
        "find, other": warm_s(lambda: [snapshot.find(plate) for plate in others]),
        "match, listed": warm_s(lambda: matched(reads)),
        "match, other": warm_s(lambda: matched(other_reads)),
    }
    eligible_s = warm_s(lambda: snapshot.eligible("city", _NOW_MS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hot.index"
        save_s = _once_s(lambda: snapshot.save(path))
        file_bytes = path.stat().st_size
        load_s = _once_s(lambda: HotListIndex.load(path))
        assert len(HotListIndex.load(path)) == count
    ids = [f"AG{number % 50:04}-{number:07d}" for number in range(count)]
    remove_s = _once_s(lambda: index.remove_many(ids))
    assert len(index) == 0
    an_entry_us = 1e6 / count
    return MeasuredCase(
        case=f"{kind}, {count:,}",
        figures=[
            Figure(name="add", unit="µs an entry", values=[add_s * an_entry_us]),
            Figure(name="remove", unit="µs an entry", values=[remove_s * an_entry_us]),
            Figure(name="first change after a snapshot", unit="ms", values=[change_s * 1e3]),
            Figure(name="save", unit="s", values=[save_s]),
            Figure(name="load", unit="s", values=[load_s]),
            *(Figure(name=name, unit="µs", values=[s * each_us]) for name, s in asks.items()),
            Figure(name="eligible", unit="ms", values=[eligible_s * 1e3]),
            Figure(name="memory", unit="bytes an entry", values=[held_bytes / count]),
            Figure(name="file", unit="bytes an entry", values=[file_bytes / count]),
        ],
    )


def _read(plate: str) -> Detection:
    return Detection(
        read_id="r-1",
        plate=plate,
        captured_at=format_time(_NOW_MS),
        source="city",
        camera="cam-7",
        confidence=0.9,
    )


def _once_s(go: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    go()
    return time.perf_counter() - started_s


def _resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say it in this way."""
    return int(_STATM.read_text().split()[1]) * _PAGE_BYTES if _STATM.exists() else 0
