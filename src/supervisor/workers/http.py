"""An HTTP/1.1 connection on httptools: parsing, pipelining, timeouts, and an end that loses nothing.

`HttpProtocol` knows five phases. The phase says what an operator's drain, and the once-a-second sweep, may do with the
connection:

========  =============================================  ====================================================
phase     meaning                                        how it ends without a further request
========  =============================================  ====================================================
IDLE      between requests, or before the first          keepalive (first request: ``head``), unless bytes wait
HEAD      a request head has begun to arrive             408 after ``head``
BUSY      a request is being answered                    never by time
DISCARD   answered, and the rest of its body comes in    half-close after ``DISCARD_LIMIT`` bytes, or ``linger``
LINGER    half-closed; input is read and thrown away     end of file, or ``linger`` seconds
========  =============================================  ====================================================

Closing a socket with unread input makes the kernel send RST, which can destroy a response that the client has not read
yet (RFC 9112, section 9.6); hence DISCARD and LINGER.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
import urllib.parse
from collections import deque
from enum import IntEnum
from typing import Any, Final

import httptools

from supervisor.workers import response
from supervisor.workers.proxy import Address
from supervisor.workers.request import Request, unavailable
from supervisor.workers.state import Shared

DISCARD_LIMIT: Final = 1 << 20
# A draining worker waits this long, in seconds, for the rest of a request head, and for a client to stop sending.
DRAIN_HEAD: Final = 5.0
DRAIN_LINGER: Final = 2.0

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Phase(IntEnum):
    """What a connection is at. See the module's table."""

    IDLE = 0
    HEAD = 1
    BUSY = 2
    DISCARD = 3
    LINGER = 4
    GONE = 5


