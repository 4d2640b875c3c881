"""What a worker does with its connections when it is told to stop. Nothing that was sent may be lost."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from supervisor.workers import connection, h11
from tests.workers.apps import app, reply
from tests.workers.client import Reader, request
from tests.workers.conftest import RunningWorker, StartWorker

LOOPS = [
    pytest.param({"asgi_loop": "uvloop"}, id="uvloop"),
    pytest.param({"asgi_loop": "asyncio"}, id="asyncio"),
]
CLASSES = [*LOOPS, pytest.param({"worker_class": "uvicorn-h11"}, id="h11")]


def drain(worker: RunningWorker) -> None:
    worker.signal(signal.SIGTERM)
    worker.wait_for_word("draining")


@pytest.mark.parametrize("options", CLASSES)
def test_idle_worker_ends_at_once(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    drain(worker)
    assert worker.wait_exit() == 0
    assert worker.log_text() == ""


@pytest.mark.parametrize("options", CLASSES)
def test_request_in_flight_is_answered_with_close(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    with worker.connect() as client:
        client.sendall(request("/slow?seconds=0.5"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        drain(worker)
        answer = Reader(client).answer()
        assert (answer.status, answer.body, answer.closes) == (200, b"slow", True)
        assert client.recv(1) == b""
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_idle_connection_may_send_one_more_request(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, keepalive=30, **options)
    with worker.connect() as client:
        reader = Reader(client)
        client.sendall(request("/one"))
        assert not reader.answer().closes
        drain(worker)
        client.sendall(request("/two"))
        answer = reader.answer()
        assert (answer.body, answer.closes) == (b"/two", True)
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_idle_connection_is_closed_after_the_grace(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, keepalive=1, **options)
    with worker.connect() as client:
        client.sendall(request("/one"))
        Reader(client).answer()
        drain(worker)
        assert client.recv(1) == b""
        assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_half_a_head_gets_its_time(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    head = request("/half")
    with worker.connect() as client:
        client.sendall(head[:20])
        worker.wait_for(lambda: worker.row.connections == 1)
        drain(worker)
        time.sleep(0.3)  # the rest comes late, on purpose
        client.sendall(head[20:])
        answer = Reader(client).answer()
        assert (answer.body, answer.closes) == (b"/half", True)
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_a_blocked_loop_takes_no_time_from_half_a_head(
    start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    for module in (connection, h11):
        monkeypatch.setattr(module, "DRAIN_HEAD", 1.0)
    worker = start_worker(app, **options)
    head = request("/half")
    with worker.connect() as client, worker.connect() as other:
        other.sendall(request("/first"))
        Reader(other).answer()
        client.sendall(head[:20])
        drain(worker)
        other.sendall(request("/block?seconds=1.5"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        client.sendall(head[20:])
        assert Reader(client).answer().body == b"/half"
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_half_a_body_gets_its_time(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    whole = request("/echo", "POST", body=b"0123456789")
    with worker.connect() as client:
        client.sendall(whole[:-5])
        worker.wait_for(lambda: worker.row.in_flight == 1)
        drain(worker)
        time.sleep(0.3)  # the rest comes late, on purpose
        client.sendall(whole[-5:])
        answer = Reader(client).answer()
        assert (answer.body, answer.closes) == (b"0123456789", True)
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_what_waits_in_the_accept_queue_is_answered(
    start_worker: StartWorker, options: dict[str, Any], family: int
) -> None:
    worker = start_worker(app, family=family, **options)
    clients = [worker.connect()]
    clients[0].sendall(request("/block?seconds=0.5"))
    worker.wait_for(lambda: worker.row.in_flight == 1)
    # The loop is blocked: these stay in the queue until after the signal.
    for number in range(100):
        client = worker.connect()
        client.sendall(request(f"/{number}"))
        clients.append(client)
    worker.signal(signal.SIGTERM)
    answers = [Reader(client).answer() for client in clients]
    assert [answer.status for answer in answers] == [200] * 101
    assert [answer.body for answer in answers[1:]] == [f"/{number}".encode() for number in range(100)]
    assert worker.wait_exit() == 0
    for client in clients:
        client.close()


@pytest.mark.parametrize("options", CLASSES)
def test_pipelined_requests_are_answered(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    with worker.connect() as client:
        client.sendall(request("/slow?seconds=0.4") + request("/two") + request("/three"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        drain(worker)
        reader = Reader(client)
        answers = [reader.answer() for _ in range(3)]
        assert [answer.body for answer in answers] == [b"slow", b"/two", b"/three"]
        assert [answer.closes for answer in answers] == [False, False, True]
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_background_task_runs_to_its_end(start_worker: StartWorker, options: dict[str, Any], tmp_path: Path) -> None:
    worker = start_worker(app, **options)
    file = tmp_path / "done"
    with worker.connect() as client:
        client.sendall(request(f"/background?seconds=0.5&file={file}"))
        assert Reader(client).answer().body == b"done"
        drain(worker)
    assert worker.wait_exit() == 0
    assert file.read_text() == "done"


@pytest.mark.parametrize("options", CLASSES)
def test_streams_are_told_before_the_end(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, graceful_timeout=3, **options)
    with worker.connect() as client:
        client.sendall(request("/stream"))
        reader = Reader(client)
        assert reader.head().status == 200
        started = time.monotonic()
        drain(worker)
        data = reader.rest()
        assert data.count(b"data: tick") > 10
        assert time.monotonic() - started > 2
    assert worker.wait_exit() == 0
    assert data.endswith(b"\r\n0\r\n\r\n")
    assert worker.log_text() == ""


@pytest.mark.parametrize("options", CLASSES)
def test_what_does_not_end_is_cancelled_at_graceful_timeout(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, graceful_timeout=1, **options)
    with worker.connect() as client:
        client.sendall(request("/slow?seconds=60&secret=1"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        started = time.monotonic()
        drain(worker)
        answer = Reader(client).answer()
        assert (answer.status, answer.closes) == (503, True)
        assert worker.wait_exit() == 0
        assert 0.9 < time.monotonic() - started < 3.0
    assert "cancelling 1 requests: GET /slow (" in worker.log_text()
    assert "secret" not in worker.log_text()
    assert "ERROR" not in worker.log_text()


@pytest.mark.parametrize("options", CLASSES)
def test_a_second_term_changes_nothing(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    with worker.connect() as client:
        client.sendall(request("/slow?seconds=0.6"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        drain(worker)
        worker.signal(signal.SIGTERM)
        assert Reader(client).answer().body == b"slow"
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("draining", [False, True], ids=["serving", "draining"])
def test_int_and_quit_are_quick(
    start_worker: StartWorker, options: dict[str, Any], number: signal.Signals, draining: bool, tmp_path: Path
) -> None:
    shutdown = tmp_path / "shutdown"

    async def recorded(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            shutdown.write_text("ran")
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await app(scope, receive, send)

    def worker_int(worker: Any) -> None:
        (tmp_path / "hook").write_text(str(worker.pid))

    worker = start_worker(recorded, worker_int=worker_int, **options)
    with worker.connect() as client:
        client.sendall(request("/slow?seconds=60"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        if draining:
            drain(worker)
        started = time.monotonic()
        worker.signal(number)
        assert worker.wait_exit() == 0
        assert time.monotonic() - started < 5.0
    assert shutdown.read_text() == "ran"
    assert (tmp_path / "hook").read_text() == str(worker.pid)


@pytest.mark.parametrize("options", CLASSES)
def test_a_worker_without_its_arbiter_drains(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    with worker.connect() as client:
        client.sendall(request("/slow?seconds=0.4"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        worker.link.shutdown(socket.SHUT_RDWR)
        assert Reader(client).answer().body == b"slow"
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", LOOPS)
def test_early_response_to_an_upload_is_not_reset(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    head = b"POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\nConnection: close\r\n\r\n"
    with worker.connect() as client:
        client.sendall(head)
        for _ in range(40):
            client.sendall(b"x" * 65536)
        answer = Reader(client).answer()
        assert (answer.status, answer.body) == (413, b"too large")


@pytest.mark.parametrize("options", CLASSES)
def test_a_first_request_is_waited_for_without_keepalive_too(
    start_worker: StartWorker, options: dict[str, Any]
) -> None:
    """Who has just connected was never told that there would be no answer."""
    worker = start_worker(app, keepalive=0, **options)
    with worker.connect() as client:
        worker.wait_for(lambda: worker.row.connections == 1)
        drain(worker)
        time.sleep(0.2)  # the request comes late, on purpose
        client.sendall(request("/first"))
        answer = Reader(client).answer()
        assert (answer.body, answer.closes) == (b"/first", True)
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_without_keepalive_every_response_says_so(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, keepalive=0, **options)
    with worker.connect() as client:
        client.sendall(request("/only"))
        assert Reader(client).answer().closes


@pytest.mark.parametrize("options", CLASSES)
def test_half_a_head_gets_its_time_from_the_drain_on(
    start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    for module in (connection, h11):
        monkeypatch.setattr(module, "DRAIN_HEAD", 1.0)
    worker = start_worker(app, **options)
    head = request("/half")
    with worker.connect() as client:
        client.sendall(head[:20])
        worker.wait_for(lambda: worker.row.connections == 1)
        time.sleep(1.2)  # longer than a draining worker would wait, on purpose
        drain(worker)
        time.sleep(0.3)  # as above
        client.sendall(head[20:])
        assert Reader(client).answer().body == b"/half"
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_graceful_timeout_begins_with_the_order_and_not_with_its_reading(
    start_worker: StartWorker, options: dict[str, Any]
) -> None:
    """The arbiter counts from there, and kills two seconds after: a blocked loop must not use them up."""
    worker = start_worker(app, graceful_timeout=3, **options)
    with worker.connect() as client, worker.connect() as other:
        client.sendall(request("/slow?seconds=60"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        other.sendall(request("/block?seconds=2.5"))
        worker.wait_for(lambda: worker.row.in_flight == 2)
        told = time.monotonic()
        worker.signal(signal.SIGTERM)
        assert Reader(client).answer().status == 503
        # It would be 5.5 s if the time was counted from the end of the block.
        assert time.monotonic() - told < 5.4
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_an_upload_that_goes_on_behind_the_last_response_is_not_reset(
    start_worker: StartWorker, options: dict[str, Any]
) -> None:
    async def early(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.4)
        await reply(send, b"too large", status=413)

    worker = start_worker(early, asgi_lifespan="off", **options)
    size = 30 * 65536
    with worker.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % (2 * size))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        drain(worker)
        worker.wait_for(lambda: worker.row.requests == 1)
        for _ in range(size // 65536):
            client.sendall(b"x" * 65536)
        answer = Reader(client).answer()
        assert (answer.status, answer.body) == (413, b"too large")
        client.shutdown(socket.SHUT_WR)
    assert worker.wait_exit() == 0
