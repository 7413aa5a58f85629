"""Tokens for SASL OAUTHBEARER: from a token endpoint, or signed for Amazon MSK's IAM.

`TokenProvider` is what aiokafka asks for a token whenever it connects. It keeps the token and
renews it in the background before it expires, so that a connection seldom waits for one. Kafka
clients of several event loops may share it.

`ClientCredentials` fetches a token as RFC 6749, section 4.4, says: a POST with the client's id and
secret as HTTP Basic, which it answers in JSON. `msk_fetch` has the AWS library sign one with the
credentials that AWS's own tools find. No error and no log line shows a secret or a token.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import ssl
import threading
import time
import weakref
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus

import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from engine import limits
from engine.errors import BrokerError, ConfigError

log = logging.getLogger(__name__)

_SIGNER: Final = "aws_msk_iam_sasl_signer.MSKAuthTokenProvider"
_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")


class Token(NamedTuple):
    """A token, and for how long from now it is valid."""

    text: str
    lifetime_s: float

    def __repr__(self) -> str:
        return f"<token for {self.lifetime_s:g} s>"


Fetch = Callable[[], Awaitable[Token]]


class TokenError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """There is no token; `explained` says why. For aiokafka it is a connection that failed."""

    def __init__(self, explained: BrokerError) -> None:
        super().__init__(str(explained))
        self.explained = explained


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class _Refusal(msgspec.Struct):
    error: str
    error_description: str = ""


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """See the module. `extensions` are SASL extensions that the brokers want beside the token."""

    def __init__(
        self,
        fetch: Fetch,
        extensions: Mapping[str, str] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._extensions = dict(extensions or {})
        self._now_s = now_s
        self._text = ""
        #: When the token is to be renewed, and when it expires.
        self._renew_s = self._end_s = 0.0
        self._renewing: weakref.WeakKeyDictionary[Any, asyncio.Task[None]] = (
            weakref.WeakKeyDictionary()
        )

    async def token(self) -> str:
        """Return a valid token. Raises TokenError if there is none."""
        now_s = self._now_s()
        if now_s >= self._end_s:
            await asyncio.shield(self._renewal())
        elif now_s >= self._renew_s:
            self._renew_s = now_s + limits.TOKEN_RETRY_S
            self._renewal().add_done_callback(_log_failure)
        return self._text

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions."""
        return self._extensions

    def _renewal(self) -> asyncio.Task[None]:
        """Return the renewal that runs in this event loop; begin one if none does."""
        loop = asyncio.get_running_loop()
        renewing = self._renewing.get(loop)
        if renewing is None or renewing.done():
            renewing = self._renewing[loop] = loop.create_task(self._renew())
        return renewing

    async def _renew(self) -> None:
        asked_s = self._now_s()
        token = await self._fetch()
        self._text = token.text
        self._renew_s = asked_s + limits.TOKEN_RENEW_SHARE * token.lifetime_s
        self._end_s = asked_s + token.lifetime_s


