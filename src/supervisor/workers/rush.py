"""A rush: so many connections come and go that none of them is worth waiting for, and the event loop takes them all.

The loop's own server takes what it can get, at two thirds of the cost of accepting in turn. And only while there are
plenty of descriptors: without one, libuv accepts connections only to close them, and says nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

RUSH: Final = 200
"""Connections lost in a second from which on it is one."""

PROBE: Final = 16
"""After so many connections made or lost in a rush it is looked whether there are descriptors for others."""


class Rush:
    """Has the event loop accept while there is a rush. To be made inside the loop.

    ``lost`` counts the connections that were lost since the last `review`. ``begun`` is called when the loop has begun
    to accept, ``over`` when it does so no more, but not by `stop`.
    """

    def __init__(
        self,
        make_protocol: Callable[[], Any],
        *,
        backlog: int,
        log: logging.Logger,
        begun: Callable[[], None],
        over: Callable[[], None],
    ) -> None:
        self.lost = 0
        self.servers: list[asyncio.AbstractServer] = []
        self._make_protocol = make_protocol
        self._backlog = backlog
        self._log = log
        self._begun = begun
        self._over = over
        self._loop = asyncio.get_running_loop()
        # asyncio's own server takes all it can get at once, and makes a task for each as `Acceptor` does.
        self._possible = not isinstance(self._loop, asyncio.BaseEventLoop)
        self._listeners: Sequence[socket.socket] = ()
        self._changes = 0
        self._turning: asyncio.Task[None] | None = None

    def begin(self, listeners: Sequence[socket.socket]) -> None:
        """Have the loop accept on these, soon, if it can."""
        if not self._possible or self._turning is not None:
            return
        self._listeners = listeners
        if not self._has_descriptors():
            self.lost = 0
        else:
            self._turning = self._loop.create_task(self._let_loop_accept())

    def check(self) -> None:
        """A connection was made or lost in a rush that is under way: end it where descriptors get scarce.

        Others than connections take descriptors too, and so does whoever lowers the limit (prlimit(2)).
        """
        self._changes += 1
        if self._changes >= PROBE:
            self._changes = 0
            if not self._has_descriptors():
                self._end()

    def review(self) -> None:
        """Look at how many connections were lost since the last time. To be called once a second."""
        if self.servers and not (self.lost >= RUSH and self._has_descriptors()):
            self._end()
        self.lost = 0

    async def stop(self) -> None:
        """Have the loop accept no more, once it has begun to if it is about to."""
        if self._turning is not None:
            await asyncio.wait((self._turning,))
        self.close()

    def close(self) -> None:
        """Have the loop accept no more. May be repeated."""
        self._possible = False
        if self._turning is not None:
            self._turning.cancel()
        self._close_servers()

    async def _let_loop_accept(self) -> None:
        # The loop closes its copies when it stops accepting; with ours the acceptor then takes what has queued up.
        copies: list[socket.socket] = []
        servers: list[asyncio.AbstractServer] = []
        try:
            for listener in self._listeners:
                copies.append(listener.dup())
                servers.append(
                    await self._loop.create_server(self._make_protocol, sock=copies[-1], backlog=self._backlog)
                )
        except Exception as error:  # noqa: BLE001 - loops of other makers may fail in any way, and what there is goes on
            self._possible = False
            _close(servers)
            for copy in copies:
                copy.close()
            self._log.debug("the event loop cannot take connections by itself: %s", error)
        else:
            self.servers = servers
            self._changes = 0
            self._begun()
            self._log.debug("a rush of short connections: taking them as they come")
        finally:
            self._turning = None

    def _end(self) -> None:
        self._log.debug("the rush is over: taking connections in turn")
        self._close_servers()
        self.lost = 0
        self._over()

    def _close_servers(self) -> None:
        servers, self.servers = self.servers, []
        _close(servers)

    def _has_descriptors(self) -> bool:
        """Whether half of them are free: the lowest that is tells how many are not, at least."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        try:
            lowest = os.dup(self._listeners[0].fileno())
        except OSError:
            return False
        os.close(lowest)
        return limit == resource.RLIM_INFINITY or lowest < limit // 2


def _close(servers: Iterable[asyncio.AbstractServer]) -> None:
    for server in servers:
        server.close()
