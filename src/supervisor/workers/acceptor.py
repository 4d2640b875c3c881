"""How a worker comes by its connections, and how it stops doing so without losing one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

from supervisor.protocols import Siblings
from supervisor.workers.fairness import PAUSE, Fairness

RETRY: Final = 1.0
"""Seconds until the next try where connections cannot be accepted."""


class Acceptor:
    """Accepts on listeners that all workers share, and hands each connection to a protocol of its own.

    One at a time, and not always at once: others may be free sooner, or have fewer, and what has not been taken is not
    lost if this process dies. A loop's own server would take what it can get, and keeps to itself what it has taken.

    ``changed`` is called when a connection of `pending` has been made, or has failed.
    """

    def __init__(
        self,
        make_protocol: Callable[[], Any],
        *,
        tls: ssl.SSLContext | None,
        backlog: int,
        log: logging.Logger,
        siblings: Siblings,
        changed: Callable[[], None],
    ) -> None:
        self._make_protocol = make_protocol
        self._tls = tls
        self._backlog = backlog
        self._log = log
        self._siblings = siblings
        self._fairness = Fairness(siblings)
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._left: dict[socket.socket, asyncio.TimerHandle] = {}
        self._accepting = False
        # Connections that were made, as we were told, and those that were accepted and not made yet.
        self._made = 0
        self._opening = 0
        self.pending: set[asyncio.Task[Any]] = set()

    def start(self, listeners: Iterable[socket.socket]) -> None:
        """Accept on these, which belong to this object from now on."""
        self._accepting = True
        self._tell()
        for listener in listeners:
            listener.setblocking(False)
            self._listeners.append(listener)
            self._loop.add_reader(listener, self._readable, listener)

    async def stop(self) -> None:
        """Take what waits in the queues, then close the listeners."""
        for listener in self._listeners:
            # The kernel lets one more wait than it was told (listen(2)).
            self._take_queued(listener, limit=self._backlog + 1)
        self.close()
        # Connections that were accepted are made in the next turns of the loop.
        for _ in range(3):
            await asyncio.sleep(0)

    def close(self) -> None:
        """Close the listeners, whatever waits. May be repeated."""
        self._accepting = False
        self._siblings.leave()
        for timer in self._left.values():
            timer.cancel()
        self._left.clear()
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    # -- fair shares

    def count_changed(self, made: int) -> None:
        """So many connections are made and not lost. To be called whenever that changes."""
        self._opening = max(0, self._opening - max(0, made - self._made))
        self._made = made
        self._tell()
        if self._left and not self._fairness.ahead(self._connections):
            for listener in list(self._left):
                self._look_again(listener)

    @property
    def _connections(self) -> int:
        return self._made + self._opening

    def _tell(self) -> None:
        if self._accepting:
            self._siblings.tell(self._made + self._opening)

    def _readable(self, listener: socket.socket) -> None:
        if self._fairness.yields(self._connections, self._loop.time()):
            self._leave(listener, PAUSE, self._left_for_a_moment)
        else:
            self._take(listener)

    def _leave(self, listener: socket.socket, seconds: float, then: Callable[[socket.socket], None]) -> None:
        """Do not look at a listener for some time: its queue would go on telling that something waits."""
        self._loop.remove_reader(listener)
        self._left[listener] = self._loop.call_later(seconds, then, listener)

    def _left_for_a_moment(self, listener: socket.socket) -> None:
        if self._fairness.yields_again(self._connections, self._loop.time()):
            self._left[listener] = self._loop.call_later(PAUSE, self._left_for_a_moment, listener)
        else:
            self._look_again(listener)

    def _look_again(self, listener: socket.socket) -> None:
        timer = self._left.pop(listener)
        timer.cancel()
        self._loop.add_reader(listener, self._readable, listener)

    # -- accepting

    def _take(self, listener: socket.socket) -> None:
        if problem := self._take_queued(listener, limit=1):
            self._log.error("connections cannot be accepted: %s; trying again in %g s", problem.strerror, RETRY)
            self._siblings.leave()
            self._leave(listener, RETRY, self._try_again)

    def _try_again(self, listener: socket.socket) -> None:
        self._tell()
        self._look_again(listener)

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
            self._siblings.accepted()
            self._opening += 1
            self._tell()
            task = self._loop.create_task(self._adopt(connection))
            self.pending.add(task)
            task.add_done_callback(self._adopted)
        return None

    def _adopted(self, task: asyncio.Task[Any]) -> None:
        self.pending.discard(task)
        if self._opening > len(self.pending):
            # It has failed; or its protocol is one that tells nothing.
            self._opening = len(self.pending)
            self._tell()
        self._changed()

    async def _adopt(self, connection: socket.socket) -> None:
        # A client that has gone meanwhile, or whose handshake fails, is no concern of ours.
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(self._make_protocol, connection, ssl=self._tls)
