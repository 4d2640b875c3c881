"""The workers that a loader has forked, for the one case in which it has to look after them: the arbiter was killed.

Each drains and exits by itself. One that is stuck where no Python code can run does not even hear that it should.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable


class Offspring:
    """Processes by descriptor (pidfd_open(2)): a pid may have been given to another process since."""

    def __init__(self) -> None:
        self._descriptors: set[int] = set()

    def add(self, pid: int) -> None:
        """Remember a process that exists, or has just ended. Where the kernel knows no such descriptors, forget it."""
        self._let_go_of_the_dead(0)
        with contextlib.suppress(OSError):
            self._descriptors.add(os.pidfd_open(pid))

    def adopt(self, descriptors: Iterable[int]) -> None:
        """Look after workers of a loader before, too, by their descriptors."""
        self._let_go_of_the_dead(0)
        self._descriptors.update(descriptors)

    def forget(self) -> None:
        """Close the descriptors, in a fork that has no business with them."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def outlive(self, seconds: float) -> None:
        """Wait until all have ended; after ``seconds`` kill those that have not."""
        until = time.monotonic() + seconds
        while self._descriptors and (left := until - time.monotonic()) > 0:
            self._let_go_of_the_dead(left)
        for descriptor in self._descriptors:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        self.forget()

    def _let_go_of_the_dead(self, seconds: float) -> None:
        """Close the descriptors of those that have ended; wait so long for the first one, if none has."""
        poll = select.poll()
        for descriptor in self._descriptors:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(seconds * 1000):
            self._descriptors.discard(descriptor)
            os.close(descriptor)
