"""A TCP port with bounds on its clients: how many there may be, and for how long.

Each client begins as a stranger. A stranger has a few seconds in all, the TLS handshake included.
There is always room for one more: if there are too many, the port hangs up on the oldest stranger
of the address that has the most. So a flood from one address takes no connection from another one.

A client that has proved who it is can be trusted. It no longer counts as a stranger: no stranger
takes its place, and its time is no longer bounded here.

Knows nothing of HTTP. Logs nothing that a client has sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, cast

from engine import limits

log = logging.getLogger(__name__)


class Bounds(NamedTuple):
    """How many strangers a port has room for, in all and from one address; how long each may last,
    in seconds; and how many trusted clients there may be beside them."""

    strangers: int
    strangers_a_peer: int
    stranger_s: float
    trusted: int = 0


@dataclass(slots=True, eq=False)
class _Connection:
    peer: str
    is_begun: bool = False
    task: asyncio.Task[None] | None = None
    transport: asyncio.Transport | None = None
    timer: asyncio.TimerHandle | None = None


class Port:
    """A port, and the connections to it; see the module. `make_protocol` makes each one's."""

    def __init__(
        self,
        make_protocol: Callable[[], asyncio.Protocol],
        bounds: Bounds,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._make_protocol = make_protocol
        self._bounds = bounds
        self._tls = tls
        #: The strangers of each address, the oldest first.
        self._strangers: dict[str, dict[_Connection, None]] = {}
        self._trusted: set[_Connection] = set()
        #: Those of both that have a protocol.
        self._by_transport: dict[asyncio.BaseTransport, _Connection] = {}
        self._listeners: list[socket.socket] = []

    async def open(self, host: str, port: int) -> None:
        """Start to listen at all addresses of a host. Raises OSError if it cannot."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self._listeners.append(_listener(family, address))
        except OSError:
            self._close_listeners()
            raise
        for listener in self._listeners:
            loop.add_reader(listener, self._accept, listener)

    async def close(self) -> None:
        """Stop listening; end the connections that have no protocol yet. The others stay."""
        self._close_listeners()
        pending = [
            each.task
            for strangers in self._strangers.values()
            for each in strangers
            if each.task is not None and each.transport is None
        ]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            if listener.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(listener)
                listener.close()

    @property
    def number(self) -> int | None:
        """The number of the port; None if it is not open."""
        is_open = self._listeners and self._listeners[0].fileno() >= 0
        return int(self._listeners[0].getsockname()[1]) if is_open else None

    @property
    def stranger_count(self) -> int:
        """Strangers that are connected now."""
        return sum(map(len, self._strangers.values()))

    @property
    def trusted_count(self) -> int:
        """Trusted clients that are connected now."""
        return len(self._trusted)

    def trust(self, transport: asyncio.BaseTransport | None) -> bool:
        """Trust the client of a connection; return False if it has left, or if there is no room for
        it."""
        connection = None if transport is None else self._by_transport.get(transport)
        if connection is None:
            return False
        if connection not in self._trusted:
            if len(self._trusted) >= self._bounds.trusted:
                return False
            self._remove_stranger(connection)
            self._trusted.add(connection)
        return True

    def _accept(self, listener: socket.socket) -> None:
        """Accept one connection; the loop calls again while there are more."""
        try:
            accepted, address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # mostly: no file descriptor is free
            log.warning("a connection cannot be accepted, a stranger makes room: %s", error)
            self._hang_up_one()
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(limits.ACCEPT_PAUSE_S, self._accept_again, listener)
            return
        accepted.setblocking(False)
        self._admit(accepted, _peer(address[0]))

    def _accept_again(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _admit(self, accepted: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        if len(self._strangers.get(peer, ())) >= self._bounds.strangers_a_peer:
            self._hang_up(next(iter(self._strangers[peer])))
        elif self.stranger_count >= self._bounds.strangers:
            self._hang_up_one()
        connection = _Connection(peer)
        self._strangers.setdefault(peer, {})[connection] = None
        connection.timer = loop.call_later(self._bounds.stranger_s, self._hang_up, connection)
        connection.task = loop.create_task(self._connect(accepted, connection))
        connection.task.add_done_callback(
            lambda _: None if connection.is_begun else accepted.close()
        )

    async def _connect(self, accepted: socket.socket, connection: _Connection) -> None:
        """Make a connection of a socket, after the handshake if there is TLS."""
        connection.is_begun = True  # from here on asyncio closes the socket
        timeout_s = None if self._tls is None else self._bounds.stranger_s
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Watched(self._make_protocol(), connection, self._made, self._left),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=timeout_s,
            )
        except OSError:  # what a stranger sends is no handshake
            pass
        finally:
            if connection.transport is None:
                self._left(connection)

    def _hang_up_one(self) -> None:
        """Hang up on the oldest stranger of the address that has the most of them."""
        if self._strangers:
            most = max(self._strangers.values(), key=len)
            self._hang_up(next(iter(most)))

    def _hang_up(self, connection: _Connection) -> None:
        self._left(connection)
        if connection.transport is not None:
            connection.transport.abort()
        elif connection.task is not None:
            connection.task.cancel()

    def _made(self, connection: _Connection, transport: asyncio.Transport) -> None:
        """Note that a connection has a protocol; it may have been hung up on meanwhile."""
        connection.transport = transport
        if connection in self._strangers.get(connection.peer, ()):
            self._by_transport[transport] = connection

    def _left(self, connection: _Connection) -> None:
        """Remove a connection that has ended."""
        self._remove_stranger(connection)
        self._trusted.discard(connection)
        if connection.transport is not None:
            self._by_transport.pop(connection.transport, None)

    def _remove_stranger(self, connection: _Connection) -> None:
        """Remove a connection from the strangers; its time is no longer bounded."""
        if connection.timer is not None:
            connection.timer.cancel()
        strangers = self._strangers.get(connection.peer, {})
        strangers.pop(connection, None)
        if not strangers:
            self._strangers.pop(connection.peer, None)


class _Watched(asyncio.Protocol):
    """A connection's protocol; it reports to the port when it begins and ends."""

    def __init__(
        self,
        protocol: asyncio.Protocol,
        connection: _Connection,
        made: Callable[[_Connection, asyncio.Transport], None],
        left: Callable[[_Connection], None],
    ) -> None:
        self._protocol = protocol
        self._connection = connection
        self._made = made
        self._left = left
        self.data_received = protocol.data_received  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._made(self._connection, cast(asyncio.Transport, transport))
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._left(self._connection)
        self._protocol.connection_lost(exc)


def _listener(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(limits.ACCEPT_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _peer(address: str) -> str:
    """Return what counts as one address: of IPv6 a network, as one client may have a whole one."""
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address.partition("%")[0])
        if found.version == 6 and found.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return address
