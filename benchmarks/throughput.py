"""Requests as fast as they are answered, and what each of them costs the server."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import accounting, websocket, wrk
from benchmarks.measure import FRAMEWORK, PLAIN, WSGI, Figure, Findings, Measure, Settings, pids, serving, stop
from benchmarks.peers import BASELINE, OURS, Peer
from benchmarks.servers import Server

START_UP_LINES = 200
"""More lines than any server writes to its log for anything but requests."""


class Usage:
    """The CPU time that all processes of a server use from now on. Where they change meanwhile it is an error."""

    def __init__(self, server: Server) -> None:
        self.errors: Counter[str] = Counter()
        self._server = server
        self._pids = pids(server)
        self._before = accounting.cpu(self._pids)

    def so_far(self) -> float:
        now = pids(self._server)
        used = accounting.cpu(now) - self._before
        if changed := len(set(now) ^ set(self._pids)):
            self.errors["processes that came or went"] = changed
        return used


@dataclass(frozen=True)
class Throughput:
    """wrk against one path. ``script`` and ``arguments`` are for it; with ``log``, the access log goes to a file.

    ``worker`` are options that come after those of the server, for an application that is WSGI.
    """

    name: str
    title: str
    path: str = "/"
    application: str = PLAIN
    script: str = ""
    arguments: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    worker: tuple[str, ...] = ()
    log: bool = False
    rounds: int = 100

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (Figure("requests/s", more=True), Figure("CPU per request", "µs"))

    def suits(self, peer: Peer) -> bool:
        if self.application == WSGI:
            return peer.name in (OURS, BASELINE)
        return peer.asgi or (self.application == PLAIN and not self.log)

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        with serving(peer, settings.workers, self.application, log=self.log, more=self.worker) as server:
            warm = self._load(server, settings, settings.warm_up)
            usage = Usage(server)
            result = self._load(server, settings, settings.seconds)
            used = usage.so_far()
            stop(server)
            errors = result.errors + warm.errors + usage.errors
            errors += log_errors(server.directory / peer.log_file, result.requests + warm.requests, self.log)
        figures = {"requests/s": result.rate, "CPU per request": used / max(1, result.requests) * 1e6}
        return Findings(figures, errors)

    def _load(self, server: Server, settings: Settings, seconds: float) -> wrk.Result:
        return wrk.run(
            server.target,
            self.path,
            connections=settings.connections,
            seconds=seconds,
            script=self.script,
            arguments=self.arguments,
            headers=self.headers,
        )


@dataclass(frozen=True)
class WebSocket:
    """Messages that are echoed, one at a time on each connection."""

    name: str = "websocket"
    title: str = f"WebSocket echo, {websocket.SIZE} bytes"
    rounds: int = 100

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (Figure("messages/s", more=True), Figure("CPU per message", "µs"))

    def suits(self, peer: Peer) -> bool:
        return peer.asgi

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        with serving(peer, settings.workers, PLAIN) as server:
            usages: list[Usage] = []
            echoed = websocket.echo(
                server.target,
                settings.connections,
                settings.warm_up,
                settings.seconds,
                begin=lambda: usages.append(Usage(server)),
            )
            (usage,) = usages
            used = usage.so_far()
        figures = {
            "messages/s": echoed.messages / echoed.seconds,
            "CPU per message": used / max(1, echoed.messages) * 1e6,
        }
        return Findings(figures, echoed.errors + usage.errors)


def log_errors(log: Path, requests: int, wanted: bool) -> Counter[str]:
    """A log that is off is off, and one that is on has a line for each request: else servers are not alike."""
    lines = lines_of(log)
    if wanted:
        return +Counter({"lines missing in the access log": requests - lines})
    return +Counter({"lines in an access log that is off": lines if lines > START_UP_LINES else 0})


def lines_of(log: Path) -> int:
    count = 0
    if log.exists():
        with log.open("rb") as file:
            while piece := file.read(1 << 20):
                count += piece.count(b"\n")
    return count


def logged(plain: Throughput) -> Throughput:
    """The same with access log."""
    return replace(plain, name=f"{plain.name}-log", title=f"{plain.title}, access log to a file", log=True)


PLAIN_MEASURES = (
    Throughput("hello", "Hello: plain ASGI, 13 bytes"),
    Throughput("fastapi", "FastAPI: a validated model as JSON", "/items/7?page=2", FRAMEWORK),
    Throughput("post-1k", "POST of 1 KiB", "/upload/1024", script="upload.lua", arguments=("1024",)),
    Throughput("post-64k", "POST of 64 KiB", "/upload/65536", script="upload.lua", arguments=("65536",)),
    Throughput(
        "chunked",
        "Chunked upload: 64 KiB in 16 chunks",
        "/upload/65536",
        script="upload.lua",
        arguments=("65536", "4096"),
    ),
    Throughput("streaming", "Streaming: 16 pieces of 4 KiB, length unknown", "/stream"),
    Throughput("close", "A connection per request", headers=("Connection: close",)),
)
SYNC = ("--worker-class", "sync")
GTHREAD = ("--worker-class", "gthread", "--threads", "4")
WSGI_MEASURES = (
    Throughput("wsgi-sync", "WSGI, one thread (sync): 13 bytes", application=WSGI, worker=SYNC),
    Throughput("wsgi-gthread", "WSGI, four threads (gthread): 13 bytes", application=WSGI, worker=GTHREAD),
    Throughput(
        "wsgi-post-64k",
        "WSGI, four threads (gthread): POST of 64 KiB",
        "/upload/65536",
        WSGI,
        script="upload.lua",
        arguments=("65536",),
        worker=GTHREAD,
    ),
)
MEASURES: tuple[Measure, ...] = (
    *(measure for plain in PLAIN_MEASURES for measure in (plain, logged(plain))),
    WebSocket(),
    *WSGI_MEASURES,
)
