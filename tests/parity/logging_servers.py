"""gunicorn and this server on the same configuration and the same requests: what each of them writes and sends."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from tests.parity import launching
from tests.process.harness import PATIENCE, free_port

Kind = Literal["gunicorn", "supervisor"]

APPLICATIONS = '''
"""The same application twice: for WSGI servers, and for ASGI servers."""

def respond(method, path):
    if path.startswith("/missing"):
        return "404 Not Found", [("content-type", "text/plain"), ("x-powered-by", "probe")], b"none"
    if path.startswith("/empty"):
        return "204 No Content", [], b""
    if path.startswith("/twice"):
        return "200 OK", [("x-part", "one"), ("x-part", "two"), ("content-length", "2")], b"ok"
    if path.startswith("/boom"):
        raise RuntimeError("boom")
    return "200 OK", [("content-type", "text/plain"), ("content-length", "5")], b"hello"

def wsgi(environ, start_response):
    environ["wsgi.input"].read()
    status, headers, body = respond(environ["REQUEST_METHOD"], environ["PATH_INFO"])
    start_response(status, headers)
    return [body] if body else []

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    status, headers, body = respond(scope["method"], scope["path"])
    fields = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": int(status[:3]), "headers": fields})
    await send({"type": "http.response.body", "body": body})
'''


class Server:
    """One of the two servers, started in a directory of its own with ``conf.py`` and ``applications.py`` in it."""

    def __init__(
        self, kind: Kind, directory: Path, configuration: str, *, app: str = "asgi", unix: bool = False
    ) -> None:
        directory.mkdir(parents=True)
        self.kind = kind
        self.directory = directory
        self.unix = unix
        self.path = directory / "web.sock"
        self.output = directory / "output.log"
        self.port = 0 if unix else free_port()
        bind = f"unix:{self.path}" if unix else f"127.0.0.1:{self.port}"
        (directory / "applications.py").write_text(APPLICATIONS)
        (directory / "conf.py").write_text(f"bind = {bind!r}\n{configuration}\n")
        arguments = ["-c", "conf.py", f"applications:{app}"]
        if kind == "gunicorn" and app == "asgi":
            arguments = ["-k", "asgi", *arguments]
        self.process = launching.launch(launching.command(kind, *arguments), directory, self.output)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX if self.unix else socket.AF_INET)
        client.settimeout(PATIENCE)
        try:
            client.connect(str(self.path) if self.unix else ("127.0.0.1", self.port))
        except OSError:
            client.close()
            raise
        return client

    def exchange(self, request: bytes) -> bytes:
        """Send a request that says ``Connection: close``, and return the whole response."""
        with self.connect() as client:
            client.sendall(request)
            response = b""
            while chunk := client.recv(65536):
                response += chunk
        return response

    def ready(self) -> Server:
        """Wait until it has answered once."""

        def answered() -> bool:
            assert self.process.poll() is None, self.text()
            with contextlib.suppress(OSError):
                return self.exchange(get("/ready")).startswith(b"HTTP/1.1 200")
            return False

        wait_until(answered, self.text)
        return self

    def text(self, name: str = "output.log") -> str:
        file = self.directory / name
        return file.read_text() if file.exists() else ""

    def stop(self) -> None:
        """TERM, and wait: everything is written and sent then."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.text()

    def kill(self) -> None:
        launching.kill(self.process)


def get(target: str, *headers: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """The bytes of a request after which the connection is closed."""
    lines = [f"{method} {target} HTTP/{version}", "Host: example.org", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Listener:
    """A socket that collects what is sent to it: datagrams, or what comes over the connections of a stream socket."""

    def __init__(self, family: int, kind: int, address: Any) -> None:
        self.received: list[bytes] = []
        self._socket = socket.socket(family, kind)
        self._socket.bind(address)
        self._socket.settimeout(0.05)
        self._stream = kind == socket.SOCK_STREAM
        if self._stream:
            self._socket.listen()
        self._connections: list[socket.socket] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def _collect(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError, BlockingIOError):
                if self._stream:
                    connection, _ = self._socket.accept()
                    connection.setblocking(False)
                    self._connections.append(connection)
                else:
                    self.received.append(self._socket.recv(1 << 16))
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    if data := connection.recv(1 << 16):
                        self.received.append(data)

    @property
    def lines(self) -> list[str]:
        """What came, by datagram, or by the NUL that ends a message on a stream."""
        if not self._stream:
            return [data.decode() for data in list(self.received)]
        return [f"{part}\0" for part in b"".join(self.received).decode().split("\0") if part]

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE)
        for each in (self._socket, *self._connections):
            each.close()


@contextlib.contextmanager
def listening(family: int, kind: int, address: Any) -> Iterator[Listener]:
    listener = Listener(family, kind, address)
    try:
        yield listener
    finally:
        listener.close()


def wait_until(condition: Callable[[], Any], report: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, report()
        time.sleep(0.01)
