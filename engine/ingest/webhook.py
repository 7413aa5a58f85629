"""The HTTP endpoint of `hotlist ingest`: a vendor's webhook in, detections out.

`POST`, `PUT` or `PATCH` to any path takes a message: as the body, or in a form
(`engine.ingest.forms`); only messages are kept of it. Cameras insist on paths of their own,
and a path means nothing here. The sender proves that it knows the token
(`engine.ingest.authentication`). Answers are JSON, and no cache may keep them.

If a mapping names the fields of forms, the fields of the query and of the body together are the
message, and `GET` takes one as well: some cameras know nothing else. The token in the query, which
proxies log, is no part of the message.

    200  accepted: the broker has all its reads, or it has none; `reads` says how many, `problems`
         which parts gave none
    400  it gives no read, and `field` and `rule` say why, or its body cannot be read (not the gzip
         that it claims to be, a form that is none); sending it again is useless
    401  the token is missing or wrong
    408, 413  too slow, too long
    503  not accepted: busy, or the broker does not acknowledge; most senders send it again

A sender that never does (`NEVER_RESENT`) is answered 200 at once, and its reads are held until the
broker has them; 503 then means that too many are held.

Nothing of a message is logged, returned or kept. The number of messages in work is bounded; further
senders get 503 before their message is read. `engine.serving.port` bounds the connections: one
without the token lasts seconds and one request, and cannot keep a sender with the token out.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, cast

from aiohttp import web

from engine import limits
from engine.errors import BrokerError
from engine.ingest.adapters import AdapterError
from engine.ingest.authentication import Authenticator, Verdict
from engine.ingest.bodies import BrokenBodyError, fields_of, messages_of
from engine.ingest.producer import Ingest
from engine.ingest.status_routes import add_status
from engine.serving.certificate import ServerTls
from engine.serving.http_port import HttpPort
from engine.serving.port import Bounds

_RETRY_AFTER = {"Retry-After": "5"}
_SENDS: Final = ("POST", "PUT", "PATCH")
#: Whether a request's sender knows the token; judged once, as Digest accepts no request twice.
_VERDICT: Final = web.RequestKey("verdict", str)
#: Whether a request is to bring a message, and not to ask for the status.
_IS_MESSAGE: Final = web.RequestKey("is_message", bool)
#: By the status of the answer; others are "unreadable", among them a path that is none.
_RESULTS = {
    200: "taken",
    400: "bad",
    401: "unauthorized",
    408: "too_slow",
    413: "too_long",
    503: "not_taken",
}
#: Shares the status 401 with "unauthorized": the request had no token, or a nonce that is too old.
_CHALLENGED = "challenged"
_UNREADABLE = "unreadable"


class Endpoint(NamedTuple):
    """The address to listen on, the token that messages must come with, and TLS. `is_in_url` allows
    the token in the path or the query, too. `is_holding`: the vendor's senders never send again.
    `is_form`: messages are forms or queries whose fields a mapping names."""

    host: str
    port: int
    token: str
    tls: ServerTls | None = None
    is_in_url: bool = False
    is_holding: bool = False
    vendor: str = ""
    is_form: bool = False


class IngestServer:
    """The endpoint's server; see the module."""

    def __init__(self, ingest: Ingest, endpoint: Endpoint) -> None:
        self._ingest = ingest
        self._endpoint = endpoint
        self._authenticator = Authenticator(
            endpoint.token, time.monotonic, is_in_url=endpoint.is_in_url
        )
        self._in_work = 0
        app = web.Application(
            client_max_size=limits.INGEST_MESSAGE_BYTES, middlewares=[self._counted]
        )
        add_status(app, ingest)
        for method in (*_SENDS, "GET") if endpoint.is_form else _SENDS:
            app.router.add_route(method, "/{path:.*}", self._take)
        bounds = Bounds(
            limits.INGEST_STRANGERS,
            limits.INGEST_STRANGERS_A_PEER,
            limits.INGEST_STRANGER_S,
            limits.INGEST_SENDERS,
        )
        self._listening = HttpPort(
            app,
            bounds,
            endpoint.tls and endpoint.tls.context,
            shutdown_timeout=limits.INGEST_DELIVERY_S,
            keepalive_timeout=limits.INGEST_IDLE_S,
        )

    async def start(self) -> None:
        """Start listening. Raises HotlistError if the port is not available."""
        host, port, *_ = self._endpoint
        await self._listening.open(
            host, port, where="", hint="choose another address with --listen"
        )

    async def stop(self) -> None:
        """Answer the requests in work, then stop listening."""
        await self._listening.close()

    @property
    def port(self) -> int:
        """The port that the server listens on; if 0 was asked for, the free port it was given."""
        number = self._listening.number
        return self._endpoint.port if number is None else number

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self._listening.connections

    @web.middleware
    async def _counted(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Count the result of each message; turn aiohttp's own errors into JSON.

        The connection of a client without the token ends with the answer.
        """
        result = ""
        verdict = self._authenticator.judge(
            request.method, request.raw_path, request.headers.get("Authorization", "")
        )
        request[_VERDICT] = verdict
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _answer(error.status, error=error.reason.lower())
        except BrokenBodyError as error:
            result = error.result
            response = _answer(400, error=f"the body cannot be read: {error}")
            response.force_close()  # where the next request begins is not known
        if verdict != "known":
            response.force_close()
            if verdict == "stale" or "Authorization" not in request.headers:
                result = _CHALLENGED
        if request.method in _SENDS or request.get(_IS_MESSAGE, False):
            result = result or _RESULTS.get(response.status, _UNREADABLE)
            self._ingest.metrics.count_message(result)
        return response

    async def _take(self, request: web.Request) -> web.Response:
        request[_IS_MESSAGE] = True
        verdict = cast(Verdict, request[_VERDICT])
        if verdict != "known":
            response = _answer(401, error="the token is missing or wrong")
            for challenge in self._authenticator.challenges(verdict):
                response.headers.add("WWW-Authenticate", challenge)
            return response
        is_full = self._in_work >= limits.INGEST_MESSAGES or self._ingest.is_behind
        if is_full or not self._listening.trust(request):
            return _answer(503, error="busy, send it again", headers=_RETRY_AFTER)
        self._in_work += 1
        try:
            return await self._answer_to(request)
        finally:
            self._in_work -= 1

    async def _answer_to(self, request: web.Request) -> web.Response:
        try:
            if self._endpoint.is_form:
                messages, is_whole = [await fields_of(request)], True
            else:
                messages, is_whole = await messages_of(request)
        except TimeoutError:
            return _answer(408, error=f"was not sent within {limits.INGEST_RECEIVE_S:g} s")
        response = await self._answer_of(messages)
        if not is_whole:
            response.force_close()  # where the next request begins is not known
        return response

    async def _answer_of(self, messages: list[bytes]) -> web.Response:
        reads, wrong = 0, list[AdapterError]()
        for message in messages:
            try:
                if self._endpoint.is_holding:
                    adapted = self._ingest.hold(message)
                else:
                    adapted = await self._ingest.take(message)
            except AdapterError as error:
                wrong.append(error)
            except BrokerError as error:
                return _answer(503, error=error.what, headers=_RETRY_AFTER)
            else:
                reads += len(adapted.reads)
                wrong += adapted.problems
        if wrong and not reads:
            first = wrong[0]
            return _answer(400, error=str(first), field=first.field, rule=first.rule)
        problems = [{"field": each.field, "rule": each.rule} for each in wrong]
        return _answer(200, reads=reads, problems=problems)


def _answer(status: int, *, headers: dict[str, str] | None = None, **body: object) -> web.Response:
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return web.json_response(body, status=status, headers=headers)
