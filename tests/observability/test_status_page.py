"""`engine.observability.status_page`: the words, and the page in a real browser."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.observability.http_server import HttpServer
from engine.observability.log_sampling import Fault
from engine.observability.metric_families import Exposition
from engine.observability.status import (
    Delay,
    HeldPartition,
    ListSummary,
    Status,
    StuckPartition,
    Throughput,
)
from engine.observability.status_page import Page, in_page, status_json
from tests.browser.axe import violations
from tests.browser.chromium import Tab, browsing

_AT_MS = 1_795_190_400_000  # 2026-11-20T16:00:00Z

A_STATUS = Status(
    at_ms=_AT_MS,
    uptime_s=98_000,
    ready=True,
    not_ready_because="",
    stuck=(),
    held=(),
    throughput=Throughput(8_123_456_789, 82_931_000.0, 10.0, (80e6, 84e6, 81e6)),
    delay=Delay(41, 0.0043, 0.0121, 0.0234, 300.0),
    lag={0: 12, 1: 0, 2: 34_567, 3: 1},
    lists=ListSummary(1_004_331, 210, 2, 54, {"entry": 312.0}, 0.041),
    audit_pending=3,
    audit_checkpoints=True,
    suppression_keys=5123,
    rejects={"key_mismatch": 12, "not_json": 1300},
    faults=(
        Fault(
            "warning", "engine.transport.consumer", "offsets not committed: …", _AT_MS, _AT_MS, 3
        ),
        Fault("error", "aiokafka.client", "Unable connect to node …", _AT_MS, _AT_MS, 1200),
    ),
    group="hotlist-engine",
    delivery="at_least_once",
    topics={"reads": "lpr.detections.v1", "matches": "lpr.matches.v1"},
    versions={"hotlist-engine": "0.1.0", "Python": "3.11.9"},
    matches={"exact": (1_200, 7)},
    denied={"no_policy": (31, 30), "not_allowed": (2, 0)},
)
STUCK = dataclasses.replace(
    A_STATUS,
    stuck=(StuckPartition(3, 75.0, "no acknowledgement"), StuckPartition(5, 5000.0, "nor here")),
)
WAITING = dataclasses.replace(A_STATUS, ready=False, not_ready_because="reading the lists")
#: As long as names may be.
LONG = dataclasses.replace(
    WAITING,
    not_ready_because="y" * 300,
    group="g" * 200,
    topics={"reads": f"{'x' * 200}detections.v1"},
    faults=(Fault("error", "aiokafka.client", "z" * 500, _AT_MS, _AT_MS, 10**7),),
)
EMPTY = dataclasses.replace(
    WAITING,
    uptime_s=0.2,
    throughput=Throughput(0, None, 10.0, ()),
    delay=Delay(0, None, None, None, 300.0),
    lag={},
    lists=ListSummary(0, 0, 0, 0, {}, None),
    audit_pending=0,
    audit_checkpoints=False,
    suppression_keys=0,
    rejects={},
    matches={},
    denied={},
    faults=None,
)


# The words.


def test_texts() -> None:
    assert in_page(A_STATUS).texts == {
        "state": "Ready",
        "next": "",
        "as-of": "16:00:00",
        "group": "hotlist-engine",
        "rate": "82.9 million",
        "curve": "Between 80.0 million and 84.0 million in 30 s",
        "curve-from": "30 s ago",
        "reads": "8,123,456,789",
        "matches": "41 matches in the last minute",
        "delay-50": "4 ms",
        "delay-95": "12 ms",
        "delay-99": "23 ms",
        "behind": "34,580",
        "lag-none": "",
        "lag-more": "",
        "active": "1,004,331",
        "scheduled": "210",
        "refused": "2",
        "policies": "54",
        "newest-entry": "5 min 12 s ago",
        "newest-policy": "none yet",
        "change-delay": "41 ms",
        "audit-pending": "3",
        "audit-checkpoints": "signed",
        "suppression-keys": "5,123",
        "delivery": "at least once",
        "outcomes-none": "",
        "rejects-none": "",
        "faults-none": "",
        "uptime": "1 d 3 h",
    }


def test_tables() -> None:
    assert in_page(STUCK).tables == {
        "stuck": [["3", "no acknowledgement", "1 min 15 s"], ["5", "nor here", "1 h 23 min"]],
        "lag": [["0", "12"], ["1", "0"], ["2", "34,567"], ["3", "1"]],
        "rejects": [["not json", "1,300"], ["key mismatch", "12"]],
        "outcomes": [
            ["match: exact", "1,200", "7"],
            ["denied: no policy", "31", "30"],
            ["denied: not allowed", "2", "0"],
        ],
        "faults": [
            ["offsets not committed: …", "warning", "20 Nov 16:00", "3"],
            ["aiokafka.client: Unable connect to node …", "error", "20 Nov 16:00", "1,200"],
        ],
        "topics": [["reads", "lpr.detections.v1"], ["matches", "lpr.matches.v1"]],
        "versions": [["hotlist-engine", "0.1.0"], ["Python", "3.11.9"]],
    }


@pytest.mark.parametrize(
    ("status", "state", "text"),
    [
        (A_STATUS, "ready", "Ready"),
        (STUCK, "stuck", "Ready, but 2 partitions are stuck"),
        (
            dataclasses.replace(STUCK, stuck=STUCK.stuck[:1]),
            "stuck",
            "Ready, but 1 partition is stuck",
        ),
        (WAITING, "waiting", "Not ready: reading the lists"),
        (dataclasses.replace(STUCK, ready=False, not_ready_because="x"), "waiting", None),
    ],
)
def test_state_says_why(status: Status, state: str, text: str | None) -> None:
    assert in_page(status).state == state
    assert text is None or in_page(status).texts["state"] == text


def test_nothing_known_yet() -> None:
    now = in_page(EMPTY)
    assert now.curve == ""
    for name, text in {
        "rate": "–",
        "delay-99": "–",
        "matches": "0 matches in the last minute",
        "curve": "The curve begins after half a minute.",
        "lag-none": "No partition is read here yet.",
        "outcomes-none": "None since the start.",
        "rejects-none": "None since the start.",
        "faults-none": "This process does not keep them.",
        "change-delay": "–",
    }.items():
        assert now.texts[name] == text
    none = in_page(dataclasses.replace(EMPTY, faults=()))
    assert none.texts["faults-none"] == "None since the start."


def test_a_delay_beyond_what_is_told_apart_is_said_to_be_so() -> None:
    beyond = dataclasses.replace(A_STATUS, delay=Delay(1, 300.0, 300.0, 299.0, 300.0))
    texts = in_page(beyond).texts
    assert (texts["delay-50"], texts["delay-99"]) == ("over 5 min", "4 min 59 s")
    assert texts["matches"] == "1 match in the last minute"


def test_of_many_partitions_those_with_the_most_reads_are_named() -> None:
    lag = {partition: partition % 50 for partition in range(1000)}
    now = in_page(dataclasses.replace(A_STATUS, lag=lag))
    rows = now.tables["lag"]
    assert len(rows) == limits.STATUS_PARTITIONS
    assert rows[0][0] < rows[-1][0]
    assert {cell for _, cell in rows} == {"48", "49"}
    assert now.texts["lag-more"] == "And 976 partitions with fewer reads waiting."
    assert now.texts["behind"] == f"{sum(lag.values()):,}"


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=60))
def test_the_curve_lies_in_its_frame_and_is_true_to_scale(rates: list[float]) -> None:
    throughput = Throughput(0, None, 10.0, tuple(rates))
    points = [
        tuple(map(float, point.split(",")))
        for point in in_page(dataclasses.replace(A_STATUS, throughput=throughput)).curve.split()
    ]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert (points[0][0], points[-1][0]) == (0, 600)
    highest = max(*rates, 1.0)
    for (_, y), rate in zip(points, rates, strict=True):
        assert abs(y - 100 * (1 - rate / highest)) <= 0.051


# The document.


def test_json_has_the_numbers_and_the_words() -> None:
    document = orjson.loads(status_json(A_STATUS))
    assert document["status"]["throughput"]["reads_a_minute"] == 82_931_000
    assert document["status"]["lag"] == {"0": 12, "1": 0, "2": 34_567, "3": 1}
    assert document["status"]["faults"][0]["count"] == 3
    assert document["shown"]["texts"] == in_page(A_STATUS).texts
    assert set(document) == {"status", "shown"}
    assert set(document["status"]) == {each.name for each in dataclasses.fields(Status)}


def test_every_text_and_table_has_its_place() -> None:
    page = Page().rendered(STUCK).decode()
    assert "{{" not in page
    for name in (*in_page(STUCK).texts, *in_page(STUCK).tables):
        assert page.count(f'id="{name}"') == 1, name


def test_what_is_shown_is_text_and_never_more() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    status = dataclasses.replace(
        A_STATUS,
        ready=False,
        not_ready_because=hostile,
        group=hostile,
        stuck=(StuckPartition(1, 1, hostile),),
        faults=(Fault("error", hostile, hostile, 0, 0),),
        topics={hostile: hostile},
        rejects={hostile: 1},
    )
    page = Page().rendered(status).decode()
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert page.count("<script>") == 1


@asynccontextmanager
async def serving(status: Callable[[], Status]) -> AsyncIterator[str]:
    server = HttpServer(
        "127.0.0.1", 0, lambda _: Exposition(b"m 1\n", "text/plain"), str, str, status
    )
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()


async def test_where_it_is_served_and_with_what_headers() -> None:
    async with serving(lambda: A_STATUS) as url, aiohttp.ClientSession() as client:
        bodies = set()
        for path in ("/", "/status"):
            response = await client.get(url + path)
            assert response.status == 200
            assert response.content_type == "text/html"
            assert response.charset == "utf-8"
            assert response.headers["X-Frame-Options"] == "DENY"
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            bodies.add(await response.read())
        assert bodies == {Page().rendered(A_STATUS)}
        json = await client.get(f"{url}/status.json")
        assert json.content_type == "application/json"
        assert await json.read() == status_json(A_STATUS)
        for answer in (response, json):
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Access-Control-Allow-Origin" not in answer.headers
        for path in ("/", "/status", "/status.json"):
            assert (await client.post(url + path, data=b"x")).status == 405


# In a browser.


@asynccontextmanager
async def page_of(status: Callable[[], Status]) -> AsyncIterator[tuple[Tab, str]]:
    async with serving(status) as url, browsing() as browser:
        tab = await browser.tab()
        await tab.open(f"{url}/")
        yield tab, url


_SAID = """JSON.stringify(Object.fromEntries([...document.querySelectorAll("[id]")].map(
    (each) => [each.id, each.innerHTML])))"""


async def test_it_updates_by_itself_and_says_what_the_worker_would_have_said() -> None:
    statuses = [EMPTY, STUCK]
    async with page_of(lambda: statuses[0]) as (tab, url):
        assert await tab.text("#state") == "Not ready: reading the lists"
        assert not await tab.evaluate("document.querySelector('#stuck').checkVisibility()")
        del statuses[0]
        await tab.until("document.body.dataset.state === 'stuck'")
        assert await tab.text("#state") == "Ready, but 2 partitions are stuck"
        assert await tab.evaluate("document.querySelector('#stuck').checkVisibility()")
        updated = orjson.loads(await tab.evaluate(_SAID))
        points = await tab.evaluate("[line.getAttribute('points'), area.getAttribute('points')]")
        await tab.open(f"{url}/")
        assert orjson.loads(await tab.evaluate(_SAID)) == updated
        assert points == await tab.evaluate(
            "[line.getAttribute('points'), area.getAttribute('points')]"
        )
        assert tab.problems == []
        assert {each.split("/", 3)[2] for each in tab.requests} == {url.removeprefix("http://")}
        assert f"{url}/status.json" in tab.requests


async def test_a_worker_that_is_gone_is_said_to_be_gone() -> None:
    async with browsing() as browser:
        tab = await browser.tab()
        async with serving(lambda: A_STATUS) as url:
            await tab.open(f"{url}/status")
        await tab.until("document.body.dataset.state === 'gone'")
        assert await tab.text("#state") == "No answer since 16:00:00 UTC"


async def test_without_scripts_it_says_the_same_and_comes_again_by_itself() -> None:
    statuses = [A_STATUS, WAITING]

    def status() -> Status:
        return statuses.pop(0) if len(statuses) > 1 else statuses[0]

    async with serving(status) as url, browsing() as browser:
        tab = await browser.tab()
        await tab.scripts(enabled=False)
        await tab.open(f"{url}/")
        assert await tab.text("#rate") == "82.9 million"
        assert await tab.text("#state") == "Ready"
        other = "Not ready: reading the lists"
        await tab.until(f"document.querySelector('#state')?.textContent === '{other}'")
        assert tab.problems == []
        assert f"{url}/status.json" not in tab.requests


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_anybody_can_use_it(scheme: str) -> None:
    """By axe-core's rules, contrast among them, in each state, wide and narrow."""
    statuses = [STUCK]
    async with page_of(lambda: statuses[0]) as (tab, url):
        for width, status in ((360, STUCK), (360, LONG), (960, EMPTY), (1200, A_STATUS)):
            statuses[0] = status
            await tab.look(width, 800, scheme)
            await tab.open(f"{url}/")
            assert await violations(tab) == []
            # Nothing sticks out, so nobody must scroll to the side.
            assert await tab.evaluate("document.documentElement.scrollWidth") == width
            assert await _cut(tab) == []
            assert await _squeezed(tab) == []
        assert await tab.evaluate("document.getAnimations().length") == 0
        colour = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
        red, *_ = map(int, re.findall(r"\d+", colour))
        assert (red < 128) == (scheme == "dark")


