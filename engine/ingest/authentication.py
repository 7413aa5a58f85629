"""Whether a sender knows the endpoint's token.

It may prove it in four ways, because many cameras know only one of them:

* `Authorization: Bearer TOKEN`,
* as the password of HTTP Basic, with any user name,
* as the password of HTTP Digest (RFC 7616, MD5 and SHA-256, `qop=auth`; without `qop` as in RFC
  2069), with any user name,
* as a segment of the path or as `token=` in the query, if the endpoint allows that: proxies log it.

A nonce of Digest says when it was made and is signed with a key of this process, so an unused one
takes no memory. One that was used is kept with its counts, so a request that was overheard cannot
be sent again. If too many are kept, the oldest is evicted, and all that were made before it are
stale. A client answers a stale nonce by itself, with the new one that comes with it.

Pure: the time is passed in, in seconds of any clock that never goes back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Final, Literal
from urllib.parse import unquote, unquote_to_bytes

from engine import limits

_REALM: Final = "hotlist"
_PARAMETER: Final = re.compile(
    r'\s*([A-Za-z0-9*-]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))\s*(?:,|$)'
)
_COUNT: Final = re.compile(r"[0-9a-fA-F]{8}")
#: Counts below a nonce's highest that are tracked, for connections side by side.
_WINDOW: Final = 64

Verdict = Literal["known", "stale", "unknown"]


def _md5(text: bytes) -> str:
    # Its collisions are no help here: the secret is a random token.
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


_HASHES: Final[dict[str, Callable[[bytes], str]]] = {"MD5": _md5, "SHA-256": _sha256}


class Authenticator:
    """Judges requests by the token; see the module. `is_in_url` allows it in the path or query."""

    def __init__(self, token: str, now_s: Callable[[], float], *, is_in_url: bool = False) -> None:
        self._token = token.encode()
        self._is_in_url = is_in_url
        self._nonces = _Nonces(now_s)

    def judge(self, method: str, target: str, authorization: str) -> Verdict:
        """Judge a request by its method, its target as it was sent, and its Authorization.

        A request with Digest is known once; when it comes again, it is stale.
        """
        if self._is_in_url and any(self._is_token(each) for each in _in_url(target)):
            return "known"
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "digest":
            return self._judge_digest(method, target, given)
        secret = _bytes(given.strip())
        if kind.lower() == "basic":
            try:
                secret = base64.b64decode(secret, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return "unknown"
        elif kind.lower() != "bearer":
            return "unknown"
        return "known" if self._is_token(secret) else "unknown"

    def challenges(self, verdict: Verdict) -> list[str]:
        """Return the values of WWW-Authenticate for a request that is not known."""
        # MD5 before SHA-256: libcurl before 7.57, which cameras have, gives up at a first algorithm
        # that it does not know, and passes over a second Digest that it does not know.
        stale = ", stale=true" if verdict == "stale" else ""
        digests = [
            f'Digest realm="{_REALM}", qop="auth", algorithm={name}, nonce="{self._nonces.make()}"'
            f"{stale}"
            for name in _HASHES
        ]
        return [*digests, f'Basic realm="{_REALM}", charset="UTF-8"', "Bearer"]

    def _is_token(self, secret: bytes) -> bool:
        return hmac.compare_digest(secret, self._token)

    def _judge_digest(self, method: str, target: str, text: str) -> Verdict:
        given = _parameters(text)
        hashed = _HASHES.get(given.get("algorithm", "MD5").upper())
        named = given.get("username*", "").split("'", 2)
        user = _bytes(given.get("username", "")) if len(named) < 3 else unquote_to_bytes(named[2])
        nonce, uri, response = (given.get(each, "") for each in ("nonce", "uri", "response"))
        is_hidden = given.get("userhash", "").lower() == "true"
        if hashed is None or given.get("realm") != _REALM or is_hidden:
            return "unknown"
        if not uri.startswith(("/", "http://", "https://")) or not uri.endswith(target):
            return "unknown"
        secret = hashed(b":".join((user, _REALM.encode(), self._token)))
        parts = [secret, nonce, hashed(_bytes(f"{method}:{uri}"))]
        count = 1
        if "qop" in given:
            if given["qop"].lower() != "auth" or not _COUNT.fullmatch(given.get("nc", "")):
                return "unknown"
            count = int(given["nc"], 16)
            parts[2:2] = [given["nc"], given.get("cnonce", ""), given["qop"]]
        wanted = hashed(_bytes(":".join(parts)))
        if not hmac.compare_digest(_bytes(response.lower()), wanted.encode()):
            return "unknown"
        return "known" if self._nonces.use(nonce, count) else "stale"


class _Nonces:
    """The nonces of one process; see the module."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._key = secrets.token_bytes(32)
        #: By nonce, when it was made, its highest count, and which of those below it were used.
        self._used: dict[str, tuple[int, int, int]] = {}
        self._oldest_ms = -1

    def make(self) -> str:
        """Return a new nonce, of 32 characters."""
        made = int(self._now_s() * 1000).to_bytes(6, "big") + secrets.token_bytes(6)
        return base64.urlsafe_b64encode(made + self._sign(made)).decode()

    def use(self, nonce: str, count: int) -> bool:
        """Use a nonce; return False if it is stale, is not ours, or has been used for this."""
        made_ms = self._made_ms(nonce)
        if made_ms is None or not 1 <= count <= limits.INGEST_NONCE_USES:
            return False
        if self._now_s() * 1000 - made_ms > limits.INGEST_NONCE_S * 1000:
            self._used.pop(nonce, None)
            return False
        if nonce not in self._used and made_ms <= self._oldest_ms:
            return False
        _, highest, window = self._used.pop(nonce, (made_ms, 0, 0))
        below = highest - count
        is_new = below < 0 or (0 < below <= _WINDOW and not window >> below & 1)
        if below < 0:
            highest, window = count, ((window << -below) if -below <= _WINDOW else 0) | 1
        elif is_new:
            window |= 1 << below
        self._used[nonce] = made_ms, highest, window & ((2 << _WINDOW) - 1)
        if len(self._used) > limits.INGEST_NONCES:
            evicted = min(self._used, key=lambda each: self._used[each][0])
            self._oldest_ms = max(self._oldest_ms, self._used.pop(evicted)[0])
        return is_new

    def _made_ms(self, nonce: str) -> int | None:
        """Return when a nonce of ours was made; None if it is not ours."""
        try:
            whole = base64.b64decode(_bytes(nonce), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        made, signature = whole[:12], whole[12:]
        if not hmac.compare_digest(signature, self._sign(made)):
            return None
        return int.from_bytes(made[:6], "big")

    def _sign(self, made: bytes) -> bytes:
        return hmac.digest(self._key, made, "sha256")[:12]


def _parameters(text: str) -> dict[str, str]:
    """Return the parameters of a Digest header; none if it is malformed."""
    found: dict[str, str] = {}
    if len(text) > limits.INGEST_DIGEST_CHARACTERS:
        return {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            return {}
        name, quoted, bare = match[1].lower(), match[2], match[3]
        if name in found:
            return {}
        found[name] = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = match.end()
    return found


def _in_url(target: str) -> Iterator[bytes]:
    """Yield what in a request's target may be the token."""
    path, _, query = target.partition("?")
    for segment in path.split("/"):
        yield _bytes(unquote(segment))
    for field in query.split("&"):
        name, _, value = field.partition("=")
        if name == "token":
            yield _bytes(unquote(value))


def _bytes(text: str) -> bytes:
    """Return a text of a header as the bytes that were sent."""
    return text.encode("utf-8", "surrogateescape")
