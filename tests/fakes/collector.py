"""An OpenTelemetry collector of our own: takes spans by OTLP over HTTP, and keeps them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """What has come, and with which status the next requests are answered (the last one for all
    that follow)."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.statuses = [200]
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.came = threading.Condition()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Keep a request; the status that it is answered with."""
        with self.came:
            self.requests.append((path, headers, body))
            self.came.notify_all()
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def resource_spans(self) -> list[Any]:
        """What has come, decoded, by request and resource."""
        return [
            of_resource
            for _, _, body in self.requests
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
        ]

    def spans(self) -> list[Any]:
        """All spans that have come, decoded."""
        return [
            span
            for of_resource in self.resource_spans()
            for scope in of_resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = collector.take(self.path, headers, body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield collector
        finally:
            server.shutdown()
            serving.join()


def attributes_of(message: Any) -> dict[str, str]:
    """The attributes of a span or a resource, all of them texts."""
    return {each.key: each.value.string_value for each in message.attributes}
