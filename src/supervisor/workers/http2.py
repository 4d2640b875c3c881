"""HTTP/2 as uvicorn speaks it, with what it leaves open: responses that clients do not take, or take slowly; heads that
are none; floods of lines in the log; streams that come while a worker drains.

What a client's window (RFC 9113, section 5.2) does not let out, the parser holds. Uvicorn takes it for sent: it asks
the application for more without end, and closes a connection for which nothing more is to come.
"""

from __future__ import annotations

import asyncio
from types import MethodType
from typing import Any, Final

from supervisor.workers.complaints import Complaints
from supervisor.workers.connection import has_unsent

HIGH_WATER: Final = 65536
"""Bytes of a response that may wait for the client's window before the application does."""
STALLED: Final = 30.0
"""Seconds without a word from a client that has not taken all of its responses; then it is given up."""
FAREWELL: Final = 2.0
"""Seconds for the client to close, once it was told and has taken everything."""
DRAIN_GRACE: Final = 2.0
"""Seconds after which a client is told to open no more streams here, where it has always had some since the drain."""
LAST_STREAM: Final = 2**31 - 1
"""The number of no stream yet: those that are under way count (RFC 9113, section 6.8)."""
PROTOCOL_ERROR: Final = 0x1


class _Log:
    """Uvicorn's logger, its warnings bounded."""

    def __init__(self, log: Any, complaints: Complaints) -> None:
        self._log = log
        self.warning = complaints.warning

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def hardened(base: Any, patience: float, complaints: Complaints) -> Any:
    """Derive from uvicorn's class for HTTP/2; see `supervisor.workers.engine` for what is relied on.

    Its clients have ``patience`` seconds for their first word. What it warns of is bounded by ``complaints``.
    """

    class Http2Protocol(base):  # type: ignore[misc]  # the base is known at run time only
        silent_since: float | None = None
        closing_since: float | None = None
        heard_at = 0.0
        ends = False
        leaving_since: float | None = None
        told = False

        def connection_made(self, transport: asyncio.Transport) -> None:
            self.logger: Any = _Log(self.logger, complaints)
            self.moved = asyncio.Event()
            super().connection_made(transport)
            self.silent_since = self.loop.time()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.moved.set()

        def data_received(self, data: bytes) -> None:
            # Uvicorn counts the time of a silent client from its first word on.
            self.silent_since = None
            self.heard_at = self.loop.time()
            super().data_received(data)
            self.moved.set()
            if self.ends and not (self.cycles or self.conn.has_pending_send()):
                super()._close_connection()

        def timeout_keep_alive_handler(self) -> None:
            if self.conn.has_pending_send() and self.loop.time() - self.heard_at < STALLED:
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive or 1.0, self.timeout_keep_alive_handler
                )
            else:
                super()._close_connection()

        def _close_connection(self) -> None:
            """No more is to come. What the client has not let out yet goes first."""
            if self.conn.has_pending_send():
                self.ends = True
            else:
                super()._close_connection()

        def shutdown(self) -> None:
            """Leave when no stream is open. Uvicorn would answer 503 to the streams that still come."""
            if self.leaving_since is None:
                self.leaving_since = self.loop.time()
            if not self.cycles:
                super().shutdown()

        def on_stream_closed(self) -> None:
            if self.leaving_since is not None and not self.cycles:
                self.shutdown_requested = True
            super().on_stream_closed()

        def sweep(self, now: float) -> None:
            """Close the connection of a client that says nothing, or does not say farewell. ``now`` is loop time."""
            if not self.transport.is_closing():
                if self.leaving_since is not None and not self.told and now - self.leaving_since >= DRAIN_GRACE:
                    self.told = True
                    self.conn.close(0, LAST_STREAM)
                    self.flush()
                if self.silent_since is not None and now - self.silent_since >= patience:
                    self.shutdown()
                elif self.ends and now - self.heard_at >= STALLED:
                    super()._close_connection()
            elif self.closing_since is None or has_unsent(self.transport):
                self.closing_since = now
            elif now - self.closing_since >= FAREWELL:
                self.transport.abort()

        def handle_request(self, event: Any) -> None:
            if not is_request(event.method, event.path):
                self.conn.stream(event.stream_id).reset(PROTOCOL_ERROR)
                return
            super().handle_request(event)
            cycle = self.cycles.get(event.stream_id)
            if cycle is None:
                return
            cycle.send = MethodType(_send, cycle)
            cycle.moved = self.moved
            # A request without a body ends with its head, of which uvicorn 0.54 takes no notice: its application
            # would wait for the body for ever.
            if event.end_stream:
                cycle.more_body = False
                cycle.message_event.set()

    return Http2Protocol


def is_request(method: bytes, path: bytes) -> bool:
    """Whether a head asks for something (RFC 9113, section 8.3.1). There is no tunnel to be had."""
    if not (method.isascii() and path.isascii()) or method == b"CONNECT":
        return False
    return path.startswith(b"/") or (path == b"*" and method == b"OPTIONS")


async def _send(cycle: Any, message: Any) -> None:
    """The ASGI ``send`` of a request: that of uvicorn, and then wait until the client has room for more."""
    await type(cycle).send(cycle, message)
    while (cycle.stream.pending_bytes or 0) > HIGH_WATER and not (cycle.disconnected or cycle.response_complete):
        cycle.moved.clear()
        await cycle.moved.wait()
