"""Accepting where each request needs a thread: nothing is taken while there is no room for it."""

from __future__ import annotations

import socket
from typing import Any, Final

from supervisor.workers.acceptor import Acceptor
from supervisor.workers.capacity import Capacity
from supervisor.workers.fairness import OCCUPIED
from supervisor.workers.reception import Reception

RECHECK: Final = 0.05
"""Seconds between two looks whether there is room, where nobody says so: that is when a connection stays silent."""


class BoundedAcceptor(Acceptor):
    """An `Acceptor` that takes nothing while ``capacity`` is full. Call `room` when there may be room again.

    There is no rush for it. Other arguments are those of `Acceptor`.
    """

    def __init__(self, reception: Reception, *, capacity: Capacity, **arguments: Any) -> None:
        super().__init__(reception, **arguments)
        self._capacity = capacity
        self._occupied = False

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
        self._occupied = self._capacity.full(self._opening, self._loop.time())
        return self._occupied

    def _load(self) -> int:
        return OCCUPIED if self._occupied else super()._load()

    def _readable(self, listener: socket.socket) -> None:
        if self._is_occupied():
            self._tell()
            self._leave(listener, RECHECK, self._look_again)
        else:
            super()._readable(listener)

    def _look_for_more(self) -> None:
        if self._occupied:
            self.room()
        else:
            super()._look_for_more()

    def _may_rush(self) -> bool:
        return False

    def _take_what_waits(self) -> None:
        """Unless others will. Of workers that leave at the same time, the last sees none."""
        self._accepting = False
        self._siblings.leave()
        if self._siblings.least() > OCCUPIED:
            super()._take_what_waits()
