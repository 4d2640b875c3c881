"""One request on its way through a WSGI application (PEP 3333).

Its thread runs the application and hands messages to its coroutine, which sends them; what the client has not taken yet
is bounded by `HIGH_WATER`.
"""

from __future__ import annotations

import asyncio
import io
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from supervisor.guard import OnlyHere
from supervisor.logs.record import ENVIRON
from supervisor.workers import response
from supervisor.workers.connection import address
from supervisor.workers.environ import Misplaced, RefusedHeader
from supervisor.workers.journal import Exchange
from supervisor.workers.request import Request, is_event_stream
from supervisor.workers.streams import BLOCK, Body, ClientDisconnected, FileWrapper

if TYPE_CHECKING:
    from supervisor.workers.gateway import Gateway

HIGH_WATER: Final = 1 << 18
"""Bytes of a response that may wait for the client before the application's thread does."""

_STATUS = re.compile(r"[1-9][0-9]{2}(?: [ \t\x21-\x7e\x80-\xff]*)?")
# These are the server's (RFC 9110, section 7.6.1); gunicorn leaves them out as well.
_HOP_BY_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding")
) | {"upgrade"}


class Call:
    """One request. Its methods are called in its thread, but `deliver` and what that calls."""

    def __init__(self, gateway: Gateway, receive: Any, send: Any) -> None:
        self.gateway = gateway
        self.receive = receive
        self.send = send
        self.exchange: Exchange = send.__self__
        self.loop = asyncio.get_running_loop()
        # Between the thread and the coroutine. Each counter is written on one side only.
        self.messages: deque[tuple[Any, int]] = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.given = 0
        self.taken = 0
        self.room: threading.Event | None = None
        self.begun = False
        self.over = False
        self.left = False
        self.error: BaseException | None = None
        self.more_body = True
        # What the application has said.
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.length: int | None = None
        self.head_given = False
        self.complete = False
        # Whether the thread is done with the request as soon as it has given what it gives next.
        self.parting = False

    # -- in the event loop

    async def deliver(self) -> None:
        """Send what the thread hands over, until it is done. Raises what the application has raised."""
        try:
            while not self.over:
                self.waiter = self.loop.create_future()
                await self.waiter
                while self.messages:
                    message, size = self.messages.popleft()
                    await self._send(message)
                    self._take(size)
        except asyncio.CancelledError:
            self._leave()
            raise
        if self.error is not None:
            raise self.error

    async def _send(self, message: Any) -> None:
        if self.left:
            return
        try:
            if isinstance(message, bytes):
                if isinstance(self.exchange, Request) and not self.exchange.disconnected:
                    self.exchange.connection.write(message)
            else:
                await self.send(message)
        except Exception as error:  # noqa: BLE001 - the thread is told, and raises it
            self.error = error
            self._leave()

    def _take(self, size: int) -> None:
        self.taken += size
        if self.room is not None:
            self.room.set()

    def _leave(self) -> None:
        self.left = True
        if self.room is not None:
            self.room.set()

    def _cut_off(self) -> None:
        if (transport := _ends(self.exchange)[2]) is not None:
            transport.abort()
        if isinstance(self.exchange, Request):
            self.exchange.disconnect()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def _end(self) -> None:
        if self.over:
            return
        self.over = True
        self._wake()
        self.gateway.over()

    # -- in the thread

    def work(self) -> None:
        """Run the application and hand over what it answers. Called once more, it only tells that it is over."""
        if not self.begun:
            self.begun = True
            self.gateway.moved = monotonic()
            # Not where it was cancelled while it waited for the thread: its client has been told so, and may ask again.
            if not self.left:
                self._run()
        self._tell(self._end)

    def _run(self) -> None:
        try:
            self._answer()
        except BaseException as error:  # noqa: BLE001 - as in gunicorn, an exit ends the request, not the worker
            if isinstance(error, ClientDisconnected) or self._gone():
                self.gateway.log.debug("the client of %s %s left", self.exchange.method, self.exchange.path)
            elif self.error is None:
                self.error = error

    def _answer(self) -> None:
        gateway, exchange = self.gateway, self.exchange
        client, server, transport = _ends(exchange)
        try:
            environ = gateway.environ.make(exchange, client, server, transport)
        except RefusedHeader as error:
            gateway.complaints.warning("400 at %s %s: %s", exchange.method, exchange.path, error)
            self._refuse("400 Bad Request")
            return
        except Misplaced as error:
            gateway.log.error("500 at %s %s: %s", exchange.method, exchange.path, error)
            self._refuse("500 Internal Server Error")
            return
        environ["wsgi.input"] = self._input(environ)
        environ["gunicorn.socket"] = transport and transport.get_extra_info("socket")
        environ["wsgi.early_hints"] = self._early_hints
        exchange.scope[ENVIRON] = environ
        if gateway.hooks is not None:
            gateway.hooks.before(exchange)
        with OnlyHere():
            result = gateway.app(environ, self.start_response)
            try:
                self._send_all(result)
            finally:
                if hasattr(result, "close"):
                    result.close()

    def _refuse(self, status: str) -> None:
        text = status.partition(" ")[2].encode("ascii")
        self.start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))])
        self.write(text)

    def _input(self, environ: dict[str, Any]) -> Any:
        """The body; without one, nothing that could ask the event loop for it."""
        if environ.get("CONTENT_LENGTH", "0") == "0" and "HTTP_TRANSFER_ENCODING" not in environ:
            return io.BytesIO()
        return io.BufferedReader(Body(self._fetch), BLOCK)

    def _fetch(self) -> bytes:
        """The next piece of the body, empty at its end."""
        while self.more_body:
            if data := self._receive():
                return data
        return b""

    def _receive(self) -> bytes:
        if not self.gateway.is_here():
            raise ClientDisconnected("a forked child has no client")
        try:
            message = asyncio.run_coroutine_threadsafe(self.receive(), self.loop).result(self.gateway.timeout)
        except (TimeoutError, CancelledError) as error:
            self._abort()
            raise ClientDisconnected("the client has sent nothing for too long") from error
        if message["type"] != "http.request":
            raise ClientDisconnected("the client has gone before the whole body had come")
        self.gateway.moved = monotonic()
        self.more_body = message.get("more_body", False)
        return bytes(message.get("body", b""))

    # -- WSGI

    def start_response(
        self, status: str, headers: Sequence[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """``start_response`` of PEP 3333. The head goes out with the first piece of the body."""
        if exc_info:
            try:
                if self.head_given:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status:
            raise AssertionError("start_response() was called twice without exc_info")
        if not isinstance(status, str):
            raise TypeError(f"the status must be a string, not {status!r}")
        if not _STATUS.fullmatch(status):
            raise ValueError(f"invalid status {status!r}")
        self.status = int(status[:3])
        self.length = None
        self.headers = [field for name, value in headers if (field := self._field(name, value))]
        return self.write

    def _field(self, name: Any, value: Any) -> tuple[bytes, bytes] | None:
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"names and values of headers must be strings, not {name!r}: {value!r}")
        lower = name.lower()
        if lower in _HOP_BY_HOP:
            return None
        field = (name.encode("latin-1"), value.strip(" \t").encode("latin-1"))
        response.encode_field(*field)
        if lower == "content-length":
            self.length = int(value)
        return field

    def write(self, data: bytes) -> None:
        """The ``write`` of PEP 3333: hand over a piece of the body, and wait if the client is slow."""
        self._give(data, sole=False)

    def _send_all(self, result: Iterable[bytes]) -> None:
        if isinstance(result, FileWrapper):
            result.blksize = max(result.blksize, BLOCK)
        sole = isinstance(result, (list, tuple)) and len(result) == 1
        self.parting = sole and not hasattr(result, "close")
        for data in result:
            self._give(data, sole=sole)
            # A stream of events would go on to the last moment of a drain; its clients come again.
            if self.gateway.told() and is_event_stream(self.headers):
                return
        if not self.status:
            raise RuntimeError("the WSGI application has not called start_response()")
        if not self.complete:
            self.complete = True
            self._hand_over(*self._head(), {"type": "http.response.body", "body": b""})

    def _give(self, data: bytes, *, sole: bool) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"the body must consist of bytes, not {type(data).__name__}")
        if not self.status:
            raise AssertionError("a piece of the body came before start_response() was called")
        if not data or self.complete:
            return
        bodiless = self.exchange.method == "HEAD" or self.status in (204, 304)
        if sole and self.length is None and not (bodiless or self.head_given):
            self.length = len(data)
            self.headers.append((b"content-length", b"%d" % len(data)))
        head = self._head()
        if bodiless:
            self._hand_over(*head)
            return
        if self.length is not None:
            # Not a byte more than was announced, and the response is complete with the last of them.
            left = self.length - self.given
            data = data[:left]
            self.complete = len(data) == left
        self.given += len(data)
        body = {"type": "http.response.body", "body": data, "more_body": not self.complete}
        self._hand_over(*head, body, size=len(data))

    def _head(self) -> tuple[dict[str, Any], ...]:
        if self.head_given:
            return ()
        self.head_given = True
        return ({"type": "http.response.start", "status": self.status, "headers": self.headers},)

    def _early_hints(self, headers: Iterable[tuple[Any, Any]]) -> None:
        """``wsgi.early_hints``, as gunicorn has it: a response 103, unless the final one has begun (RFC 8297)."""
        if self.head_given or not isinstance(self.exchange, Request) or self.exchange.old:
            return
        lines = []
        for name, value in headers:
            parts = [text.encode("latin-1") if isinstance(text, str) else text for text in (name, value)]
            lines.append(response.encode_field(parts[0], parts[1].strip(b" \t"))[0])
        self._hand_over(b"".join((b"HTTP/1.1 103 Early Hints\r\n", *lines, b"\r\n")))

    # -- to the event loop

    def _hand_over(self, *messages: Any, size: int = 0) -> None:
        if self._gone():
            raise ClientDisconnected("the client has gone")
        if not messages or not self.gateway.is_here():
            return
        for message in messages[:-1]:
            self.messages.append((message, 0))
        self.messages.append((messages[-1], size))
        if not (self.parting and size <= HIGH_WATER):
            self._tell(self._wake)
        self.gateway.moved = monotonic()
        if self.given - self.taken > HIGH_WATER:
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        self.room = self.room or threading.Event()
        while self.given - self.taken > HIGH_WATER and not self._gone():
            self.room.clear()
            # Once more: room may have been made before there was anything to be told.
            waiting = self._waiting()
            if self.given - waiting[0] <= HIGH_WATER or self._gone():
                break
            if not self.room.wait(self.gateway.timeout) and self._waiting() == waiting:
                self._abort()
                raise ClientDisconnected("the client has taken nothing for too long")
            self.gateway.moved = monotonic()

    def _waiting(self) -> tuple[int, int]:
        """What changes when the client takes something."""
        transport = _ends(self.exchange)[2]
        return self.taken, transport.get_write_buffer_size() if transport is not None else 0

    def _gone(self) -> bool:
        return self.left or bool(getattr(_cycle(self.exchange), "disconnected", False))

    def _abort(self) -> None:
        self.left = True
        self._tell(self._cut_off)

    def _tell(self, what: Callable[[], Any]) -> None:
        try:
            self.loop.call_soon_threadsafe(what)
        except RuntimeError:  # the loop is closed, and nobody is left to hear it
            self.left = True


def _cycle(exchange: Exchange) -> Any:
    """What knows whether the client is still there: our request, or uvicorn's."""
    return exchange if isinstance(exchange, Request) else getattr(getattr(exchange, "raw_send", None), "__self__", None)


def _ends(exchange: Exchange) -> tuple[Any, Any, Any]:
    """The address of the client, that of the server, and the transport between them."""
    if isinstance(exchange, Request):
        connection = exchange.connection
        return connection.client, connection.server, connection.transport
    transport = getattr(_cycle(exchange), "transport", None)
    if transport is None:
        return exchange.scope["client"], exchange.scope["server"], None
    # As a PROXY header has announced it, if there was one: uvicorn's classes are told (`supervisor.workers.ends`).
    protocol = transport.get_protocol()
    client = getattr(protocol, "client", None) or address(transport.get_extra_info("peername"))
    return client, exchange.scope["server"], transport
