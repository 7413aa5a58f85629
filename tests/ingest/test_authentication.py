"""`engine.ingest.authentication`: who knows the token, and that nothing can be sent again."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from engine import limits
from engine.ingest.authentication import Authenticator

_TOKEN = "a-token-of-the-tests"
_HASHES: dict[str, Callable[[bytes], Any]] = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(clock: Clock) -> Authenticator:
    return Authenticator(_TOKEN, clock)


def nonce_of(authenticator: Authenticator, algorithm: str = "MD5") -> str:
    """The nonce of the challenge of this algorithm."""
    [found] = [
        each for each in authenticator.challenges("unknown") if f"algorithm={algorithm}," in each
    ]
    [nonce] = re.findall(r'nonce="([^"]+)"', found)
    return str(nonce)


def digest(nonce: str, count: int | None = 1, algorithm: str = "MD5", /, **other: str) -> str:
    """The header of a client, by RFC 7616; `count` None: by RFC 2069. `other` replaces parts."""
    given = {
        "username": "camera",
        "realm": "hotlist",
        "nonce": nonce,
        "uri": "/hook?a=1",
        "algorithm": algorithm,
        "password": _TOKEN,
        "method": "POST",
    }
    if count is not None:
        given |= {"qop": "auth", "nc": f"{count:08x}", "cnonce": "0a4f113b"}
    given |= other

    def hashed(*parts: str) -> str:
        found: str = _HASHES[algorithm](":".join(parts).encode()).hexdigest()
        return found

    secret = hashed(given["username"], given["realm"], given.pop("password"))
    middle = [given["nc"], given["cnonce"], given["qop"]] if "qop" in given else []
    asked = hashed(given.pop("method"), given["uri"])
    given.setdefault("response", hashed(secret, given["nonce"], *middle, asked))
    bare = {"algorithm", "nc", "qop"}
    return "Digest " + ", ".join(
        f"{name}={value}" if name in bare else f'{name}="{value}"' for name, value in given.items()
    )


def judge(authenticator: Authenticator, header: str, target: str = "/hook?a=1") -> str:
    return authenticator.judge("POST", target, header)


@pytest.mark.parametrize("algorithm", _HASHES)
def test_digest_counts_once(authenticator: Authenticator, algorithm: str) -> None:
    nonce = nonce_of(authenticator, algorithm)
    first, second = (digest(nonce, count, algorithm) for count in (1, 2))
    assert judge(authenticator, first) == "known"
    assert judge(authenticator, second) == "known"
    assert judge(authenticator, first) == "stale"
    assert judge(authenticator, second) == "stale"


def test_digest_of_the_standards_example() -> None:
    """RFC 7616, 3.9.1: that our clients and our server are not wrong in the same way."""
    asked = hashlib.md5(b"GET:/dir/index.html").hexdigest()
    secret = hashlib.md5(b"Mufasa:http-auth@example.org:Circle of Life").hexdigest()
    nonce, cnonce = (
        "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    text = f"{secret}:{nonce}:00000001:{cnonce}:auth:{asked}"
    assert hashlib.md5(text.encode()).hexdigest() == "8ca523f5e9506fed4657c9700eebdbec"
    header = digest(
        nonce,
        username="Mufasa",
        realm="http-auth@example.org",
        password="Circle of Life",
        method="GET",
        uri="/dir/index.html",
        cnonce=cnonce,
    )
    assert 'response="8ca523f5e9506fed4657c9700eebdbec"' in header


def test_digest_without_qop_is_for_one_request(authenticator: Authenticator) -> None:
    header = digest(nonce_of(authenticator), None)
    assert "qop" not in header
    assert judge(authenticator, header) == "known"
    assert judge(authenticator, header) == "stale"


def test_connections_side_by_side(authenticator: Authenticator) -> None:
    nonce = nonce_of(authenticator)
    for count in (3, 1, 2, 90, 30, 89):
        assert judge(authenticator, digest(nonce, count)) == "known", count
    for count in (3, 1, 2, 90, 30, 89, 20):
        assert judge(authenticator, digest(nonce, count)) == "stale", count


def test_a_nonce_is_bounded_in_time_and_count(authenticator: Authenticator, clock: Clock) -> None:
    nonce, other = nonce_of(authenticator), nonce_of(authenticator)
    assert judge(authenticator, digest(nonce, 1)) == "known"
    assert judge(authenticator, digest(nonce, limits.INGEST_NONCE_USES + 1)) == "stale"
    assert judge(authenticator, digest(nonce, 0)) == "stale"
    clock.now_s += limits.INGEST_NONCE_S + 1
    assert judge(authenticator, digest(nonce, 2)) == "stale"
    assert judge(authenticator, digest(other, 1)) == "stale"
    assert "stale=true" in authenticator.challenges("stale")[0]
    assert "stale" not in "".join(authenticator.challenges("unknown"))


def test_used_nonces_are_bounded(
    monkeypatch: pytest.MonkeyPatch, authenticator: Authenticator, clock: Clock
) -> None:
    """One that was evicted cannot be used again: all of its age are stale."""
    monkeypatch.setattr(limits, "INGEST_NONCES", 3)
    nonces = []
    for _ in range(6):
        clock.now_s += 1
        nonces.append(nonce_of(authenticator))
        assert judge(authenticator, digest(nonces[-1])) == "known"
    assert len(authenticator._nonces._used) == 3
    for nonce in nonces:
        assert judge(authenticator, digest(nonce)) == "stale"
    assert judge(authenticator, digest(nonces[-1], 2)) == "known"


def test_strangers_take_no_memory(authenticator: Authenticator) -> None:
    for _ in range(100):
        assert judge(authenticator, digest(nonce_of(authenticator), password="wrong")) == "unknown"
    assert authenticator._nonces._used == {}


def test_the_nonce_of_another_process_is_stale(clock: Clock) -> None:
    """After a restart a camera goes on with its nonce, and asks for another one by itself."""
    old, new = Authenticator(_TOKEN, clock), Authenticator(_TOKEN, clock)
    header = digest(nonce_of(old))
    assert judge(new, header) == "stale"
    assert judge(old, header) == "known"


def test_a_user_name_that_is_not_ascii(authenticator: Authenticator) -> None:
    given = digest(nonce_of(authenticator), username="Zürich")
    assert judge(authenticator, given) == "known"
    named = digest(nonce_of(authenticator), username="Zürich").replace(
        'username="Zürich"', "username*=UTF-8''Z%C3%BCrich"
    )
    assert judge(authenticator, named) == "known"


@pytest.mark.parametrize(
    "change",
    [
        {"password": "another-token-of-it"},
        {"realm": "other"},
        {"realm": ""},
        {"method": "GET"},
        {"uri": "/other"},
        {"uri": "*"},
        {"qop": "auth-int"},
        {"qop": ""},
        {"nc": "1"},
        {"nc": "0000000g"},
        {"response": ""},
        {"response": "0" * 32},
        {"nonce": ""},
        {"userhash": "true"},
    ],
    ids=str,
)
def test_a_broken_digest(authenticator: Authenticator, change: dict[str, str]) -> None:
    nonce = nonce_of(authenticator)
    found = judge(authenticator, digest(nonce, 1, "MD5", **change))
    # A right answer to a nonce that is none of ours is asked again.
    assert found == ("stale" if "nonce" in change else "unknown")
    assert judge(authenticator, digest(nonce)) == "known"


@pytest.mark.parametrize(
    "header",
    [
        "Digest",
        "Digest ",
        "Digest username",
        'Digest username="a',
        'Digest username="a" realm="b"',
        "Digest " + "a=b, " * 2000,
        'Digest realm="hotlist", realm="hotlist"',
        "Digest " + 'a="' + "\\" * 1000,
        'Digest realm="hotlist", algorithm=MD5-sess, uri="/hook?a=1"',
        'Digest realm="hotlist", uri="/hook?a=1", nonce="\udcff", response="\udcff"',
        "Digest =,=,=",
        "Basic",
        "Bearer",
        "",
    ],
)
def test_hostile_headers(authenticator: Authenticator, header: str) -> None:
    assert judge(authenticator, header) == "unknown"


def test_basic_and_bearer(authenticator: Authenticator) -> None:
    secret = base64.b64encode(f"any:{_TOKEN}".encode()).decode()
    for header in (f"Basic {secret}", f"basic  {secret}", f"Bearer {_TOKEN}", f"BEARER {_TOKEN}"):
        assert judge(authenticator, header) == "known"
    assert judge(authenticator, f"Bearer {_TOKEN}x") == "unknown"


@pytest.mark.parametrize(
    "target",
    [f"/{_TOKEN}", f"/a/{_TOKEN}/NotificationInfo/TollgateInfo?b=c", f"/a?b=c&token={_TOKEN}"],
)
def test_the_token_in_the_url_only_where_it_is_allowed(clock: Clock, target: str) -> None:
    assert Authenticator(_TOKEN, clock).judge("POST", target, "") == "unknown"
    allowed = Authenticator(_TOKEN, clock, is_in_url=True)
    assert allowed.judge("POST", target, "") == "known"
    for wrong in ("/", "/a-token", f"/{_TOKEN}x", f"/a?other={_TOKEN}", "/%ff?token=%ff&token"):
        assert allowed.judge("POST", wrong, "") == "unknown"


def test_challenges_begin_with_what_old_clients_know(authenticator: Authenticator) -> None:
    found = [each.split()[0] for each in authenticator.challenges("unknown")]
    assert found == ["Digest", "Digest", "Basic", "Bearer"]
    assert "algorithm=MD5," in authenticator.challenges("unknown")[0]
