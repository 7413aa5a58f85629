"""Pictures of the status page of a worker under load, for README.

`python -m benchmarks.status_picture --bootstrap HOST:PORT deploy/status.png` starts a worker as
people do, has reads produced by a timetable, and takes a picture of its page in Chromium once the
curve is drawn: `status.png`, and `status-dark.png` in the dark colour scheme. One read in some
thousands is a probe, which matches.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

import click

from benchmarks import fill
from benchmarks.definitions import Input
from benchmarks.measures.children import Child
from benchmarks.measures.live import LiveWorker
from benchmarks.measures.pacer import Pace, Paced, Ready
from benchmarks.measures.scenery import PROBE, PROBE_PLATES, fill_lists, probe_entry
from benchmarks.reads import Scene
from engine.kafka.topics import Topics
from tests.browser.chromium import browsing

_READY_S = 120.0
#: Wide enough for two columns, and sharp where pixels are small.
_WIDTH, _HEIGHT, _SCALE = 960, 800, 2
_PROBES_A_SECOND = 20
#: A repeated batch keeps its time, so that all matches are those of the probes.
_INPUT = Input(
    reads=400_000,
    short_reads=1,
    distinct_reads=400_000,
    partitions=4,
    codec="lz4",
    batch_bytes=256 * 1024,
    entries=100_000,
    sources=80,
    hit_rate=0.0,
)


@click.command()
@click.option("--bootstrap", default="localhost:9092", show_default=True)
@click.option("--reads-a-minute", type=click.IntRange(min=1), default=12_000_000, show_default=True)
@click.option("--for-s", type=click.IntRange(min=40), default=150, show_default=True)
@click.argument("picture", type=click.Path(path_type=Path))
def main(bootstrap: str, reads_a_minute: int, for_s: int, picture: Path) -> None:
    """Take pictures of a worker's status page under load."""
    prefix = f"lpr-{uuid.uuid4().hex[:4]}."
    scene_ms = int(time.time() * 1000)
    topics = Topics(prefix)
    probes = [probe_entry(f"{PROBE}{plate}", plate) for plate in PROBE_PLATES]
    reads = reads_a_minute * for_s // 60
    pace = Pace(
        bootstrap=bootstrap,
        topic=topics.detections,
        input=_INPUT,
        scene_ms=scene_ms,
        reads=reads,
        reads_per_s=reads_a_minute / 60,
        warm_up_s=0,
        probe_every=max(1, reads // (for_s * _PROBES_A_SECOND)),
        batches=True,
    )
    try:
        fill.declare_topics(bootstrap, prefix, _INPUT)
        asyncio.run(fill_lists(bootstrap, topics, Scene(_INPUT, scene_ms), probes))
        with Child("benchmarks.measures.pacer", pace) as pacer:
            pacer.next(Ready, _READY_S)
            with LiveWorker(bootstrap, prefix, "hotlist-engine") as worker:
                worker.wait_ready(_READY_S)
                pacer.tell("go")
                asyncio.run(_take(worker.url, for_s - 5, picture))
                pacer.next(Paced, 2 * for_s)
                worker.stop()
    finally:
        fill.remove(bootstrap, prefix)


async def _take(url: str, after_s: float, picture: Path) -> None:
    await asyncio.sleep(after_s)
    async with browsing() as browser:
        tab = await browser.tab()
        for scheme, name in (("light", picture.name), ("dark", f"{picture.stem}-dark.png")):
            await tab.look(_WIDTH, _HEIGHT, scheme, _SCALE)
            await tab.open(f"{url}/")
            picture.with_name(name).write_bytes(await tab.picture())


if __name__ == "__main__":
    main()
