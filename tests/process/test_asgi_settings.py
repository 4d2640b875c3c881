"""The ``asgi_…`` settings and ``websocket_max_message_size``: gunicorn's own ASGI worker is asked the same."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.process.conftest import StartService
from tests.process.harness import PATIENCE, Service, free_port

APP = """
import asyncio, json, os

seen = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        seen.append("lifespan")
        if os.environ.get("LIFESPAN") == "raises":
            raise RuntimeError("no lifespan here")
        while True:
            message = await receive()
            if os.environ.get("LIFESPAN") == "fails":
                await send({"type": "lifespan.startup.failed", "message": "no database"})
                return
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": str(len(message["text"]))})
        return
    if scope["path"] == "/leave":
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            seen.append("disconnect")
            await asyncio.sleep(float(os.environ.get("LATE", "60")))
            seen.append("done")
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return
    body = json.dumps([type(asyncio.get_running_loop()).__module__, *seen]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


@dataclass
class Gunicorn:
    """gunicorn beside a service, with its application."""

    service: Service
    port: int
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def gunicorn(service: Service, options: list[str], environment: Mapping[str, str]) -> Iterator[Gunicorn]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "app:app", "-k", "asgi", "--bind", f"127.0.0.1:{port}", *options]
    with (service.directory / "gunicorn.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--no-control-socket"],
            cwd=service.directory,
            env=os.environ | dict(environment),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield Gunicorn(service, port, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


class Peer:
    """Either of them, by its port."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.port = port

    def seen(self) -> list[str]:
        """The event loop's module, and what the application has noted."""
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            found: list[str] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()

    def wait(self) -> list[str]:
        def answered() -> list[str]:
            with contextlib.suppress(OSError):
                return self.seen()
            return []

        return self.service.wait_until(answered, "an answer")

    def message(self, size: int) -> str | int:
        """What a WebSocket message of so many characters is answered with: its length, or the close code."""
        with connect(f"ws://127.0.0.1:{self.port}/", open_timeout=PATIENCE, max_size=None) as websocket:
            websocket.send("x" * size)
            try:
                return str(websocket.recv(timeout=PATIENCE))
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0

    def leave(self) -> list[str]:
        """Ask for something, go away, and wait until the application has noted what came of it."""
        import socket

        before = len(self.seen())
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            client.sendall(b"GET /leave HTTP/1.1\r\nHost: a\r\n\r\n")
        return self.service.wait_until(
            lambda: seen if len(seen := self.seen()[before:]) == 2 else [], "the application has heard"
        )


CASES: dict[str, tuple[str, dict[str, str]]] = {
    "defaults": ("", {"LATE": "0.1"}),
    "asyncio": (
        "--asgi-loop asyncio --asgi-lifespan on --asgi-disconnect-grace-period 0 --websocket-max-message-size 1000",
        {},
    ),
    "uvloop": (
        "--asgi-loop uvloop --asgi-lifespan off --asgi-disconnect-grace-period 1 --websocket-max-message-size 200000",
        {},
    ),
    "no lifespan": ("--asgi-lifespan auto", {"LIFESPAN": "raises", "LATE": "0.1"}),
}


@pytest.mark.parametrize("case", CASES)
def test_as_gunicorn_has_it(service: StartService, case: str) -> None:
    text, environment = CASES[case]
    options = text.split()
    site = service()
    site.write("app.py", APP)
    site.start("-k", "asgi", *options, environment=environment)
    with gunicorn(site, options, environment) as other:
        ours, theirs = Peer(site, site.port), Peer(site, other.port)
        assert ours.wait() == theirs.wait()
        for size in (1000, 1001, 200_000, 200_001):
            assert ours.message(size) == theirs.message(size), size
        assert ours.leave() == theirs.leave()
    limit = int(options[-1]) if len(options) > 2 else 0
    assert [ours.message(size) for size in (1000, 1001, 200_001)] == [
        1009 if size > limit > 0 else str(size) for size in (1000, 1001, 200_001)
    ]


@pytest.mark.parametrize(("mode", "lifespan"), [("on", "raises"), ("on", "fails"), ("auto", "fails")])
def test_a_lifespan_that_ends_both(service: StartService, mode: str, lifespan: str) -> None:
    site = service()
    site.write("app.py", APP)
    site.expect_error("died|Boot failed")
    environment = {"LIFESPAN": lifespan}
    options = ["--asgi-lifespan", mode]
    site.start("-k", "asgi", *options, environment=environment)
    with gunicorn(site, options, environment) as other:
        assert site.wait_exit() == other.process.wait(PATIENCE) == 3


def test_zero_sets_no_bound(service: StartService) -> None:
    """As gunicorn's documentation has it."""
    site = service()
    site.write("app.py", APP)
    site.start("--websocket-max-message-size", "0")
    peer = Peer(site, site.port)
    peer.wait()
    assert peer.message(20 * 1024 * 1024) == str(20 * 1024 * 1024)


def test_unless_it_is_asked_for_nothing_is_cancelled(service: StartService, tmp_path: Path) -> None:
    """Under gunicorn with Uvicorn's worker, nothing ever was."""
    site = service()
    site.write("app.py", APP)
    site.start("-k", "uvicorn.workers.UvicornWorker", environment={"LATE": "4"})
    peer = Peer(site, site.port)
    peer.wait()
    assert peer.leave() == ["disconnect", "done"]
