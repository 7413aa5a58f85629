"""Tokens for the brokers: asked for as RFC 6749 says, kept, renewed in time."""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from engine import limits
from engine.config import Settings
from engine.errors import BrokerError, ConfigError
from engine.kafka import oauth
from engine.kafka.oauth import ClientCredentials, Token, TokenError, TokenProvider, msk_fetch
from engine.kafka.security import OAUTH_VARIABLE, password_in_clear, principal, security
from tests.fakes.token_endpoint import TokenEndpoint, token_endpoint

SECRET = "s:cr et/%"
SASL: dict[str, Any] = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
CLIENT: dict[str, Any] = {
    **SASL,
    "sasl_oauthbearer_token_endpoint_url": "https://login.example/token",
    "sasl_oauthbearer_client_id": "hotlist",
}


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with token_endpoint("hotlist worker", SECRET) as running:
        yield running


def client_of(endpoint: TokenEndpoint, **others: Any) -> ClientCredentials:
    return ClientCredentials(
        endpoint.url, **{"client_id": "hotlist worker", "secret": SECRET} | others
    )


async def test_a_token_is_asked_for_once(endpoint: TokenEndpoint) -> None:
    provider = TokenProvider(client_of(endpoint, scope="kafka").fetch, {"pool": "a"})
    tokens = await asyncio.gather(*(provider.token() for _ in range(5)))
    assert len(set(tokens)) == 1
    assert endpoint.asked == [{"grant_type": ["client_credentials"], "scope": ["kafka"]}]
    assert provider.extensions() == {"pool": "a"}


