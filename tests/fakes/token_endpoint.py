"""A token endpoint as RFC 6749 has it, section 4.4, for one client. Its tokens are unsecured JWS
(RFC 7519, section 6), which Kafka's own validator for tests accepts.
"""

from __future__ import annotations

import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import orjson


def unsecured(subject: str, lifetime_s: float) -> str:
    """A token without a signature."""
    now_s = time.time()
    claims = {"sub": subject, "iat": now_s, "exp": now_s + lifetime_s}
    parts = ({"alg": "none"}, claims)
    return ".".join(urlsafe_b64encode(orjson.dumps(p)).decode().rstrip("=") for p in parts) + "."


@dataclass
class TokenEndpoint:
    """The endpoint: what it was asked, and `answer`, which it gives in place of a token if set."""

    client_id: str
    secret: str
    url: str = ""
    lifetime_s: float = 3600.0
    answer: tuple[int, bytes] | None = None
    asked: list[dict[str, list[str]]] = field(default_factory=list)

    def reply(self, login: str, form: dict[str, list[str]]) -> tuple[int, bytes]:
        """Status and body."""
        self.asked.append(form)
        if self.answer is not None:
            return self.answer
        given = b64decode(login.removeprefix("Basic ")).decode().split(":")
        if [unquote_plus(part) for part in given] != [self.client_id, self.secret]:
            refusal = {"error": "invalid_client", "error_description": "Wrong credentials"}
            return 401, orjson.dumps(refusal)
        if form.get("grant_type") != ["client_credentials"]:
            return 400, orjson.dumps({"error": "unsupported_grant_type"})
        token = unsecured(self.client_id, self.lifetime_s)
        granted = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime_s}
        return 200, orjson.dumps(granted)


@contextmanager
def token_endpoint(client_id: str, secret: str) -> Iterator[TokenEndpoint]:
    """A running endpoint."""
    endpoint = TokenEndpoint(client_id, secret)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, body = endpoint.reply(self.headers.get("Authorization", ""), form)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            half = len(body) // 2  # in two parts, as a network may deliver it
            self.wfile.write(body[:half])
            self.wfile.flush()
            time.sleep(0.05)
            self.wfile.write(body[half:])

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_port}/token"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
