"""The alert desk on a real Kafka, used in a real browser as a person would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.documents.codec import encode
from engine.documents.model import Match
from engine.kafka.acls import roles
from engine.kafka.topics import Topics
from tests.browser.axe import violations
from tests.browser.chromium import Tab, browsing
from tests.fakes.documents import detection, entry, exact_match
from tests.kafka.broker import RealBroker
from tests.kafka.guarded import Right, Rights, rights_of, user
from tests.kafka.records import ToSend, produce, read_topic

_DESK = Path(__file__).parents[3] / "deploy" / "examples" / "desk"
_TOKEN = "a-token-of-the-desk"
_READY_S = 60
_OWN_RIGHTS = ("Create", "Describe", "Read", "Write")


@contextlib.asynccontextmanager
async def serving(
    bootstrap: str, prefix: str, variables: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """The desk as a process, ended by SIGTERM; its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, _DESK / "desk.py", "--bootstrap", bootstrap, "--prefix", prefix),
        *("--listen", "127.0.0.1:0"),
        env={**os.environ, **(variables or {}), "DESK_TOKEN": _TOKEN},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _READY_S)
        yield line.decode().rpartition(" ")[2].strip().rstrip("/")
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), _READY_S) == 0


async def press(tab: Tab, key: str, text: str = "") -> None:
    """Press a key, as a keyboard does."""
    for kind in ("keyDown", "keyUp"):
        said = {"text": text} if text and kind == "keyDown" else {}
        await tab.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, **said)


async def sign_in(tab: Tab, url: str) -> None:
    """Sign in with the keyboard alone."""
    await tab.open(f"{url}/")
    await tab.call("Input.insertText", text="J. Doe")
    await press(tab, "Tab")
    await tab.call("Input.insertText", text=_TOKEN)
    await press(tab, "Enter", "\r")
    await tab.until("document.querySelectorAll('article').length > 0")


