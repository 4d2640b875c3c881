"""The frameworks, each started as its documentation has gunicorn started, and asked directly and from behind nginx."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from websockets.sync.client import connect

from tests.process.conftest import StartService
from tests.process.harness import PATIENCE, Answer, Service
from tests.process.nginx import Nginx
from tests.process.test_upgrade import wait_for_heir

APPS = Path(__file__).parent / "apps"
MIB = 1 << 20
PAUSE = 0.005
"""Seconds between two requests of a visitor: new workers have to import a framework meanwhile."""

MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
NOBODY_LISTENS = re.compile(r"connect\(\) (to \S+ )?failed \((111: Connection refused|2: No such file or directory)\)")
UPLOAD = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + b"x" * (10 * MIB) + b"\r\n--b--\r\n"
)


@dataclass(frozen=True)
class Framework:
    """An application of ``apps`` and the line that starts it. Only the command and the addresses are ours."""

    folder: str
    line: str
    asgi: bool = True
    lifespan: bool = True
    websocket: bool = True


FRAMEWORKS = {
    "fastapi": Framework("fastapi_shop", "main:app --workers 2 --worker-class uvicorn.workers.UvicornWorker"),
    "starlette": Framework("starlette_shop", "example:app -w 2 -k uvicorn.workers.UvicornWorker"),
    "litestar": Framework("litestar_shop", "app:app --workers 2 --worker-class uvicorn.workers.UvicornWorker"),
    "quart": Framework("quart_shop", "hello:app -w 2 -k uvicorn.workers.UvicornWorker"),
    "django-asgi": Framework(
        "django_shop", "mysite.asgi:application -k uvicorn_worker.UvicornWorker", lifespan=False, websocket=False
    ),
    "django-wsgi": Framework("django_shop", "mysite.wsgi", asgi=False, lifespan=False, websocket=False),
    "flask": Framework("flask_shop", "hello:create_app() -w 4", asgi=False, lifespan=False, websocket=False),
}


def start(service: StartService, framework: Framework, bind: str, *more: str) -> Service:
    running = service(bind=bind)
    shutil.copytree(APPS / framework.folder, running.directory, dirs_exist_ok=True)
    app, *arguments = framework.line.split()
    return running.start(*arguments, *more, app=app)


Ask = Callable[..., Answer]


def asker(connected: Callable[[], socket.socket]) -> Ask:
    """A function that asks over a new connection."""

    def ask(path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = connected()
        try:
            connection.request("GET" if body is None else "POST", path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    return ask


def look_at_everything(ask: Ask, framework: Framework) -> None:
    """What an application does: JSON, forms, uploads, files, errors."""
    index = ask("/").json()
    assert not framework.lifespan or index["lifespan"] is True
    assert ask("/", headers={"X-Forwarded-Proto": "https"}).status == 200
    posted = ask("/json", b'{"a": 1}', {"Content-Type": "application/json"})
    assert (posted.status, posted.json()) == (200, {"a": 1})
    posted = ask("/form", b"name=ann&town=caf%C3%A9", {"Content-Type": "application/x-www-form-urlencoded"})
    assert (posted.status, posted.json()) == (200, {"name": "ann", "town": "café"})
    file = ask("/static/style.css")
    assert (file.status, file.body) == (200, b"body { color: black }\n")
    assert ask("/nowhere").status == 404
    assert ask("/error").status == 500
    sent = ask("/upload", UPLOAD, MULTIPART)
    assert (sent.status, sent.json()) == (200, {"size": 10 * MIB})


def look_at_events(connected: socket.socket, seen: Path) -> None:
    """The first event arrives before the others are made: nobody on the way holds it back."""
    seen.unlink(missing_ok=True)
    with connected:
        connected.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while b"data: 0" not in received:
            piece = connected.recv(65536)
            assert piece, received
            received += piece
        seen.touch()
        while piece := connected.recv(65536):
            received += piece
    assert b"data: 1" in received
    assert b"data: 2" in received


@pytest.mark.parametrize("bind", ["tcp", "unix"])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_serve(service: StartService, tmp_path: Path, name: str, bind: str) -> None:
    framework = FRAMEWORKS[name]
    running = start(service, framework, bind)
    running.expect_error("RuntimeError|Internal Server Error|Exception on /error|Error Request", sure=False)
    seen = running.directory / "seen"
    with Nginx(running, tmp_path / "nginx", unix=bind == "unix") as nginx:
        running.wait_log("Ready: ")

        def through() -> socket.socket:
            return socket.create_connection(("127.0.0.1", nginx.port), PATIENCE)

        def reachable() -> bool:
            try:
                through().close()
            except OSError:
                return False
            return True

        running.wait_until(reachable, "nginx listens")
        direct, fronted = asker(running.connect), asker(through)
        look_at_everything(direct, framework)
        look_at_everything(fronted, framework)
        look_at_events(running.connect(), seen)
        look_at_events(through(), seen)
        assert direct("/", headers={"X-Forwarded-Proto": "https"}).json()["scheme"] == "https"
        client = fronted("/", headers={"X-Forwarded-For": "203.0.113.9"}).json()["client"]
        # To WSGI the proxy is the client, as with gunicorn; on a Unix socket it has no address.
        assert client == ("203.0.113.9" if framework.asgi else {"tcp": "127.0.0.1", "unix": ""}[bind])
        if framework.websocket:
            with connect(f"ws://127.0.0.1:{nginx.port}/ws", open_timeout=PATIENCE, proxy=None) as websocket:
                websocket.send("there")
                assert websocket.recv(PATIENCE) == "there"
        assert not nginx.errors


class Visitors:
    """Clients that ask one thing after the other over connections that they keep, and write down what went wrong.

    Half of them only read, the others post a little, and the last one uploads 10 MiB at a time.
    """

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.last = count - 1
        self.pids: set[int] = set()
        self.wrong: list[str] = []
        self.answered = 0
        self.uploads = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(number,)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _visit(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        small = json.dumps({"text": "x" * 2000}).encode()
        while not self._over.is_set():
            try:
                if number == self.last:
                    connection.request("POST", "/upload", UPLOAD, MULTIPART)
                elif number % 2:
                    connection.request("POST", "/json", small, {"Content-Type": "application/json"})
                else:
                    connection.request("GET", "/")
                answer = connection.getresponse()
                text = answer.read()
                right = answer.status == 200
                if right and number == self.last:
                    right = json.loads(text) == {"size": 10 * MIB}
                    self.uploads += 1
                elif right and not number % 2:
                    self.pids.add(json.loads(text)["pid"])
                if not right:
                    self.wrong.append(f"{answer.status} to {number}")
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{error!r} to {number}")
                connection.close()
            self.answered += 1
            self._over.wait(PAUSE)
        connection.close()


@contextlib.contextmanager
def visited(running: Service, directory: Path, *, unix: bool) -> Iterator[tuple[Nginx, Visitors]]:
    """A service that is ready, nginx in front of it, and visitors who come through that."""
    with Nginx(running, directory, unix=unix) as nginx:
        running.wait_log("Ready: ")
        running.wait_until(lambda: _answers(nginx.port), "nginx answers")
        with Visitors(nginx.port, 6) as visitors:
            yield nginx, visitors


@pytest.mark.parametrize(
    ("name", "more", "bind"),
    [
        ("fastapi", "", "tcp"),
        ("fastapi", "", "unix"),
        ("starlette", "", "unix"),
        ("litestar", "", "tcp"),
        ("quart", "", "unix"),
        ("django-asgi", "", "tcp"),
        ("django-wsgi", "", "unix"),
        ("flask", "-k gthread --threads 2", "tcp"),
        ("flask", "", "unix"),
    ],
)
def test_reload(service: StartService, tmp_path: Path, name: str, more: str, bind: str) -> None:
    running = start(service, FRAMEWORKS[name], bind, *f"--workers 2 --keep-alive 75 {more}".split())
    with visited(running, tmp_path / "nginx", unix=bind == "unix") as (nginx, visitors):
        reload(running, visitors)
        running.wait_until(lambda: visitors.uploads > 1, "something large was uploaded")
    assert visitors.wrong == []
    assert not nginx.errors


def reload(running: Service, visitors: Visitors) -> None:
    before = running.workers()
    running.wait_until(lambda: visitors.pids & before, "requests are answered")
    running.hup()
    running.wait_log("Reloaded")
    running.wait_until(lambda: not before & running.workers(), "the old workers are gone")
    visitors.pids.clear()
    running.wait_until(lambda: visitors.pids & running.workers(), "the new ones answer")


@pytest.mark.parametrize(("name", "bind"), [("fastapi", "tcp"), ("django-asgi", "unix"), ("flask", "unix")])
def test_upgrade(service: StartService, tmp_path: Path, name: str, bind: str) -> None:
    more = ["--workers", "2", "--keep-alive", "75", "--preload", "--upgrade-auto", "--pid", "service.pid"]
    running = start(service, FRAMEWORKS[name], bind, *more)
    with visited(running, tmp_path / "nginx", unix=bind == "unix") as (nginx, visitors):
        before, old = running.workers(), running.pid
        running.wait_until(lambda: visitors.pids & before, "requests are answered")
        running.signal(signal.SIGUSR2)
        wait_for_heir(running, old)
        visitors.pids.clear()
        running.wait_until(lambda: visitors.pids and not visitors.pids & before, "the new workers answer")
        running.wait_until(lambda: visitors.uploads > 1, "something large was uploaded")
    assert visitors.wrong == []
    assert not nginx.errors
    running.term()
    running.wait_until(running.is_gone, "no process is left")


@pytest.mark.parametrize(
    ("name", "more", "bind"),
    [
        ("fastapi", "", "tcp"),
        ("quart", "", "unix"),
        ("flask", "-k gthread --threads 2", "tcp"),
        ("django-wsgi", "", "unix"),
    ],
)
def test_stop(service: StartService, tmp_path: Path, name: str, more: str, bind: str) -> None:
    running = start(service, FRAMEWORKS[name], bind, *f"--workers 2 --keep-alive 75 {more}".split())
    with visited(running, tmp_path / "nginx", unix=bind == "unix") as (nginx, visitors):
        running.wait_until(lambda: visitors.pids and visitors.uploads, "requests are answered")
        assert visitors.wrong == []
        running.term()
        assert running.wait_exit() == 0
        running.wait_until(lambda: visitors.wrong, "nginx finds nobody")
    # Who was let in was answered; who comes later cannot be let in, and is told so by nginx.
    assert {line.partition(" ")[0] for line in visitors.wrong} == {"502"}
    assert nginx.errors
    assert [line for line in nginx.errors if not NOBODY_LISTENS.search(line)] == []


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
