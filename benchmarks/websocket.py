"""A WebSocket client that costs little: frames made once (RFC 6455), no extension, one message at a time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import uvloop

from tests.process.connection import Target

SIZE = 64
TEXT = b"x" * SIZE
MASK = b"\x01\x02\x03\x04"
MESSAGE = b"\x81" + bytes([0x80 | SIZE]) + MASK + bytes(byte ^ MASK[n % 4] for n, byte in enumerate(TEXT))
"""One masked text frame (section 5.2)."""
ECHO = b"\x81" + bytes([SIZE]) + TEXT
"""What it comes back as: one frame, unmasked."""
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CLOSE = b"\x88\x80" + MASK
OPENING = 10.0
"""Seconds in which all connections have to be open."""


@dataclass
class Echoed:
    """What a run came to."""

    messages: int = 0
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)


class Client(asyncio.Protocol):
    """One connection: sends the next message when the last one has come back."""

    def __init__(self) -> None:
        self.messages = 0
        self.error = ""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._received = b""
        self._over = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.opened.done():
            self._open()
        elif self._received == ECHO:
            self._received = b""
            self.messages += 1
            if not self._over:
                self._transport.write(MESSAGE)
        elif not ECHO.startswith(self._received) and not self._over:
            self._fail("wrong frame")

    def connection_lost(self, error: Exception | None) -> None:
        if not self._over:
            self._fail("closed")

    def begin(self) -> None:
        self._transport.write(MESSAGE)

    def end(self) -> None:
        """Send no more, and say goodbye."""
        self._over = True
        self._transport.write(CLOSE)
        self._transport.close()

    def _open(self) -> None:
        head, complete, rest = self._received.partition(b"\r\n\r\n")
        if not complete:
            return
        self._received = rest
        if head.startswith(b"HTTP/1.1 101"):
            self.opened.set_result(None)
        else:
            self._fail("handshake")

    def _fail(self, error: str) -> None:
        self.error = self.error or error
        self._over = True
        if not self.opened.done():
            self.opened.set_result(None)
        self._transport.close()


def echo(
    target: Target, connections: int, warm_up: float, seconds: float, begin: Callable[[], None] = lambda: None
) -> Echoed:
    """Have messages echoed for so many seconds; ``begin`` is called when the warm-up is over."""
    return uvloop.run(_echo(target, connections, warm_up, seconds, begin))


async def _echo(target: Target, connections: int, warm_up: float, seconds: float, begin: Callable[[], None]) -> Echoed:
    loop = asyncio.get_running_loop()
    assert not isinstance(target.address, str)
    host, port = target.address
    clients: list[Client] = []
    for _ in range(connections):
        _, client = await loop.create_connection(Client, host, port)
        clients.append(client)
    async with asyncio.timeout(OPENING):
        await asyncio.gather(*(client.opened for client in clients))
    for client in clients:
        if not client.error:
            client.begin()
    await asyncio.sleep(warm_up)
    begin()
    begun, before = time.monotonic(), sum(client.messages for client in clients)
    await asyncio.sleep(seconds)
    messages, spent = sum(client.messages for client in clients) - before, time.monotonic() - begun
    errors = Counter(client.error for client in clients if client.error)
    for client in clients:
        client.end()
    await asyncio.sleep(0.1)
    return Echoed(messages, spent, errors)
