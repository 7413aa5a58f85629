"""An aiohttp application behind a bounded port.

The size of a request's head is bounded, and what a client sends wrong is answered and never logged:
aiohttp would log each malformed request with a trace and its content.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from engine import limits
from engine.errors import HotlistError
from engine.serving.port import Bounds, Port

#: For aiohttp.
_log = logging.getLogger(__name__)


class HttpPort:
    """An application at a port. `options` are those of aiohttp's AppRunner."""

    def __init__(
        self,
        app: web.Application,
        bounds: Bounds,
        tls: ssl.SSLContext | None = None,
        **options: Any,
    ) -> None:
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_log,
            max_line_size=limits.HTTP_LINE_BYTES,
            max_field_size=limits.HTTP_LINE_BYTES,
            max_headers=limits.HTTP_HEADERS,
            **options,
        )
        self._port = Port(self._protocol, bounds, tls)

    async def open(self, host: str, port: int, where: str, hint: str) -> None:
        """Start listening. Raises HotlistError with `where` and `hint` if it cannot."""
        await self._runner.setup()
        try:
            await self._port.open(host, port)
        except OSError as error:
            await self._runner.cleanup()
            raise HotlistError(
                f"cannot listen on {host}:{port} ({error.strerror or error})",
                where=where,
                hint=hint,
            ) from error

    async def close(self) -> None:
        """Stop listening, wait a bounded time for answers in work, and close all connections."""
        await self._port.close()
        await self._runner.cleanup()

    @property
    def number(self) -> int | None:
        """The number of the port; None if it is not open."""
        return self._port.number

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self._port.stranger_count + self._port.trusted_count

    def trust(self, request: web.Request) -> bool:
        """Trust the sender of a request; return False if there is no room for it."""
        return self._port.trust(request.transport)

    def _protocol(self) -> web.RequestHandler:
        assert self._runner.server is not None
        return self._runner.server()


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether a record reports our failures, and not what a client has sent."""
    error = record.exc_info[1] if record.exc_info else None
    # About the content of a header, aiohttp may log text that cannot be encoded in UTF-8.
    # It logs a broken body after the answer too, when it reads the rest of it.
    theirs = (HttpProcessingError, ConnectionError, UnicodeEncodeError, web.RequestPayloadError)
    return not isinstance(error, theirs)


_log.addFilter(_is_ours)
