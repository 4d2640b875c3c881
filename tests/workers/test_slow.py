"""Clients that take their time: everything that a connection may wait for has a bound."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from supervisor.workers import state
from tests.workers.apps import app
from tests.workers.authority import Authority
from tests.workers.client import Reader, request
from tests.workers.conftest import StartWorker
from tests.workers.test_tls import CLASSES

BOUND = 0.6


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "HEAD", BOUND)
    monkeypatch.setattr(state, "BODY", BOUND)


@contextmanager
def dripping(client: socket.socket, piece: bytes) -> Iterator[None]:
    """Send a piece again and again, until the connection is gone or the block has ended."""
    done = threading.Event()

    def drip() -> None:
        while not done.wait(0.05):
            try:
                client.send(piece)
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def end_of(client: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    data = b""
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionError:
        pass
    return data


@pytest.mark.parametrize("options", CLASSES)
@pytest.mark.parametrize("head", [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r"])
def test_a_head_that_does_not_come(start_worker: StartWorker, options: dict[str, Any], head: bytes) -> None:
    worker = start_worker(app, **options)
    with worker.connect() as client:
        client.sendall(head)
        assert end_of(client).startswith(b"HTTP/1.1 408 ") or not head or "worker_class" in options
    assert "[ERROR]" not in worker.log_text()


@pytest.mark.parametrize("options", CLASSES)
def test_a_head_that_comes_in_drops(start_worker: StartWorker, options: dict[str, Any]) -> None:
    """Each drop is in time; the head is not."""
    worker = start_worker(app, **options)
    with worker.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        with dripping(client, b"y"):
            end_of(client)
    assert worker.row.in_flight == 0


@pytest.mark.parametrize("options", CLASSES)
def test_a_body_that_does_not_come(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    for head in ("Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"):
        with worker.connect() as client:
            client.sendall(request("/echo", method="POST", headers=head))
            assert end_of(client).startswith(b"HTTP/1.1 408 ")
    worker.wait_for(lambda: worker.row.in_flight == 0)


@pytest.mark.parametrize("options", CLASSES)
def test_a_body_that_comes_slowly_is_waited_for(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start_worker(app, **options)
    with worker.connect() as client:
        client.sendall(request("/echo", method="POST", headers="Content-Length: 40\r\n"))
        with dripping(client, b"yy"):
            assert Reader(client).answer().body == b"y" * 40


@pytest.mark.parametrize("options", CLASSES)
def test_an_application_may_take_its_time(start_worker: StartWorker, options: dict[str, Any]) -> None:
    """Neither before it reads the body, nor after, does the bound concern it."""
    worker = start_worker(app, **options)
    with worker.connect() as client, worker.connect() as other:
        client.sendall(request("/slow?seconds=2.5"))
        other.sendall(request("/slow?seconds=2.5", method="POST", headers="Content-Length: 3\r\n", body=b""))
        other.sendall(b"abc")
        assert Reader(client).answer().body == b"slow"
        assert Reader(other).answer().body == b"slow"


@pytest.mark.parametrize("options", CLASSES)
@pytest.mark.parametrize("begin", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_a_handshake_that_does_not_come(
    start_worker: StartWorker, authority: Authority, options: dict[str, Any], begin: bytes
) -> None:
    worker = start_worker(app, **authority.options, **options)
    with worker.connect() as client:
        client.sendall(begin)
        end_of(client)
    assert worker.log_text() == ""
