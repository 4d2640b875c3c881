"""How a worker comes by its connections, and how it stops doing so without losing one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

PAUSE: Final = 1.0
"""Seconds until the next try where connections cannot be accepted."""


class Acceptor:
    """Accepts on listeners that all workers share, and hands each connection to a protocol of its own.

    ``changed`` is called when a connection of `pending` has been made, or has failed.
    """

    def __init__(
        self,
        make_protocol: Callable[[], Any],
        *,
        tls: ssl.SSLContext | None,
        backlog: int,
        log: logging.Logger,
        changed: Callable[[], None],
    ) -> None:
        self._make_protocol = make_protocol
        self._tls = tls
        self._backlog = backlog
        self._log = log
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._copies: list[socket.socket] = []
        self._servers: list[asyncio.AbstractServer] = []
        self.pending: set[asyncio.Task[Any]] = set()

    async def start(self, listeners: Iterable[socket.socket]) -> None:
        """Accept on these, which belong to this object from now on."""
        for listener in listeners:
            listener.setblocking(False)
            self._listeners.append(listener)
            if self._tls is not None:
                # A loop's server keeps to itself which handshakes have failed, and a drain waits for the others.
                self._loop.add_reader(listener, self._accept, listener)
                continue
            # The loop closes its copy when it stops accepting; with ours we then take what has queued up.
            copy = listener.dup()
            self._copies.append(copy)
            self._servers.append(await self._loop.create_server(self._make_protocol, sock=copy, backlog=self._backlog))

    async def stop(self) -> None:
        """Take what waits in the queues, then close the listeners."""
        if isinstance(self._loop, asyncio.SelectorEventLoop):
            # asyncio drops connections that it has accepted and not made yet when their server closes, so it has to
            # stop looking at the listeners first.
            for copy in self._copies:
                self._loop.remove_reader(copy)
        # Connections that the loop has accepted are made in its next turns.
        for _ in range(3):
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            # The kernel lets one more wait than it was told (listen(2)).
            self._take_queued(listener, limit=self._backlog + 1)
        self.close()

    def close(self) -> None:
        """Close the listeners, whatever waits. May be repeated."""
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket) -> None:
        """Take the next one, and pause where that is impossible: the queue would go on telling that something waits.

        One at a time: others may be free sooner, and what has not been taken is not lost if this process dies.
        """
        if problem := self._take_queued(listener, limit=1):
            self._log.error("connections cannot be accepted: %s; trying again in %g s", problem.strerror, PAUSE)
            self._loop.remove_reader(listener)
            self._loop.call_later(PAUSE, self._accept_again, listener)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def _take_queued(self, listener: socket.socket, limit: int) -> OSError | None:
        """Accept what waits in the queue of a listener, at most ``limit``; return what kept it from doing so."""
        for _ in range(limit):
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return None
            except ConnectionError:
                continue
            except OSError as error:
                # Too many files are open, most likely. The rest is left to the other workers.
                return error
            connection.setblocking(False)
            task = self._loop.create_task(self._adopt(connection))
            self.pending.add(task)
            task.add_done_callback(self._adopted)
        return None

    def _adopted(self, task: asyncio.Task[Any]) -> None:
        self.pending.discard(task)
        self._changed()

    async def _adopt(self, connection: socket.socket) -> None:
        # A client that has gone meanwhile, or whose handshake fails, is no concern of ours.
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(self._make_protocol, connection, ssl=self._tls)
