"""The two ends of a connection where the socket does not tell all of it: TLS, and addresses that a proxy has announced.

Decided when a connection is made, and only in workers that speak TLS or the PROXY protocol: others do not come here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from supervisor.workers.connection import address
from supervisor.workers.http import HttpProtocol
from supervisor.workers.instrument import Instrumented
from supervisor.workers.proxy import Address, Forwarded, contradiction
from supervisor.workers.proxy_protocol import Announced
from supervisor.workers.request import Request
from supervisor.workers.state import Shared
from supervisor.workers.tls import Tls


class Ends:
    """What applications are told of one connection.

    ``client`` and ``server`` are those of a PROXY header, or None without one. Whose fields are trusted is the socket's
    peer, as with gunicorn. But a proxy that speaks the PROXY protocol may pass on what clients write, so
    ``X-Forwarded-For`` counts only where the announced client is a trusted proxy itself.
    """

    def __init__(
        self, peer: Address | None, tls: dict[str, Any] | None, announced: Announced | None, forwarded: Forwarded | None
    ) -> None:
        self.tls = tls
        self.client = announced.client if announced else None
        self.server = announced.server if announced else None
        self._forwarded = forwarded if forwarded is not None and forwarded.trusts_peer(peer) else None
        self._stays = self.client is not None and not (forwarded is not None and forwarded.trusts(self.client[0]))

    def complete(self, scope: dict[str, Any]) -> None:
        """Correct a scope to which `Forwarded` was applied, if it was to be."""
        if self.tls is not None:
            scope["extensions"] = {**scope.get("extensions", {}), "tls": self.tls.copy()}
        if self._stays:
            scope["client"] = self.client

    def correct(self, scope: dict[str, Any]) -> bool:
        """Do all of it to a scope as uvicorn's protocols make it; False as `Forwarded.apply`."""
        if self._forwarded is not None and not self._forwarded.apply(scope):
            return False
        self.complete(scope)
        return True


class Known:
    """What a worker knows of the ends of its connections. ``announced`` holds the PROXY headers by file descriptor."""

    def __init__(self, tls: Tls | None, forwarded: Forwarded | None) -> None:
        self.tls = tls
        self.forwarded = forwarded
        self._announced: dict[int, Announced] = {}

    def announce(self, connection: socket.socket, announced: Announced | None) -> None:
        """Note what a connection began with. To be called for each, since descriptors are used again."""
        if announced is None:
            self._announced.pop(connection.fileno(), None)
        else:
            self._announced[connection.fileno()] = announced

    def of(self, transport: asyncio.BaseTransport) -> Ends:
        """The ends of a connection that has been made."""
        sock = transport.get_extra_info("socket")
        announced = self._announced.get(sock.fileno()) if self._announced and sock is not None else None
        secure = self.tls is not None and transport.get_extra_info("ssl_object") is not None
        tls = self.tls.describe(transport) if self.tls is not None and secure else None
        return Ends(address(transport.get_extra_info("peername")), tls, announced, self.forwarded)


class KnownHttpProtocol(HttpProtocol):
    """`HttpProtocol` for connections whose ends are `Known`."""

    __slots__ = ("ends", "known")

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop, known: Known) -> None:
        super().__init__(shared, loop)
        self.known = known

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        self.ends = ends = self.known.of(transport)
        self.client = ends.client or self.client
        self.server = ends.server or self.server

    def _request(self, method: str, version: str) -> Request | None:
        request = super()._request(method, version)
        if request is not None:
            self.ends.complete(request.scope)
        return request


class RefusingHttpProtocol(HttpProtocol):
    """A connection that is refused as soon as it is made."""

    __slots__ = ("objection",)

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop, status: int, text: str) -> None:
        super().__init__(shared, loop)
        self.objection = (status, text)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        self.refuse(*self.objection)


class _Corrected:
    """The application behind one connection of a protocol that makes its scopes by itself."""

    def __init__(self, app: Instrumented, ends: Ends) -> None:
        self._app = app
        self._ends = ends

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        if not self._ends.correct(scope):
            return await contradiction(scope, receive, send)
        return await self._app.handle(scope, receive, send)


def knowing(base: Any, known: Known, changed: Callable[[], None]) -> Any:
    """Derive from one of uvicorn's protocol classes, or one that is made like them: see `supervisor.workers.engine`.

    ``changed`` is called when a connection was made or lost.
    """

    class KnowingProtocol(base):  # type: ignore[misc]  # the base is known at run time only
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            ends = known.of(transport)
            if ends.client is not None:
                self.client, self.server = ends.client, ends.server
            if isinstance(app := getattr(self, "app", None), Instrumented):
                self.app = _Corrected(app, ends)
            changed()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            changed()

    return KnowingProtocol
