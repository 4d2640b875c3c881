"""One client connection by raw socket calls, so that each way in which a request can fail is told from the others."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from dataclasses import dataclass
from enum import Enum

CONNECT_AGAIN = 0.005
"""Seconds between two looks at a Unix socket whose accept queue is full: what a blocking connect waits for."""


class Outcome(Enum):
    """How a request ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    RESET_BEFORE = "reset before a byte"
    RESET_MIDDLE = "reset in the middle"
    TIMED_OUT = "timed out"
    WRONG_STATUS = "wrong status"


class Failed(Exception):
    """The request in hand has ended, and not with an answer."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: ``("127.0.0.1", 8000)`` or the path of a Unix socket; with ``tls``, encrypted."""

    address: tuple[str, int] | str
    tls: ssl.SSLContext | None = None

    def socket(self) -> socket.socket:
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        if family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    body: bytes
    closes: bool


class Connection:
    """A connection to a `Target`, for one request at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._socket = target.socket()
        self._loop = asyncio.get_running_loop()
        self._tls = Encryption(target.tls) if target.tls is not None else None

    async def connect(self) -> None:
        try:
            if isinstance(self._target.address, str):
                await self._connect_unix(self._target.address)
            else:
                await self._loop.sock_connect(self._socket, self._target.address)
        except ConnectionResetError as error:
            raise Failed(Outcome.RESET_BEFORE, f"connect: {error}") from error
        except OSError as error:
            raise Failed(Outcome.REFUSED, f"connect: {error}") from error

    async def _connect_unix(self, path: str) -> None:
        while (code := self._socket.connect_ex(path)) == errno.EAGAIN:
            await asyncio.sleep(CONNECT_AGAIN)
        if code:
            raise OSError(code, errno.errorcode[code])

    async def shake_hands(self) -> None:
        """What TLS needs after `connect`; nothing without it."""
        tls = self._tls
        if tls is None:
            return
        try:
            while not tls.shake_hands():
                await self._loop.sock_sendall(self._socket, tls.to_send())
                tls.received(await self._loop.sock_recv(self._socket, 65536))
            await self._loop.sock_sendall(self._socket, tls.to_send())
        except OSError as error:
            raise Failed(Outcome.RESET_BEFORE, f"handshake: {error}") from error

    def closed_by_peer(self) -> bool:
        """Whether an idle connection is over: its end, a reset, or bytes that nobody asked for have arrived."""
        if self._tls is None:
            return self._peek()
        try:
            while data := self._socket.recv(65536, socket.MSG_DONTWAIT):
                self._tls.received(data)
        except BlockingIOError:
            return self._tls.read() is not None
        except OSError:
            return True
        return True

    def _peek(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    async def exchange(self, head: bytes, body: bytes, piece: int, pause: float = 0.0) -> Response:
        """Send one request and read its response. A server may answer before it has read everything."""
        try:
            await self._send(head)
            for start in range(0, len(body), piece):
                await asyncio.sleep(pause)
                await self._send(body[start : start + piece])
        except OSError as error:
            unsent: OSError | None = error
        else:
            unsent = None
        return await self._response(unsent)

    async def _response(self, unsent: OSError | None) -> Response:
        received = bytearray()
        while (response := parse(received)) is None:
            try:
                data = await self._receive()
                reason = f"end of file, {unsent}" if unsent else "end of file"
            except OSError as error:
                data, reason = b"", str(error)
            if not data:
                outcome = Outcome.RESET_MIDDLE if received else Outcome.RESET_BEFORE
                raise Failed(outcome, f"{reason} after {len(received)} bytes")
            received += data
        return response

    async def _send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data if self._tls is None else self._tls.write(data))

    async def _receive(self) -> bytes:
        if self._tls is None:
            return await self._loop.sock_recv(self._socket, 65536)
        while (data := self._tls.read()) is None:
            self._tls.received(await self._loop.sock_recv(self._socket, 65536))
        return data

    def close(self) -> None:
        self._socket.close()


class Encryption:
    """TLS without a socket: what ends in it is seen apart from what ends below it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def shake_hands(self) -> bool:
        """Whether the handshake is over. Raises `ssl.SSLError` (an `OSError`) where it has failed."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def received(self, data: bytes) -> None:
        """Take what the socket gave; nothing is its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def read(self) -> bytes | None:
        """What was sent to us, empty at the end, None while more has to be received first."""
        try:
            return self._object.read(65536)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def write(self, data: bytes) -> bytes:
        self._object.write(data)
        return self.to_send()

    def to_send(self) -> bytes:
        return self._outgoing.read()


def parse(received: bytes | bytearray) -> Response | None:
    """The response with a ``Content-Length`` or in chunks, or None while it is not complete."""
    head, separator, rest = bytes(received).partition(b"\r\n\r\n")
    if not separator:
        return None
    status_line, *lines = head.split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    status = int(status_line.split()[1])
    closes = headers.get(b"connection", b"").lower() == b"close"
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = _unchunk(rest)
    else:
        length = int(headers.get(b"content-length", b"0"))
        body = rest[:length] if len(rest) >= length else None
    return None if body is None else Response(status, body, closes)


def _unchunk(rest: bytes) -> bytes | None:
    body = b""
    while True:
        size, separator, rest = rest.partition(b"\r\n")
        if not separator:
            return None
        length = int(size.split(b";")[0], 16)
        if len(rest) < length + 2:
            return None
        if length == 0:
            return body
        body += rest[:length]
        rest = rest[length + 2 :]
