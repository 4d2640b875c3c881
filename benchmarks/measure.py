"""What all measures have in common: how they are described, what they are told, and the server that they look at."""

from __future__ import annotations

import contextlib
import itertools
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.peers import Peer
from benchmarks.servers import PROBE, Server, wait_until
from tests.process.harness import free_port

PLAIN = "from benchmarks.apps.plain import Plain\n{at_import}\napp = Plain({version!r})\n"
FRAMEWORK = "from benchmarks.apps.framework import make\napp = make()\n"
WSGI = "from benchmarks.apps.wsgi import make\n{at_import}\napp = make({version!r})\n"
CODE = "from benchmarks.apps.code import make\napp = make()\n"
DATA = "from benchmarks.apps.data import make\napp = make()\n"

PATIENCE = 90.0
"""Seconds in which a server has to boot."""
STOP = 15.0
"""Seconds in which a server has to stop before it is killed."""
PORTS = 32

_ports: list[int] = []
_turn = itertools.count()


@dataclass(frozen=True)
class Settings:
    """How much is measured. ``seconds`` and ``warm_up`` bound each run, ``rate`` is that of the latency measures."""

    workers: int = 2
    connections: int = 64
    seconds: float = 3.0
    warm_up: float = 1.0
    rate: float = 1000.0


@dataclass(frozen=True)
class Figure:
    """Something that a measure comes to. ``more``: more of it is better."""

    name: str
    unit: str = ""
    more: bool = False

    @property
    def heading(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit else self.name


@dataclass
class Sample:
    """One run of one measure on one server. ``errors`` say that the figures are not to be trusted, or requests lost."""

    measure: str
    server: str
    round: int
    figures: dict[str, float] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    remark: str = ""


@dataclass
class Findings:
    """What a measure returns."""

    figures: dict[str, float]
    errors: Counter[str] = field(default_factory=Counter)
    remark: str = ""


class Measure(Protocol):
    """A thing to measure. ``rounds`` bounds how often: those that take long need not be repeated as often as others."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def figures(self) -> tuple[Figure, ...]: ...
    @property
    def rounds(self) -> int: ...

    def suits(self, peer: Peer) -> bool:
        """Whether this server can be measured so."""

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        """Start the server, measure, stop it. Raises `TimeoutError` or `RuntimeError` where it does not serve."""


def port() -> int:
    """One of a few ports in turn: so a long run does not reserve hundreds, and none is used again at once."""
    if len(_ports) < PORTS:
        _ports.append(free_port())
        return _ports[-1]
    return _ports[next(_turn) % PORTS]


@contextlib.contextmanager
def serving(
    peer: Peer,
    workers: int,
    application: str = PROBE,
    *,
    log: bool = False,
    preload: bool = False,
    more: tuple[str, ...] = (),
    at_import: str = "",
) -> Iterator[Server]:
    """A server that serves, and that has stopped afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as directory:
        server = Server(peer.kind, "tcp", Path(directory), application, port())
        try:
            if at_import:
                server.deploy("1", at_import)
            server.start(workers, (*peer.options(log=log, preload=preload), *more), PATIENCE)
            yield server
            stop(server)
        finally:
            server.destroy()


def stop(server: Server) -> None:
    """TERM, and wait until nothing of it is left; it may have stopped before."""
    if server.left():
        server.signal(signal.SIGTERM)
        wait_until(lambda: not server.left(), STOP)


def pids(server: Server) -> list[int]:
    """All processes of the server."""
    return [process.pid for process in server.left()]
