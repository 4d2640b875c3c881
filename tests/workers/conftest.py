"""A worker without an arbiter: a forked child that runs a worker class on a real listener, and tells what it says."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.config.load import Inputs, load
from supervisor.logs.setup import setup
from supervisor.protocols import WorkerContext
from supervisor.runtime.heartbeat import HeartbeatFile, default_directory
from supervisor.runtime.scoreboard import Scoreboard

PATIENCE = 20.0

WITH_HTTP2 = pytest.mark.skipif(
    importlib.util.find_spec("uvicorn.protocols.http.zttp_h2_impl") is None, reason="HTTP/2 came with uvicorn 0.54"
)


def make_settings(**values: Any) -> Any:
    """The settings with their defaults and ``values``, from no file and no environment."""
    inputs = Inputs(app="tests:app", values=values, environ={}, cwd="/", default_files=False)
    return load(inputs)


class ChildLink:
    """The worker's end of its line to the test."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def fileno(self) -> int:
        return self.end.fileno()

    def arbiter_is_gone(self) -> bool:
        try:
            return self.end.recv(100) == b""
        except BlockingIOError:
            return False

    def ordered_to_go(self) -> bool:
        """A test that sends TERM is the arbiter."""
        return True

    def ordered_to_quit(self) -> bool:
        return False

    def _say(self, *words: Any) -> None:
        with contextlib.suppress(OSError):
            self.end.send(json.dumps(words).encode() + b"\n")

    def say_ready(self) -> None:
        self._say("ready")

    def say_boot_failed(self, summary: str, detail: str, exit_code: int) -> None:
        self._say("boot_failed", summary, detail, exit_code)

    def say_retirement_wanted(self, reason: str) -> None:
        self._say("retirement_wanted", reason)

    def say_draining(self) -> None:
        self._say("draining")

    def say_imported(self, files: Iterable[str]) -> None:
        self._say("imported", *files)


class RunningWorker:
    """The test's view of a worker process."""

    def __init__(self, pid: int, link: socket.socket, row: HeartbeatFile, listener: socket.socket, log: Path) -> None:
        self.pid = pid
        self.link = link
        self.row = row
        self.listener = listener
        self.error_log = log
        self.access_log = log.with_name("access.log")
        self.said: list[list[Any]] = []
        self._buffer = b""
        self._code: int | None = None

    @property
    def address(self) -> Any:
        return self.listener.getsockname()

    def connect(self) -> socket.socket:
        """A connection to the worker, with a time limit for each of its operations."""
        client = socket.socket(self.listener.family)
        client.settimeout(PATIENCE)
        client.connect(self.address)
        return client

    def wait_for_word(self, word: str) -> list[Any]:
        """Wait until the worker has said ``word`` to its arbiter."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for said in self.said:
                if said[0] == word:
                    return said
            readable, _, _ = select.select([self.link], [], [], max(0.0, deadline - time.monotonic()))
            data = self.link.recv(65536) if readable else b""
            if not data:
                raise AssertionError(f"the worker never said {word!r}; it said {self.said}; log:\n{self.log_text()}")
            self._buffer += data
            *lines, self._buffer = self._buffer.split(b"\n")
            self.said += map(json.loads, lines)

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Wait until ``condition()`` holds."""
        deadline = time.monotonic() + PATIENCE
        while not (result := condition()):
            assert time.monotonic() < deadline, f"waited in vain; log:\n{self.log_text()}"
            time.sleep(0.005)
        return result

    def log_text(self) -> str:
        return self.error_log.read_text() if self.error_log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait_exit(self) -> int:
        """Wait for the end of the process; return its exit code, or minus the signal."""
        deadline = time.monotonic() + PATIENCE
        while self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
                break
            assert time.monotonic() < deadline, f"the worker does not exit; log:\n{self.log_text()}"
            time.sleep(0.005)
        return self._code

    def end(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait_exit()
        self.link.close()
        self.listener.close()


StartWorker = Callable[..., RunningWorker]


@pytest.fixture
def authority(tmp_path: Path) -> Any:
    """An `Authority` with its files."""
    from tests.workers.authority import Authority

    return Authority(tmp_path)


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Start workers: ``start_worker(app, worker_class="…", family=…, ready=True, **settings)``."""
    running: list[RunningWorker] = []

    def start(
        app: Any,
        *,
        worker_class: Any = "uvicorn",
        family: int = socket.AF_INET,
        ready: bool = True,
        **values: Any,
    ) -> RunningWorker:
        number = len(running)
        directory = tmp_path / f"worker{number}"
        directory.mkdir()
        listener = socket.socket(family)
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(directory / "socket"))
        listener.listen(2048)
        listener.setblocking(False)
        values.setdefault("errorlog", str(directory / "error.log"))
        values.setdefault("accesslog", str(directory / "access.log"))
        ours, theirs = socket.socketpair()
        row = HeartbeatFile.create(default_directory(None))
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                ours.close()
                code = _child(app, worker_class, values, listener=listener, end=theirs, row=row, age=number)
            except BaseException:  # noqa: BLE001 - the forked child must never return into pytest
                traceback.print_exc()
            finally:
                os._exit(code)
        theirs.close()
        worker = RunningWorker(pid, ours, row, listener, directory / "error.log")
        running.append(worker)
        if ready:
            worker.wait_for_word("ready")
        return worker

    yield start
    for worker in running:
        worker.end()
        worker.row.close()


def _child(
    app: Any,
    worker_class: Any,
    values: dict[str, Any],
    *,
    listener: socket.socket,
    end: socket.socket,
    row: Any,
    age: int,
) -> int:
    from supervisor.hooks import run_worker_exit
    from supervisor.workers.registry import resolve

    settings = make_settings(**values)
    logs = setup(settings)
    end.setblocking(False)

    def load_app() -> Any:
        return app() if getattr(app, "is_loader", False) else app

    context = WorkerContext(
        age=age + 1,
        slot=0,
        generation=1,
        arbiter_pid=os.getppid(),
        settings=settings,
        listeners=[listener],
        load_app=load_app,
        link=ChildLink(end),
        row=row,
        siblings=Scoreboard().seat(0),
        log=logs.error,
        access_log=logs.access,
        logger=logs.logger,
        server=None,
    )
    worker: Any = resolve(worker_class)(context)
    code = int(worker.run())
    run_worker_exit(logging.getLogger("gunicorn.error"), settings, None, worker)
    logs.flush()
    return code
