"""How many more connections a worker takes whose requests need a thread each: the others are left in the queue.

A connection that waits in the kernel's queue can be taken by any worker, and is not lost if this one dies. One that was
accepted waits for this worker's threads, however free the others are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

SILENCE: Final = 0.1
"""Seconds after which a connection without a request is no longer expected to bring one right now."""


class Capacity:
    """Compares the requests that are ``active``, and those that new connections will bring, with ``threads``."""

    def __init__(self, threads: int, active: Callable[[], int]) -> None:
        self.threads = threads
        self.active = active
        self._recent: list[tuple[float, Any]] = []

    def watching(self, make: Callable[[], Any]) -> Callable[[], Any]:
        """``make``, a maker of protocols, with an eye on those that have not brought a request yet."""
        loop = asyncio.get_running_loop()

        def watched() -> Any:
            protocol = make()
            self._recent.append((loop.time() + SILENCE, protocol))
            return protocol

        return watched

    def full(self, opening: int, now: float) -> bool:
        """Whether no thread is free for another connection, ``opening`` being those that are not made yet."""
        self._recent = [(end, protocol) for end, protocol in self._recent if end > now and _will_ask(protocol)]
        made = sum(protocol.transport is not None for _, protocol in self._recent)
        return self.active() + opening + made >= self.threads


def _will_ask(protocol: Any) -> bool:
    """Whether its first request is still to come. Protocols that are not ours do not tell."""
    if not getattr(protocol, "fresh", False):
        return False
    return protocol.transport is None or not protocol.transport.is_closing()
