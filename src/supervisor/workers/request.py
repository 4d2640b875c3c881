"""One HTTP request and its response: the ASGI callables `Request.receive` and `Request.send`.

Follows the HTTP part of the ASGI specification, version 2.3, and the framing rules of RFC 9112.
"""

from __future__ import annotations

import asyncio
import inspect
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from supervisor.protocols import IN_FLIGHT
from supervisor.workers import response
from supervisor.workers.journal import Exchange
from supervisor.workers.response import Head, InvalidResponse, head_of

if TYPE_CHECKING:
    from supervisor.workers.http import HttpProtocol

# Above this much unread body the connection stops reading.
BODY_HIGH_WATER: Final = 65536
# So many pieces of a body are kept as they came: small ones take more memory than what is in them.
MOST_PIECES: Final = 256
# A body up to this size is joined with the head before it is written.
JOIN_LIMIT: Final = 65536


class Request(Exchange):
    """A request, from its complete head on. Its protocol feeds the body in and writes the response out."""

    __slots__ = (
        "app",
        "chunked",
        "close_delimited",
        "complete",
        "connection",
        "delivered",
        "disconnected",
        "event",
        "expects_continue",
        "head",
        "held",
        "keep_alive",
        "left",
        "more_body",
        "old",
        "pieces",
    )

    def __init__(
        self, protocol: HttpProtocol, scope: dict[str, Any], target: str, keep_alive: bool, expects: bool
    ) -> None:
        # Everything that `Exchange` sets, too: a call to it costs as much as the rest of this.
        self.scope = scope
        self.method = scope["method"]
        self.target = target
        self.started = monotonic()
        self.cancelled = False
        self.duration = 0.0
        self.status = 0
        self.sent = 0
        self.response_headers: Any = ()
        self.connection = protocol
        self.app: Any = None
        self.task: asyncio.Task[None] | None = None
        self.old = scope["http_version"] == "1.0"
        self.keep_alive = keep_alive
        self.expects_continue = expects
        # The request's body.
        self.pieces: list[bytes] = []
        self.held = 0
        self.more_body = True
        self.delivered = False
        self.event: asyncio.Event | None = None
        # The response.
        self.head: bytes | None = None
        self.chunked = False
        self.close_delimited = False
        self.left = 0
        self.complete = False
        self.disconnected = False

    # -- fed by the protocol

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        self.pieces.append(data)
        self.held += len(data)
        if len(self.pieces) > MOST_PIECES:
            self.pieces = [b"".join(self.pieces)]
        if self.held > BODY_HIGH_WATER:
            self.connection.pause_reading()
        if self.event is not None:
            self.event.set()

    def waits(self) -> bool:
        """Whether the application waits for the body, and has not begun to answer."""
        return self.status == 0 and self.more_body and self.event is not None and not self.event.is_set()

    def wake(self) -> None:
        """Let `receive` look again."""
        if self.event is not None:
            self.event.set()

    def disconnect(self) -> None:
        """The client is gone: `receive` says so, and `send` discards."""
        self.disconnected = True
        self.wake()

    def withdraw(self) -> bool:
        """Keep the request from the application, if that was not called yet: whether it is so.

        The parser finds some faults of the framing only behind the head, and of the body in the same piece.
        """
        if self.task is None or inspect.getcoroutinestate(cast("Any", self.task.get_coro())) != inspect.CORO_CREATED:
            return False
        shared = self.connection.shared
        self.task.cancel()
        self.task = None
        self.complete = True
        shared.ended(self)
        return True

    # -- the application's task

    async def run(self) -> None:
        """Call the application, and see to it that the response comes to an end."""
        shared = self.connection.shared
        try:
            result = await self.app(self.scope, self.receive, self.send)
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the loop from inside a task
            self._failed(error)
        else:
            if result is not None:
                shared.log.error("the ASGI application returned %r instead of None", result)
            if not self.complete and not self.disconnected:
                self._unfinished()
        finally:
            self.task = None
            if not self.complete:
                self._finish()
            # As `Shared.ended`.
            live = shared.live
            live.discard(self)
            shared.counters[IN_FLIGHT] = len(live)
            if shared.draining:
                shared.changed.set()

    def _failed(self, error: BaseException) -> None:
        shared = self.connection.shared
        if self.cancelled and isinstance(error, asyncio.CancelledError):
            self._answer(503, "Service Unavailable")
            return
        shared.log.error(
            "the ASGI application raised %s at %s %s",
            type(error).__name__,
            self.method,
            self.path,
            exc_info=error,
        )
        self._answer(500, "Internal Server Error")

    def _unfinished(self) -> None:
        shared = self.connection.shared
        if self.status == 0:
            shared.log.error("the ASGI application returned without a response at %s %s", self.method, self.path)
            self._answer(500, "Internal Server Error")
        elif shared.told.is_set():
            self._end_stream()
        else:
            shared.log.error(
                "the ASGI application returned before its response was complete at %s %s", self.method, self.path
            )
            self.connection.abandon()

    def _answer(self, status: int, text: str) -> None:
        """Say on the application's behalf that it failed, if its own response has not begun on the wire."""
        if self.disconnected or self.complete:
            return
        if self.status and self.head is None:
            self.connection.abandon()
            self.keep_alive = False
            return
        self.head = None
        self.status = status
        self.keep_alive = False
        self.sent = len(text)
        self.response_headers = ()
        default_head = self.connection.shared.default_head
        self.connection.write(response.simple(status, text, default_head, head_only=self.method == "HEAD"))
        self._finish()

    def _end_stream(self) -> None:
        """End a stream whose application stopped when it was told to.

        A stream of events is whole after each event, so it may end well. Anything else was cut off, and its client must
        be able to tell.
        """
        if self.chunked and is_event_stream(self.response_headers):
            self.flush_head()
            self.connection.write(b"0\r\n\r\n")
            self.keep_alive = False
            self._finish()
        else:
            self.connection.abandon()

    # -- ASGI

    async def receive(self) -> dict[str, Any]:
        """The ASGI ``receive`` of this request."""
        if self.expects_continue:
            self.expects_continue = False
            if self.status == 0 and self.more_body and not self.held:
                self.connection.write(response.CONTINUE)
        told = self.connection.shared.told
        while True:
            if self.disconnected or self.complete:
                return {"type": "http.disconnect"}
            if self.held or not (self.more_body or self.delivered):
                break
            if told.is_set() and not self.more_body:
                return {"type": "http.disconnect"}
            if self.delivered:
                self.connection.listen()
            else:
                self.connection.resume_reading()
            if self.event is None:
                self.event = asyncio.Event()
            self.event.clear()
            self.connection.since = self.connection.loop.time()
            await self.event.wait()
        body = b"".join(self.pieces)
        self.pieces.clear()
        self.held = 0
        self.delivered = not self.more_body
        if self.connection.read_paused:
            self.connection.resume_reading()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: dict[str, Any]) -> None:
        """The ASGI ``send`` of this request. Once the client is gone, messages are checked no more, but dropped."""
        protocol = self.connection
        if protocol.write_paused and not self.disconnected:
            await protocol.writable()
        if self.disconnected:
            return
        kind = message["type"]
        if self.complete:
            raise InvalidResponse(f"unexpected ASGI message {kind!r}: the response is complete")
        if self.status == 0:
            if kind != "http.response.start":
                raise InvalidResponse(f"unexpected ASGI message {kind!r}: expected 'http.response.start'")
            self._start(message["status"], message.get("headers", ()))
        elif kind == "http.response.body":
            self._continue(message.get("body", b""), message.get("more_body", False))
        else:
            raise InvalidResponse(f"unexpected ASGI message {kind!r}: expected 'http.response.body'")

    def _start(self, status: int, headers: Any) -> None:
        line = response.STATUS_LINES.get(status)
        if line is None:
            raise InvalidResponse(f"invalid HTTP status {status!r}")
        self.response_headers = fields = tuple(headers)
        head = head_of(fields)
        protocol = self.connection
        shared = protocol.shared
        bodiless = self.method == "HEAD" or status in (204, 304)
        if head.plain and not (bodiless or self.old or self.expects_continue or shared.draining):
            self.left = head.length or 0
            self.head = b"".join((line, shared.default_head, head.plain if self.keep_alive else head.closing))
        else:
            self._start_in_detail(status, line, head, bodiless=bodiless)
        self.status = int(status)
        shared.flush_soon(self)

    def _start_in_detail(self, status: int, line: bytes, head: Head, *, bodiless: bool) -> None:
        """Any head, and the framing of what follows it."""
        protocol = self.connection
        parts = [line, *protocol.default_lines(head.kinds), head.lines]
        if head.chunked and not self.old:
            self.chunked = True
            if status != 204:
                parts.append(response.CHUNKED)
        elif head.length is not None and not head.chunked:
            self.left = head.length
            if status != 204:
                parts.append(b"content-length: %d\r\n" % head.length)
        elif not bodiless:
            if self.old:
                self.close_delimited = True
                self.keep_alive = False
            else:
                self.chunked = True
                parts.append(response.CHUNKED)
        if bodiless:
            self.chunked = False
            self.left = -1
        if head.close or (self.expects_continue and self.more_body):
            self.keep_alive = False
        if not self.keep_alive or protocol.must_close_after(self):
            self.keep_alive = False
            if not head.close:
                parts.append(response.CONNECTION_CLOSE)
        elif self.old:
            parts.append(response.CONNECTION_KEEP_ALIVE)
        parts.append(b"\r\n")
        self.head = b"".join(parts)

    def _continue(self, body: bytes, more: bool) -> None:
        size = len(body)
        if size == self.left and self.head is not None and not (more or self.chunked or self.close_delimited):
            # All of the response is here, as with most.
            self.sent = size
            self._write(body)
            self._finish()
            return
        if self.left < 0:
            body = b""
        elif self.chunked:
            self.sent += size
            if body:
                tail = b"\r\n" if more else b"\r\n0\r\n\r\n"
                body = b"".join((b"%x\r\n" % size, body, tail))
            elif not more:
                body = b"0\r\n\r\n"
        else:
            if not self.close_delimited:
                if size > self.left:
                    raise InvalidResponse("the response's body is longer than its content-length")
                if not more and size < self.left:
                    raise InvalidResponse("the response's body is shorter than its content-length")
                self.left -= size
            self.sent += size
        self._write(body)
        if not more:
            self._finish()

    def _write(self, body: bytes) -> None:
        """Write a piece of the body as it is on the wire, behind the head that waits for it."""
        transport = self.connection.transport
        head = self.head
        if head is not None and len(body) <= JOIN_LIMIT:
            # Before anything is given away: what is no bytes is answered with 500.
            head += body
            body = b""
        self.head = None
        if transport.is_closing():
            return
        if head is not None:
            transport.write(head)
        if body:
            transport.write(body)

    def flush_head(self) -> None:
        """Write a head that waits for its first piece of body."""
        if self.head is not None and not self.disconnected:
            head, self.head = self.head, None
            self.connection.write(head)

    def _finish(self) -> None:
        """The response has ended, well or not: tell everybody who wants to know, once."""
        if self.complete:
            return
        self.complete = True
        shared = self.connection.shared
        if self.status:
            shared.answered()
            if shared.observed:
                self.duration = self.age()
                if shared.access is not None:
                    shared.access.log(self)
                if shared.hooks is not None:
                    shared.hooks.after(self)
        self.pieces.clear()
        self.held = 0
        if self.event is not None:
            self.event.set()
        self.connection.request_done(self)


def is_event_stream(headers: Any) -> bool:
    """Whether a response with these headers is a stream of server-sent events."""
    return any(
        bytes(name).lower() == b"content-type" and bytes(value).startswith(b"text/event-stream")
        for name, value in headers
    )


async def unavailable(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """The application of requests beyond the bound on concurrency."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"19"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"Service Unavailable"})