def _log_failure(renewal: asyncio.Task[None]) -> None:
    if not renewal.cancelled() and (error := renewal.exception()) is not None:
        log.warning("the token was not renewed yet: %s", error)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A client at a token endpoint."""

    url: str
    client_id: str
    secret: str = field(repr=False)
    scope: str | None = None
    tls: ssl.SSLContext | None = None

    async def fetch(self) -> Token:
        """Fetch a token. Raises TokenError."""
        import aiohttp

        from engine.kafka.http_answers import body_of

        login = ":".join(map(quote_plus, (self.client_id, "".join(self.secret))))
        form = {"grant_type": "client_credentials"}
        if self.scope is not None:
            form["scope"] = self.scope
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=limits.TOKEN_FETCH_S)
                ) as session,
                session.post(
                    self.url,
                    data=form,
                    headers={
                        "Accept": "application/json",
                        "Authorization": f"Basic {b64encode(login.encode()).decode()}",
                    },
                    ssl=True if self.tls is None else self.tls,
                    allow_redirects=False,  # the secret goes where the setting says
                ) as answer,
            ):
                body = await body_of(answer, limits.TOKEN_BYTES) or b""
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._failed(
                f"does not answer ({type(error).__name__})",
                "check --sasl-oauthbearer-token-endpoint-url, and that it runs",
            ) from None
        if status != 200:
            raise self._refused(status, body)
        return self._token(body)

    def _token(self, body: bytes) -> Token:
        try:
            answer = msgspec.json.decode(body, type=_Answer, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._no_endpoint("with what is no token") from None
        # It goes between the separators of a SASL message.
        if not answer.access_token.isascii() or not answer.access_token.isprintable():
            raise self._no_endpoint("with what is no token")
        lifetime_s = limits.TOKEN_LIFE_S if answer.expires_in is None else answer.expires_in
        return Token(answer.access_token, lifetime_s)

    def _refused(self, status: int, body: bytes) -> TokenError:
        """Return the error of a refusal as RFC 6749, section 5.2, has it, or of another answer."""
        try:
            refusal = msgspec.json.decode(body, type=_Refusal)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._no_endpoint(f"with status {status}")
        said = f"{refusal.error}: {refusal.error_description}".removesuffix(": ")
        return self._failed(
            f"gives no token to the client {self.client_id!r}, it says {said[:200]!r}",
            "check --sasl-oauthbearer-client-id, its secret and --sasl-oauthbearer-scope",
        )

    def _no_endpoint(self, how: str) -> TokenError:
        return self._failed(f"answers {how}", "check --sasl-oauthbearer-token-endpoint-url")

    def _failed(self, what: str, hint: str) -> TokenError:
        return TokenError(BrokerError(what, where=f"token endpoint {self.url}", hint=hint))


def msk_fetch() -> Fetch:
    """Return what signs tokens for Amazon MSK.

    Raises ConfigError if the library is not installed, or no region is set.
    """
    try:
        signer = importlib.import_module(_SIGNER)
    except ModuleNotFoundError:
        raise ConfigError(
            "AWS_MSK_IAM needs the extra msk",
            where="sasl_mechanism",
            hint="run: pip install 'hotlist-engine[msk]'",
        ) from None
    region = next(filter(None, map(os.environ.get, _REGIONS)), None)
    if region is None:
        raise ConfigError(
            "is not set, and AWS_MSK_IAM needs it", where=_REGIONS[0], hint="set the cluster's"
        )

    failed = importlib.import_module("botocore.exceptions")
    failures = (failed.BotoCoreError, failed.ClientError, ValueError, AttributeError, OSError)

    def sign() -> Token:
        text, ends_ms = signer.generate_auth_token(region)
        return Token(text, ends_ms / 1000 - time.time())

    signing = _Signing(sign)

    async def fetch() -> Token:
        try:
            async with asyncio.timeout(limits.TOKEN_FETCH_S):
                return await asyncio.wrap_future(signing.running())
        except failures as error:
            what = f"the AWS library signs no token ({type(error).__name__})"
            hint = "check the AWS credentials of this process: `aws sts get-caller-identity`"
            raise TokenError(BrokerError(what, hint=hint)) from None

    return fetch


class _Signing:
    """Signs one token at a time, on a thread of its own. Several event loops may use it.

    The AWS library may ask AWS for credentials, and may block for minutes. The threads of the event
    loop have other work, and the end of the process does not wait for this one.
    """

    def __init__(self, sign: Callable[[], Token]) -> None:
        self._sign = sign
        self._lock = threading.Lock()
        self._running: Future[Token] | None = None

    def running(self) -> Future[Token]:
        """Return the future of the token that is being signed; begin if none is."""
        with self._lock:
            if self._running is None or self._running.done():
                self._running = Future()
                # A caller that gives up cannot cancel it any more, and the next one joins it.
                self._running.set_running_or_notify_cancel()
                run = threading.Thread(target=self._run, args=[self._running], daemon=True)
                run.start()
            return self._running

    def _run(self, token: Future[Token]) -> None:
        try:
            token.set_result(self._sign())
        except BaseException as error:  # noqa: BLE001 - the caller's, as executors do
            token.set_exception(error)
