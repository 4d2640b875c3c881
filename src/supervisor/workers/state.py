"""What all connections of a worker share: the application, limits, counters, the draining flag, the tick."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from supervisor.protocols import CONNECTIONS, IN_FLIGHT, REQUESTS, ArbiterLink, Row
from supervisor.workers.complaints import Complaints
from supervisor.workers.proxy import Forwarded

if TYPE_CHECKING:
    from supervisor.workers.connection import Connection
    from supervisor.workers.http import HttpProtocol
    from supervisor.workers.journal import Exchange
    from supervisor.workers.reqhooks import RequestHooks
    from supervisor.workers.request import Request
    from supervisor.workers.requestlog import RequestLog


# Seconds that an application has to hear of a disconnect, before its task is cancelled because of it.
TO_HEAR: Final = 0.05


HEAD: float = 30.0
"""Seconds for what a connection begins with: each of a PROXY header, a TLS handshake, and a request's head."""


BODY: float = 60.0
"""Seconds that may pass between two pieces of a request's body, while the application waits for one to answer it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a connection. Times are seconds, sizes bytes; zero switches a ``request_*`` bound off.

    ``concurrency`` bounds the requests and WebSockets worked on at the same time, not the open connections: idle ones
    cost nothing, and load balancers keep many. ``head`` is the time for a request head to arrive, ``body`` for the next
    piece of a body, ``linger`` how long a finished connection waits for the client to stop sending.
    """

    keepalive: float = 2.0
    concurrency: int = 1000
    request_line: int = 4094
    request_fields: int = 100
    request_field_size: int = 8190
    head: float = HEAD
    body: float = BODY
    linger: float = 5.0

    @property
    def idle_grace(self) -> float:
        """How long an idle connection is kept while draining, for a request that is on its way."""
        return min(self.keepalive, 2.0)

    @property
    def head_bytes(self) -> int:
        """The most that a request head may have, all limits exhausted."""
        line = self.request_line or 1 << 16
        fields = self.request_fields or 1000
        return line + fields * ((self.request_field_size or 1 << 16) + 2) + 64


class Shared:
    """The state that a worker's connections share. One per worker, used from its event loop only."""

    def __init__(
        self,
        *,
        app: Callable[..., Any],
        log: logging.Logger,
        row: Row,
        link: ArbiterLink,
        limits: Limits,
        root_path: str = "",
        forwarded: Forwarded | None = None,
        access: RequestLog | None = None,
        hooks: RequestHooks | None = None,
        max_requests: int = 0,
        disconnect_grace: float | None = None,
        fixed_headers: list[tuple[bytes, bytes]] | None = None,
        date_header: bool = True,
    ) -> None:
        self.app = app
        self.log = log
        self.complaints = Complaints(log)
        self.row = row
        self.counters = row.counters
        self.link = link
        self.limits = limits
        self.root_path = root_path
        self.raw_root_path = root_path.encode("utf-8")
        self.forwarded = forwarded
        self.access = access
        self.hooks = hooks
        self.observed = access is not None or hooks is not None
        self.max_requests = max_requests
        self.disconnect_grace = disconnect_grace
        self.fixed_headers = fixed_headers or []
        self.date_header = date_header

        self.app_state: dict[str, Any] = {}
        self.upgrade: Callable[[HttpProtocol, bytes], None] | None = None
        self.draining = False
        self.told = asyncio.Event()
        self.changed = asyncio.Event()

        self.connections: set[Connection] = set()
        self.live: set[Exchange] = set()
        self.heads: list[Request] = []
        self.other_connections: Callable[[], int] = lambda: 0
        self.count_changed: Callable[[int], None] = lambda _: None
        self.requests = 0
        self.retiring = False

        self.default_head = b""
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.refresh_date()

    def refresh_date(self) -> None:
        """Build the header fields that every response has. Called once a second."""
        date = [(b"date", formatdate(time.time(), usegmt=True).encode("ascii"))] if self.date_header else []
        self.default_headers = date + self.fixed_headers
        self.default_head = b"".join(b"%b: %b\r\n" % field for field in self.default_headers)

    def sweep(self, now: float) -> None:
        """Look after all connections' timeouts at ``now``, in seconds of the loop's clock."""
        for connection in tuple(self.connections):
            connection.sweep(now)

    def tell_streams(self) -> None:
        """The soft deadline of a drain: `receive` says ``http.disconnect`` to who waits with nothing left to read."""
        self.told.set()
        for exchange in self.live:
            exchange.wake()

    def flush_soon(self, request: Request) -> None:
        """See to it that a head without a body goes out on the next turn of the loop: one call for all of them."""
        if not self.heads:
            request.connection.loop.call_soon(self._flush_heads)
        self.heads.append(request)

    def _flush_heads(self) -> None:
        heads, self.heads = self.heads, []
        for request in heads:
            request.flush_head()

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Those of our own requests: nothing else keeps them, and the loop does not."""
        return {request.task for request in self.live if request.task is not None}

    @property
    def busy(self) -> bool:
        """Whether the bound on concurrency is reached."""
        return len(self.live) >= self.limits.concurrency > 0

    def connection_count_changed(self) -> None:
        """To be called when a connection was made or lost."""
        self.counters[CONNECTIONS] = count = len(self.connections) + self.other_connections()
        self.count_changed(count)
        if self.draining:
            self.changed.set()

    def started(self, exchange: Exchange) -> None:
        """A request or WebSocket begins."""
        self.live.add(exchange)
        self.counters[IN_FLIGHT] = len(self.live)

    def answered(self) -> None:
        """A request was answered, or a WebSocket accepted: count it, and ask for retirement when it is time."""
        self.requests += 1
        self.counters[REQUESTS] = self.requests
        if self.requests >= self.max_requests > 0:
            self.retire(f"max_requests: {self.requests} answered")

    def retire(self, reason: str) -> None:
        """Ask to be replaced, once: the first reason counts. The worker serves on until it is told to drain."""
        if not self.retiring:
            self.retiring = True
            self.link.say_retirement_wanted(reason)

    def client_left(self, loop: asyncio.AbstractEventLoop, exchange: Exchange) -> None:
        """The client of a request or WebSocket is gone: give the application ``disconnect_grace`` seconds, if set."""
        if self.disconnect_grace is not None:
            loop.call_later(max(self.disconnect_grace, TO_HEAR), exchange.give_up)

    def owner_left(self, loop: asyncio.AbstractEventLoop, owner: Any) -> None:
        """The same for a protocol of uvicorn's: of what it works on, it knows only the ``send`` that it gave out."""
        if self.disconnect_grace is not None:
            for exchange in [each for each in self.live if each.owner is owner]:
                self.client_left(loop, exchange)

    def ended(self, exchange: Exchange) -> None:
        """The application is done with a request or WebSocket."""
        self.live.discard(exchange)
        self.counters[IN_FLIGHT] = len(self.live)
        if self.draining:
            self.changed.set()
