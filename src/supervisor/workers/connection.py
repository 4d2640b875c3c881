"""One client connection: its phases, its timeouts, its flow control, and an end that loses nothing.

The phase says what an operator's drain, and the once-a-second sweep, may do with a connection:

========  =============================================  ====================================================
phase     meaning                                        how it ends without a further request
========  =============================================  ====================================================
IDLE      between requests, or before the first          keepalive (first request: ``head``), unless bytes wait
HEAD      a request head has begun to arrive             408 after ``head``, unless bytes wait
BUSY      a request is being answered                    408 after ``body`` without a piece of its own, see below
DISCARD   answered, and the rest of its body comes in    half-close after `DISCARD_LIMIT` bytes, or ``linger``
LINGER    half-closed; input is read and thrown away     end of file, or ``linger`` seconds
GONE      closed, but TLS still waits for a farewell     ``linger`` seconds after the last byte was taken
========  =============================================  ====================================================

Once a request is whole, or its response has begun, it has all the time that the application takes. But a client that
leaves the application waiting for the rest of a body is not waited for without end.

Closing a socket with unread input makes the kernel send RST, which can destroy a response that the client has not read
yet (RFC 9112, section 9.6); hence DISCARD and LINGER.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
from typing import Any, Final

from supervisor.workers import response
from supervisor.workers.proxy import Address
from supervisor.workers.state import Shared

DISCARD_LIMIT: Final = 1 << 20
# A draining worker waits this long, in seconds, for the rest of a request head, and for a client to stop sending.
DRAIN_HEAD: Final = 5.0
DRAIN_LINGER: Final = 2.0
# And this long for the first request, whatever `keepalive` is: the client was never told that there would be none.
DRAIN_FIRST: Final = 2.0
# The phases of the table, in its order. No enumeration: a look-up of its members costs more than the comparison.
IDLE: Final = 0
HEAD: Final = 1
BUSY: Final = 2
DISCARD: Final = 3
LINGER: Final = 4
GONE: Final = 5


class Connection(asyncio.Protocol):
    """A connection without its protocol: what does not depend on how requests are read."""

    __slots__ = (
        "__weakref__",
        "buffered",
        "client",
        "drained",
        "fresh",
        "loop",
        "phase",
        "read_paused",
        "scheme",
        "server",
        "shared",
        "since",
        "transport",
        "trusted",
        "write_paused",
    )

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        self.shared = shared
        self.loop = loop
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self.phase: int = IDLE
        self.since = 0.0
        self.fresh = True
        self.trusted = False
        self.client: Address | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.read_paused = False
        self.buffered = False
        self.write_paused = False
        self.drained: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's transport
        self.transport = transport
        self.client = address(transport.get_extra_info("peername"))
        sockname = transport.get_extra_info("sockname")
        self.server = (sockname, None) if isinstance(sockname, str) and sockname else address(sockname)
        if transport.get_extra_info("sslcontext") is not None:
            self.scheme = "https"
        shared = self.shared
        self.trusted = shared.forwarded is not None and shared.forwarded.trusts_peer(self.client)
        self.since = self.loop.time()
        shared.connections.add(self)
        shared.connection_count_changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = GONE
        self.resume_writing()
        self.shared.connections.discard(self)
        self.shared.connection_count_changed()

    def eof_received(self) -> None:
        """The client has closed: the transport writes what it holds and goes, as uvicorn has it (`http.disconnect`)."""

    # -- what the protocol on top knows

    def refuse(self, status: int, text: str) -> None:
        """Answer with an error of the server's own, and end the connection."""
        raise NotImplementedError

    def has_input(self) -> bool:
        """Whether something was read that has not been answered."""
        raise NotImplementedError

    def waits_for_body(self) -> bool:
        """Whether an application that has not begun to answer waits for more of its request."""
        raise NotImplementedError

    def flush(self) -> None:
        """Write a response's head that waits for its body."""
        raise NotImplementedError

    # -- the end of the connection

    def finish(self) -> None:
        """Close after the last response, without cutting it off."""
        if self.has_input() or self.bytes_waiting():
            self.linger()
        else:
            self._close()

    def linger(self) -> None:
        """Close the sending side; read on, throwing away, until the client closes or `Limits.linger` is over."""
        self.phase = LINGER
        self.since = self.loop.time()
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()

    def abandon(self) -> None:
        """Close in the middle of a response, so that the client sees that it is not whole."""
        self.flush()
        self._close()

    def _close(self) -> None:
        self.phase = GONE
        self.since = self.loop.time()
        self.transport.close()

    def bytes_waiting(self) -> bool:
        """Whether the kernel, or after a pause the TLS layer, may hold input that was not read yet."""
        return self.buffered or has_unread(self.transport)

    def sweep(self, now: float) -> None:
        """Look at the clock: ``now`` is the loop's time in seconds. Called for every connection, once a second."""
        phase, limits, draining = self.phase, self.shared.limits, self.shared.draining
        waited = now - self.since
        if phase == BUSY:
            if waited >= limits.body and self.waits_for_body() and not self.bytes_waiting():
                self.refuse(408, "The request body took too long.")
            return
        if phase == IDLE:
            limit = limits.head if self.fresh else limits.keepalive
            if draining:
                limit = min(limit, DRAIN_FIRST if self.fresh else limits.idle_grace)
            if waited >= limit and not self.bytes_waiting():
                self._close()
        elif phase == HEAD:
            limit = min(limits.head, DRAIN_HEAD) if draining else limits.head
            if waited >= limit and not self.bytes_waiting():
                self.refuse(408, "The request head took too long.")
        elif phase == DISCARD:
            if waited >= limits.linger:
                self.linger()
        elif self.transport.get_write_buffer_size() or has_unsent(self.transport):
            self.since = now
        elif waited >= (min(limits.linger, DRAIN_LINGER) if draining else limits.linger):
            self._give_up()

    def _give_up(self) -> None:
        """The client has had its time to close. TLS says its farewell before, and waits as long for the client's."""
        if self.phase == LINGER and self.scheme == "https":
            self._close()
        else:
            self.phase = GONE
            self.transport.abort()

    def drain(self) -> None:
        """The worker drains: what a connection may wait for a request counts from now on, not from its last one on."""
        if self.phase in (IDLE, HEAD):
            self.since = self.loop.time()

    # -- flow control

    def pause_reading(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            # TLS reads on, into a buffer of its own that nobody can look into.
            self.buffered = self.scheme == "https"
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()
            if self.buffered:
                # It is delivered on the next turn of the loop.
                self.loop.call_soon(self.loop.call_soon, self._delivered)

    def _delivered(self) -> None:
        if not self.read_paused:
            self.buffered = False

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.drained is not None:
            drained, self.drained = self.drained, None
            if not drained.done():
                drained.set_result(None)

    async def writable(self) -> None:
        """Wait until the transport takes more, or the connection is lost."""
        while self.write_paused:
            if self.drained is None:
                self.drained = self.loop.create_future()
            await asyncio.shield(self.drained)

    def write(self, data: bytes) -> None:
        """Write to a connection that may be closing."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def default_lines(self, kinds: int) -> tuple[bytes, ...]:
        """The fields that every response has, without those that the application has set itself."""
        shared = self.shared
        if not kinds & (response.DATE | response.SERVER):
            return (shared.default_head,)
        own = {b"date": kinds & response.DATE, b"server": kinds & response.SERVER}
        return tuple(b"%b: %b\r\n" % field for field in shared.default_headers if not own.get(field[0]))


def address(name: Any) -> Address | None:
    """Host and port of a socket's name; None for Unix sockets."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None


def named(peer: Address | None) -> str:
    """Who has connected, for a message."""
    return peer[0] if peer else "a Unix socket"


def has_unread(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel holds input that was not read yet (``FIONREAD``, tcp(7) and unix(7))."""
    return _held(transport, termios.FIONREAD) > 0


def has_unsent(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel holds output that the client's has not taken yet (``SIOCOUTQ``, tcp(7) and unix(7))."""
    return _held(transport, termios.TIOCOUTQ) > 0


def _held(transport: asyncio.BaseTransport, queue: int) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return 0
    buffer = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), queue, buffer)
    except OSError:
        return 0
    return buffer[0]