async def _cut(tab: Tab) -> list[str]:
    """Words that are broken within, or that lie over the page's edge."""
    found: list[str] = await tab.evaluate(
        """[...document.querySelectorAll("td, th, dd, dt, .rate")].filter((each) => {
            const box = each.getBoundingClientRect();
            return box.width && (box.right > innerWidth || each.scrollWidth > each.clientWidth + 1);
        }).map((each) => each.textContent)"""
    )
    return found


async def _squeezed(tab: Tab) -> list[str]:
    """Labels that a long value leaves too little room."""
    found: list[str] = await tab.evaluate(
        """[...document.querySelectorAll("dl:not(.figures) dt")].filter((each) =>
            each.offsetWidth < 0.4 * each.parentElement.offsetWidth
        ).map((each) => each.textContent)"""
    )
    return found


async def test_by_keyboard_and_to_screen_readers() -> None:
    async with page_of(lambda: STUCK) as (tab, _):
        tree = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
        said = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree
            if not node["ignored"]
        ]
        roles = [role for role, _ in said]
        for landmark in ("banner", "main", "contentinfo", "navigation"):
            assert roles.count(landmark) == 1, landmark
        assert ("heading", "hotlist worker") in said
        assert ("status", "") in said
        assert ("image", "Between 80.0 million and 84.0 million in 30 s") in said or (
            "img",
            "Between 80.0 million and 84.0 million in 30 s",
        ) in said
        assert ("columnheader", "Partition") in said
        assert ("rowheader", "3") in said
        reached = []
        for _ in range(2):
            for kind in ("keyDown", "keyUp"):
                await tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab")
            reached.append(await tab.evaluate("document.activeElement.textContent"))
        assert reached == ["metrics", "JSON"]


def test_what_is_held_back_of_other_topics_stands_beside_the_stuck_partitions() -> None:
    held = HeldPartition("lpr.hotlist.v1", 0, 75.0, "an open transaction")
    shown = in_page(dataclasses.replace(A_STATUS, held=(held,)))
    assert shown.state == "ready"
    assert shown.tables["stuck"] == [["lpr.hotlist.v1/0", "an open transaction", "1 min 15 s"]]
