"""How a worker comes by its connections, and how it stops doing so without losing one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from supervisor.protocols import Siblings
from supervisor.workers.capacity import RECHECK, Capacity
from supervisor.workers.fairness import OCCUPIED, PAUSE, Fairness

RETRY: Final = 1.0
"""Seconds until the next try where connections cannot be accepted."""

RUSH: Final = 200
"""Connections lost in a second from which on they are taken as they come."""

PROBE: Final = 16
"""So many more connections than ever before in a rush, and it is looked whether there are descriptors for others."""


class Acceptor:
    """Accepts on listeners that all workers share, and hands each connection to a protocol of its own.

    One at a time, and not always at once: others may be free sooner, or have fewer, and what has not been taken is not
    lost if this process dies. The loop's own server would take what it can get, but does so at two thirds of the cost:
    it is used in a rush, when so many connections come and go that none of them is worth waiting for. And only while
    there are plenty of descriptors: without one, libuv accepts connections only to close them, and says nothing.

    ``changed`` is called when a connection of `pending` has been made, or has failed. A TLS handshake has ``handshake``
    seconds. ``greet`` may read what a connection begins with; it returns what to make the protocol with, or None for a
    connection that is to be closed. With ``capacity`` nothing is taken while there is no
    room; call `room` when there may be again.
    """

    def __init__(
        self,
        make_protocol: Callable[[], Any],
        *,
        tls: ssl.SSLContext | None,
        handshake: float,
        greet: Callable[[socket.socket], Awaitable[Callable[[], Any] | None]] | None = None,
        backlog: int,
        log: logging.Logger,
        siblings: Siblings,
        changed: Callable[[], None],
        capacity: Capacity | None = None,
    ) -> None:
        self._make_protocol = make_protocol
        # asyncio wants no time limit for a handshake that there is not.
        self._connect: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": handshake} if tls is not None else {}
        self._greet = greet
        self._capacity = capacity
        self._occupied = False
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
        # Connections that were lost since the last `review`.
        self._lost = 0
        # Whether the last attempt to accept has failed, and until when that need not be said again.
        self._full = False
        self._quiet_until = 0.0
        # asyncio's server takes all it can get at once, and makes a task for each as we do.
        self._may_rush = not (tls or greet or capacity or isinstance(self._loop, asyncio.BaseEventLoop))
        self._servers: list[asyncio.AbstractServer] = []
        self._probe_at = 0
        self._turning: asyncio.Task[None] | None = None
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
        if self._turning is not None:
            await asyncio.wait((self._turning,))
        _close(self._servers)
        if not self._others_take():
            for listener in self._listeners:
                # The kernel lets one more wait than it was told (listen(2)).
                self._take_queued(listener, limit=self._backlog + 1)
        self.close()
        # Connections that were accepted are made in the next turns of the loop.
        for _ in range(3):
            await asyncio.sleep(0)

    def _others_take(self) -> bool:
        """Whether what waits is better left to others. Of workers that leave at the same time, the last sees none."""
        if self._capacity is None:
            return False
        self._accepting = False
        self._siblings.leave()
        return self._siblings.least() <= OCCUPIED

    def close(self) -> None:
        """Close the listeners, whatever waits. May be repeated."""
        self._accepting = False
        self._siblings.leave()
        if self._turning is not None:
            self._turning.cancel()
        _close(self._servers)
        self._servers.clear()
        for listener in self._listeners:
            self._do_not_look(listener)
            listener.close()
        self._listeners.clear()

    # -- fair shares

    def count_changed(self, made: int) -> None:
        """So many connections are made and not lost. To be called whenever that changes."""
        if made < self._made:
            self._lost += 1
            self._full = False
        elif made > self._made and self._opening:
            self._opening -= 1
        self._made = made
        if self._servers:
            if made >= self._probe_at:
                self._probe_at = made + PROBE
                if not self._has_descriptors():
                    self._accept_in_turn()
            return
        if self._lost >= RUSH:
            self._begin_rush()
        self._tell()
        if self._occupied:
            self.room()
        elif self._left and not self._full and not self._fairness.ahead(self._connections):
            for listener in list(self._left):
                self._look_again(listener)

    @property
    def _connections(self) -> int:
        return self._made + self._opening

    def _tell(self) -> None:
        if self._accepting and not (self._servers or self._full):
            self._siblings.tell(OCCUPIED if self._occupied else self._connections)

    def room(self) -> None:
        """There may be room for another connection: take it at once, without asking the event loop first."""
        if not self._occupied or self._full:
            return
        for listener in list(self._left):
            if self._is_occupied():
                return
            opening = self._opening
            self._take_queued(listener, limit=1)
            if self._opening == opening or not self._is_occupied():
                self._look_again(listener)

    def _is_occupied(self) -> bool:
        self._occupied = self._capacity is not None and self._capacity.full(self._opening, self._loop.time())
        return self._occupied

    def _readable(self, listener: socket.socket) -> None:
        if self._is_occupied():
            self._tell()
            self._leave(listener, RECHECK, self._look_again)
        elif self._fairness.yields(self._connections, self._loop.time()):
            self._leave(listener, PAUSE, self._left_for_a_moment)
        else:
            self._take(listener)

    def _leave(self, listener: socket.socket, seconds: float, then: Callable[[socket.socket], None]) -> None:
        """Do not look at a listener for some time: its queue would go on telling that something waits."""
        self._loop.remove_reader(listener)
        self._left[listener] = self._loop.call_later(seconds, then, listener)

    def _do_not_look(self, listener: socket.socket) -> None:
        self._loop.remove_reader(listener)
        if timer := self._left.pop(listener, None):
            timer.cancel()

    def _left_for_a_moment(self, listener: socket.socket) -> None:
        if self._fairness.yields_again(self._connections, self._loop.time()):
            self._left[listener] = self._loop.call_later(PAUSE, self._left_for_a_moment, listener)
        else:
            self._look_again(listener)

    def _look_again(self, listener: socket.socket) -> None:
        timer = self._left.pop(listener)
        timer.cancel()
        self._loop.add_reader(listener, self._readable, listener)

    # -- a rush

    def review(self) -> None:
        """Look at how many connections were lost since the last time. To be called once a second."""
        if self._accepting and self._servers and not self._goes_on():
            self._accept_in_turn()
        self._lost = 0
        self._tell()

    def _begin_rush(self) -> None:
        if not (self._may_rush and self._accepting) or self._turning is not None:
            return
        if not self._has_descriptors():
            self._lost = 0
        else:
            self._turning = self._loop.create_task(self._let_loop_accept())

    async def _let_loop_accept(self) -> None:
        # The loop closes its copies when it stops accepting; with ours we then take what has queued up.
        copies: list[socket.socket] = []
        servers: list[asyncio.AbstractServer] = []
        try:
            for listener in self._listeners:
                copies.append(listener.dup())
                servers.append(
                    await self._loop.create_server(self._make_protocol, sock=copies[-1], backlog=self._backlog)
                )
        except Exception as error:  # noqa: BLE001 - loops of other makers may fail in any way, and what there is goes on
            self._may_rush = False
            _close(servers)
            for copy in copies:
                copy.close()
            self._log.debug("the event loop cannot take connections by itself: %s", error)
        else:
            for listener in self._listeners:
                self._do_not_look(listener)
            self._siblings.leave()
            self._servers = servers
            self._probe_at = 0
            self._log.debug("a rush of short connections: taking them as they come")
        finally:
            self._turning = None

    def _goes_on(self) -> bool:
        return self._lost >= RUSH and self._has_descriptors()

    def _has_descriptors(self) -> bool:
        """Whether half of them are free: the lowest that is tells how many are not, at least."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        try:
            lowest = os.dup(self._listeners[0].fileno())
        except OSError:
            return False
        os.close(lowest)
        return limit == resource.RLIM_INFINITY or lowest < limit // 2

    def _accept_in_turn(self) -> None:
        self._log.debug("the rush is over: taking connections in turn")
        servers, self._servers = self._servers, []
        _close(servers)
        self._lost = 0
        for listener in self._listeners:
            self._loop.add_reader(listener, self._readable, listener)
        self._tell()

    # -- accepting

    def _take(self, listener: socket.socket) -> None:
        if problem := self._take_queued(listener, limit=1):
            now = self._loop.time()
            if now >= self._quiet_until:
                self._quiet_until = now + RETRY
                self._log.error("connections cannot be accepted: %s; trying again in %g s", problem.strerror, RETRY)
            self._full = True
            self._siblings.leave()
            self._leave(listener, RETRY, self._try_again)

    def _try_again(self, listener: socket.socket) -> None:
        self._full = False
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
        make_protocol: Callable[[], Any] | None = self._make_protocol
        # A client that has gone meanwhile, or whose handshake fails, is no concern of ours.
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


def _close(servers: Iterable[asyncio.AbstractServer]) -> None:
    for server in servers:
        server.close()
