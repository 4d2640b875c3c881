"""A load client that counts: every request ends as exactly one `Outcome`, and none is tried twice.

The rate is fixed: requests start when they are due, whether or not earlier ones have been answered. A keep-alive
client looks at its connection before it sends; one that the server has closed by then is replaced, which is legal
(RFC 9112, section 9.6). A close that comes after the first byte was sent is a loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

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


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: ``("127.0.0.1", 8000)`` or the path of a Unix socket."""

    address: tuple[str, int] | str

    def socket(self) -> socket.socket:
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        if family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is sent: ``body`` bytes in pieces of ``piece``. ``timeout`` bounds a request from its connect to its end.

    A connection that has been idle for ``max_idle`` seconds is closed instead of used, as connection pools do: nearer
    to the server's own limit (two seconds), a close and a request can cross on the wire, and nobody is to blame.
    """

    rate: float
    keep_alive: bool = True
    body: int = 0
    piece: int = 4096
    path: str = "/"
    timeout: float = 20.0
    max_idle: float = 1.0


@dataclass(frozen=True, slots=True)
class Record:
    """One request: when (monotonic seconds), how it ended, and what the answer said about its server."""

    started: float
    ended: float
    outcome: Outcome
    detail: str = ""
    pid: int = 0
    version: str = ""


@dataclass(slots=True)
class Report:
    """All requests of a run."""

    records: list[Record] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(record.outcome.value for record in self.records)
        return {outcome.value: counted[outcome.value] for outcome in Outcome}

    @property
    def lost(self) -> list[Record]:
        return [record for record in self.records if record.outcome is not Outcome.ANSWERED]

    @property
    def longest(self) -> float:
        """The slowest answer, in seconds."""
        return max((record.ended - record.started for record in self.records), default=0.0)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.counts.items() if count)
        examples = {record.outcome.value: record.detail for record in self.lost}
        return f"{len(self.records)} requests: {counts}; longest {self.longest:.2f} s {examples or ''}".rstrip()


class Failed(Exception):
    """The request in hand has ended, and not with an answer."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    body: bytes
    closes: bool


class Connection:
    """One client connection, by raw socket calls, so that each failure can be told from the others."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._socket = target.socket()
        self._loop = asyncio.get_running_loop()

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

    def closed_by_peer(self) -> bool:
        """Whether an idle connection is over: its end, a reset, or bytes that nobody asked for have arrived."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    async def exchange(self, head: bytes, body: bytes, piece: int) -> Response:
        """Send one request and read its response. A server may answer before it has read everything."""
        try:
            await self._loop.sock_sendall(self._socket, head)
            for start in range(0, len(body), piece):
                await self._loop.sock_sendall(self._socket, body[start : start + piece])
                await asyncio.sleep(0)
        except OSError as error:
            unsent: OSError | None = error
        else:
            unsent = None
        return await self._read(unsent)

    async def _read(self, unsent: OSError | None) -> Response:
        received = bytearray()
        while (response := parse(received)) is None:
            try:
                data = await self._loop.sock_recv(self._socket, 65536)
                reason = f"end of file, {unsent}" if unsent else "end of file"
            except OSError as error:
                data, reason = b"", str(error)
            if not data:
                outcome = Outcome.RESET_MIDDLE if received else Outcome.RESET_BEFORE
                raise Failed(outcome, f"{reason} after {len(received)} bytes")
            received += data
        return response

    def close(self) -> None:
        self._socket.close()


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


class Client:
    """Sends `Traffic` to a `Target` until told to stop; `run` returns when the last request has ended."""

    def __init__(self, target: Target, traffic: Traffic) -> None:
        self.report = Report()
        self._target = target
        self._traffic = traffic
        self._idle: list[tuple[float, Connection]] = []
        self._body = b"x" * traffic.body
        method = "POST" if traffic.body else "GET"
        connection = "keep-alive" if traffic.keep_alive else "close"
        self._head = (
            f"{method} {traffic.path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n"
            f"Content-Length: {traffic.body}\r\n\r\n"
        ).encode()

    async def run(self, stop: asyncio.Event) -> None:
        begin = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        for number in itertools.count():
            due = begin + number / self._traffic.rate - time.monotonic()
            if due > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), due)
            if stop.is_set():
                break
            task = asyncio.create_task(self._request())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        for _, connection in self._idle:
            connection.close()

    async def _request(self) -> None:
        started = time.monotonic()
        outcome, detail, pid, version = Outcome.ANSWERED, "", 0, ""
        try:
            async with asyncio.timeout(self._traffic.timeout):
                response = await self._attempt()
        except Failed as failure:
            outcome, detail = failure.outcome, failure.detail
        except TimeoutError:
            outcome, detail = Outcome.TIMED_OUT, f"{self._traffic.timeout:g} s"
        else:
            try:
                pid, version = self._judge(response)
            except (ValueError, KeyError, TypeError) as error:
                outcome, detail = Outcome.WRONG_STATUS, f"{response.status} {response.body[:80]!r} ({error!r})"
        self.report.records.append(Record(started, time.monotonic(), outcome, detail, pid, version))

    async def _attempt(self) -> Response:
        connection = self._reusable()
        try:
            if connection is None:
                connection = Connection(self._target)
                await connection.connect()
            response = await connection.exchange(self._head, self._body, self._traffic.piece)
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if response.closes or not self._traffic.keep_alive:
            connection.close()
        else:
            self._idle.append((time.monotonic(), connection))
        return response

    def _reusable(self) -> Connection | None:
        """The connection that has been idle longest: so all of them stay in use, and closes are met."""
        while self._idle:
            since, connection = self._idle.pop(0)
            if time.monotonic() - since < self._traffic.max_idle and not connection.closed_by_peer():
                return connection
            connection.close()
        return None

    def _judge(self, response: Response) -> tuple[int, str]:
        """The pid and version that the probe application answered with. Raises where the answer is a wrong one."""
        if response.status != 200:
            raise ValueError("status")
        answer = json.loads(response.body)
        if answer["length"] != self._traffic.body:
            raise ValueError("length")
        return answer["pid"], answer["version"]


class Load:
    """Clients at work in a thread of their own, from ``with`` to its end; then `reports` are complete."""

    def __init__(self, target: Target, *traffic: Traffic) -> None:
        self._target = target
        self._traffic = traffic
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="load")
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.clients: list[Client] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> Report:
        """Start no more requests, wait for those under way, and tell how all of them ended."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        return self.report

    @property
    def report(self) -> Report:
        """All that has ended so far."""
        return Report([record for client in self.clients for record in list(client.report.records)])

    def answers(self) -> Iterator[Record]:
        """The answered requests so far."""
        return (record for record in self.report.records if record.outcome is Outcome.ANSWERED)

    def _main(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.clients = [Client(self._target, traffic) for traffic in self._traffic]
        self._ready.set()
        await asyncio.gather(*(client.run(self._stop) for client in self.clients))
