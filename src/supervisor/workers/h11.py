"""uvicorn's h11 connection, made to drain as `supervisor.workers.http.HttpProtocol` does, as far as a subclass can."""

from __future__ import annotations

import asyncio
from typing import Any

import h11

from supervisor.workers import response
from supervisor.workers.connection import DRAIN_FIRST, DRAIN_HEAD, DRAIN_LINGER, has_unread, has_unsent, named
from supervisor.workers.engine import H11Protocol, LingeringTransport
from supervisor.workers.heads import Objection, Strict
from supervisor.workers.state import Shared

CLOSE = (b"connection", b"close")


class DrainingH11Protocol(H11Protocol):
    """One connection of a `UvicornH11Worker`. Requests are counted and logged around the application."""

    def __init__(self, shared: Shared, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.shared = shared
        self.since = 0.0
        self.fresh = True
        self.closing_since: float | None = None
        self.strict = Strict(shared.limits)
        self.refusal: Objection | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        # What a client sends behind its last request must not turn the close into a reset.
        self.ending = LingeringTransport(transport, self.loop, self._lingers)
        super().connection_made(self.ending)  # type: ignore[arg-type]  # it is one but for its class
        self.since = self.loop.time()
        self.shared.connection_count_changed()

    def _lingers(self) -> bool:
        return self.shared.draining or self.refusal is not None

    def _refuse(self) -> None:
        """Let h11 hear nothing more, and answer when the request before is answered.

        A request whose body goes on with what is refused will never be whole.
        """
        cycle: Any = self.cycle
        if self.waiting_for_head():
            self._send_refusal()
        elif not cycle.more_body:
            return
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.ending.close()
            else:
                self._send_refusal()

    def _send_refusal(self) -> None:
        if self.refusal is None or self.ending.is_closing():
            return
        status, text = self.refusal
        self.shared.complaints.warning("%d to %s: %s", status, named(self.client), text)
        self._unset_keepalive_if_required()
        self.ending.write(response.simple(status, text, self.shared.default_head))
        self.ending.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ending.lost()
        super().connection_lost(exc)
        if not self.waiting_for_head():
            self.shared.owner_left(self.loop, self.cycle)
        # The base forgets its keep-alive timer when the connection is lost with an error.
        self._unset_keepalive_if_required()
        self.shared.connection_count_changed()

    def data_received(self, data: bytes) -> None:
        if self.ending.is_closing() or self.refusal is not None:
            return
        self.refusal = self.strict.feed(data)
        if self.refusal is not None:
            self._refuse()
            return
        if not (self.waiting_for_head() and self.conn.trailing_data[0]):
            self.since = self.loop.time()
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.shared.draining or self.shared.limits.keepalive <= 0:
            # The application's task has been made, but has not run yet.
            self._announce_close()

    def _announce_close(self) -> None:
        """Let the response that is still to begin say that it is the last, unless another request is behind its own."""
        if (
            self.waiting_for_head()
            or self.cycle.response_started
            or self.conn.trailing_data[0]
            or has_unread(self.transport)
        ):
            return
        if CLOSE not in self.cycle.default_headers:
            self.cycle.default_headers = [*self.cycle.default_headers, CLOSE]

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        self.fresh = False
        super().on_response_complete()
        self._send_refusal()

    def waiting_for_head(self) -> bool:
        """Whether no request is being worked on."""
        # The base declares a cycle, and has none before the first request.
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def drain(self) -> None:
        """Say ``Connection: close`` with the response that is still to begin; `sweep` does the rest."""
        if self.waiting_for_head():
            self.since = self.loop.time()
        else:
            self._announce_close()

    def sweep(self, now: float) -> None:
        """Close the connection if it has waited too long for a request head. ``now`` is the loop's time."""
        if self.transport.is_closing():
            # TLS waits for the client's farewell.
            if self.closing_since is None or has_unsent(self.transport):
                self.closing_since = now
            elif now - self.closing_since >= DRAIN_LINGER:
                self.transport.abort()
            return
        if not self.waiting_for_head():
            cycle = self.cycle
            if (
                cycle.more_body
                and not (cycle.response_started or cycle.waiting_for_100_continue or self.flow.read_paused)
                and now - self.since >= self.shared.limits.body
                and self.refusal is None
                and not has_unread(self.transport)
            ):
                self.refusal = (408, "The request body took too long.")
                self._refuse()
            return
        limits, draining = self.shared.limits, self.shared.draining
        partial = bool(self.conn.trailing_data[0]) or self.conn.their_state is not h11.IDLE
        if partial:
            limit = min(limits.head, DRAIN_HEAD) if draining else limits.head
        elif draining:
            limit = DRAIN_FIRST if self.fresh else limits.idle_grace
        elif self.fresh:
            limit = limits.head
        else:
            return
        if now - self.since >= limit and not has_unread(self.transport):
            self.ending.plain.close()
