"""How long answers take at a rate that the server can hold, while some requests block their worker's event loop.

Requests are due at random moments (a Poisson process), the same for each server in a round, and are timed from the
moment that they were due: a client that has to wait for a free connection waits as well.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

import uvloop

from benchmarks import wrk
from benchmarks.measure import PLAIN, Figure, Findings, Measure, Settings, serving
from benchmarks.peers import Peer
from tests.process.connection import Connection, Failed, Target

BLOCKING = 0.02
"""The share of requests that block."""
CONNECTIONS = 32
LEAST = 3000
"""Requests in a run, at least: fewer tell nothing about one in a thousand."""
TIMEOUT = 20.0
BALANCE_WORKERS = 4
MODES = {"": 0, ", answers wait 50 ms": 0.05}
"""Seconds that each answer waits, by what the headings say of it."""


def quantile(values: list[float], share: float) -> float:
    """The value that this share of all values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def variation(shares: list[int]) -> float:
    """Coefficient of variation: standard deviation by mean. 0 where there is nothing."""
    mean = statistics.fmean(shares)
    return statistics.pstdev(shares) / mean if mean else 0.0


@dataclass
class Clients:
    """Keep-alive connections, and how the requests over them ended."""

    target: Target
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    _idle: list[Connection] = field(default_factory=list)

    async def open(self, count: int) -> None:
        for _ in range(count):
            connection = Connection(self.target)
            await connection.connect()
            await connection.exchange(head("/"), b"", 1)
            self._idle.append(connection)

    async def request(self, path: str, due: float, choice: random.Random) -> None:
        connection = self._idle.pop(choice.randrange(len(self._idle))) if self._idle else None
        try:
            async with asyncio.timeout(TIMEOUT):
                if connection is None or connection.closed_by_peer():
                    connection = Connection(self.target)
                    await connection.connect()
                response = await connection.exchange(head(path), b"", 1)
        except (Failed, TimeoutError) as error:
            self.errors[error.outcome.value if isinstance(error, Failed) else "timed out"] += 1
            return
        self.seconds.append(time.monotonic() - due)
        if response.status != 200:
            self.errors["wrong status"] += 1
        if response.closes:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


async def send(target: Target, rate: float, count: int, seed: int) -> Clients:
    """So many requests at this rate on average. Ends when each has been answered or lost."""
    chance = random.Random(seed)
    clients = Clients(target)
    await clients.open(CONNECTIONS)
    under_way = []
    due = time.monotonic()
    for _ in range(count):
        due += chance.expovariate(rate)
        path = "/block" if chance.random() < BLOCKING else "/"
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        under_way.append(asyncio.create_task(clients.request(path, due, chance)))
    await asyncio.gather(*under_way)
    clients.close()
    return clients


def head(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@dataclass(frozen=True)
class Latency:
    name: str = "latency"
    title: str = "Latency at a fixed rate; 2 % of requests block their loop for 20 ms"
    figures: tuple[Figure, ...] = (Figure("p50", "ms"), Figure("p99", "ms"), Figure("p99.9", "ms"))
    rounds: int = 100

    def suits(self, peer: Peer) -> bool:
        return peer.asgi

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        count = max(LEAST, int(settings.rate * settings.seconds))
        with serving(peer, settings.workers, PLAIN) as server:
            clients = uvloop.run(send(server.target, settings.rate, count, turn))
        if not clients.seconds:
            raise RuntimeError(f"no request was answered: {dict(clients.errors)}")
        milliseconds = [seconds * 1000 for seconds in clients.seconds]
        shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
        return Findings({name: quantile(milliseconds, share) for name, share in shares.items()}, clients.errors)


@dataclass(frozen=True)
class Balance:
    """Connections are opened at once and kept; each sends its next request when the last one was answered.

    With answers that wait, a worker's share tells its connections; with those that do not, its speed as well.
    """

    name: str = "balance"
    title: str = f"Share of requests by worker, {BALANCE_WORKERS} workers: coefficient of variation"
    figures: tuple[Figure, ...] = tuple(
        Figure(f"{connections} connections{mode}") for mode in MODES for connections in (64, 8)
    )
    rounds: int = 100

    def suits(self, peer: Peer) -> bool:
        return peer.asgi

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        findings = Findings({})
        with serving(peer, BALANCE_WORKERS, PLAIN) as server:
            for mode, pause in MODES.items():
                for connections in (64, 8):
                    result = wrk.run(
                        server.target,
                        f"/pid/{pause}",
                        connections=connections,
                        seconds=settings.seconds,
                        script="answers.lua",
                    )
                    shares = [result.answers[str(pid)] for pid in server.ready()]
                    findings.figures[f"{connections} connections{mode}"] = variation(shares)
                    findings.errors += result.errors
        return findings


MEASURES: tuple[Measure, ...] = (Latency(), Balance())
