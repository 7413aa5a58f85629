"""An alert desk: a page on which a person looks at each match, compares, and decides.

    DESK_TOKEN=... python desk.py [--bootstrap localhost:9092] [--prefix lpr.]

It reads the matches with the role `alerting`, and writes what people decide to a topic of its own,
`<prefix>decisions.v1`. Nothing of it goes back into matching. A decision says which match, who,
when, what and why, what was compared, and the kind, confidence, list, agency and purpose of the
match. It holds no plate, no place and no time of a read. `report.py` shows how often matches were
right.

Every desk reads both topics from their start, so any number of desks show the same matches, and a
desk keeps nothing on disk. Repeats of a match have its `match_id` and are shown once. A match goes
once it is decided, or when its entry has expired.

The address is one of this machine, unless there is a certificate. People give the desk's token and
their name once, and stay signed in for a shift.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import json
import os
import secrets
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from records import (
    DECISIONS,
    connection,
    decision_of,
    has_ended,
    match_of,
    named,
    passed,
    plates,
    priority,
)

PAGE = Path(__file__).parent / "page"
#: Matches on the page; those that wait beyond them are counted.
SHOWN = 100
#: Changes of so long go to the pages together.
GATHER_S = 0.3
SESSION_S = 12 * 3600.0
#: Nobody guesses a token at this pace.
WRONG_TOKEN_S = 1.0
TOKEN_CHARACTERS = 16
NAME_CHARACTERS = 100
REASON_CHARACTERS = 500
REQUEST_BYTES = 16_384
#: What decides how often people were right is worth keeping for longer than matches are.
KEPT_MS = 400 * 86_400_000
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refused(Exception):
    """A decision that cannot be taken; the text says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass
class Desk:
    """The matches that wait for a decision, and the ids of those that have one."""

    waiting: dict[str, dict[str, Any]] = field(default_factory=dict)
    decided: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    version: int = 0

    async def came(self, match: dict[str, Any]) -> None:
        """A match was read; a repeat, and one that is decided or has ended, changes nothing."""
        match_id = match["match_id"]
        if match_id in self.waiting or match_id in self.decided or has_ended(match):
            return
        self.waiting[match_id] = match
        await self._tell()

    async def was_decided(self, decision: dict[str, Any]) -> None:
        """A decision was read. The first one of a match counts."""
        self.decided.setdefault(decision["match_id"], decision)
        if self.waiting.pop(decision["match_id"], None) is not None:
            await self._tell()

    async def drop_ended(self) -> None:
        """Drop matches whose entries have expired: nobody may act on them any more."""
        ended = [match_id for match_id, match in self.waiting.items() if has_ended(match)]
        for match_id in ended:
            del self.waiting[match_id]
        if ended:
            await self._tell()

    def shown(self) -> dict[str, Any]:
        """What the page shows: the most urgent first, of equals the latest first."""
        ordered = sorted(self.waiting.values(), key=lambda match: match["matched_at"], reverse=True)
        ordered.sort(key=priority)
        return {
            "waiting": len(ordered),
            "matches": [{**match, "plates": plates(match)} for match in ordered[:SHOWN]],
        }

    def decide(self, asked: dict[str, Any], name: str) -> dict[str, Any]:
        """The record of a decision. Raises Refused for one that cannot be taken."""
        match_id, decision = str(asked.get("match_id")), str(asked.get("decision"))
        if match_id in self.decided:
            raise Refused(409, f"{self.decided[match_id]['decided_by']} has decided this match")
        match = self.waiting.get(match_id)
        if match is None:
            raise Refused(404, "this match is no longer here: its entry has ended")
        if decision not in DECISIONS:
            raise Refused(400, f"decision must be one of {', '.join(sorted(DECISIONS))}")
        checks = [named(check) for check in match["verification"]["checks"]]
        checked = asked.get("checked")
        if not isinstance(checked, list) or not all(check in checks for check in checked):
            raise Refused(400, "checked must be a list of this match's checks")
        reason = str(asked.get("reason") or "").strip()[:REASON_CHARACTERS]
        if decision == "confirmed" and set(checked) != set(checks):
            raise Refused(400, "to confirm a match, compare everything first")
        if decision == "rejected" and not reason:
            raise Refused(400, "to reject a match, say why")
        entry = match["entry"]
        return {
            "match_id": match_id,
            "decided_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "decided_by": name,
            "decision": decision,
            "reason": reason,
            "checked": checked,
            "match_type": match["match_type"],
            "confidence": match["confidence"],
            "list_id": entry["list_id"],
            "agency": entry["agency"],
            "purpose": entry["purpose"],
        }

    def has_changed(self, since: int) -> bool:
        """Whether anything has changed since a version."""
        return self.version != since

    async def _tell(self) -> None:
        async with self.changed:
            self.version += 1
            self.changed.notify_all()


