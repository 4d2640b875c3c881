"""HTTP/2 with clients that take their time, or send what is no request."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from supervisor.workers import complaints
from tests.workers.apps import reply
from tests.workers.authority import Authority
from tests.workers.conftest import PATIENCE, WITH_HTTP2, RunningWorker, StartWorker

pytestmark = WITH_HTTP2

PIECE = b"x" * 32_768
ENOUGH = 1 << 24


class Client:
    """One connection, whose ``window`` is opened by hand. Its heads may be wrong."""

    def __init__(self, worker: RunningWorker, authority: Authority, *, window: int = 65_535) -> None:
        context = authority.context()
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(worker.connect(), server_hostname="test")
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.flush()
        self.statuses: dict[int, int] = {}
        self.bodies: dict[int, int] = {}
        self.texts: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.connection.data_to_send())

    def ask(self, path: bytes = b"/", method: bytes = b"GET") -> int:
        stream: int = self.connection.get_next_available_stream_id()
        head = [(b":method", method), (b":path", path), (b":scheme", b"https"), (b":authority", b"test")]
        self.connection.send_headers(stream, head, end_stream=True)
        self.flush()
        return stream

    def open_window(self, stream: int) -> None:
        for at in (None, stream):
            self.connection.increment_flow_control_window(ENOUGH, at)
        self.flush()

    def read_until(self, condition: Callable[[], Any]) -> None:
        while not (condition() or self.closed):
            data = self.socket.recv(65_536)
            self.closed = not data
            for event in self.connection.receive_data(data) if data else ():
                self._take(event)
            if not self.closed:
                self.flush()

    def _take(self, event: Any) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
            case h2.events.DataReceived():
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, 0) + len(event.data)
                self.texts[event.stream_id] = self.texts.get(event.stream_id, b"") + event.data
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.reset.add(event.stream_id)


def note(file: Path, text: str) -> None:
    file.write_text(text)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """What is answered depends on the path.

    ``/COUNT?FILE`` answers with so many pieces, and counts in the file those that were taken; ``/wait?FILE`` waits
    until the file is there.
    """
    asked, file = scope["path"].strip("/"), Path(scope["query_string"].decode())
    while asked == "wait" and not is_there(file):
        await asyncio.sleep(0.005)
    if not asked.isdigit():
        await reply(send, b"")
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(int(asked)):
        note(file, str(number))
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def is_there(file: Path) -> bool:
    return file.exists()


def start(start_worker: StartWorker, authority: Authority, **values: Any) -> RunningWorker:
    return start_worker(app, asgi_lifespan="off", http_protocols="h2", **authority.options, **values)


def test_a_client_that_lets_little_out_bounds_what_the_application_sends(
    start_worker: StartWorker, authority: Authority, tmp_path: Path
) -> None:
    worker = start(start_worker, authority)
    taken = tmp_path / "taken"
    with Client(worker, authority, window=0) as client:
        stream = client.ask(f"/100?{taken}".encode())
        client.read_until(lambda: client.statuses)
        other = client.ask()
        client.read_until(lambda: other in client.ended)
        assert client.statuses[other] == 200
        assert int(taken.read_text()) < 10
        client.open_window(stream)
        client.read_until(lambda: stream in client.ended)
        assert client.bodies[stream] == 100 * len(PIECE)


def test_a_response_that_the_client_takes_slowly_is_not_cut_off(
    start_worker: StartWorker, authority: Authority, tmp_path: Path
) -> None:
    """Neither when nothing is heard of the client for ``keepalive`` seconds, nor by a drain."""
    worker = start(start_worker, authority, keepalive=1)
    with Client(worker, authority) as client:
        stream = client.ask(f"/3?{tmp_path / 'taken'}".encode())
        client.read_until(lambda: client.bodies.get(stream, 0) == 65_535)
        worker.wait_for(lambda: not worker.row.in_flight)
        client.socket.settimeout(1.5)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(PATIENCE)
        worker.signal(signal.SIGTERM)
        worker.wait_for_word("draining")
        client.open_window(stream)
        client.read_until(lambda: stream in client.ended)
        assert client.bodies[stream] == 3 * len(PIECE)
        assert worker.wait_exit() == 0
        assert worker.log_text() == ""


def test_streams_that_come_during_a_drain_are_answered(
    start_worker: StartWorker, authority: Authority, tmp_path: Path
) -> None:
    worker = start(start_worker, authority)
    with Client(worker, authority) as client:
        first = client.ask(f"/wait?{tmp_path / 'go'}".encode())
        worker.wait_for(lambda: worker.row.in_flight)
        worker.signal(signal.SIGTERM)
        worker.wait_for_word("draining")
        second = client.ask()
        client.read_until(lambda: second in client.ended)
        (tmp_path / "go").touch()
        client.read_until(lambda: first in client.ended)
        assert client.statuses == {first: 200, second: 200}
        assert worker.wait_exit() == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (b"GET", b"/\xff"),
        (b"G\xffT", b"/"),
        (b"GET", b"nowhere"),
        (b"GET", b"http://test/"),
        (b"GET", b""),
        (b"GET", b"*"),
        (b"CONNECT", b"/"),
    ],
)
def test_what_is_no_request(start_worker: StartWorker, authority: Authority, method: bytes, path: bytes) -> None:
    worker = start(start_worker, authority)
    with Client(worker, authority) as client:
        stream = client.ask(path, method)
        client.read_until(lambda: stream in client.reset)
        assert client.closed or not client.statuses
    with Client(worker, authority) as client:
        stream = client.ask(b"*", b"OPTIONS")
        client.read_until(lambda: stream in client.ended)
        assert client.statuses == {stream: 200}
        assert worker.log_text() == ""


def test_rubbish_does_not_fill_the_log(start_worker: StartWorker, authority: Authority) -> None:
    worker = start(start_worker, authority)
    context = authority.context()
    context.set_alpn_protocols(["h2"])
    for _ in range(2 * complaints.MOST):
        with context.wrap_socket(worker.connect(), server_hostname="test") as client:
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100)
            client.settimeout(PATIENCE)
            while client.recv(1000):
                pass
    assert worker.log_text().count("\n") == complaints.MOST
