"""HTTP/1.1 on httptools: from bytes to requests, in order, one answered at a time (RFC 9112)."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections import deque
from typing import Any, Final

import httptools

from supervisor.protocols import IN_FLIGHT
from supervisor.workers import heads, response
from supervisor.workers.connection import BUSY, DISCARD, DISCARD_LIMIT, GONE, HEAD, IDLE, LINGER, Connection, named
from supervisor.workers.proxy import CONTRADICTION
from supervisor.workers.request import Request, unavailable
from supervisor.workers.state import Shared

# Methods that get no closer look if nothing else about the head is out of the ordinary.
_ORDINARY: Final = frozenset({b"GET", b"PUT"})
_HASH: Final = ord("#")
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class HttpProtocol(Connection):
    """One client connection. Made by the worker's server, for every connection that it accepts."""

    __slots__ = (
        "current",
        "declined",
        "expect",
        "head_open",
        "headers",
        "hosts",
        "overhead",
        "parser",
        "piece",
        "queue",
        "reading",
        "refusal",
        "unread",
        "url",
    )

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(shared, loop)
        self.parser: Any = httptools.HttpRequestParser(self)
        # The request that is being answered, the one whose body is being read, and those between.
        self.current: Request | None = None
        self.reading: Request | None = None
        self.queue: deque[Request] = deque()
        self.refusal: tuple[int, str, bool] | None = None
        # The head that is being read.
        self.head_open = False
        self.piece = b""
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.hosts = 0
        self.expect = b""
        self.declined: list[tuple[bytes, bytes]] = []
        # How much of a body has been thrown away, and how much came in that was neither a whole head nor a body.
        self.unread = 0
        self.overhead = 0

    def connection_lost(self, exc: Exception | None) -> None:
        for request in (self.current, self.reading, *self.queue):
            if request is not None:
                request.disconnect()
        self.queue.clear()
        if self.current is not None:
            self.shared.client_left(self.loop, self.current)
        # The parser holds bound methods of this object: a cycle that only the collector would find.
        self.parser = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.phase >= LINGER or self.refusal is not None:
            return
        if self.phase == DISCARD:
            self.unread += len(data)
            if self.unread > DISCARD_LIMIT:
                self.linger()
                return
        begins = self.phase != HEAD
        self.overhead += len(data)
        # Where a request line may stand.
        self.piece = self.piece + data if self.head_open else data
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._change_over(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._failed(error)
        if begins and self.phase == HEAD:
            self.since = self.loop.time()
        if not self.head_open:
            self.piece = b""
        elif self.headers and self._line_holds():
            # Nothing else of what came need be kept.
            self.piece = self._line()
        # A field of a head, or of a trailer section, reaches the callbacks only when it is whole.
        if self.overhead and (self.head_open or self.reading) and self.overhead > self.shared.limits.head_bytes:
            self.refuse(*heads.FIELDS_TOO_LARGE)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, httptools.HttpParserCallbackError):
            self.shared.log.error("the HTTP protocol failed", exc_info=error)
            self.refuse(500, "Internal Server Error")
        else:
            self.refuse(*heads.INVALID)

    def _change_over(self, rest: bytes) -> None:
        """The parser has stopped behind a head that asks for an upgrade: grant it, or read on as if it did not."""
        while self.refusal is None:
            if not self.declined:
                self._upgrade(rest)
                return
            again = self._decline_upgrade() + rest
            try:
                self.parser.feed_data(again)
            except httptools.HttpParserUpgrade as upgrade:
                rest = again[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self._failed(error)
            else:
                return

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        self.head_open = True
        self.overhead = 0
        self.url = b""
        self.headers = []
        self.hosts = 0
        self.expect = b""
        if self.phase == IDLE:
            self.phase = HEAD

    def on_url(self, url: bytes) -> None:
        self.url = url = self.url + url if self.url else url
        # Method, two spaces and the version are at least 13 bytes: near enough to refuse early, exact at the end.
        if len(url) + 13 > self.shared.limits.request_line > 0:
            self.refuse(*heads.LINE_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_open:
            # A trailer field is not to be taken for one of the head (RFC 9110, section 6.5.1), and ASGI has no place
            # for it. But the parser heeds this one, and would refuse the next request.
            if self.reading is not None and name.lower() == b"connection" and b"close" in value.lower():
                self.reading.keep_alive = False
            return
        name = name.lower()
        if name == b"host":
            self.hosts += 1
        elif name == b"expect":
            self.expect = value.lower()
        headers = self.headers
        headers.append((name, value))
        limits = self.shared.limits
        if len(headers) > limits.request_fields > 0:
            self.refuse(*heads.TOO_MANY_FIELDS)
        elif len(name) + len(value) + 2 > limits.request_field_size > 0:
            self.refuse(*heads.FIELD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        if self.refusal is not None:
            return
        parser, shared = self.parser, self.shared
        method, version = parser.get_method(), parser.get_http_version()
        ordinary = version == "1.1" and self.hosts == 1 and not self.expect and method in _ORDINARY
        objection = None if ordinary else heads.objection(shared.limits, method, version, self.url, self.headers)
        at_begin = self.piece.startswith(b" HTTP/", len(method) + len(self.url) + 1)
        if objection is None and not (at_begin or self._line_holds()):
            return
        if objection is None and parser.should_upgrade():
            if not self._wants_websocket(method, version):
                self.declined = self.headers
            self.head_open = False
            # The parser stops here, whether the request has a body or not, and `_parse` goes on.
            return
        if self.declined:
            self.headers, self.declined = self.declined, []
        request = self._request(method.decode("ascii"), version) if objection is None else None
        if request is None:
            self.refuse(*(objection or (400, "Invalid request target.")))
            return
        self.head_open = False
        self.reading = request
        if self.current is None and not self.queue:
            self._start(request)
        else:
            self.queue.append(request)
            self.pause_reading()

    def _line(self) -> bytes:
        return b"%b %b HTTP/" % (self.parser.get_method(), self.url)

    def _line_holds(self) -> bool:
        """Refuse a request line that is none by the letter: llhttp takes those of RTSP, and skips spaces."""
        if self._line() in self.piece:
            return True
        self.refuse(400, "Invalid request line.")
        return False

    def _request(self, method: str, version: str) -> Request | None:
        url = self.url
        if url[:1] == b"/":
            raw_path, _, query = url.partition(b"?")
            if _HASH in url:
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
        if shared.root_path:
            path = shared.root_path + path
            raw_path = shared.raw_root_path + raw_path
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": _ASGI.copy(),
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method,
            "root_path": shared.root_path,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": shared.app_state.copy(),
        }
        if self.trusted and shared.forwarded is not None and not shared.forwarded.apply(scope):
            self.refuse(400, CONTRADICTION)
            return None
        keep_alive = self.parser.should_keep_alive() and shared.limits.keepalive > 0
        if version == "1.0" and keep_alive:
            keep_alive = _persists(self.headers)
        expects = version == "1.1" and bool(self.expect)
        return Request(self, scope, url.decode("latin-1"), keep_alive, expects)

    def on_body(self, body: bytes) -> None:
        self.overhead = 0
        self.since = self.loop.time()
        request = self.reading
        if request is not None and not request.complete and self.refusal is None:
            request.feed(body)

    def on_message_complete(self) -> None:
        request, self.reading = self.reading, None
        if request is None or self.refusal is not None:
            return
        request.more_body = False
        if request.event is not None:
            request.event.set()
        if self.phase == DISCARD:
            self._next(request.keep_alive)

    # -- requests

    def _start(self, request: Request) -> None:
        shared = self.shared
        self.phase = BUSY
        self.fresh = False
        self.current = request
        # As `Shared.busy` and `Shared.started`: for every request, a call is worth avoiding.
        live = shared.live
        if len(live) >= shared.limits.concurrency > 0:
            request.app = unavailable
            shared.complaints.warning(
                "503: more than %d requests at once (worker_connections)", shared.limits.concurrency
            )
        else:
            request.app = shared.app
        live.add(request)
        shared.counters[IN_FLIGHT] = len(live)
        if shared.hooks is not None:
            shared.hooks.before(request)
        request.task = self.loop.create_task(request.run())

    def request_done(self, request: Request) -> None:
        """A response has ended. Called by the request, once."""
        if self.current is request:
            self.current = None
            if self.phase == BUSY and not (request.more_body or self.queue) and request.keep_alive and not self.refusal:
                self.phase = HEAD if self.head_open else IDLE
                self.since = self.loop.time()
                if self.read_paused:
                    self.resume_reading()
                return
        if self.phase in (GONE, LINGER):
            return
        if request.more_body and self.reading is request:
            # The rest of the body must be read before anything else can be, and before the connection may close.
            self.phase = DISCARD
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
        elif self.refusal is not None:
            self._send_refusal()
        else:
            self.phase = HEAD if self.head_open else IDLE
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

    def refuse(self, status: int, text: str) -> None:
        """Refuse what came in, after what came before it was answered, and close."""
        if self.refusal is not None:
            return
        # The parser keeps the method of the request before, until it has read the next.
        head_only = bool(self.url) and (self.head_open or self.reading is not None)
        self.refusal = (status, text, head_only and self.parser.get_method() == b"HEAD")
        self.head_open = False
        self.pause_reading()
        broken, self.reading = self.reading, None
        if broken is not None and broken.withdraw():
            self.current = broken = None
        if broken is not None:
            broken.disconnect()
            if broken.complete:
                # It has its answer, and another would be taken for the next request's.
                self.linger()
                return
            if broken in self.queue:
                self.queue.remove(broken)
            elif broken is self.current and broken.status:
                self.abandon()
                return
        if self.current is None or self.current is broken:
            self._send_refusal()

    def _send_refusal(self) -> None:
        if self.refusal is None or self.phase in (GONE, LINGER):
            return
        status, text, head_only = self.refusal
        self.shared.complaints.warning("%d to %s: %s", status, named(self.client), text)
        self.write(response.simple(status, text, self.shared.default_head, head_only=head_only))
        self.linger()

    # -- for the connection

    def has_input(self) -> bool:
        return self.reading is not None or self.head_open or bool(self.queue)

    def waits_for_body(self) -> bool:
        return self.current is not None and self.current is self.reading and self.current.waits()

    def flush(self) -> None:
        if self.current is not None and not self.current.disconnected:
            self.current.flush_head()

    def resume_reading(self) -> None:
        """Read on, unless requests wait to be answered."""
        if self.phase == LINGER or not (self.queue or self.refusal is not None):
            super().resume_reading()

    def listen(self) -> None:
        """Read on even so: who has read its request, and still receives, wants to know when the client leaves."""
        super().resume_reading()

    # -- upgrades

    def _wants_websocket(self, method: bytes, version: str) -> bool:
        """Whether this head opens a WebSocket (RFC 6455, section 4.2.1). Behind requests in flight it cannot."""
        if self.shared.upgrade is None or method != b"GET" or version != "1.1" or self.current is not None:
            return False
        return [value.strip().lower() for name, value in self.headers if name == b"upgrade"] == [b"websocket"]

    def _upgrade(self, rest: bytes) -> None:
        """Hand the connection over to the WebSocket protocol, with the head and what came behind it."""
        self.phase = GONE
        self.parser = None
        self.shared.connections.discard(self)
        if self.shared.upgrade is not None:
            self.shared.upgrade(self, heads.written(b"GET", self.url, "1.1", self.headers) + rest)

    def _decline_upgrade(self) -> bytes:
        """Go on as if no upgrade had been asked for: the head again, without that, for another parser.

        The parser takes the body for the other protocol's first bytes; clients that offer ``h2c`` do send bodies.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        return heads.written(method, self.url, version, [field for field in self.headers if field[0] != b"upgrade"])


def _persists(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the connection of an HTTP/1.0 request that asks for ``keep-alive`` may be kept: ``close`` wins."""
    return not any(name == b"connection" and b"close" in value.lower() for name, value in headers)
