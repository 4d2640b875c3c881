"""gunicorn with its Uvicorn worker, and this package, as services with the same application and the same arguments."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

from tests.parity.launching import command, kill, launch
from tests.process import processes
from tests.process.harness import PATIENCE, free_port

T = TypeVar("T")

APPLICATION = """
import json, os

VERSION = {version!r}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        with open("served", "a") as file:
            file.write(json.dumps([os.getpid(), VERSION]) + "\\n")
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": VERSION.encode()}})
"""

COMMANDS = {
    "gunicorn": command("gunicorn", "-k", "uvicorn_worker.UvicornWorker"),
    "ours": command("supervisor"),
}


class Beside:
    """One of the two, in a directory of its own."""

    def __init__(self, server: str, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.port = free_port()
        directory.mkdir(parents=True)
        self.deploy("1")
        self._process: subprocess.Popen[bytes] | None = None

    def deploy(self, version: str) -> None:
        (self.directory / "app.py").write_text(APPLICATION.format(version=version))

    def start(self, *arguments: str) -> Beside:
        words = [*COMMANDS[self.server], "-b", f"127.0.0.1:{self.port}", *arguments]
        self._process = launch(words, self.directory, self.directory / "output")
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def workers(self) -> set[int]:
        """The live worker processes."""
        if self.server == "ours":
            return set(processes.roles(self.process.pid).workers)
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
            return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}
        return set()

    def serving(self) -> dict[int, str]:
        """The version by pid of the workers that have started up and are alive."""
        try:
            lines = (self.directory / "served").read_text().splitlines()
        except FileNotFoundError:
            return {}
        alive = self.workers()
        return {pid: version for pid, version in map(json.loads, lines) if pid in alive}

    def wait(self, condition: Callable[[], T], what: str) -> T:
        end = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < end, f"{self.server}: not {what}\n{self.output}"
            assert self.process.poll() is None, f"{self.server} has ended: {self.process.poll()}\n{self.output}"
            time.sleep(0.02)
        return found

    def wait_serving(self, count: int, version: str | None = None) -> set[int]:
        """Wait until so many workers are there, and all of them serve."""

        def settled() -> set[int]:
            serving = self.serving()
            right = set(serving) == self.workers() and len(serving) == count
            return set(serving) if right and (version is None or set(serving.values()) == {version}) else set()

        return self.wait(settled, f"{count} workers of version {version}, but {self.serving()}")

    def get(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            return connection.getresponse().read().decode()

    def wait_exit(self) -> int:
        return self.process.wait(PATIENCE)

    @property
    def output(self) -> str:
        return (self.directory / "output").read_text(errors="replace")

    def kill(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            kill(self._process)


@contextmanager
def side_by_side(directory: Path, *arguments: str, files: Sequence[tuple[str, str]] = ()) -> Iterator[list[Beside]]:
    """Both, started with the same arguments and files."""
    servers = [Beside(server, directory / server) for server in COMMANDS]
    try:
        for server in servers:
            for name, text in files:
                (server.directory / name).write_text(text)
            server.start(*arguments)
        yield servers
    finally:
        for server in servers:
            server.kill()
