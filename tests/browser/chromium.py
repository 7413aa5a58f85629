"""A real browser for tests: headless Chromium, spoken to in its DevTools protocol.

It has a profile of its own, which is gone afterwards, and may reach this machine alone: every
other name is unknown to it. `HOTLIST_REQUIRE_BROWSER=1` makes tests fail where there is none
instead of skipping them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ADDRESS = re.compile(rb"DevTools listening on (ws://\S+)")
_WAIT_S = 60
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


def chromium() -> str:
    """The path of Chromium; the test is skipped, or fails where one is required, without it."""
    for name in _NAMES:
        if (path := shutil.which(name)) is not None:
            return path
    why = f"no browser: none of {', '.join(_NAMES)} is on PATH"
    if os.environ.get("HOTLIST_REQUIRE_BROWSER") == "1":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


class Tab:
    """One page of the browser. `problems` are errors and warnings on its console, refusals by its
    policy among them; `requests` all addresses that it asked for."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._loaded = asyncio.Event()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        return await self._browser.call(method, self._session, **parameters)

    async def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        self._loaded.clear()
        answer = await self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer["errorText"]
        await asyncio.wait_for(self._loaded.wait(), _WAIT_S)

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression; a promise is awaited."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def text(self, selector: str) -> str:
        """What an element says."""
        return str(await self.evaluate(f"document.querySelector({selector!r}).textContent"))

    async def until(self, expression: str) -> None:
        """Wait until an expression is true, on this page or the one that comes in its place."""
        async with asyncio.timeout(_WAIT_S):
            while True:
                try:
                    if await self.evaluate(expression):
                        return
                except AssertionError as error:
                    if "context was destroyed" not in str(error):
                        raise
                await asyncio.sleep(0.05)

    async def look(self, width: int, height: int, scheme: str = "light", scale: int = 1) -> None:
        """Be of this size, in the colour scheme `light` or `dark`."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )
        await self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    async def scripts(self, enabled: bool) -> None:
        """Whether the page's scripts run."""
        await self.call("Emulation.setScriptExecutionDisabled", value=not enabled)

    async def picture(self) -> bytes:
        """A picture of the whole page (PNG)."""
        answer = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def hear(self, method: str, told: Mapping[str, Any]) -> None:
        """Take note of an event."""
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Runtime.exceptionThrown":
                self.problems.append(str(told["exceptionDetails"]))
            case "Log.entryAdded" if told["entry"]["level"] in ("warning", "error"):
                self.problems.append(told["entry"]["text"])
            case "Runtime.consoleAPICalled" if told["type"] in ("warning", "error", "assert"):
                self.problems.append(str(told["args"]))


class Browser:
    """The browser's end of the protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tabs: dict[str, Callable[[str, Mapping[str, Any]], None]] = {}
        self._listening = asyncio.create_task(self._listen())

    async def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, of a tab's session where one is named."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json({**message, **({"sessionId": session} if session else {})})
        return await asyncio.wait_for(answer, _WAIT_S)

    async def tab(self) -> Tab:
        """A new page with a profile of its own."""
        context = await self.call("Target.createBrowserContext")
        target = await self.call(
            "Target.createTarget", url="about:blank", browserContextId=context["browserContextId"]
        )
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        session: str = attached["sessionId"]
        tab = Tab(self, session)
        self._tabs[session] = tab.hear
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.call(f"{domain}.enable")
        return tab

    async def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self.call("Browser.close")
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                answer = self._answers.pop(told["id"])
                if answer.done():
                    continue
                if "error" in told:
                    answer.set_exception(AssertionError(str(told["error"])))
                else:
                    answer.set_result(told["result"])
            elif (hear := self._tabs.get(told.get("sessionId", ""))) is not None:
                hear(told["method"], told["params"])


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Start a browser, and end it."""
    path = chromium()
    # Chromium's own sandbox refuses to work for root, as whom containers and CI often run.
    flags = (*_FLAGS, "--no-sandbox") if os.geteuid() == 0 else _FLAGS
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(path, *flags, f"--user-data-dir={profile}", "about:blank"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            address, talking = await _address(process)
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(address, max_msg_size=0) as socket,
            ):
                browser = Browser(socket)
                yield browser
                await browser.close()
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()


async def _address(process: asyncio.subprocess.Process) -> tuple[str, asyncio.Task[None]]:
    """Where the browser listens; and a task that goes on reading what it says."""
    stderr = process.stderr
    assert stderr is not None
    said = b""
    async with asyncio.timeout(_WAIT_S):
        while (found := _ADDRESS.search(said)) is None:
            line = await stderr.readline()
            assert line, f"the browser has ended:\n{said.decode(errors='replace')}"
            said += line

    async def read_on() -> None:
        while await stderr.readline():
            pass

    return found[1].decode(), asyncio.create_task(read_on())
