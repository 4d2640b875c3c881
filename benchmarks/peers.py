"""The servers of the benchmark, each told the same: workers, uvloop and httptools where it can, keep-alive, backlog."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata

from benchmarks.servers import EXECUTABLES, KINDS, Kind

KEEP_ALIVE = "5"
BACKLOG = "2048"
FILE = "access.log"
OUTPUT = "output.log"
"""Where standard output goes: the access log of servers that have no file for it."""

OURS = "supervisor"
BASELINE = "gunicorn + uvicorn-worker"
FLOOR = "floor"


@dataclass(frozen=True)
class Peer:
    """A server and its options. Where ``preload`` is empty it has no such thing; ``asgi``: it runs an application."""

    kind: Kind
    distributions: tuple[str, ...]
    always: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    no_log: tuple[str, ...] = ()
    log_file: str = OUTPUT
    preload: tuple[str, ...] = ()
    asgi: bool = True
    scale: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.kind.name

    def options(self, *, log: bool = False, preload: bool = False) -> tuple[str, ...]:
        """``preload`` has no effect where the server has none."""
        return (*self.always, *(self.log if log else self.no_log), *(self.preload if preload else ()))

    def missing(self) -> str:
        """The first distribution that it needs and that is not installed, empty where there is none."""
        for distribution in self.distributions:
            try:
                metadata.version(distribution)
            except metadata.PackageNotFoundError:
                return distribution
        return ""


SUPERVISOR, GUNICORN, GUNICORN_ASGI, UVICORN = KINDS

PEERS = (
    Peer(
        SUPERVISOR,
        ("asgi-supervisor", "uvicorn"),
        always=("--keep-alive", KEEP_ALIVE, "--backlog", BACKLOG),
        log=("--access-logfile", FILE),
        log_file=FILE,
        preload=("--preload",),
        scale=("--surge", "10"),
    ),
    *(
        Peer(
            kind,
            ("gunicorn", distribution),
            # The control socket is on, as it is by default, but in the directory of the run.
            always=("--keep-alive", KEEP_ALIVE, "--backlog", BACKLOG, "--control-socket", "gunicorn.ctl"),
            log=("--access-logfile", FILE),
            log_file=FILE,
            preload=("--preload",),
        )
        for kind, distribution in ((GUNICORN, "uvicorn-worker"), (GUNICORN_ASGI, "gunicorn"))
    ),
    Peer(
        UVICORN,
        ("uvicorn",),
        always=("--timeout-keep-alive", KEEP_ALIVE, "--backlog", BACKLOG, "--loop", "uvloop", "--http", "httptools"),
        no_log=("--no-access-log",),
    ),
    Peer(
        Kind("granian", (str(EXECUTABLES / "granian"), "app:app"), binds=False),
        ("granian",),
        always=(
            *("--interface", "asgi", "--http", "1", "--loop", "uvloop"),
            *("--backlog", BACKLOG, "--respawn-failed-workers"),
        ),
        log=("--access-log",),
    ),
    Peer(
        Kind("hypercorn", (str(EXECUTABLES / "hypercorn"), "app:app")),
        ("hypercorn",),
        always=("--worker-class", "uvloop", "--keep-alive", KEEP_ALIVE, "--backlog", BACKLOG),
        log=("--access-logfile", FILE),
        log_file=FILE,
    ),
    Peer(
        Kind(FLOOR, (sys.executable, "-m", "benchmarks.floor")),
        ("uvloop", "httptools"),
        asgi=False,
    ),
)


def by_name(name: str) -> Peer:
    return next(peer for peer in PEERS if peer.name == name)
