"""From a socket that was accepted to a connection with a protocol: what it begins with, and its TLS handshake."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any


class Reception:
    """Makes the connections of a worker. To be made inside its loop.

    ``make_protocol`` makes the protocol of each. A TLS handshake has ``handshake`` seconds. ``greet`` may read what a
    connection begins with, before anything else; it returns what to make the protocol with, or None for a connection
    that is to be closed.
    """

    def __init__(
        self,
        make_protocol: Callable[[], Any],
        *,
        tls: ssl.SSLContext | None = None,
        handshake: float = 0.0,
        greet: Callable[[socket.socket], Awaitable[Callable[[], Any] | None]] | None = None,
    ) -> None:
        self.make_protocol = make_protocol
        # asyncio wants no time limit for a handshake that there is not.
        self._connect: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": handshake} if tls is not None else {}
        self._greet = greet
        self._loop = asyncio.get_running_loop()

    @property
    def is_plain(self) -> bool:
        """Whether a connection begins with its protocol, so that the event loop's own server could make it as well."""
        return not self._connect and self._greet is None

    async def receive(self, connection: socket.socket) -> None:
        """Make the connection. A client that has gone meanwhile, or whose handshake fails, is no concern of ours."""
        make_protocol: Callable[[], Any] | None = self.make_protocol
        with contextlib.suppress(OSError):
            if self._greet is not None:
                make_protocol = None
                try:
                    make_protocol = await self._greet(connection)
                finally:
                    if make_protocol is None:
                        connection.close()
            if make_protocol is not None:
                await self._loop.connect_accepted_socket(make_protocol, connection, **self._connect)
