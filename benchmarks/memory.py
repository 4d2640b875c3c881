"""Proportional set size of all processes of a server, as it serves and as the garbage collector walks its objects."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks import accounting, wrk
from benchmarks.apps import MODELS
from benchmarks.measure import CODE, DATA, Figure, Findings, Measure, Settings, pids, serving
from benchmarks.peers import Peer
from benchmarks.servers import Server

WORKERS = 4
REQUESTS = 20_000
COLLECTING = 60.0
"""Seconds in which all workers have to be reached."""
FIGURES = ("at boot", "after collections", f"after {REQUESTS:,} requests", "after requests and collections")


@dataclass(frozen=True)
class Memory:
    """``script`` and ``arguments`` are for wrk: requests that touch all of the application."""

    name: str
    title: str
    application: str
    path: str
    script: str = ""
    arguments: tuple[str, ...] = ()
    preload: bool = False
    figures: tuple[Figure, ...] = tuple(Figure(name, "MiB") for name in FIGURES)
    rounds: int = 3

    def suits(self, peer: Peer) -> bool:
        return peer.asgi and (bool(peer.preload) or not self.preload)

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        findings = Findings({})

        def look(figure: str) -> None:
            findings.figures[figure] = accounting.pss(pids(server))

        with serving(peer, WORKERS, self.application, preload=self.preload) as server:
            look(FIGURES[0])
            collect(server)
            look(FIGURES[1])
            sent, seconds = 0, 1.0
            while sent < REQUESTS:
                result = wrk.run(
                    server.target,
                    self.path,
                    connections=settings.connections,
                    seconds=seconds,
                    script=self.script,
                    arguments=self.arguments,
                )
                if not result.requests:
                    raise RuntimeError(f"no request was answered: {dict(result.errors)}")
                sent += result.requests
                # As long as the rest takes at this rate: wrk knows whole seconds only, so it will be some more.
                seconds = max(1.0, (REQUESTS - sent) / result.rate)
                findings.errors += result.errors
            look(FIGURES[2])
            collect(server)
            look(FIGURES[3])
        return findings


def collect(server: Server) -> None:
    """Have each worker run a full collection. Which one answers is chance, so ask until each of them has.

    Raises `TimeoutError` where one is never reached.
    """
    wanted = set(server.ready())
    end = time.monotonic() + COLLECTING
    with ThreadPoolExecutor(max_workers=8) as threads:
        # A few at a time: while one worker collects, the next connection comes to another.
        while wanted:
            wanted -= set(threads.map(collected, [server] * 8))
            if wanted and time.monotonic() > end:
                raise TimeoutError(f"{len(wanted)} workers of {server.kind.name} were not reached to collect")


def collected(server: Server) -> int:
    """The pid of a worker that has just run a collection."""
    address = server.target.address
    assert not isinstance(address, str)
    connection = http.client.HTTPConnection(*address, timeout=COLLECTING)
    try:
        connection.request("GET", "/collect", headers={"Connection": "close"})
        return int(connection.getresponse().read())
    finally:
        connection.close()


def preloaded(plain: Memory) -> Memory:
    """The same with preload."""
    return Memory(
        f"{plain.name}-preload",
        f"{plain.title}, preload",
        plain.application,
        plain.path,
        plain.script,
        plain.arguments,
        preload=True,
    )


PLAIN_MEASURES = (
    Memory(
        "memory-code",
        f"Memory, {WORKERS} workers, much code: FastAPI with {MODELS} models and routes",
        CODE,
        "/",
        "paths.lua",
        ("/models/", str(MODELS), "/7"),
    ),
    Memory("memory-data", f"Memory, {WORKERS} workers, 100 MB of data objects", DATA, "/records"),
)
MEASURES: tuple[Measure, ...] = tuple(measure for plain in PLAIN_MEASURES for measure in (plain, preloaded(plain)))
