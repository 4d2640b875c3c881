"""The servers that are compared, each as a real process in a directory of its own with the tests' probe application."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.process import probe, processes
from tests.process.certificates import Authority
from tests.process.connection import Target
from tests.process.harness import free_port

ROOT = Path(__file__).parent.parent
EXECUTABLES = Path(sys.executable).parent
LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp (proc_net(5), ``include/net/tcp_states.h``)."""
PROBE = """
from probe import Probe

async def nothing():
    pass

{at_import}
app = Probe({version!r}, nothing, nothing)
"""
"""The text of ``app.py`` where no other is wanted."""
STRANGE_VARIABLES = (
    *("PORT", "BIND", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"),
    *("SUPERVISOR_", "GUNICORN_", "UVICORN_", "GRANIAN_"),
)
"""How the names of environment variables begin that change what a server does."""
SO_ACCEPTCON = 0x10000
"""The flag of a listening socket in /proc/net/unix (``include/linux/net.h``); accepted ones have the path as well."""


@dataclass(frozen=True)
class Kind:
    """A server and what it can be asked to do. ``binds``: it is told its address by ``--bind``, else by ``--port``."""

    name: str
    command: tuple[str, ...]
    upgrades: bool = True
    binds: bool = True
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)


def gunicorn(name: str, worker_class: str) -> Kind:
    return Kind(
        name,
        (str(EXECUTABLES / "gunicorn"), "app:app", "--worker-class", worker_class, "--pid", "service.pid"),
        options={
            "recycling": ("--max-requests", "200", "--max-requests-jitter", "50"),
            "timeout": ("--timeout", "3"),
        },
    )


KINDS = (
    Kind(
        "supervisor",
        (sys.executable, "-m", "supervisor", "app:app", "--pid", "service.pid"),
        options={
            "recycling": ("--max-requests", "200", "--max-requests-jitter", "50"),
            "timeout": ("--timeout", "3"),
            "upgrade": ("--upgrade-auto",),
        },
    ),
    gunicorn("gunicorn + uvicorn-worker", "uvicorn_worker.UvicornWorker"),
    gunicorn("gunicorn asgi", "asgi"),
    Kind(
        "uvicorn --workers",
        (str(EXECUTABLES / "uvicorn"), "app:app"),
        upgrades=False,
        binds=False,
        options={
            "recycling": ("--limit-max-requests", "200", "--limit-max-requests-jitter", "50"),
            "timeout": ("--timeout-worker-healthcheck", "3"),
        },
    ),
)


class Server:
    """One run of one server over one transport: "tcp", "unix" or "tls". ``application`` is what ``app.py`` is made of.

    A reserved port stays so until the benchmark ends; where many servers follow each other, give them a ``port``.
    """

    def __init__(self, kind: Kind, transport: str, directory: Path, application: str = PROBE, port: int = 0) -> None:
        self.kind = kind
        self.transport = transport
        self.directory = directory
        self.marker = f"PROBE_ID={uuid.uuid4().hex}"
        self._application = application
        self._port = port or free_port()
        self._path = directory / "web.sock"
        self._events = directory / "events.jsonl"
        self._authority = Authority(directory) if transport == "tls" else None
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0
        self._tail = ""
        self._seen: list[dict[str, Any]] = []
        self._events.touch()
        shutil.copy(Path(probe.__file__), directory / "probe.py")
        self.deploy("1")

    def deploy(self, version: str, at_import: str = "") -> None:
        """Write ``app.py``, whole at any moment."""
        partial = self.directory / ".app.py"
        partial.write_text(self._application.format(version=version, at_import=at_import))
        partial.rename(self.directory / "app.py")

    def start(self, workers: int, options: tuple[str, ...] = (), patience: float = 30) -> None:
        """Start it, and return when ``workers`` workers serve. Raises `TimeoutError` after ``patience`` seconds."""
        marker, value = self.marker.split("=")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(STRANGE_VARIABLES)},
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            marker: value,
            "PROBE_EVENTS": str(self._events),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SPT_NOENV": "1",
        }
        with (self.directory / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*self.kind.command, "--workers", str(workers), *self._address(), *options],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if wait_until(lambda: len(self.ready()) == workers, patience) is None:
            raise TimeoutError(f"{self.kind.name} does not serve:\n{self.log}")

    def _address(self) -> list[str]:
        tls = self._authority
        if not self.kind.binds:
            where = ["--uds", "web.sock"] if self.transport == "unix" else ["--port", str(self._port)]
            return where + (["--ssl-certfile", str(tls.certfile), "--ssl-keyfile", str(tls.keyfile)] if tls else [])
        bind = "unix:web.sock" if self.transport == "unix" else f"127.0.0.1:{self._port}"
        return ["--bind", bind, *(tls.options if tls else ())]

    # -- what can be seen

    @property
    def target(self) -> Target:
        if self.transport == "unix":
            return Target(str(self._path))
        return Target(("127.0.0.1", self._port), self._authority.client() if self._authority else None)

    @property
    def pid(self) -> int:
        """The arbiter's: after an upgrade, the new one's."""
        assert self._process is not None
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.directory / "service.pid").read_text())
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "output.log").read_text(errors="replace")

    def events(self) -> list[dict[str, Any]]:
        """What the application noted so far. Only what is new is read."""
        with self._events.open() as file:
            file.seek(self._read)
            text = self._tail + file.read()
            self._read = file.tell()
        *lines, self._tail = text.split("\n")
        self._seen += map(json.loads, lines)
        return self._seen

    def ready(self) -> dict[int, str]:
        """Version by pid of the workers that have started, live, and hold the listening socket open."""
        inodes = self._listening()
        started = {event["pid"]: event["version"] for event in self.events() if event["event"] == "started"}
        return {pid: version for pid, version in started.items() if runs(pid) and inodes & sockets_of(pid)}

    def _listening(self) -> set[str]:
        if self.transport == "unix":
            rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
            # The path is that given to bind(2): relative, in a directory that other rows may share a name with.
            return {
                row[6]
                for row in rows
                if len(row) > 7 and Path(row[7]).name == self._path.name and int(row[3], 16) & SO_ACCEPTCON
            }
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {row[9] for row in rows if row[3] == LISTEN and int(row[1].split(":")[1], 16) == self._port}

    def left(self) -> list[psutil.Process]:
        """Every process of this server, zombies included; orphans that came to this process and died are reaped."""
        assert self._process is not None
        self._process.poll()
        found = processes.belonging_to(self.marker, self._process.pid, self.directory)
        processes.reap_adopted(found)
        return [each for each in found if psutil.pid_exists(each.pid)]

    # -- what can be done

    def signal(self, number: signal.Signals) -> bool:
        """Send it to the arbiter; whether there still is one."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def destroy(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            for each in self.left():
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            self._process.wait()
            wait_until(lambda: not self.left(), 10)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}").removeprefix("socket:[").removesuffix("]"))
    return found


def wait_until(condition: Callable[[], object], seconds: float) -> float | None:
    """Poll; return after how many seconds it was true, None if it never was."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.01)
    return time.monotonic() - begun
