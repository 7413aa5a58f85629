"""Pictures of the alert desk, for its page: two matches that a real worker found.

`python -m benchmarks.desk_picture --bootstrap HOST:PORT deploy/examples/desk/desk.png` starts a
worker and a desk, has two made-up reads matched, signs in with Chromium and ticks what a person
compares: `desk.png`, and `desk-dark.png` in the dark colour scheme.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, Final

import click
import orjson

from benchmarks import fill
from benchmarks.measures.live import LiveWorker
from engine.config import Settings
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from engine.plates.normal_form import normalize
from tests.browser.chromium import Tab, browsing
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import sent
from tests.kafka.records import ToSend, produce

_DESK: Final = Path(__file__).parents[1] / "deploy" / "examples" / "desk" / "desk.py"
_READY_S: Final = 120.0
_WIDTH: Final = 800
_HEIGHT: Final = 800
_CAMRY: Final = {"make": "Toyota", "model": "Camry", "color": "white"}
_ENTRIES: Final = (
    an_entry(
        entry_id="E-1",
        plate="7EAB333",
        purpose="endangered_person",
        priority=1,
        confusables=True,
        vehicle=_CAMRY,
        region="US-CA",
        instructions="Call dispatch at once",
        list_id="missing",
        agency="PD01",
    ),
    an_entry(entry_id="E-2", plate="NSP5118", list_id="stolen", agency="SP02"),
)
_IMAGES: Final = [
    {"kind": kind, "uri": f"https://pictures.example/{kind}.jpg"} for kind in ("plate", "overview")
]
_READS: Final[tuple[dict[str, Any], ...]] = (
    {"plate": "7EA8333", "region": "US-CA", "vehicle": _CAMRY, "images": _IMAGES},
    {"plate": "NSP 5118", "region": "US-CA"},
)


@click.command()
@click.option("--bootstrap", default="localhost:9092", show_default=True)
@click.argument("picture", type=click.Path(path_type=Path))
def main(bootstrap: str, picture: Path) -> None:
    """Take pictures of the alert desk."""
    prefix = f"lpr-{uuid.uuid4().hex[:4]}."
    topics = Topics(prefix)
    token = secrets.token_urlsafe()
    desk = [sys.executable, str(_DESK), "--bootstrap", bootstrap, "--prefix", prefix]
    try:
        asyncio.run(_fill(bootstrap, topics))
        with LiveWorker(bootstrap, prefix, f"{prefix}desk") as worker:
            worker.wait_ready(_READY_S)
            worker.wait_reads(len(_READS), _READY_S)
            with subprocess.Popen(
                [*desk, "--listen", "127.0.0.1:0"],
                env={**os.environ, "DESK_TOKEN": token},
                stdout=subprocess.PIPE,
                text=True,
            ) as served:
                try:
                    assert served.stdout is not None
                    url = served.stdout.readline().split()[-1]
                    light, dark = asyncio.run(_take(url, token))
                finally:
                    served.terminate()
            worker.stop()
    finally:
        fill.remove(bootstrap, prefix)
    picture.write_bytes(light)
    picture.with_name(f"{picture.stem}-dark.png").write_bytes(dark)


async def _fill(bootstrap: str, topics: Topics) -> None:
    cluster = Cluster.of(Settings(bootstrap=bootstrap, prefix=topics.prefix))
    await create_topics(cluster, partitions=1, replication=1)
    await produce(bootstrap, topics.hotlist, sent(*_ENTRIES))
    await produce(bootstrap, topics.policies, sent(a_policy()))
    made = [a_read(read_id=f"R-{n}", **read) for n, read in enumerate(_READS)]
    records = [ToSend(normalize(read["plate"]).encode(), orjson.dumps(read)) for read in made]
    await produce(bootstrap, topics.detections, {0: records})


async def _take(url: str, token: str) -> tuple[bytes, bytes]:
    async with browsing() as browser:
        tab = await browser.tab()
        await tab.open(url)
        await tab.evaluate(
            f"document.getElementById('name').value = 'J. Doe';"
            f"document.getElementById('token').value = {token!r};"
            "document.querySelector('button').click()"
        )
        await tab.until(f"document.querySelectorAll('article').length === {len(_READS)}")
        await _compare(tab)
        await tab.look(_WIDTH, _HEIGHT, "light")
        light = await tab.picture()
        await tab.look(_WIDTH, _HEIGHT, "dark")
        return light, await tab.picture()


async def _compare(tab: Tab) -> None:
    """Tick all of the first match but the last box, as a person who is at it."""
    await tab.evaluate(
        "[...document.querySelectorAll('article')][0].querySelectorAll('input[type=checkbox]')"
        ".forEach((box, n, all) => { if (n < all.length - 1) box.click(); })"
    )


if __name__ == "__main__":
    main()