class HttpProtocol(asyncio.Protocol):
    """One client connection. Made by the worker's server, for every connection that it accepts."""

    __slots__ = (
        "__weakref__",
        "client",
        "current",
        "declined",
        "drained",
        "expect",
        "flush_scheduled",
        "fresh",
        "head_bytes",
        "head_open",
        "headers",
        "hosts",
        "loop",
        "parser",
        "phase",
        "queue",
        "read_paused",
        "reading",
        "rejection",
        "scheme",
        "server",
        "shared",
        "since",
        "transport",
        "trusted",
        "unread",
        "url",
        "write_paused",
    )

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        self.shared = shared
        self.loop = loop
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self.parser: Any = httptools.HttpRequestParser(self)
        self.phase = Phase.IDLE
        self.since = 0.0
        self.fresh = True
        self.trusted = False
        self.client: Address | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        # The request that is being answered, the one whose body is being read, and those between.
        self.current: Request | None = None
        self.reading: Request | None = None
        self.queue: deque[Request] = deque()
        self.rejection: tuple[int, str] | None = None
        # The head that is being read.
        self.head_open = False
        self.head_bytes = 0
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.hosts = 0
        self.expect = b""
        self.declined: list[tuple[bytes, bytes]] = []
        # Flow control.
        self.unread = 0
        self.read_paused = False
        self.write_paused = False
        self.flush_scheduled = False
        self.drained: asyncio.Future[None] | None = None

    # -- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's transport
        self.transport = transport
        self.client = _address(transport.get_extra_info("peername"))
        sockname = transport.get_extra_info("sockname")
        self.server = (sockname, None) if isinstance(sockname, str) and sockname else _address(sockname)
        if transport.get_extra_info("sslcontext") is not None:
            self.scheme = "https"
        shared = self.shared
        self.trusted = shared.forwarded is not None and shared.forwarded.trusts_peer(self.client)
        self.since = self.loop.time()
        shared.connections.add(self)
        shared.connection_count_changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = Phase.GONE
        for request in (self.current, self.reading, *self.queue):
            if request is not None:
                request.disconnect()
        self.queue.clear()
        self.resume_writing()
        # The parser holds bound methods of this object: a cycle that only the collector would find.
        self.parser = None
        self.shared.connections.discard(self)
        self.shared.connection_count_changed()

    def eof_received(self) -> None:
        """The client has closed: the transport writes what it holds and goes, as uvicorn has it (`http.disconnect`)."""

    def data_received(self, data: bytes) -> None:
        if self.phase == Phase.LINGER or self.rejection is not None:
            return
        if self.phase == Phase.DISCARD:
            self.unread += len(data)
            if self.unread > DISCARD_LIMIT:
                self.linger()
                return
        if self.head_open:
            self.head_bytes += len(data)
            if self.head_bytes > self.shared.limits.head_bytes:
                self.reject(431, "Request header fields too large.")
                return
        try:
            while data:
                data = self._parse(data)
        except httptools.HttpParserCallbackError as error:
            self.shared.log.error("the HTTP protocol failed", exc_info=error)
            self.reject(500, "Internal Server Error")
        except httptools.HttpParserError:
            self.reject(400, "Invalid HTTP request received.")

    def _parse(self, data: bytes) -> bytes:
        """Feed the parser; return what it left, which is something only after an upgrade that is not wanted."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.rejection is None:
                rest = data[upgrade.args[0] :]
                return self._decline_upgrade() + rest if self.declined else self._upgrade(rest)
        return b""

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        self.head_open = True
        self.head_bytes = 0
        self.url = b""
        self.headers = []
        self.hosts = 0
        self.expect = b""
        if self.phase == Phase.IDLE:
            self.phase = Phase.HEAD
            self.since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self.url += url
        limit = self.shared.limits.request_line
        # Method, two spaces and the version are at least 13 bytes: near enough to refuse early, exact at the end.
        if len(self.url) + 13 > limit > 0:
            self.reject(414, "Request line too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"host":
            self.hosts += 1
        elif name == b"expect":
            self.expect = value.lower()
        self.headers.append((name, value))
        limits = self.shared.limits
        if len(self.headers) > limits.request_fields > 0:
            self.reject(431, "Too many request header fields.")
        elif len(name) + len(value) + 2 > limits.request_field_size > 0:
            self.reject(431, "Request header field too large.")

    def on_headers_complete(self) -> None:
        self.head_open = False
        if self.rejection is not None:
            return
        parser = self.parser
        method, version = parser.get_method(), parser.get_http_version()
        refusal = self._refusal(method, version)
        if refusal is None and parser.should_upgrade():
            if not self._wants_websocket(method, version):
                self.declined = [field for field in self.headers if field[0] == b"upgrade"]
            # The parser stops here, whether the request has a body or not, and `_parse` goes on.
            return
        if self.declined:
            self.headers += self.declined
            self.declined = []
        request = self._request(method.decode("ascii"), version) if refusal is None else None
        if request is None:
            self.reject(*(refusal or (400, "Invalid request target.")))
            return
        self.reading = request
        if self.current is None and not self.queue:
            self._start(request)
        else:
            self.queue.append(request)
            self.pause_reading()

    def _refusal(self, method: bytes, version: str) -> tuple[int, str] | None:
        """Why this head cannot become a request, if it cannot."""
        if version not in ("1.1", "1.0"):
            return 505, "HTTP version not supported."
        if len(method) + len(self.url) + 10 > self.shared.limits.request_line > 0:
            return 414, "Request line too long."
        if self.hosts > 1 or (self.hosts == 0 and version == "1.1"):
            return 400, "Exactly one Host header field is required."
        if method == b"CONNECT":
            return 501, "CONNECT is not supported."
        if self.expect and self.expect != b"100-continue":
            return 417, "Expectation failed."
        return None

    def _request(self, method: str, version: str) -> Request | None:
        url = self.url
        if url[:1] == b"/":
            raw_path, _, query = url.partition(b"?")
            if b"#" in url:
                raw_path, _, query = url.partition(b"#")[0].partition(b"?")
        elif url == b"*":
            raw_path, query = url, b""
        else:
            try:
                parsed = httptools.parse_url(url)
            except httptools.HttpParserInvalidURLError:
                return None
            raw_path, query = parsed.path or b"/", parsed.query or b""
        try:
            path = raw_path.decode("ascii")
        except UnicodeDecodeError:
            path = raw_path.decode("utf-8", "replace")
        if "%" in path:
            path = urllib.parse.unquote(path)
        shared = self.shared
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": _ASGI.copy(),
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method,
            "root_path": shared.root_path,
            "path": shared.root_path + path,
            "raw_path": shared.raw_root_path + raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": shared.app_state.copy(),
        }
        if self.trusted and shared.forwarded is not None:
            shared.forwarded.apply(scope)
        keep_alive = self.parser.should_keep_alive() and shared.limits.keepalive > 0
        expects = version == "1.1" and bool(self.expect)
        return Request(self, scope, url.decode("latin-1"), keep_alive, expects)

    def on_body(self, body: bytes) -> None:
        request = self.reading
        if request is not None and not request.complete and self.rejection is None:
            request.feed(body)

    def on_message_complete(self) -> None:
        request, self.reading = self.reading, None
        if request is None or self.rejection is not None:
            return
        request.more_body = False
        request.wake()
        if self.phase == Phase.DISCARD:
            self._next(request.keep_alive)

    # -- requests

    def _start(self, request: Request) -> None:
        shared = self.shared
        self.phase = Phase.BUSY
        self.fresh = False
        self.current = request
        if shared.busy:
            request.app = unavailable
            shared.log.warning("503: more than %d requests at once (worker_connections)", shared.limits.concurrency)
        else:
            request.app = shared.app
        shared.started(request)
        if shared.hooks is not None:
            shared.hooks.before(request)
        request.task = task = self.loop.create_task(request.run())
        shared.tasks.add(task)

    def request_done(self, request: Request) -> None:
        """A response has ended. Called by the request, once."""
        if self.current is request:
            self.current = None
        if self.phase in (Phase.GONE, Phase.LINGER):
            return
        if request.more_body and self.reading is request:
            # The rest of the body must be read before anything else can be, and before the connection may close.
            self.phase = Phase.DISCARD
            self.since = self.loop.time()
            self.unread = 0
            if not request.keep_alive:
                self.linger()
            else:
                self.resume_reading()
            return
        self._next(request.keep_alive)

    def _next(self, keep_alive: bool) -> None:
        """Go on after a request that was read and answered."""
        if not keep_alive:
            self.finish()
        elif self.queue:
            self._start(self.queue.popleft())
        elif self.rejection is not None:
            self._send_rejection()
        else:
            self.phase = Phase.HEAD if self.head_open else Phase.IDLE
            self.since = self.loop.time()
        if not self.queue:
            self.resume_reading()

    def must_close_after(self, request: Request) -> bool:
        """Whether the response that is about to begin has to be the connection's last.

        While draining it is, unless the client has already sent another request behind it.
        """
        if not self.shared.draining or self.queue or self.head_open:
            return False
        return request.more_body or not self.bytes_waiting()

    def reject(self, status: int, text: str) -> None:
        """Refuse what came in, after what came before it was answered, and close."""
        if self.rejection is not None:
            return
        self.rejection = (status, text)
        self.head_open = False
        self.pause_reading()
        broken, self.reading = self.reading, None
        if broken is not None:
            broken.disconnect()
            if broken in self.queue:
                self.queue.remove(broken)
            elif broken is self.current and broken.status:
                self.abandon()
                return
        if self.current is None or self.current is broken:
            self._send_rejection()

    def _send_rejection(self) -> None:
        if self.rejection is None or self.phase in (Phase.GONE, Phase.LINGER):
            return
        status, text = self.rejection
        peer = self.client[0] if self.client else "a Unix socket"
        self.shared.log.warning("%d to %s: %s", status, peer, text)
        self.write(response.simple(status, text, self.shared.default_head))
        self.linger()

    # -- the end of the connection

    def finish(self) -> None:
        """Close after the last response, without cutting it off."""
        if self.reading is not None or self.head_open or self.bytes_waiting():
            self.linger()
        else:
            self.phase = Phase.GONE
            self.transport.close()

    def linger(self) -> None:
        """Close the sending side; read on, throwing away, until the client closes or `Limits.linger` is over."""
        self.phase = Phase.LINGER
        self.since = self.loop.time()
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()

    def abandon(self) -> None:
        """Close in the middle of a response, so that the client sees that it is not whole."""
        if self.current is not None:
            self.current.flush_head()
            self.current.keep_alive = False
        self.transport.close()

    def bytes_waiting(self) -> bool:
        """Whether the kernel holds input of this connection that was not read yet (FIONREAD, tcp(7) and unix(7))."""
        sock = self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return False
        buffer = array.array("i", [0])
        try:
            fcntl.ioctl(sock.fileno(), termios.FIONREAD, buffer)
        except OSError:
            return False
        return buffer[0] > 0

    def sweep(self, now: float) -> None:
        """Look at the clock: ``now`` is the loop's time in seconds. Called for every connection, once a second."""
        phase, limits, draining = self.phase, self.shared.limits, self.shared.draining
        waited = now - self.since
        if phase in (Phase.BUSY, Phase.GONE):
            return
        if phase == Phase.IDLE:
            limit = limits.head if self.fresh else limits.keepalive
            if waited >= (min(limit, limits.idle_grace) if draining else limit) and not self.bytes_waiting():
                self.phase = Phase.GONE
                self.transport.close()
        elif phase == Phase.HEAD:
            if waited >= (min(limits.head, DRAIN_HEAD) if draining else limits.head):
                self.reject(408, "The request head took too long.")
        elif phase == Phase.DISCARD:
            if waited >= limits.linger:
                self.linger()
        elif self.transport.get_write_buffer_size():
            self.since = now
        elif waited >= (min(limits.linger, DRAIN_LINGER) if draining else limits.linger):
            self.transport.abort()

    def drain(self) -> None:
        """The worker drains: an idle connection is kept for the grace from now on, not from its last request on."""
        if self.phase == Phase.IDLE:
            self.since = self.loop.time()

    # -- flow control

    def pause_reading(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless requests wait to be answered or the application has yet to take what came."""
        if not self.read_paused or self.transport.is_closing():
            return
        if self.phase != Phase.LINGER and (self.queue or self.rejection is not None):
            return
        self.read_paused = False
        self.transport.resume_reading()

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

    def flush_soon(self) -> None:
        """See to it that a head without a body goes out on the next turn of the loop."""
        if not self.flush_scheduled:
            self.flush_scheduled = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self.flush_scheduled = False
        if self.current is not None and not self.current.disconnected:
            self.current.flush_head()

    def default_lines(self, kinds: int) -> tuple[bytes, ...]:
        """The fields that every response has, without those that the application has set itself."""
        shared = self.shared
        if not kinds & (response.DATE | response.SERVER):
            return (shared.default_head,)
        own = {b"date": kinds & response.DATE, b"server": kinds & response.SERVER}
        return tuple(b"%b: %b\r\n" % field for field in shared.default_headers if not own.get(field[0]))

    # -- upgrades

    def _wants_websocket(self, method: bytes, version: str) -> bool:
        """Whether this head opens a WebSocket (RFC 6455, section 4.2.1). Behind requests in flight it cannot."""
        if self.shared.upgrade is None or method != b"GET" or version != "1.1" or self.current is not None:
            return False
        return [value.strip().lower() for name, value in self.headers if name == b"upgrade"] == [b"websocket"]

    def _upgrade(self, rest: bytes) -> bytes:
        """Hand the connection over to the WebSocket protocol, with the head and what came behind it."""
        self.phase = Phase.GONE
        self.shared.connections.discard(self)
        if self.shared.upgrade is not None:
            self.shared.upgrade(self, self._head_again(b"GET", "1.1", self.headers) + rest)
        return b""

    def _decline_upgrade(self) -> bytes:
        """Go on as if no upgrade had been asked for: the head again, without that, for another parser.

        The parser takes the body for the other protocol's first bytes; clients that offer ``h2c`` do send bodies.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        return self._head_again(method, version, [field for field in self.headers if field[0] != b"upgrade"])

    def _head_again(self, method: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> bytes:
        lines = [method, b" ", self.url, b" HTTP/", version.encode("ascii"), b"\r\n"]
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)


def _address(name: Any) -> Address | None:
    """Host and port of a socket's name; None for Unix sockets."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None
