"""WSGI applications in a worker: bodies, streams, clients that leave, threads, hooks, logs."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import BootError
from supervisor.workers import gateway
from supervisor.workers.streams import Body, ErrorLog
from tests.workers.conftest import StartWorker

HEAD = b"Host: shop\r\n\r\n"
LAST = b"Connection: close\r\n" + HEAD


def app(environ: dict[str, Any], start_response: Any) -> Any:
    """Answers by path."""
    return globals()["answer_" + environ["PATH_INFO"].strip("/")](environ, start_response)


def answer_hello(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def answer_size(environ: dict[str, Any], start_response: Any) -> Any:
    size = 0
    while piece := environ["wsgi.input"].read(10_000):
        size += len(piece)
    start_response("200 OK", [])
    return [str(size).encode()]


def answer_caught(environ: dict[str, Any], start_response: Any) -> Any:
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        Path(environ["QUERY_STRING"]).write_text(type(error).__name__)
        raise
    return answer_hello(environ, start_response)


class Endless:
    """A stream that never ends by itself, and tells when it is closed."""

    def __init__(self, path: str, piece: bytes) -> None:
        self.path = path
        self.piece = piece
        self.given = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.given += len(self.piece)
            Path(self.path).with_suffix(".given").write_text(str(self.given))
            yield self.piece
            time.sleep(0.001)

    def close(self) -> None:
        Path(self.path).write_text("closed")


def answer_endless(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])
    return Endless(environ["QUERY_STRING"], b"x" * 50_000)


def answer_events(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return Endless(environ["QUERY_STRING"], b"data: 1\n\n")


def answer_refused(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("199 Odd", [])
    return (b"x" * 100_000 for _ in range(100))


def answer_log(environ: dict[str, Any], start_response: Any) -> Any:
    print("said to wsgi.errors, café", file=environ["wsgi.errors"])
    return answer_hello(environ, start_response)


_inside = 0
_most = 0


def answer_most(environ: dict[str, Any], start_response: Any) -> Any:
    """Answers how many requests were seen inside at the same time."""
    global _inside, _most  # noqa: PLW0603 - what is counted is the process
    _inside += 1
    _most = max(_most, _inside)
    time.sleep(0.05)
    _inside -= 1
    start_response("200 OK", [])
    return [str(_most).encode()]


def answer_met(environ: dict[str, Any], start_response: Any) -> Any:
    """Answered only if two requests are here at once."""
    _barrier.wait(20)
    return answer_hello(environ, start_response)


_barrier = threading.Barrier(2)
_local = threading.local()


def answer_local(environ: dict[str, Any], start_response: Any) -> Any:
    environ["shop.user"] = "ann"
    start_response("200 OK", [])
    return [_local.value]


def ask(worker: Any, path: str, more: bytes = HEAD, method: str = "GET") -> socket.socket:
    client: socket.socket = worker.connect()
    client.sendall(f"{method} {path} HTTP/1.1\r\n".encode() + more)
    return client


def rest(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


@pytest.mark.parametrize("kind", ["sync", "wsgi", "gthread", "uvicorn", "h11"])
def test_served_by_any_worker(start_worker: StartWorker, kind: str) -> None:
    worker = start_worker(app, worker_class=kind, keepalive=0)
    answer = rest(ask(worker, "/hello"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\nhello")
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 0
    assert '"GET /hello HTTP/1.1" 200 5' in worker.access_log.read_text()
    assert "ERROR" not in worker.log_text()


@pytest.mark.parametrize("kind", ["sync", "h11"])
def test_uploads(start_worker: StartWorker, kind: str) -> None:
    worker = start_worker(app, worker_class=kind, keepalive=0)
    block = b"x" * 65_536
    client = ask(worker, "/size", b"Host: shop\r\nContent-Length: %d\r\n\r\n" % (160 * len(block)), "POST")
    for _ in range(160):
        client.sendall(block)
    assert rest(client).endswith(b"\r\n\r\n10485760")
    client = ask(worker, "/size", b"Host: shop\r\nTransfer-Encoding: chunked\r\n\r\n", "POST")
    for _ in range(160):
        client.sendall(b"%x\r\n%b\r\n" % (len(block), block))
    client.sendall(b"0\r\n\r\n")
    assert rest(client).endswith(b"10485760")


def test_a_body_that_is_cut_off_does_not_look_complete(start_worker: StartWorker, tmp_path: Path) -> None:
    worker = start_worker(app)
    seen = tmp_path / "seen"
    with ask(worker, f"/caught?{seen}", b"Host: shop\r\nContent-Length: 100\r\n\r\nhalf", "POST") as client:
        worker.wait_for(lambda: worker.row.in_flight)
        client.shutdown(socket.SHUT_RDWR)
    worker.wait_for(seen.exists)
    worker.wait_for(lambda: seen.read_text() == "ClientDisconnected")
    assert rest(ask(worker, "/hello")).endswith(b"hello")
    assert "ERROR" not in worker.log_text()


@pytest.mark.parametrize("kind", ["sync", "h11"])
def test_a_stream_ends_when_its_client_has_gone(start_worker: StartWorker, tmp_path: Path, kind: str) -> None:
    worker = start_worker(app, worker_class=kind)
    seen = tmp_path / "seen"
    with ask(worker, f"/endless?{seen}") as client:
        assert client.recv(100)
    worker.wait_for(seen.exists)
    assert rest(ask(worker, "/hello", b"Host: shop\r\nConnection: close\r\n\r\n")).endswith(b"hello")
    assert "ERROR" not in worker.log_text()


def test_a_client_that_does_not_read_holds_the_stream_up_and_is_left_in_the_end(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker(app, timeout=2)
    seen = tmp_path / "seen"
    with ask(worker, f"/endless?{seen}"):
        worker.wait_for(seen.exists)
    given = int(seen.with_suffix(".given").read_text())
    assert given < 64 << 20, "what fits into socket buffers, and not what fits into memory"
    assert rest(ask(worker, "/hello")).endswith(b"hello")


def test_a_client_that_does_not_send_is_left(start_worker: StartWorker) -> None:
    worker = start_worker(app, timeout=1)
    client = ask(worker, "/size", b"Host: shop\r\nContent-Length: 100\r\n\r\n", "POST")
    with client, contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b"", "nothing is answered"
    assert rest(ask(worker, "/hello")).endswith(b"hello")


def test_a_response_that_is_refused_frees_its_thread(start_worker: StartWorker) -> None:
    worker = start_worker(app)
    assert rest(ask(worker, "/refused")).startswith(b"HTTP/1.1 500 ")
    assert rest(ask(worker, "/hello")).endswith(b"hello")
    assert "InvalidResponse: invalid HTTP status 199" in worker.log_text()


def test_what_is_said_to_wsgi_errors_is_in_the_error_log(start_worker: StartWorker) -> None:
    worker = start_worker(app)
    rest(ask(worker, "/log"))
    assert "said to wsgi.errors, café\n" in worker.log_text()


def test_one_thread_runs_one_request_at_a_time(start_worker: StartWorker) -> None:
    worker = start_worker(app)
    clients = [ask(worker, "/most") for _ in range(6)]
    assert {rest(client)[-1:] for client in clients} == {b"1"}


def test_threads_run_requests_side_by_side(start_worker: StartWorker) -> None:
    worker = start_worker(app, threads=2, keepalive=0)
    clients = [ask(worker, "/met") for _ in range(2)]
    assert all(rest(client).endswith(b"hello") for client in clients)


@pytest.mark.parametrize(("kind", "threads", "kept"), [("sync", 1, False), ("gthread", 1, True), ("sync", 2, True)])
def test_connections_are_kept_as_by_gunicorn(start_worker: StartWorker, kind: str, threads: int, kept: bool) -> None:
    worker = start_worker(app, worker_class=kind, threads=threads, keepalive=20)
    with ask(worker, "/hello") as client:
        assert (b"connection: close" not in client.recv(1000)) is kept


def test_what_is_in_flight_is_drained(start_worker: StartWorker) -> None:
    worker = start_worker(app, threads=2)
    first = ask(worker, "/met")
    worker.wait_for(lambda: worker.row.in_flight)
    second = ask(worker, "/met", b"Host: shop\r\n")
    worker.wait_for(lambda: worker.row.connections == 2)
    worker.signal(signal.SIGTERM)
    worker.wait_for_word("draining")
    second.sendall(b"\r\n")
    assert all(b"connection: close" in answer and answer.endswith(b"hello") for answer in map(rest, (first, second)))
    assert worker.wait_exit() == 0


def test_a_stream_of_events_ends_well_at_the_end_of_a_drain(start_worker: StartWorker, tmp_path: Path) -> None:
    worker = start_worker(app, graceful_timeout=2)
    seen = tmp_path / "seen"
    client = ask(worker, f"/events?{seen}")
    assert client.recv(1000)
    worker.signal(signal.SIGTERM)
    assert rest(client).endswith(b"\r\n0\r\n\r\n")
    assert worker.wait_exit() == 0
    assert seen.read_text() == "closed"
    assert "ERROR" not in worker.log_text()


def test_what_does_not_end_is_left_at_the_end_of_graceful_timeout(start_worker: StartWorker) -> None:
    worker = start_worker(app, graceful_timeout=1, threads=2)
    client = ask(worker, "/met")
    worker.wait_for(lambda: worker.row.in_flight)
    worker.signal(signal.SIGTERM)
    assert rest(client).startswith(b"HTTP/1.1 503 ")
    assert worker.wait_exit() == 0


def test_hooks_run_in_the_thread_and_see_the_environ(start_worker: StartWorker, tmp_path: Path) -> None:
    told = tmp_path / "told"

    def pre_request(worker: Any, req: Any) -> None:
        _local.value = req.path.encode()

    def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
        same = worker.wsgi is app and _local.value == b"/local"
        told.write_text(json.dumps([same, environ["shop.user"], resp.status]))

    worker = start_worker(app, pre_request=pre_request, post_request=post_request, access_log_format="%({shop.user}e)s")
    assert rest(ask(worker, "/local")).endswith(b"/local")
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 0
    assert json.loads(told.read_text()) == [True, "ann", "200 OK"]
    assert worker.access_log.read_text() == "ann\n"


def answer_fork(environ: dict[str, Any], start_response: Any) -> Any:
    """Answers with the exit status of a child that leaves the application as the query says."""
    way = environ["QUERY_STRING"]
    if child := os.fork():
        start_response("200 OK", [])
        return [str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode()]
    print("the child has spoken", end="")
    if way == "raise":
        raise LookupError("in the child")
    if way == "message":
        sys.exit("a last word")
    if way == "exit":
        sys.exit(7)
    if way == "stream":
        return in_pieces(start_response)
    if way == "read":
        environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"from the child" * (100_000 if way == "much" else 1)] * 3


def in_pieces(start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"from "
    sys.exit(7)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("way", "code"), [("return", 0), ("much", 0), ("raise", 1), ("read", 1), ("exit", 7), ("message", 1), ("stream", 7)]
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_that_leaves_the_application_ends_with_its_code(
    start_worker: StartWorker, capfd: pytest.CaptureFixture[str], threads: int, way: str, code: int
) -> None:
    """It has no event loop, and what it would write to its client would be written twice."""
    worker = start_worker(app, threads=threads)
    for _ in range(3):
        answer = rest(ask(worker, "/fork?" + way, b"Content-Length: 4\r\n" + LAST + b"body", method="POST"))
        assert answer.endswith(b"\r\n\r\n%d" % code)
    said = capfd.readouterr()
    assert said.out == "the child has spoken" * 3
    assert said.err.count("LookupError: in the child") == (3 if way == "raise" else 0)
    assert said.err.count("a last word\n") == (3 if way == "message" else 0)
    assert rest(ask(worker, "/hello", LAST)).endswith(b"hello")


def answer_late(environ: dict[str, Any], start_response: Any) -> Any:
    """Leaves an alarm behind, that rings so many microseconds later in whatever goes on then."""

    def ring(*_: Any) -> None:
        raise TimeoutError("too late")

    signal.signal(signal.SIGALRM, ring)
    start_response("200 OK", [])
    signal.setitimer(signal.ITIMER_REAL, int(environ["QUERY_STRING"]) / 1_000_000)
    return [b"hello"]


def test_an_alarm_that_rings_after_its_request_leaves_none_unanswered(start_worker: StartWorker) -> None:
    worker = start_worker(app, timeout=0)
    for number in range(600):
        answer = rest(ask(worker, f"/late?{1 + number % 120}"))
        assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 500 ")), number
    assert worker.row.in_flight == 0
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 0


@contextlib.contextmanager
def no_thread_to_be_had(path: Path) -> Iterator[None]:
    """While there is a file ``path``, the requests' threads cannot be started, as where a limit of processes holds."""
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("wsgi-") and path.exists():
            raise RuntimeError("can't start new thread")
        start(thread)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        yield