def _reported(
    bootstrap: str, prefix: str, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"{_DESK}/report.py", "--bootstrap", bootstrap, "--prefix", prefix],
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _report(bootstrap: str, prefix: str, variables: Mapping[str, str] | None = None) -> str:
    done = _reported(bootstrap, prefix, variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A person of the name `M. Poe`, without a browser."""
    jar = aiohttp.CookieJar(unsafe=True)  # the host is a bare address
    async with aiohttp.ClientSession(cookie_jar=jar) as client:
        form = {"name": "M. Poe", "token": _TOKEN}
        async with client.post(f"{url}/sign-in", data=form) as answer:
            assert answer.status == 200
        yield client


async def _state(client: aiohttp.ClientSession, url: str) -> Any:
    async with client.get(f"{url}/events") as answer:
        return json.loads((await answer.content.readline()).removeprefix(b"data: "))


async def until_one_waits(client: aiohttp.ClientSession, url: str) -> None:
    """Wait until the desk has read the one match."""
    async with asyncio.timeout(_READY_S):
        while (await _state(client, url))["waiting"] != 1:
            await asyncio.sleep(0.1)


async def test_a_person_compares_and_decides(real_kafka: str, prefix: str) -> None:
    """Two matches and a repeat of one: ticked, confirmed and rejected, seen by a second desk."""
    ends = "2999-01-01T00:00:00Z"
    matches = [
        exact_match(
            entry(entry_id=f"E{number}", priority=number, expires_at=ends, instructions="<b>Call"),
            detection(
                read_id=f"R{number}",
                region="US-CA",
                images=[{"kind": "plate", "uri": "https://pictures.example/1.jpg"}],
            ),
        )
        for number in (2, 1)
    ]
    records = [ToSend(match.entry.entry_id.encode(), encode(match)) for match in matches]
    await produce(real_kafka, Topics(prefix).matches, {0: [*records, records[0]]})
    async with serving(real_kafka, prefix) as url, browsing() as browser:
        tab = await browser.tab()
        await sign_in(tab, url)
        assert await tab.text("#who") == "Signed in as J. Doe."
        assert await tab.text("#count") == "2 matches wait."
        assert "Priority 1" in await tab.text("article h2"), "the most urgent is first"
        assert await tab.text("article .instructions") == "<b>Call", "text, not markup"
        compared = await tab.text("article fieldset")
        assert "region: not known. " in compared
        assert "Read US-CA, listed nothing." in compared
        assert "entry age: 24 hours when it matched. " in compared
        assert "read age: 1 second when it matched. " in compared
        for scheme, width in (("light", 1200), ("dark", 1200), ("light", 360), ("dark", 360)):
            await tab.look(width, 900, scheme)
            assert await violations(tab) == []
            assert await tab.evaluate("document.documentElement.scrollWidth") == width

        confirm = "document.querySelector('button.confirm')"
        assert await tab.evaluate(f"{confirm}.disabled"), "nothing is compared yet"
        await tab.evaluate("document.querySelector('article input[type=checkbox]').focus()")
        boxes = await tab.evaluate(
            "document.querySelector('article').querySelectorAll('input[type=checkbox]').length"
        )
        for _ in range(boxes):
            await press(tab, " ", " ")
            await press(tab, "Tab")
        assert not await tab.evaluate(f"{confirm}.disabled")
        await press(tab, "Tab")  # past the reason
        await press(tab, "Enter", "\r")
        await tab.until("document.querySelectorAll('article').length === 1")
        assert await tab.text("#status") == "Recorded: confirmed."

        await tab.evaluate("document.querySelector('button[value=rejected]').click()")
        assert await tab.text("article .error") == "Say why it is wrong."
        await tab.call("Input.insertText", text="another plate")
        await tab.evaluate("document.querySelector('button[value=rejected]').click()")
        await tab.until("document.querySelectorAll('article').length === 0")
        await tab.until("!document.getElementById('empty').hidden")
        # axe-core itself is told off for how it reads its canvas.
        assert [each for each in tab.problems if "Canvas2D" not in each] == []
        assert all(address.startswith(url) for address in tab.requests), tab.requests

        async with serving(real_kafka, prefix) as other, signed_in(other) as client:
            state = await _state(client, other)
            assert (state["name"], state["waiting"]) == ("M. Poe", 0)
            asked = {"match_id": matches[0].match_id, "decision": "cannot_tell", "checked": []}
            async with client.post(f"{other}/decisions", json=asked) as answer:
                assert answer.status == 409
                assert await answer.json() == {"error": "J. Doe has decided this match"}

    decisions = await read_topic(real_kafka, f"{prefix}decisions.v1")
    made = [json.loads(record.value or b"") for record in decisions]
    assert [(each["match_id"], each["decision"], each["reason"]) for each in made] == [
        (matches[1].match_id, "confirmed", ""),
        (matches[0].match_id, "rejected", "another plate"),
    ]
    assert all(b"ABC123" not in (record.value or b"") for record in decisions)
    row = _report(real_kafka, prefix).splitlines()[1].split()
    assert row == ["exact", "0.95-1.00", "2", "1", "1", "0", "0.50", "0.09-0.91", "0.99"]


async def test_a_record_that_is_nothing_stops_no_desk_and_no_report(
    real_kafka: str, prefix: str
) -> None:
    match = _lasting_match()
    good = ToSend(match.entry.entry_id.encode(), encode(match))
    bad = [ToSend(b"E1", value) for value in (None, b"{", b"[]")]
    await produce(real_kafka, Topics(prefix).matches, {0: [*bad, good]})
    decisions = f"{prefix}decisions.v1"
    async with serving(real_kafka, prefix) as url, signed_in(url) as client:
        await until_one_waits(client, url)
        await produce(real_kafka, decisions, {0: bad})
        asked = {"match_id": match.match_id, "decision": "cannot_tell", "checked": []}
        async with client.post(f"{url}/decisions", json=asked) as answer:
            assert answer.status == 200
    async with serving(real_kafka, prefix) as url, signed_in(url) as client:
        assert (await _state(client, url))["waiting"] == 0, "started again behind bad records"
    done = _reported(real_kafka, prefix)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split()[2:6] == ["1", "0", "0", "1"]
    assert done.stderr.splitlines() == [
        f"{decisions}/0/{offset} is no decision, and is passed: {why}"
        for offset, why in enumerate(["JSONDecodeError", "JSONDecodeError", "TypeError"])
    ]


def _lasting_match() -> Match:
    the_entry = entry(expires_at="2999-01-01T00:00:00Z")
    return exact_match(the_entry, detection())


async def test_without_decisions_there_is_no_report(real_kafka: str, prefix: str) -> None:
    done = _reported(real_kafka, prefix)
    assert done.returncode == 1
    assert done.stderr == f"there is no {prefix}decisions.v1: no desk has run with this --prefix\n"


async def test_it_logs_in_with_the_role_alerting(guarded: RealBroker) -> None:
    """And with the rights that its page says it needs beside those of the role, and no others."""
    prefix = f"test-{uuid.uuid4().hex[:12]}."
    topics = Topics(prefix)
    rights = Rights(guarded)
    for name in ("administrator", "alerting"):
        rights.give(name, rights_of(roles(topics, f"{prefix}group")[name]))
    own = [Right("topic", f"{prefix}decisions.v1", False, operation) for operation in _OWN_RIGHTS]
    rights.give("alerting", own)
    # The command has an event loop of its own.
    await asyncio.to_thread(user(guarded, "administrator").good, prefix, "topics", "create")
    match = _lasting_match()
    record = ToSend(match.entry.entry_id.encode(), encode(match))
    await produce(guarded.bootstrap, topics.matches, {0: [record]})
    way = user(guarded, "alerting")
    async with serving(way.bootstrap, prefix, way.variables) as url, signed_in(url) as client:
        await until_one_waits(client, url)
        asked = {"match_id": match.match_id, "decision": "cannot_tell", "checked": []}
        async with client.post(f"{url}/decisions", json=asked) as answer:
            assert answer.status == 200, await answer.text()
    assert "exact" in _report(way.bootstrap, prefix, way.variables)


@pytest.mark.parametrize("path", ["/events", "/decisions"])
async def test_nobody_gets_in_without_the_token(real_kafka: str, prefix: str, path: str) -> None:
    async with serving(real_kafka, prefix) as url, aiohttp.ClientSession() as client:
        wrong = {"name": "J. Doe", "token": "guessed"}
        async with client.post(f"{url}/sign-in", data=wrong, allow_redirects=False) as answer:
            assert answer.status == 303
            assert not answer.cookies
        ask = client.get if path == "/events" else client.post
        async with ask(f"{url}{path}") as answer:
            assert answer.status == 401
        async with client.get(f"{url}/") as answer:
            assert "Sign in" in await answer.text()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("arguments", "variables", "why"),
    [
        ([], {"DESK_TOKEN": "short"}, "DESK_TOKEN must have at least 16 characters"),
        (["--listen", "0.0.0.0:9110"], {}, "needs --cert and --key"),
        (["--listen", "9110"], {}, "is not HOST:PORT"),
        (["--cert", "a.pem"], {}, "--cert and --key go together"),
        (["--cert", "a.pem", "--key", "a.key"], {}, "No such file"),
        ([], {"HOTLIST_SECURITY_PROTOCOL": "TLS"}, "must be one of PLAINTEXT, SSL"),
        ([], {"HOTLIST_SECURITY_PROTOCOL": "SASL_SSL"}, "needs HOTLIST_SASL_USERNAME"),
    ],
)
def test_what_it_does_not_start_with(
    arguments: list[str], variables: dict[str, str], why: str
) -> None:
    done = subprocess.run(
        [sys.executable, _DESK / "desk.py", *arguments],
        env={**os.environ, "DESK_TOKEN": _TOKEN, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert why in done.stderr
