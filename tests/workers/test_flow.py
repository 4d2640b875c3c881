"""Flow control and the end of connections on real sockets and both event loops: nothing piles up, nothing is reset."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop

from supervisor.workers.connection import DISCARD_LIMIT
from supervisor.workers.http import HttpProtocol
from supervisor.workers.request import BODY_HIGH_WATER
from supervisor.workers.state import Limits, Shared
from tests.workers.apps import read_body, reply
from tests.workers.wire import make_shared

PATIENCE = 20.0
MEGABYTE = 1 << 20
# Far more than both sockets' buffers and the transport's hold.
LARGE = 32 * MEGABYTE
SMALL_BUFFER = 65536
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Awaitable[None]], None]]:
    """Run a scenario on each kind of event loop."""
    loop = request.param()

    def run_it(scenario: Awaitable[None]) -> None:
        loop.run_until_complete(asyncio.wait_for(scenario, PATIENCE))

    async def end_all() -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    yield run_it
    # What a scenario that failed has left behind must not end in another test.
    loop.run_until_complete(end_all())
    loop.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the scenario's patience bounds it."""
    while not condition():
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def connected(app: Any, **options: Any) -> AsyncIterator[tuple[socket.socket, Shared]]:
    """A client's socket, non-blocking, whose other end an `HttpProtocol` serves over TCP."""
    loop = asyncio.get_running_loop()
    shared = make_shared(app, **options)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        server, _ = listener.accept()
    await loop.connect_accepted_socket(lambda: HttpProtocol(shared, loop), server)
    with client:
        yield client, shared
    await until(lambda: not shared.connections)
    assert not shared.tasks
    assert not shared.live