class Site:
    """The desk's pages, for people who have signed in."""

    def __init__(self, desk: Desk, token: str, writer: Decisions, *, secure: bool) -> None:
        self._desk = desk
        self._token = token.encode()
        self._writer = writer
        self._secure = secure
        #: Until when each session lasts, and whose it is.
        self._sessions: dict[str, tuple[float, str]] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=REQUEST_BYTES)
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/", self._page)
        app.router.add_post("/sign-in", self._sign_in)
        app.router.add_get("/events", self._events)
        app.router.add_post("/decisions", self._decide)
        for name in ("desk.js", "desk.css"):
            app.router.add_get(f"/{name}", _file(name))
        return app

    def _name(self, request: web.Request) -> str | None:
        ends_s, name = self._sessions.get(request.cookies.get("desk", ""), (0.0, ""))
        return name if ends_s > time.monotonic() else None

    async def _page(self, request: web.Request) -> web.StreamResponse:
        page = "sign-in.html" if self._name(request) is None else "desk.html"
        return web.FileResponse(PAGE / page)

    async def _sign_in(self, request: web.Request) -> web.Response:
        form = await request.post()
        name = " ".join(str(form.get("name", "")).split())[:NAME_CHARACTERS]
        token = str(form.get("token", "")).encode()
        if not name or not hmac.compare_digest(token, self._token):
            await asyncio.sleep(WRONG_TOKEN_S)
            raise web.HTTPSeeOther("/#wrong")
        now_s = time.monotonic()
        self._sessions = {key: kept for key, kept in self._sessions.items() if kept[0] > now_s}
        session = secrets.token_urlsafe(32)
        self._sessions[session] = now_s + SESSION_S, name
        answer = web.HTTPSeeOther("/")
        answer.set_cookie(
            "desk", session, httponly=True, samesite="Strict", secure=self._secure, path="/"
        )
        raise answer

    async def _events(self, request: web.Request) -> web.StreamResponse:
        name = self._name(request)
        if name is None:
            raise web.HTTPUnauthorized(text="sign in first")
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        desk, version = self._desk, -1
        with contextlib.suppress(ConnectionResetError):
            while self._name(request) is not None:
                version = desk.version
                data = json.dumps({"name": name, **desk.shown()})
                await answer.write(f"data: {data}\n\n".encode())
                await asyncio.sleep(GATHER_S)
                async with desk.changed:
                    try:
                        async with asyncio.timeout(15):
                            await desk.changed.wait_for(partial(desk.has_changed, version))
                    except TimeoutError:
                        continue  # what is sent again shows that the desk is still there
        return answer

    async def _decide(self, request: web.Request) -> web.Response:
        name = self._name(request)
        if name is None:
            return web.json_response({"error": "sign in again"}, status=401)
        # A page of another site cannot send this type without being asked first.
        if request.content_type != "application/json":
            return web.json_response({"error": "must be JSON"}, status=415)
        try:
            asked = await request.json()
            if not isinstance(asked, dict):
                raise Refused(400, "must be an object")
            decision = self._desk.decide(asked, name)
        except ValueError:
            return web.json_response({"error": "is not JSON"}, status=400)
        except Refused as refused:
            return web.json_response({"error": str(refused)}, status=refused.status)
        try:
            await self._writer.write(decision)
        except KafkaError as error:
            why = f"not recorded, try again: {type(error).__name__}"
            return web.json_response({"error": why}, status=503)
        await self._desk.was_decided(decision)
        return web.json_response({})