def test_a_worker_without_threads_answers_so_and_serves_when_it_has_them(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    none_left = tmp_path / "none left"
    none_left.touch()

    def post_request(worker: Any, req: Any) -> None: ...

    with no_thread_to_be_had(none_left):
        worker = start_worker(app, threads=2, post_request=post_request)
        for _ in range(4):
            assert rest(ask(worker, "/hello", LAST)).startswith(b"HTTP/1.1 500 ")
        none_left.unlink()
        for _ in range(4):
            assert rest(ask(worker, "/hello", LAST)).endswith(b"hello")
    assert worker.row.in_flight == 0


def test_a_websocket_is_refused(start_worker: StartWorker) -> None:
    worker = start_worker(app)
    fields = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + b"A" * 22
    )
    assert rest(ask(worker, "/hello", fields + b"==\r\n" + HEAD)).startswith(b"HTTP/1.1 403 ")


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def test_an_asgi_application_where_wsgi_was_asked_for(start_worker: StartWorker) -> None:
    worker = start_worker(asgi, worker_class="gthread", ready=False)
    assert (
        "the application is an ASGI application, and worker_class names a worker for WSGI"
        in (worker.wait_for_word("boot_failed")[1])
    )


def test_without_a2wsgi_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "a2wsgi":
            raise ModuleNotFoundError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    environ: Any = None
    log: Any = None
    with pytest.raises(BootError, match=r"pip install 'asgi-supervisor\[wsgi\]'"):
        gateway.Gateway(app, threads=1, alone=True, timeout=None, environ=environ, log=log)


def test_a_raw_body_gives_what_there_is() -> None:
    pieces = [b"abc", b"defgh", b""]
    body = Body(lambda: pieces.pop(0))
    buffer = bytearray(2)
    assert [body.readinto(buffer) for _ in range(6)] == [2, 1, 2, 2, 1, 0]
    assert body.readinto(buffer) == 0, "and asks no more at the end"


def test_errors_without_a_stream_are_records(caplog: pytest.LogCaptureFixture) -> None:
    import logging

    log = logging.getLogger("tests.wsgi")
    assert ErrorLog(log).write("text\n") == 5
    assert caplog.messages == ["text"]


def test_the_gateway_answers_the_lifespan() -> None:
    environ: Any = None
    log: Any = None
    sent: list[str] = []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    entrance = gateway.Gateway(app, threads=1, alone=True, timeout=None, environ=environ, log=log)
    asyncio.run(entrance({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