class Clock:
    """A clock, and a source of tokens that counts."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.given = 0
        self.fails = False

    def __call__(self) -> float:
        return self.now_s

    async def fetch(self) -> Token:
        await asyncio.sleep(0)
        if self.fails:
            raise TokenError(BrokerError("away"))
        self.given += 1
        return Token(f"token-{self.given}", 100.0)


async def test_it_is_renewed_before_it_expires_and_nobody_waits() -> None:
    clock = Clock()
    provider = TokenProvider(clock.fetch, now_s=clock)
    assert await provider.token() == "token-1"
    clock.now_s += 79
    assert await provider.token() == "token-1"
    assert clock.given == 1
    clock.now_s += 2
    assert await provider.token() == "token-1"
    await asyncio.sleep(0.01)
    assert clock.given == 2
    assert await provider.token() == "token-2"


async def test_a_renewal_that_fails_is_tried_again_and_the_token_serves_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    provider = TokenProvider(clock.fetch, now_s=clock)
    await provider.token()
    clock.fails = True
    clock.now_s += 85
    assert await provider.token() == "token-1"
    await asyncio.sleep(0.01)
    assert "the token was not renewed yet: TokenError: away" in caplog.text
    clock.now_s += limits.TOKEN_RETRY_S
    clock.fails = False
    assert await provider.token() == "token-1"
    await asyncio.sleep(0.01)
    assert await provider.token() == "token-2"


async def test_an_expired_token_is_never_given() -> None:
    clock = Clock()
    provider = TokenProvider(clock.fetch, now_s=clock)
    await provider.token()
    clock.now_s += 100
    clock.fails = True
    with pytest.raises(TokenError, match="away"):
        await provider.token()
    clock.fails = False
    assert await provider.token() == "token-2"


def test_clients_of_two_event_loops_share_it() -> None:
    clock = Clock()
    provider = TokenProvider(clock.fetch, now_s=clock)
    assert asyncio.run(provider.token()) == asyncio.run(provider.token()) == "token-1"
    clock.now_s += 100
    assert asyncio.run(provider.token()) == "token-2"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((500, b"<html>"), "answers with status 500"),
        ((404, b"{}"), "answers with status 404"),
        ((200, b"<html>"), "answers with what is no token"),
        ((200, b'{"token": "x"}'), "answers with what is no token"),
        ((200, '{"access_token": "a\u0001b"}'.encode()), "answers with what is no token"),
        (
            (400, b'{"error": "invalid_scope"}'),
            "gives no token to the client 'hotlist worker', it says 'invalid_scope'",
        ),
    ],
)
async def test_what_an_endpoint_may_answer(
    endpoint: TokenEndpoint, answer: tuple[int, bytes], says: str
) -> None:
    endpoint.answer = answer
    with pytest.raises(TokenError) as caught:
        await client_of(endpoint).fetch()
    line = str(caught.value.explained)
    assert line.startswith(f"token endpoint {endpoint.url}: {says}; check --sasl-oauthbearer-")
    assert SECRET not in line


async def test_a_wrong_secret_and_an_endpoint_that_is_away(endpoint: TokenEndpoint) -> None:
    with pytest.raises(TokenError, match="it says 'invalid_client: Wrong credentials'"):
        await client_of(endpoint, secret="wrong").fetch()
    away = client_of(endpoint)
    object.__setattr__(away, "url", "http://127.0.0.1:1/token")
    with pytest.raises(TokenError, match=r"does not answer \(ClientConnectorError\)"):
        await away.fetch()
    assert SECRET not in repr(away)


async def test_an_endpoint_that_names_no_lifetime(endpoint: TokenEndpoint) -> None:
    endpoint.answer = (200, b'{"access_token": "abc", "token_type": "Bearer"}')
    assert await client_of(endpoint).fetch() == ("abc", limits.TOKEN_LIFE_S)
    endpoint.answer = (200, b'{"access_token": "abc", "expires_in": "60"}')
    token = await client_of(endpoint).fetch()
    assert token == ("abc", 60.0)
    assert "abc" not in repr(token)


# The settings.


def test_the_settings_of_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OAUTH_VARIABLE, SECRET)
    settings = Settings(**CLIENT, sasl_oauthbearer_extensions="logicalCluster=lkc-1, pool=a=b")
    found = dict(security(settings))
    provider = found.pop("sasl_oauth_token_provider")
    assert provider.extensions() == {"logicalCluster": "lkc-1", "pool": "a=b"}
    assert found.pop("ssl_context") is not None
    assert found == {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
    assert principal(settings) == "hotlist"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            SASL,
            (
                "sasl_oauthbearer_token_endpoint_url: must be set with the mechanism "
                "OAUTHBEARER; set "
                "--sasl-oauthbearer-token-endpoint-url "
                "(HOTLIST_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL)"
            ),
        ),
        (
            CLIENT,
            (
                "HOTLIST_SASL_OAUTHBEARER_CLIENT_SECRET: is not set, and OAUTHBEARER "
                "needs it; set it, "
                "or --sasl-oauthbearer-client-secret-file "
                "(HOTLIST_SASL_OAUTHBEARER_CLIENT_SECRET_FILE)"
            ),
        ),
        (
            {**CLIENT, "sasl_username": "jo"},
            (
                "sasl_username: is set, and has no effect with the mechanism "
                "OAUTHBEARER; unset it, or "
                "set --sasl-mechanism (HOTLIST_SASL_MECHANISM) to another one"
            ),
        ),
        (
            {**SASL, "sasl_mechanism": "PLAIN", "sasl_username": "jo"}
            | {"sasl_oauthbearer_scope": "kafka"},
            (
                "sasl_oauthbearer_scope: is set, and has no effect with the mechanism "
                "PLAIN; unset it, "
                "or set --sasl-mechanism (HOTLIST_SASL_MECHANISM) to another one"
            ),
        ),
        (
            {**SASL, "sasl_mechanism": "AWS_MSK_IAM", "sasl_username": "jo"},
            (
                "sasl_username: is set, and has no effect with the mechanism "
                "AWS_MSK_IAM; unset it, or "
                "set --sasl-mechanism (HOTLIST_SASL_MECHANISM) to another one"
            ),
        ),
    ],
)
def test_settings_that_do_not_go_together(
    settings: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(OAUTH_VARIABLE, raising=False)
    with pytest.raises(ConfigError) as caught:
        security(Settings(**settings))
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("token_endpoint_url", "http://login.example/token", "must be an https URL"),
        ("token_endpoint_url", "https://jo:pw@login.example/", "a URL with a user"),
        ("extensions", "auth=x", "must be NAME=VALUE"),
        ("extensions", "a", "must be NAME=VALUE"),
    ],
)
def test_values_that_break_a_rule(name: str, value: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        Settings(**{f"sasl_oauthbearer_{name}": value})  # type: ignore[arg-type]


def test_a_token_in_clear_is_warned_of() -> None:
    settings = Settings(
        **{**CLIENT, "security_protocol": "SASL_PLAINTEXT"}, bootstrap="kafka.example:9092"
    )
    warning = password_in_clear(settings)
    assert warning is not None
    assert "SASL OAUTHBEARER over SASL_PLAINTEXT sends the token in clear" in warning


# Amazon MSK.


async def test_a_token_for_msk_is_signed_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-key")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    settings = Settings(security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM")
    found = security(settings)
    assert found["sasl_mechanism"] == "OAUTHBEARER"
    token = await msk_fetch()()
    assert 0 < token.lifetime_s <= 900
    signed = await found["sasl_oauth_token_provider"].token()
    url = urlsafe_b64decode(signed + "=" * (-len(signed) % 4)).decode()
    assert urlsplit(url).hostname == "kafka.eu-west-1.amazonaws.com"
    assert parse_qs(urlsplit(url).query)["Action"] == ["kafka-cluster:Connect"]
    assert principal(settings) is None


async def test_without_credentials_for_msk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setattr(
        importlib.import_module("aws_msk_iam_sasl_signer.MSKAuthTokenProvider"),
        "generate_auth_token",
        lambda region: (_ for _ in ()).throw(ValueError("no credentials: AKIA...")),
    )
    with pytest.raises(TokenError, match=r"signs no token \(ValueError\); check the AWS"):
        await msk_fetch()()


async def test_a_token_that_is_still_being_signed_is_not_signed_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS may swallow the request for credentials: then the library blocks for minutes. Were it
    called again and again, it would fill the loop's threads, which the lists are read with too."""
    calls = []
    goes_on = threading.Event()

    def generate(region: str) -> tuple[str, float]:
        calls.append(threading.current_thread())
        assert goes_on.wait(60)
        return f"{region}-{len(calls)}", 1000 * (time.time() + 900)

    signer = importlib.import_module("aws_msk_iam_sasl_signer.MSKAuthTokenProvider")
    monkeypatch.setattr(signer, "generate_auth_token", generate)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setattr(limits, "TOKEN_FETCH_S", 0.01)
    fetch = msk_fetch()

    def in_another_loop() -> Token:
        return asyncio.run(fetch())  # type: ignore[arg-type]  # it is a coroutine

    try:
        for _ in range(3):
            with pytest.raises(TokenError, match=r"signs no token \(TimeoutError\)"):
                await fetch()
        with pytest.raises(TokenError, match=r"signs no token \(TimeoutError\)"):
            await asyncio.to_thread(in_another_loop)
        assert len(calls) == 1
        assert calls[0].daemon, "the end of the process does not wait for it"
        monkeypatch.setattr(limits, "TOKEN_FETCH_S", 60)
        patient = asyncio.ensure_future(fetch())
        await asyncio.sleep(0)
    finally:
        goes_on.set()
    assert (await patient).text == "eu-west-1-1"
    assert (await fetch()).text == "eu-west-1-2"


def test_msk_without_a_region_or_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(ConfigError, match="AWS_REGION: is not set, and AWS_MSK_IAM needs it"):
        msk_fetch()
    monkeypatch.setattr(oauth, "_SIGNER", "no_such_signer")
    with pytest.raises(ConfigError, match=r"pip install 'hotlist-engine\[msk\]'"):
        msk_fetch()
