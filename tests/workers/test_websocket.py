"""WebSockets: handed over to uvicorn's protocol, counted, logged, and closed with 1012 and a whole handshake."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from supervisor.workers.uvicorn import UvicornWorker
from tests.workers.apps import app
from tests.workers.client import Reader, request
from tests.workers.conftest import PATIENCE, RunningWorker, StartWorker


class WsprotoWorker(UvicornWorker):
    CONFIG_KWARGS = {"ws": "wsproto"}  # noqa: RUF012 - as users write it


class PatientWorker(UvicornWorker):
    WEBSOCKET_GRACE = None


CLASSES = [
    pytest.param({"asgi_loop": "uvloop"}, id="uvloop"),
    pytest.param({"asgi_loop": "asyncio"}, id="asyncio"),
    pytest.param({"worker_class": "uvicorn-h11"}, id="h11"),
    pytest.param({"worker_class": WsprotoWorker}, id="wsproto"),
]


def open_websocket(worker: RunningWorker) -> ClientConnection:
    sock = worker.connect()
    return connect(f"ws://test:{worker.address[1]}/ws", sock=sock, open_timeout=PATIENCE, close_timeout=PATIENCE)


@pytest.mark.parametrize("options", CLASSES)
def test_echo_is_counted_and_logged(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    with open_websocket(worker) as websocket:
        for text in ("one", "two"):
            websocket.send(text)
            assert websocket.recv(timeout=PATIENCE) == text
        assert worker.row.requests == 1
        assert worker.row.in_flight == 1
        assert worker.row.connections == 1
    worker.wait_for(lambda: worker.row.in_flight == 0 and worker.row.connections == 0)
    line = worker.wait_for(worker.access_log.read_text)
    assert '"GET /ws HTTP/1.1" 101 6' in line


@pytest.mark.parametrize("options", CLASSES)
def test_frames_that_follow_the_head_are_not_lost(start_worker: StartWorker, options: dict[str, Any]) -> None:
    if "worker_class" in options:
        pytest.skip("uvicorn's h11 protocol and the wsproto library drop them")
    worker = start_worker(app, **options)
    head = request(
        "/ws",
        headers="Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    )
    with worker.connect() as client:
        client.sendall(head + b"\x81\x82\0\0\0\0hi")
        reader = Reader(client)
        assert reader.head().status == 101
        while len(reader.buffer) < 4:
            reader.buffer += client.recv(100)
        assert reader.buffer == b"\x81\x02hi"


@pytest.mark.parametrize("options", CLASSES)
def test_closed_with_1012_as_soon_as_a_drain_begins(start_worker: StartWorker, options: dict[str, Any]) -> None:
    """Long before ``graceful_timeout``, which is longer than this test would wait."""
    worker = start_worker(app, graceful_timeout=10 * int(PATIENCE), **options)
    with open_websocket(worker) as websocket:
        worker.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert closed.value.rcvd_then_sent
    assert worker.wait_exit() == 0
    assert "ERROR" not in worker.log_text()
    assert "cancel" not in worker.log_text()


async def hesitant(scope: Any, receive: Any, send: Any) -> None:
    """Takes half a second to accept a WebSocket."""
    if scope["type"] == "websocket":
        await asyncio.sleep(0.5)
    await app(scope, receive, send)


def assert_told_to_reconnect(websocket: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed) as closed:
        websocket.recv(timeout=PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


@pytest.mark.parametrize("options", CLASSES)
def test_one_that_is_not_accepted_yet_is_told_afterwards(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(hesitant, graceful_timeout=10 * int(PATIENCE), **options)
    with ThreadPoolExecutor() as pool:
        opening = pool.submit(open_websocket, worker)
        worker.wait_for(lambda: worker.row.in_flight == 1)
        worker.signal(signal.SIGTERM)
        with opening.result(PATIENCE) as websocket:
            assert_told_to_reconnect(websocket)
    assert worker.wait_exit() == 0
    assert "ERROR" not in worker.log_text()


@pytest.mark.parametrize("options", CLASSES)
def test_one_that_opens_while_the_worker_drains_is_told_too(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, graceful_timeout=10 * int(PATIENCE), **options)
    with worker.connect() as sock:
        worker.wait_for(lambda: worker.row.connections == 1)
        worker.signal(signal.SIGTERM)
        worker.wait_for_word("draining")
        url = f"ws://test:{worker.address[1]}/ws"
        with connect(url, sock=sock, open_timeout=PATIENCE, close_timeout=PATIENCE) as websocket:
            assert_told_to_reconnect(websocket)
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_closed_with_1012_at_a_quick_stop(
    start_worker: StartWorker, options: dict[str, Any], number: signal.Signals
) -> None:
    worker = start_worker(app, **options)
    with open_websocket(worker) as websocket:
        worker.signal(number)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    assert worker.wait_exit() == 0
    assert "ERROR" not in worker.log_text()


def test_a_worker_class_may_leave_them_until_shortly_before_the_end(start_worker: StartWorker) -> None:
    worker = start_worker(app, graceful_timeout=2, worker_class=PatientWorker)
    with open_websocket(worker) as websocket:
        worker.signal(signal.SIGTERM)
        worker.wait_for_word("draining")
        websocket.send("still here")
        assert websocket.recv(timeout=PATIENCE) == "still here"
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert closed.value.rcvd_then_sent
    assert worker.wait_exit() == 0
    assert "cancel" not in worker.log_text()


@pytest.mark.parametrize("options", CLASSES)
def test_refused_by_the_application(start_worker: StartWorker, options: dict[str, Any]) -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    worker = start_worker(refusing, asgi_lifespan="off", **options)
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(worker)
    assert refused.value.response.status_code == 403
    assert '"GET /ws HTTP/1.1" 403' in worker.wait_for(worker.access_log.read_text)


@pytest.mark.parametrize("options", CLASSES)
def test_counts_for_max_requests(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, max_requests=1, **options)
    with open_websocket(worker) as websocket:
        worker.wait_for_word("retirement_wanted")
        websocket.send("still here")
        assert websocket.recv(timeout=PATIENCE) == "still here"


@pytest.mark.parametrize("options", CLASSES)
def test_a_client_that_does_not_answer_the_close_is_dropped_in_the_end(
    start_worker: StartWorker, options: dict[str, Any]
) -> None:
    """It is told once: uvicorn's classes raise when they are to close what is closing."""
    worker = start_worker(app, graceful_timeout=1, **options)
    with worker.connect() as client:
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        assert b" 101 " in client.recv(4096)
        worker.signal(signal.SIGTERM)
        assert worker.wait_exit() == 0
    assert "failed" not in worker.log_text()
    assert "could not be closed" not in worker.log_text()
