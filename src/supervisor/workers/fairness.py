"""Who accepts the next connection: a worker that has clearly more than a sibling leaves it to that one, for a moment.

The kernel wakes all workers that wait on a listener and gives the connection to the fastest, which is mostly the same
one again: without this, connections that come slowly, and stay, end up on a few workers.
"""

from __future__ import annotations

from typing import Final

from supervisor.protocols import Siblings

PAUSE: Final = 0.001
"""Seconds after which a worker looks again whether the connection that it has left still waits."""

OCCUPIED: Final = 1 << 61
"""The connections of a worker that accepts, but none now: more than any has, fewer than one that has left tells."""

LOOKS: Final = 4
"""How often it looks again before it takes it after all, if no sibling accepts anything meanwhile."""

FIRST_TRUCE: Final = 0.01
LONGEST_TRUCE: Final = 1.0
"""Seconds in which it then leaves nothing to siblings: twice as long each time, until it sees one of them accept."""


class Fairness:
    """Decides for one worker. Times are seconds of any one clock."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings
        self._truce = FIRST_TRUCE
        self._truce_ends = 0.0
        self._seen = 0
        self._looks = LOOKS

    def ahead(self, connections: int) -> bool:
        """Whether a worker with so many connections has clearly more than the sibling that has the fewest.

        A sixteenth more is as good as equal: few connections are spread exactly, and many without effort.
        """
        return connections - self._siblings.least() > connections >> 4

    def yields(self, connections: int, now: float) -> bool:
        """Whether to leave the connection that waits to a sibling, and to look again after `PAUSE`."""
        if not self.ahead(connections):
            return False
        return self._siblings_accept() or now >= self._truce_ends

    def yields_again(self, connections: int, now: float) -> bool:
        """Whether to leave it for another `PAUSE`. While siblings do accept, whoever waits has its turn soon.

        If none has for `LOOKS` times, they are busy or stuck, and who waits has waited long enough; or nobody waits.
        """
        if not self.ahead(connections):
            return False
        if self._siblings_accept():
            return True
        self._looks -= 1
        if self._looks:
            return True
        self._looks = LOOKS
        self._truce_ends = now + self._truce
        self._truce = min(2 * self._truce, LONGEST_TRUCE)
        return False

    def _siblings_accept(self) -> bool:
        """Whether one of them has, since the last time that this was asked."""
        accepted = self._siblings.accepted_by_others()
        if accepted == self._seen:
            return False
        self._seen = accepted
        self._looks = LOOKS
        self._truce = FIRST_TRUCE
        self._truce_ends = 0.0
        return True
