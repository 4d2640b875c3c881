"""How many connections each worker has, where its siblings can see it: memory that all of them share through the fork.

Nothing but who accepts next depends on it (`supervisor.workers.fairness`), and the arbiter reads none of it: what a
worker that has gone astray writes here harms nobody for longer than a moment.
"""

from __future__ import annotations

import heapq
import mmap
from typing import Final

SEATS: Final = 1024
"""Workers that can take part at the same time. Those beyond see the others, who do not see them."""

NOBODY: Final = 1 << 62
"""The connections of a worker that takes none: more than any other has."""

_CELL: Final = 8


class Scoreboard:
    """A seat for each worker, in anonymous shared memory (mmap(2), ``MAP_SHARED``). Made by the arbiter.

    The first cell holds how many seats are in use, counted from the lowest; so many are looked at. Then come the
    connections of all seats, and then how many each has accepted so far. A cell is written at once, never half of it.
    """

    def __init__(self, seats: int = SEATS) -> None:
        self._map = mmap.mmap(-1, (1 + 2 * seats) * _CELL)
        self._cells = memoryview(self._map).cast("q")
        self._seats = seats
        self._free = list(range(seats))
        self._taken: set[int] = set()

    def take(self) -> int:
        """Give a seat to a worker: the lowest that is free, -1 if there is none."""
        if not self._free:
            return -1
        seat = heapq.heappop(self._free)
        self._taken.add(seat)
        self._clear(seat)
        return seat

    def vacate(self, seat: int) -> None:
        """The worker is gone, however it ended."""
        if seat in self._taken:
            self._taken.discard(seat)
            heapq.heappush(self._free, seat)
            self._clear(seat)

    def _clear(self, seat: int) -> None:
        self._cells[1 + seat] = NOBODY
        self._cells[1 + self._seats + seat] = 0
        self._cells[0] = max(self._taken, default=-1) + 1

    def seat(self, number: int) -> Seat:
        """The worker's own view of the seat that it was given."""
        return Seat(self._cells, self._seats, number)


class Seat:
    """What a worker tells its siblings, and sees of them. See `supervisor.protocols.Siblings`."""

    __slots__ = ("_accepted", "_cells", "_number", "_seats")

    def __init__(self, cells: memoryview[int], seats: int, number: int) -> None:
        self._cells = cells
        self._seats = seats
        self._number = number
        self._accepted = 0

    def tell(self, connections: int) -> None:
        if self._number >= 0:
            self._cells[1 + self._number] = connections

    def accepted(self) -> None:
        self._accepted += 1
        if self._number >= 0:
            self._cells[1 + self._seats + self._number] = self._accepted

    def leave(self) -> None:
        self.tell(NOBODY)

    def least(self) -> int:
        return min(self._cells[1 : 1 + self._in_use()], default=NOBODY)

    def accepted_by_others(self) -> int:
        first = 1 + self._seats
        total = sum(self._cells[first : first + self._in_use()])
        return total - self._accepted if self._number >= 0 else total

    def _in_use(self) -> int:
        return min(self._cells[0], self._seats)
