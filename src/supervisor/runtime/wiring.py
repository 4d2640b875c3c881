"""The one place where the arbiter waits: a selector, and the channels that it listens to."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from typing import Any

from supervisor.runtime.channel import Channel


class Wiring:
    """Which channel belongs to whom."""

    def __init__(self, wakeup: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(wakeup, selectors.EVENT_READ)

    def wait(self, timeout: float | None) -> Iterator[Any]:
        """Wait, and return the owners of the channels on which there is something; None for the wake-up descriptor.

        What a channel had to send is sent.
        """
        for key, mask in self._selector.select(timeout):
            if mask & selectors.EVENT_WRITE:
                key.data.channel.flush()
                self.watch(key.data.channel)
            yield key.data

    def connect(self, owner: Any) -> None:
        """Listen to ``owner.channel``."""
        self._selector.register(owner.channel.fileno(), selectors.EVENT_READ, owner)

    def watch(self, channel: Channel) -> None:
        """Wait for what the channel waits for: nothing after its end of file, which would be reported for ever."""
        key = self._selector.get_map().get(channel.fileno()) if channel.fileno() >= 0 else None
        if key is None:
            return
        wanted = (0 if channel.at_eof else selectors.EVENT_READ) | (selectors.EVENT_WRITE if channel.wants_write else 0)
        if not wanted:
            self._selector.unregister(channel.fileno())
        elif wanted != key.events:
            self._selector.modify(channel.fileno(), wanted, key.data)

    def hang_up(self, channel: Channel) -> None:
        """Listen to the channel no more, and close it."""
        if channel.fileno() >= 0 and channel.fileno() in self._selector.get_map():
            self._selector.unregister(channel.fileno())
        channel.close()

    def close(self) -> None:
        """Close the selector; in a forked child, its copy."""
        self._selector.close()
