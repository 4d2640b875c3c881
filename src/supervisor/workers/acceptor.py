"""How a worker comes by its connections, and how it stops doing so without losing one."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from supervisor.protocols import Siblings
from supervisor.workers.fairness import PAUSE, Fairness
from supervisor.workers.reception import Reception
from supervisor.workers.rush import RUSH, Rush

RETRY: Final = 1.0
"""Seconds until the next try where connections cannot be accepted."""


class Acceptor:
    """Accepts on listeners that all workers share. To be made inside the worker's loop.

    One at a time, and not always at once: others may be free sooner, or have fewer, and what has not been taken is not
    lost if this process dies. Save in a rush, where the event loop does it.

    ``reception`` makes the connections. ``changed`` is called when one of those that are `pending` was made, or has
    failed.
    """

    def __init__(
        self,
        reception: Reception,
        *,
        backlog: int,
        log: logging.Logger,
        siblings: Siblings,
        changed: Callable[[], None],
    ) -> None:
        self._reception = reception
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
        # Whether the last attempt to accept has failed, and until when that need not be said again.
        self._full = False
        self._quiet_until = 0.0
        self._rush = Rush(
            reception.make_protocol, backlog=backlog, log=log, begun=self._look_away, over=self._look_again_at_all
        )
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
        await self._rush.stop()
        self._take_what_waits()
        self.close()
        # Connections that were accepted are made in the next turns of the loop.
        for _ in range(3):
            await asyncio.sleep(0)

    def _take_what_waits(self) -> None:
        for listener in self._listeners:
            # The kernel lets one more wait than it was told (listen(2)).
            self._take_queued(listener, limit=self._backlog + 1)

    def close(self) -> None:
        """Close the listeners, whatever waits. May be repeated."""
        self._accepting = False
        self._siblings.leave()
        self._rush.close()
        for listener in self._listeners:
            self._do_not_look(listener)
            listener.close()
        self._listeners.clear()

    # -- fair shares

    def count_changed(self, made: int) -> None:
        """So many connections are made and not lost. To be called whenever that changes."""
        rush = self._rush
        if made < self._made:
            rush.lost += 1
            self._full = False
        elif made > self._made and self._opening:
            self._opening -= 1
        self._made = made
        if rush.servers:
            rush.check()
            return
        if rush.lost >= RUSH and self._may_rush():
            rush.begin(self._listeners)
        self._tell()
        self._look_for_more()

    def _look_for_more(self) -> None:
        """A connection less, or one more: perhaps it is this worker's turn again."""
        if self._left and not self._full and not self._fairness.ahead(self._connections):
            for listener in list(self._left):
                self._look_again(listener)

    @property
    def _connections(self) -> int:
        return self._made + self._opening

    def _tell(self) -> None:
        if self._accepting and not (self._rush.servers or self._full):
            self._siblings.tell(self._load())

    def _load(self) -> int:
        """What siblings compare with their own."""
        return self._connections

    def _readable(self, listener: socket.socket) -> None:
        if self._fairness.yields(self._connections, self._loop.time()):
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
        """To be called once a second."""
        self._rush.review()
        self._tell()

    def _may_rush(self) -> bool:
        return self._accepting and self._reception.is_plain

    def _look_away(self) -> None:
        """The loop accepts from now on."""
        for listener in self._listeners:
            self._do_not_look(listener)
        self._siblings.leave()

    def _look_again_at_all(self) -> None:
        """The loop accepts no more."""
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
            task = self._loop.create_task(self._reception.receive(connection))
            self.pending.add(task)
            task.add_done_callback(self._received)
        return None

    def _received(self, task: asyncio.Task[Any]) -> None:
        self.pending.discard(task)
        if self._opening > len(self.pending):
            # It has failed; or its protocol is one that tells nothing.
            self._opening = len(self.pending)
            self._tell()
        self._changed()
