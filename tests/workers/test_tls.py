"""TLS: contexts, the ``ssl_context`` hook, and the drain of encrypted connections."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import ssl
import time
from typing import Any

import pytest

from supervisor.workers import acceptor, server
from tests.workers.apps import app
from tests.workers.authority import Authority
from tests.workers.client import Reader, request
from tests.workers.conftest import StartWorker

LOOPS = ["uvloop", "asyncio"]
CLASSES = [
    pytest.param({"asgi_loop": "uvloop"}, id="uvloop"),
    pytest.param({"asgi_loop": "asyncio"}, id="asyncio"),
    pytest.param({"worker_class": "uvicorn-h11"}, id="h11"),
]


@pytest.mark.parametrize("options", CLASSES)
def test_scheme_is_https(start_worker: StartWorker, authority: Authority, options: dict[str, Any]) -> None:
    async def show(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": scope["scheme"].encode()})

    worker = start_worker(show, asgi_lifespan="off", **authority.options, **options)
    with authority.connect(worker) as client:
        client.sendall(request())
        assert Reader(client).answer().body == b"https"


@pytest.mark.parametrize("options", CLASSES)
def test_drain(start_worker: StartWorker, authority: Authority, options: dict[str, Any]) -> None:
    worker = start_worker(app, keepalive=1, **authority.options, **options)
    with authority.connect(worker) as idle, authority.connect(worker) as busy, authority.connect(worker) as silent:
        idle.sendall(request("/one"))
        Reader(idle).answer()
        busy.sendall(request("/slow?seconds=0.5"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        worker.signal(signal.SIGTERM)
        worker.wait_for_word("draining")
        silent.sendall(request("/late"))
        late = Reader(silent).answer()
        assert (late.body, late.closes) == (b"/late", True)
        answer = Reader(busy).answer()
        assert (answer.body, answer.closes) == (b"slow", True)
        assert idle.recv(1) == b""
    assert worker.wait_exit() == 0
    assert "ERROR" not in worker.log_text()


@pytest.mark.parametrize("loop", LOOPS)
def test_what_the_tls_layer_has_read_during_a_pause_is_answered(
    start_worker: StartWorker, authority: Authority, loop: str
) -> None:
    """Pipelined requests, each in a record of its own: reading pauses behind the second, and the kernel is empty."""
    worker = start_worker(app, asgi_loop=loop, **authority.options)
    with authority.connect(worker) as client:
        client.sendall(request("/slow?seconds=0.6"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        for path in ("/two", "/three", "/four"):
            client.sendall(request(path))
            time.sleep(0.05)  # so that each is read by itself
        worker.signal(signal.SIGTERM)
        reader = Reader(client)
        assert [reader.answer().body for _ in range(4)] == [b"slow", b"/two", b"/three", b"/four"]
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_idle_clients_that_do_not_look_hold_nobody_up(
    start_worker: StartWorker, authority: Authority, options: dict[str, Any]
) -> None:
    """Connection pools say no farewell, and TLS would wait for it for half a minute."""
    worker = start_worker(app, graceful_timeout=3600, **authority.options, **options)
    with authority.connect(worker) as client:
        client.sendall(request("/one"))
        Reader(client).answer()
        worker.signal(signal.SIGTERM)
        assert worker.wait_exit() == 0
    assert worker.log_text() == ""


@pytest.mark.parametrize("options", CLASSES)
def test_a_websocket_whose_client_does_not_look_holds_nobody_up(
    start_worker: StartWorker, authority: Authority, options: dict[str, Any]
) -> None:
    worker = start_worker(app, graceful_timeout=3600, **authority.options, **options)
    with authority.connect(worker) as client:
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        assert b" 101 " in client.recv(4096)
        worker.signal(signal.SIGTERM)
        assert worker.wait_exit() == 0
    assert "CRITICAL" not in worker.log_text()


class Slow:
    """A client that sends its hello in two parts."""

    def __init__(self, client: socket.socket, authority: Authority) -> None:
        self.client = client
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = authority.context().wrap_bio(self.incoming, self.outgoing, server_hostname="test")
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        hello = self.outgoing.read()
        client.sendall(hello[:10])
        self.rest = hello[10:]

    def go_on(self) -> None:
        self.client.sendall(self.rest)

    def ask(self, path: str) -> bytes:
        """Finish the handshake, send a request, and return all that comes until ``path`` is in it."""
        self._pump(self.tls.do_handshake)
        self.tls.write(request(path))
        self.client.sendall(self.outgoing.read())
        data = b""
        while path.encode() not in data:
            data += self._pump(lambda: self.tls.read(65536))
        return data

    def _pump(self, step: Any) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if data := self.outgoing.read():
                    self.client.sendall(data)
                received = self.client.recv(65536)
                assert received, "the connection ended"
                self.incoming.write(received)


@pytest.mark.parametrize("options", CLASSES)
def test_handshake_under_way_finishes(start_worker: StartWorker, authority: Authority, options: dict[str, Any]) -> None:
    worker = start_worker(app, **authority.options, **options)
    with worker.connect() as client, authority.connect(worker) as other:
        slow = Slow(client, authority)
        # Another whole request on the same loop, after which the first connection was accepted for certain.
        other.sendall(request("/other", headers="Connection: close\r\n"))
        Reader(other).answer()
        worker.signal(signal.SIGTERM)
        worker.wait_for_word("draining")
        time.sleep(0.2)  # the rest comes late, on purpose
        slow.go_on()
        assert b"connection: close" in slow.ask("/after")
    assert worker.wait_exit() == 0


@pytest.mark.parametrize("options", CLASSES)
def test_a_blocked_loop_takes_no_time_from_handshakes(
    start_worker: StartWorker, authority: Authority, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """The client's half has arrived, the loop has only had no time to read it."""
    monkeypatch.setattr(server, "DRAIN_HEAD", 1.0)
    worker = start_worker(app, **authority.options, **options)
    with worker.connect() as client, authority.connect(worker) as other:
        slow = Slow(client, authority)
        other.sendall(request("/first"))
        Reader(other).answer()
        worker.signal(signal.SIGTERM)
        worker.wait_for_word("draining")
        other.sendall(request("/block?seconds=1.5"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        slow.go_on()
        other.close()
        assert b"connection: close" in slow.ask("/after")
    assert worker.wait_exit() == 0


def speak_plainly(client: socket.socket, authority: Authority) -> None:
    client.sendall(request())
    while client.recv(4096):
        pass


def say_nothing(client: socket.socket, authority: Authority) -> None:
    client.shutdown(socket.SHUT_WR)
    while client.recv(4096):
        pass


def reject_the_certificate(client: socket.socket, authority: Authority) -> None:
    with pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(client, server_hostname="test")


@pytest.mark.parametrize("options", CLASSES)
def test_a_drain_does_not_wait_for_handshakes_that_failed(
    start_worker: StartWorker, authority: Authority, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(server, "DRAIN_HEAD", 3600.0)
    worker = start_worker(app, graceful_timeout=3600, **authority.options, **options)
    for fail in (speak_plainly, say_nothing, reject_the_certificate):
        with worker.connect() as client, contextlib.suppress(ConnectionError):
            fail(client, authority)
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 0
    assert worker.log_text() == ""


@pytest.mark.parametrize("options", CLASSES)
def test_a_drain_waits_for_silent_clients_within_bounds(
    start_worker: StartWorker, authority: Authority, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(server, "DRAIN_HEAD", 0.2)
    worker = start_worker(app, graceful_timeout=3600, **authority.options, **options)
    with worker.connect():
        worker.signal(signal.SIGTERM)
        assert worker.wait_exit() == 0
    assert worker.log_text() == ""


@pytest.mark.parametrize("options", CLASSES)
def test_a_worker_without_a_free_descriptor_accepts_later(
    start_worker: StartWorker, authority: Authority, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(acceptor, "PAUSE", 0.05)
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def limit(scope: Any, receive: Any, send: Any) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3 if scope["path"] == "/few" else before, most))
        await app(scope, receive, send)

    worker = start_worker(limit, asgi_lifespan="off", **authority.options, **options)
    with authority.connect(worker) as first:
        answers = Reader(first)
        first.sendall(request("/few"))
        answers.answer()
        with worker.connect() as second:
            worker.wait_for(lambda: "connections cannot be accepted: Too many open files" in worker.log_text())
            first.sendall(request("/many"))
            answers.answer()
            with authority.context().wrap_socket(second, server_hostname="test") as late:
                late.sendall(request("/late"))
                assert Reader(late).answer().body == b"/late"


@pytest.mark.parametrize("loop", LOOPS)
def test_early_response_to_an_upload_is_not_reset(start_worker: StartWorker, authority: Authority, loop: str) -> None:
    worker = start_worker(app, asgi_loop=loop, **authority.options)
    head = b"POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\nConnection: close\r\n\r\n"
    with authority.connect(worker) as client:
        client.sendall(head)
        for _ in range(20):
            client.sendall(b"x" * 65536)
        answer = Reader(client).answer()
        assert (answer.status, answer.body) == (413, b"too large")


def test_hook_has_the_last_word(start_worker: StartWorker, authority: Authority) -> None:
    def ssl_context(config: Any, default_factory: Any) -> Any:
        context = default_factory()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        assert config.certfile
        return context

    worker = start_worker(app, ssl_context=ssl_context, **authority.options)
    old = authority.context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with worker.connect() as client, pytest.raises(ssl.SSLError):
        old.wrap_socket(client, server_hostname="test")
    with authority.connect(worker) as client:
        assert client.version() == "TLSv1.3"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"certfile": "/nonexistent"}, "certfile '/nonexistent'"),
        ({"ciphers": "NONSENSE"}, "ciphers 'NONSENSE'"),
        ({"ssl_context": lambda config, default: None}, "the hook ssl_context returned NoneType"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    start_worker: StartWorker, authority: Authority, changes: dict[str, Any], says: str
) -> None:
    worker = start_worker(app, ready=False, **{**authority.options, **changes})
    try:
        _, summary, _, code = worker.wait_for_word("boot_failed")
    except AssertionError:
        assert "certfile" in changes, "the settings may refuse it before"
        return
    assert says in summary
    assert "\n" not in summary
    assert worker.wait_exit() == code == 3
