"""`HttpProtocol` over a transport that only remembers: bytes in, bytes out, no sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, cast

from supervisor.protocols import CONNECTIONS, IN_FLIGHT, REQUESTS
from supervisor.workers.connection import GONE
from supervisor.workers.http import HttpProtocol
from supervisor.workers.state import Limits, Shared

LOG = logging.getLogger("tests.workers.wire")
LOG.propagate = True


class FakeTransport:
    """What a protocol sees of a connection, written down."""

    def __init__(self, **extra: Any) -> None:
        self.written = b""
        self.writes: list[bytes] = []
        self.closed = False
        self.aborted = False
        self.eof = False
        self.reading = True
        self.protocol: Any = None
        self.buffered = 0
        self.extra = {"peername": ("192.0.2.1", 50000), "sockname": ("192.0.2.2", 80), **extra}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.extra.get(name, default)

    def write(self, data: bytes) -> None:
        assert not self.eof, "write after write_eof"
        self.writes.append(data)
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class FakeRow:
    """A row that nobody else sees."""

    def __init__(self) -> None:
        self.counters = memoryview(bytearray(24)).cast("q")

    requests = property(lambda self: self.counters[REQUESTS])
    in_flight = property(lambda self: self.counters[IN_FLIGHT])
    connections = property(lambda self: self.counters[CONNECTIONS])


class FakeLink:
    """An arbiter that listens."""

    def __init__(self) -> None:
        self.retirements: list[str] = []

    def say_retirement_wanted(self, reason: str) -> None:
        self.retirements.append(reason)


def make_shared(app: Any, *, limits: Limits | None = None, **options: Any) -> Shared:
    link = FakeLink()
    return Shared(
        app=app,
        log=LOG,
        row=cast(Any, FakeRow()),
        link=cast(Any, link),
        limits=limits or Limits(),
        date_header=options.pop("date_header", False),
        **options,
    )


class Wire:
    """One connection, of a worker that serves ``app``. To be made inside a running loop."""

    def __init__(self, app: Any, *, limits: Limits | None = None, extra: Any = None, **options: Any) -> None:
        self.shared = make_shared(app, limits=limits, **options)
        self.transport = FakeTransport(**(extra or {}))
        self.protocol = HttpProtocol(self.shared, asyncio.get_running_loop())
        self.protocol.connection_made(cast(Any, self.transport))

    @property
    def written(self) -> bytes:
        return self.transport.written

    def take(self) -> bytes:
        """What was written since the last call."""
        written, self.transport.written = self.transport.written, b""
        return written

    @property
    def reads(self) -> bool:
        """Whether the protocol wants to be told what arrives."""
        return self.transport.reading

    @property
    def half_closed(self) -> bool:
        return self.transport.eof

    async def feed(self, *pieces: bytes) -> bytes:
        """Let pieces arrive, each on its own turn of the loop; return what was written."""
        for piece in pieces:
            if self.protocol.phase == GONE or self.transport.closed:
                break
            self.protocol.data_received(piece)
            await self.settle()
        return self.take()

    async def settle(self) -> None:
        """Let everything run that can run without a clock."""
        for _ in range(12):
            await asyncio.sleep(0)

    def lose(self, error: Exception | None = None) -> None:
        self.transport.closed = True
        self.protocol.connection_lost(error)


async def converse(app: Any, pieces: Iterable[bytes], **options: Any) -> tuple[bytes, bool]:
    """Everything that a connection answers to ``pieces``, and whether it has ended."""
    wire = Wire(app, **options)
    written = await wire.feed(*pieces)
    ended = wire.transport.closed or wire.transport.eof
    wire.lose()
    await wire.settle()
    return written, ended