async def receive_all(client: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    received = bytearray()
    while data := await loop.sock_recv(client, MEGABYTE):
        received += data
    return bytes(received)


async def come_to_rest(progress: Callable[[], int]) -> int:
    """Wait until a count has stood still for half a second, and return it."""
    still, before = 0, -1
    while still < 50:
        still = still + 1 if progress() == before else 0
        before = progress()
        await asyncio.sleep(0.01)
    return before


def test_a_client_that_stops_reading_stops_the_application(run: Callable[[Awaitable[None]], None]) -> None:
    sent = 0

    async def download(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        while sent < LARGE:
            await send({"type": "http.response.body", "body": b"x" * SMALL_BUFFER, "more_body": True})
            sent += SMALL_BUFFER
        await send({"type": "http.response.body"})

    async def scenario() -> None:
        async with connected(download) as (client, _shared):
            await asyncio.get_running_loop().sock_sendall(client, GET)
            await until(lambda: sent > 0)
            assert await come_to_rest(lambda: sent) < LARGE // 2
            assert (await receive_all(client)).count(b"x") == LARGE

    run(scenario())
    assert sent == LARGE


def test_a_client_that_stops_reading_and_leaves_releases_the_application(
    run: Callable[[Awaitable[None]], None],
) -> None:
    ended = False
    left = threading.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal ended
        await send({"type": "http.response.start", "status": 200})
        while not left.is_set():
            await send({"type": "http.response.body", "body": b"x" * SMALL_BUFFER, "more_body": True})
        await send({"type": "http.response.body", "body": b"into the void"})
        ended = True

    async def scenario() -> None:
        async with connected(endless) as (client, shared):
            await asyncio.get_running_loop().sock_sendall(client, GET)
            (protocol,) = await connections(shared)
            await until(lambda: protocol.write_paused)
            left.set()
        assert ended

    run(scenario())


async def connections(shared: Shared) -> tuple[Any, ...]:
    await until(lambda: bool(shared.connections))
    return tuple(shared.connections)


def test_an_application_that_does_not_read_stops_the_client(run: Callable[[Awaitable[None]], None]) -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        sent = 0

        async def upload(scope: Any, receive: Any, send: Any) -> None:
            await gate.wait()
            await reply(send, b"%d" % len(await read_body(receive)), headers=[(b"connection", b"close")])

        async with connected(upload) as (client, shared):
            await loop.sock_sendall(client, post(LARGE))

            async def feed() -> None:
                nonlocal sent
                while sent < LARGE:
                    await loop.sock_sendall(client, b"x" * SMALL_BUFFER)
                    sent += SMALL_BUFFER

            feeding = asyncio.ensure_future(feed())
            assert await come_to_rest(lambda: sent) < LARGE // 2
            (protocol,) = await connections(shared)
            assert protocol.current.held < 2 * MEGABYTE
            gate.set()
            assert (await receive_all(client)).endswith(b"\r\n\r\n%d" % LARGE)
            await feeding

    run(scenario())


@pytest.mark.parametrize("size", [DISCARD_LIMIT // 2, LARGE], ids=["small", "large"])
def test_an_early_response_reaches_who_still_uploads(run: Callable[[Awaitable[None]], None], size: int) -> None:
    """A client as most are: it reads when it has sent all, or when it can send no more."""
    answers: list[bytes] = []

    async def early(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"too large", status=413)

    def upload(client: socket.socket) -> None:
        client.setblocking(True)
        client.settimeout(PATIENCE)
        client.sendall(post(size))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(size // SMALL_BUFFER):
                client.sendall(b"x" * SMALL_BUFFER)
        answers.append(client.recv(MEGABYTE))
        client.shutdown(socket.SHUT_WR)

    async def scenario() -> None:
        # Longer than the client needs: what is tested is that bytes of the body do not end the connection badly.
        async with connected(early, limits=Limits(linger=PATIENCE)) as (client, _shared):
            await asyncio.to_thread(upload, client)

    run(scenario())
    assert answers[0].startswith(b"HTTP/1.1 413 ")
    assert answers[0].endswith(b"too large")


def test_a_connection_is_used_on_after_an_early_response(run: Callable[[Awaitable[None]], None]) -> None:
    async def early(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, scope["method"].encode())

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with connected(early) as (client, _shared):
            await loop.sock_sendall(client, post(DISCARD_LIMIT // 2))
            assert (await loop.sock_recv(client, MEGABYTE)).endswith(b"POST")
            await loop.sock_sendall(client, b"x" * (DISCARD_LIMIT // 2) + GET)
            assert (await loop.sock_recv(client, MEGABYTE)).endswith(b"GET")

    run(scenario())


def test_a_last_response_is_not_reset_away_by_what_was_never_read(run: Callable[[Awaitable[None]], None]) -> None:
    """The application does not want the body, so reading pauses, and requests behind it stay in the kernel."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        gate = asyncio.Event()

        async def last(scope: Any, receive: Any, send: Any) -> None:
            await gate.wait()
            await reply(send, b"last", headers=[(b"connection", b"close")])

        async with connected(last) as (client, shared):
            await loop.sock_sendall(client, post(BODY_HIGH_WATER + 1) + b"x" * BODY_HIGH_WATER)
            (protocol,) = await connections(shared)
            await until(lambda: protocol.current is not None and protocol.current.held == BODY_HIGH_WATER)
            assert not protocol.read_paused
            # One byte more is too much to read on, and it is the body's last.
            await loop.sock_sendall(client, b"x")
            await until(lambda: not protocol.current.more_body)
            assert protocol.read_paused
            await loop.sock_sendall(client, GET * 100)
            await until(protocol.bytes_waiting)
            gate.set()
            assert (await receive_all(client)).endswith(b"last")

    run(scenario())


def test_a_refusal_is_not_reset_away(run: Callable[[Awaitable[None]], None]) -> None:
    """The client sends on after the error, and reads late."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with connected(lambda *_: None, limits=Limits(linger=PATIENCE)) as (client, shared):
            await loop.sock_sendall(client, b"\x00" * SMALL_BUFFER)
            (protocol,) = await connections(shared)
            await until(lambda: protocol.refusal is not None)
            await loop.sock_sendall(client, b"\x00" * MEGABYTE)
            assert (await receive_all(client)).startswith(b"HTTP/1.1 400 ")

    run(scenario())


def test_who_leaves_while_its_pipelined_request_waits_is_noticed(run: Callable[[Awaitable[None]], None]) -> None:
    received: list[str] = []

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        received.extend([(await receive())["type"], (await receive())["type"]])

    async def scenario() -> None:
        async with connected(waiting) as (client, shared):
            await asyncio.get_running_loop().sock_sendall(client, GET + GET)
            await until(lambda: bool(shared.tasks))

    run(scenario())
    assert received == ["http.request", "http.disconnect"]


def test_bytes_in_any_rhythm(run: Callable[[Awaitable[None]], None]) -> None:
    """A client in a thread of its own, sending in uneven pieces with no regard for what comes back."""
    answers: list[bytes] = []

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, await read_body(receive))

    def talk(client: socket.socket) -> None:
        client.setblocking(True)
        client.settimeout(PATIENCE)
        stream = b"".join(post(length) + b"x" * length for length in (0, 1, 70_000, 300_000, 5)) * 3
        position = 0

        def send_all() -> None:
            for piece in pieces(stream):
                client.sendall(piece)

        sender = threading.Thread(target=send_all)
        sender.start()
        expected = 3 * (0 + 1 + 70_000 + 300_000 + 5)
        received = b""
        while received.count(b"x") < expected or position < 15:
            received += client.recv(MEGABYTE)
            position = received.count(b"HTTP/1.1 200 OK")
        sender.join()
        answers.append(received)

    async def scenario() -> None:
        async with connected(echo) as (client, _shared):
            await asyncio.to_thread(talk, client)

    run(scenario())
    assert answers[0].count(b"HTTP/1.1 200 OK\r\n") == 15


def pieces(stream: bytes) -> Iterator[bytes]:
    begin, size = 0, 1
    while begin < len(stream):
        yield stream[begin : begin + size]
        begin += size
        size = size * 7 % 65521 + 1