async def _add_headers(_: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.update(HEADERS)


def _file(name: str) -> Any:
    async def answer(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE / name)

    return answer


class Decisions:
    """The topic of decisions, which is only ever added to."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def write(self, decision: dict[str, Any]) -> None:
        """Return when all replicas that count have the decision."""
        value = json.dumps(decision).encode()
        await self._producer.send_and_wait(self._topic, value, decision["match_id"].encode())


async def make_topic(bootstrap: str, topic: str, matches: str) -> None:
    """Create the topic of decisions if it is missing, with as many replicas as the matches have.

    Both are looked for among all topics: a broker may create a topic that is asked for by its name,
    with settings of its own.
    """
    admin = AIOKafkaAdminClient(**connection(bootstrap))
    await admin.start()
    try:
        topics = {each["topic"]: each for each in await admin.describe_topics()}
        if matches not in topics:
            raise UnknownTopicOrPartitionError(f"there is no {matches}; see hotlist topics create")
        if topic in topics:
            return
        configs = {"cleanup.policy": "delete", "retention.ms": str(KEPT_MS)}
        replicas = len(topics[matches]["partitions"][0]["replicas"])
        made = await admin.create_topics([NewTopic(topic, 1, replicas, topic_configs=configs)])
        for _, code, *_ in made.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise for_code(code)(f"{topic} cannot be created")
    finally:
        await admin.close()


@contextlib.asynccontextmanager
async def reading(bootstrap: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of all of a topic, from its start; it needs no group and commits nothing."""
    consumer = AIOKafkaConsumer(
        topic,
        **connection(bootstrap),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    async with consumer:
        yield consumer


async def follow_decisions(
    consumer: AIOKafkaConsumer, desk: Desk, caught_up: asyncio.Event
) -> None:
    """Read the decisions; `caught_up` is set once all those are read that were there before."""
    ends: dict[TopicPartition, int] = await consumer.end_offsets(consumer.assignment())
    while True:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                try:
                    decision = decision_of(record.value)
                except ValueError as error:
                    passed(record, "decision", error)
                    continue
                await desk.was_decided(decision)
        if not caught_up.is_set():
            positions = [await consumer.position(part) >= end for part, end in ends.items()]
            if all(positions):
                caught_up.set()


async def follow_matches(consumer: AIOKafkaConsumer, desk: Desk) -> None:
    """Read the matches."""
    async for record in consumer:
        try:
            match = match_of(record.value)
        except ValueError as error:
            passed(record, "match", error)
            continue
        await desk.came(match)


async def drop_ended(desk: Desk) -> None:
    """Drop what ends, for ever."""
    while True:
        await asyncio.sleep(1)
        await desk.drop_ended()


async def run(options: argparse.Namespace, token: str, tls: ssl.SSLContext | None) -> None:
    """Serve the desk until it is cancelled, or a topic cannot be read any more."""
    desk = Desk()
    decisions = f"{options.prefix}decisions.v1"
    matches_topic = f"{options.prefix}matches.v1"
    await make_topic(options.bootstrap, decisions, matches_topic)
    producer = AIOKafkaProducer(
        **connection(options.bootstrap), acks="all", enable_idempotence=True
    )
    host, _, port = options.listen.rpartition(":")
    async with (
        producer,
        reading(options.bootstrap, decisions) as decided,
        reading(options.bootstrap, matches_topic) as matches,
        asyncio.TaskGroup() as tasks,
    ):
        caught_up = asyncio.Event()
        tasks.create_task(follow_decisions(decided, desk, caught_up))
        await caught_up.wait()
        tasks.create_task(follow_matches(matches, desk))
        tasks.create_task(drop_ended(desk))
        site = Site(desk, token, Decisions(producer, decisions), secure=tls is not None)
        runner = web.AppRunner(site.app(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=tls).start()
            address = runner.addresses[0]
            scheme = "http" if tls is None else "https"
            print(f"the desk is at {scheme}://{host}:{address[1]}/", flush=True)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


def _options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    parser.add_argument("--bootstrap", default="localhost:9092")
    parser.add_argument("--prefix", default="lpr.", help="what the topics' names begin with")
    parser.add_argument("--listen", default="127.0.0.1:9110", metavar="HOST:PORT")
    parser.add_argument("--cert", help="the certificate chain (PEM), for other machines' browsers")
    parser.add_argument("--key", help="its key (PEM)")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"--listen: {options.listen} is not HOST:PORT")
    if options.cert is None and not _is_loopback(host.strip("[]")):
        parser.error("--listen: an address that other machines reach needs --cert and --key")
    if (options.cert is None) != (options.key is None):
        parser.error("--cert and --key go together")
    return options


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options = _options(parser)
    token = os.environ.get("DESK_TOKEN", "")
    if len(token) < TOKEN_CHARACTERS:
        parser.error(f"DESK_TOKEN must have at least {TOKEN_CHARACTERS} characters")
    tls = None
    try:
        connection(options.bootstrap)
        if options.cert is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(options.cert, options.key)
    except (OSError, ValueError) as error:
        parser.error(f"cannot connect or listen like this: {error}")
    running = asyncio.ensure_future(run(options, token, tls))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await running
    except* (KafkaError, OSError) as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        sys.exit(f"the desk ends: {error}")


if __name__ == "__main__":
    asyncio.run(main())
