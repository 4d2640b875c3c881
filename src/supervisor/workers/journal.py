"""One request or WebSocket in flight, as reports, the access log and the request hooks see it."""

from __future__ import annotations

import asyncio
import time
from typing import Any


class Exchange:
    """A request from its head to the end of its application call. Times are seconds of the monotonic clock."""

    __slots__ = (
        "cancelled",
        "duration",
        "hooked",
        "method",
        "response_headers",
        "scope",
        "sent",
        "started",
        "status",
        "target",
        "task",
    )

    # Set by the request hooks, where there are any: the object that they know the request as.
    hooked: Any

    def __init__(self, scope: dict[str, Any], method: str, target: str) -> None:
        self.scope = scope
        self.method = method
        self.target = target
        self.started = time.monotonic()
        self.cancelled = False
        self.duration = 0.0
        self.status = 0
        self.sent = 0
        self.response_headers: Any = ()
        self.task: asyncio.Task[None] | None = None

    @property
    def owner(self) -> Any:
        """What has made the application's ``send``, where that is not this object."""
        return None

    @property
    def path(self) -> str:
        """The target without its query, for reports: queries hold secrets."""
        return self.target.partition("?")[0]

    @property
    def protocol(self) -> str:
        """As on the request line: ``HTTP/1.1``."""
        return f"HTTP/{self.scope.get('http_version', '1.1')}"

    def age(self) -> float:
        """Seconds since the head was complete."""
        return time.monotonic() - self.started

    def give_up(self) -> None:
        """The client is gone, and the application has had its time: cancel what it still does for it."""
        if self.task is not None and not self.task.done():
            self.cancelled = True
            self.task.cancel()

    def wake(self) -> None:
        """The worker has something to say through ``receive``. See `supervisor.workers.request.Request`."""
