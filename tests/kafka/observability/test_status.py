"""The status page of a running worker, in a browser."""

from __future__ import annotations

from pathlib import Path

import orjson

from engine import limits
from engine.kafka.topics import Topics
from engine.wire.java_partitioner import murmur2_partition
from tests.browser.chromium import browsing
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import sent
from tests.kafka.records import ToSend, produce, until
from tests.kafka.worker_process import WorkerProcess

_LISTED, _OTHER, _READ_ID, _CAMERA = "QZXLISTED", "QZXOTHER", "rid-QZX", "cam-QZX"


async def test_a_running_worker_shows_what_it_does_and_nothing_of_the_reads(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, sent(an_entry(plate=_LISTED, entry_id="E-QZX")))
    await produce(real_kafka, topics.policies, sent(a_policy()))
    reads = [
        ToSend(
            plate.encode(),
            orjson.dumps(a_read(plate=plate, read_id=f"{_READ_ID}{number}", camera=_CAMERA)),
        )
        for number, plate in enumerate([_LISTED, *[_OTHER] * 99])
    ]
    bad = ToSend(_LISTED.encode(), b"{")
    worker = WorkerProcess(tmp_path / "worker.log", real_kafka, prefix)
    async with worker, browsing() as browser:
        await worker.ready()
        tab = await browser.tab()
        await tab.open(f"{worker.url}/")
        assert await tab.text("#state") == "Ready"
        assert await tab.text("#active") == "1"
        assert await tab.text("#reads") == "0"

        placed: dict[int, list[ToSend]] = {}
        for read in (*reads, bad):
            placed.setdefault(murmur2_partition(read.key or b"", 4), []).append(read)
        await produce(real_kafka, topics.detections, placed)
        # It comes to know by itself.
        await tab.until("document.getElementById('reads').textContent === '101'")
        await tab.until("document.getElementById('matches').textContent.startsWith('1 match ')")
        assert (await tab.text("#rejects")).startswith("invalid json1")
        assert await tab.text("#delivery") == "at least once"
        assert topics.detections in await tab.text("#topics")
        rows = await tab.evaluate("[...lag.rows].map((row) => row.textContent)")
        assert len(placed) == 2
        assert rows == [f"{partition}0" for partition in sorted(placed)]  # partition and reads
        # After some samples it goes so fast, and some time later not any more.
        await tab.until("!['–', '0'].includes(document.getElementById('rate').textContent)")
        assert tab.problems == []
        hosts = {url.split("/")[2] for url in tab.requests}
        assert hosts == {worker.url.removeprefix("http://")}

        _, told = await worker.get("/status.json")
        _, page = await worker.get("/status")
        for text in (told, page, await tab.evaluate("document.documentElement.outerHTML")):
            for secret in (_LISTED, _OTHER, _READ_ID, _CAMERA, "E-QZX", "city-north"):
                assert secret not in text
        status = orjson.loads(told)["status"]
        assert status["throughput"]["reads"] == 101
        assert status["faults"] == []

        # A fault is on the page, with how often, and without what it was about.
        await produce(
            real_kafka, topics.hotlist, sent(*[an_entry(plate="x y", entry_id="E-2")] * 3)
        )

        async def told_of_faults() -> bool:
            _, told = await worker.get("/status.json")
            faults = orjson.loads(told)["status"]["faults"]
            return [fault["text"] for fault in faults] == ["records refused: … …, …"]

        await until(told_of_faults, "the page tells of refused records", worker.log)
        await tab.until("document.getElementById('faults').rows.length === 1")
        await tab.evaluate(f"new Promise((done) => setTimeout(done, {limits.STATUS_SAMPLE_S}))")
        assert await tab.text("#refused") == "1"
        assert tab.problems == []
