"""`Service`: one arbiter as a real process, in a session and a directory of its own, seen from outside.

A test says what it wants to be true and `wait_until` waits for it, with bounds that a busy machine does not reach.
Nothing sleeps for a fixed time, nothing asserts speed. When a wait fails, the message holds the whole log.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

import supervisor
from tests.process import processes
from tests.process.processes import Roles

T = TypeVar("T")

PATIENCE = 45.0
"""Seconds that any single condition is waited for. A healthy run needs a small part of it."""

RECORD = re.compile(r"\[(ERROR|CRITICAL)\]")
ORPHAN_GRACE = 2.0
"""Seconds in which workers of a killed arbiter are gone: promise 8."""

_ports = itertools.cycle(range(15000, 32000))
_reservations: list[socket.socket] = []


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """A directory with an application in it, and the arbiter that serves it once `start` was called.

    ``bind`` is "tcp" (a free port), "unix", or None where arguments or configuration say it. ``prefix`` stands before
    the command (``unshare …``); with ``--fork`` among it, the arbiter is the first child of what was started.
    """

    def __init__(self, directory: Path, *, bind: str | None = "tcp") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.marker = f"PROBE_ID={uuid.uuid4().hex}"
        self.port = free_port()
        self.socket_path = directory / "web.sock"
        self.pidfile = directory / "service.pid"
        self.access_log = directory / "access.log"
        self.exit_code: int | None = None
        self.killed = False
        self._bind = bind
        self._output = directory / "output.log"
        self._events = directory / "events.jsonl"
        self._process: subprocess.Popen[bytes] | None = None
        self._prefixed = False
        self._heir: psutil.Process | None = None
        self._expected: list[tuple[str, bool]] = []
        self._shared_memory = processes.shared_memory_files()
        shutil.copy(Path(__file__).with_name("probe.py"), directory / "probe.py")
        self._events.touch()
        self._output.touch()
        self.deploy("1")

    # -- what it runs ------------------------------------------------------------------------------------------

    def deploy(self, version: str, *, at_import: str = "", startup: str = "pass", shutdown: str = "pass") -> None:
        """Write ``app.py``. The three texts are statements; ``startup`` and ``shutdown`` may await."""
        self.write(
            "app.py",
            "import asyncio, os, sys, threading, time\n"
            "from probe import Probe, note\n"
            f"async def startup():\n    {startup}\n"
            f"async def shutdown():\n    {shutdown}\n"
            f"{at_import}\n"
            f"app = Probe({version!r}, startup, shutdown)\n",
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file of the service so that a process sees the old or the new text, never half of one."""
        path = self.directory / name
        partial = path.with_name(f".{name}.part")
        partial.write_text(text)
        partial.rename(path)
        return path

    def start(
        self,
        *arguments: str,
        app: str | None = "app:app",
        script: str | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> Service:
        """Start the arbiter; returns at once. ``script`` is a launcher that is run instead of the command line."""
        command = [sys.executable, *([script] if script else ["-m", "supervisor"])]
        if not script:
            command += [app] if app else []
            command += {"tcp": ["--bind", self.address], "unix": ["--bind", "unix:web.sock"]}.get(self._bind or "", [])
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*prefix, *command, *arguments],
                cwd=self.directory,
                env=self._environment(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self._prefixed = "--fork" in prefix
        self.exit_code = None
        return self

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        ours = ("SUPERVISOR_", "GUNICORN_", "WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS", "PYTEST_", "BIND")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        marker, value = self.marker.split("=")
        source = Path(supervisor.__file__).parent.parent
        return {
            **inherited,
            marker: value,
            "PROBE_EVENTS": str(self._events),
            "PYTHONPATH": str(source),
            # Rewritten within a second and equal in size, a module would be taken from its stale bytecode.
            "PYTHONDONTWRITEBYTECODE": "1",
            # setproctitle leaves the environment readable in /proc, where the marker is looked for.
            "SPT_NOENV": "1",
            **more,
        }

    # -- what it does ------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start() it first"
        return self._process

    @property
    def running(self) -> bool:
        if self._heir is not None:
            return self._heir.is_running() and self._heir.status() != psutil.STATUS_ZOMBIE
        return self._process is not None and self._process.poll() is None

    def succeed(self, pid: int) -> None:
        """From now on this process is the arbiter: the one that was started has handed over to it."""
        self._heir = psutil.Process(pid)

    @property
    def pid(self) -> int:
        """The arbiter's."""
        if self._heir is not None:
            return self._heir.pid
        if not self._prefixed:
            return self.process.pid
        return self.wait_until(lambda: processes.first_child(self.process.pid), "the arbiter runs behind its prefix")

    @property
    def log(self) -> str:
        """Everything that went to standard output and error, the error log included where it is ``-``."""
        return self._output.read_text(errors="replace")

    def pids(self) -> Roles:
        return processes.roles(self.pid)

    def workers(self) -> set[int]:
        return set(self.pids().workers)

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """What the application and the hooks noted, in order."""
        lines = self._events.read_text().split("\n")[:-1]
        return [event for event in map(json.loads, lines) if name in (None, event["event"])]

    def serving(self) -> dict[int, str]:
        """Version by pid of every live worker whose lifespan startup is over and whose shutdown has not begun."""
        serving = {}
        for event in self.events():
            if event["event"] == "started":
                serving[event["pid"]] = event["version"]
            elif event["event"] == "stopping":
                serving.pop(event["pid"], None)
        alive = self.workers()
        return {pid: version for pid, version in serving.items() if pid in alive}

    def ready_counts(self) -> list[int]:
        """After each line of the log that changed it: how many workers were ready and not told to go.

        Begins with the announcement that all are ready. `serving` cannot show a dip during a drain, the log can.
        """
        ready: set[str] = set()
        counts: list[int] = []
        announced = False
        for line in self.log.splitlines():
            announced = announced or "Ready:" in line
            if match := re.search(r"Worker \d+ \(pid (\d+)\) is ready", line):
                ready.add(match[1])
            elif match := re.search(r"(Draining|aborting) worker \d+ \(pid (\d+)\)", line):
                ready.discard(match[2])
            elif match := re.search(r"Worker \d+ \(pid (\d+)\) (exited|died|was killed)", line):
                ready.discard(match[1])
            if announced:
                counts.append(len(ready))
        return counts

    def get(self, path: str = "/", *, body: bytes | None = None, timeout: float = PATIENCE) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("localhost", timeout=timeout)
        connection.sock = self.connect(timeout)
        return _exchange(connection, path, body)

    def get_tls(self, context: ssl.SSLContext, path: str = "/", *, timeout: float = PATIENCE) -> Answer:
        """One request over TLS."""
        connection = http.client.HTTPConnection("localhost", timeout=timeout)
        connection.sock = context.wrap_socket(self.connect(timeout), server_hostname="localhost")
        return _exchange(connection, path, None)

    def connect(self, timeout: float = PATIENCE) -> socket.socket:
        """A connection to the service."""
        if self._bind == "unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(timeout)
            try:
                connection.connect(str(self.socket_path))
            except OSError:
                connection.close()
                raise
            return connection
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    # -- telling it something ----------------------------------------------------------------------------------

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def hup(self) -> None:
        self.signal(signal.SIGHUP)

    def term(self) -> None:
        self.signal(signal.SIGTERM)

    # -- waiting -----------------------------------------------------------------------------------------------

    def wait_until(self, condition: Callable[[], T], what: str, *, timeout: float = PATIENCE) -> T:
        """Poll until ``condition`` is true, and return what it returned. Fails when the arbiter's time is up."""
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"not within {timeout:g} s: {what}\n{self.report()}")
            time.sleep(0.01)

    def wait_serving(self, count: int, *, version: str | None = None) -> dict[int, str]:
        """Wait until exactly ``count`` workers serve (all of them ``version``), and no other worker process is left."""

        def settled() -> dict[int, str]:
            assert self.running, f"the arbiter exited with {self.process.poll()}\n{self.report()}"
            serving = self.serving()
            right = len(serving) == count and set(serving) == self.workers()
            return serving if right and (version is None or set(serving.values()) == {version}) else {}

        return self.wait_until(settled, f"{count} workers serve version {version or 'whatever'}")

    def wait_log(self, pattern: str, *, count: int = 1, since: int = 0) -> re.Match[str]:
        """Wait for the ``count``-th match, whatever its case, in the log after its first ``since`` characters."""

        def found() -> re.Match[str] | None:
            matches = list(re.finditer(pattern, self.log[since:], re.IGNORECASE))
            return matches[count - 1] if len(matches) >= count else None

        match = self.wait_until(found, f"the log says {pattern!r} ({count}×)")
        assert match is not None
        return match

    def wait_event(self, name: str, *, count: int = 1) -> dict[str, Any]:
        """Wait for the ``count``-th event of this name, and return it."""
        return self.wait_until(lambda: self.events(name)[count - 1 : count], f"event {name} ({count}×)")[0]

    def kill_arbiter(self) -> None:
        """Kill the arbiter; what it leaves behind is judged after the test, with more patience than otherwise."""
        self.killed = True
        self.signal(signal.SIGKILL)
        assert self.wait_exit() == -signal.SIGKILL

    def wait_exit(self, *, timeout: float = PATIENCE) -> int:
        """The exit code, minus the signal where one ended it."""
        try:
            self.exit_code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not exit within {timeout:g} s\n{self.report()}") from None
        return self.exit_code

    def stop(self) -> None:
        """TERM, and the exit code that belongs to it."""
        self.term()
        assert self.wait_exit() == 0, self.report()

    # -- judging -----------------------------------------------------------------------------------------------

    def expect_error(self, pattern: str, *, sure: bool = True) -> None:
        """Declare an ERROR record that this test causes. ``sure``: its absence is a failure as well."""
        self._expected.append((pattern, sure))

    def unexpected_errors(self) -> list[str]:
        """Lines of the log that nobody has declared. A declared error may bring its traceback along."""
        patterns = [pattern for pattern, _ in self._expected]
        unexpected = []
        for line in self.log.splitlines():
            if RECORD.search(line):
                wrong = not any(re.search(pattern, line, re.IGNORECASE) for pattern in patterns)
            else:
                wrong = bool(re.search(r"\w+Warning: ", line)) or (line.startswith("Traceback") and not patterns)
            if wrong:
                unexpected.append(line)
        return unexpected

    def assert_clean(self) -> None:
        """Promise 8, and no ERROR line or traceback but those that the test declared. Call it after the exit."""
        assert not self.running, "still runs"
        grace = time.monotonic() + ORPHAN_GRACE
        while self.killed and not self.is_gone() and time.monotonic() < grace:
            time.sleep(0.01)
        left = self.processes()
        assert not left, f"processes left: {[processes.describe(each) for each in left]}\n{self.report()}"
        self.wait_until(
            lambda: not processes.shared_memory_files() - self._shared_memory,
            "nothing of ours left in /dev/shm",
            timeout=5,
        )
        names = (self.pidfile.name, f"{self.pidfile.name}.2", self.socket_path.name)
        left_files = [name for name in names if (self.directory / name).exists()]
        assert not left_files, f"files left: {left_files}\n{self.report()}"
        unexpected = self.unexpected_errors()
        assert not unexpected, f"unexpected errors: {unexpected}\n{self.report()}"
        for pattern, sure in self._expected:
            missing = sure and not re.search(pattern, self.log, re.IGNORECASE)
            assert not missing, f"no error like {pattern!r} was logged\n{self.report()}"

    def report(self) -> str:
        """What a reader of a failure wants to see."""
        events = "\n".join(json.dumps(event) for event in self.events()[-60:])
        left = "\n".join(map(processes.describe, self.processes()))
        return f"--- processes\n{left}\n--- events\n{events}\n--- log of {self.directory}\n{self.log}--- end"

    def kill(self) -> None:
        """Leave nothing behind, whatever happened. Not part of any test's claim."""
        if self._process is not None:
            for process in self.processes():
                process.kill()
            self._process.wait(PATIENCE)
            processes.reap_adopted(self.processes())

    def is_gone(self) -> bool:
        """Whether a killed arbiter has left no process. Its orphans came to the test process, which waits for them."""
        processes.reap_adopted(self.processes())
        return not self.processes()

    def processes(self) -> list[psutil.Process]:
        """Every process of this service that exists in any form."""
        if self._process is None:
            return []
        return processes.belonging_to(self.marker, self._process.pid, self.directory)


def free_port() -> int:
    """A port that no other test run on this machine takes: below the ephemeral range, and reserved by name.

    The reservation is an abstract Unix socket (unix(7)), which ends with this process and leaves no file.
    """
    for port in _ports:
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            reservation.bind(f"\0asgi-supervisor-tests-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("0.0.0.0", port))
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        return port
    raise AssertionError("unreachable: the ports come in a cycle")


def _exchange(connection: http.client.HTTPConnection, path: str, body: bytes | None) -> Answer:
    try:
        connection.request("GET" if body is None else "POST", path, body, {"Connection": "close"})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()
