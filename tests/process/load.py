"""A load client that counts: every request ends as exactly one `Outcome`, and none is tried twice.

The rate is fixed: requests start when they are due, whether or not earlier ones have been answered, up to `MOST` at
once: a machine that is busy with other things slows the load, instead of piling up what nobody answers in time. A
keep-alive client looks at its connection before it sends; one that the server has closed by then is replaced, which is
legal (RFC 9112, section 9.6). A close that comes after the first byte was sent is a loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.process.connection import Connection, Failed, Outcome, Response, Target

__all__ = ["Client", "Load", "Outcome", "Record", "Report", "Target", "Traffic"]

MOST = 500
"""Requests of a client under way at once, unless their number is limited anyway."""

MOST_HANDSHAKES = 50
"""The same over TLS, where the client's own share of the work is many times as large."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is sent: ``rate`` requests a second, ``limit`` in all where it is not 0, to ``path``.

    The ``body`` goes out in pieces of ``piece`` bytes with ``pause`` seconds before each. ``timeout`` bounds a request
    from its connect to its end.

    A connection that has been idle for ``max_idle`` seconds is closed instead of used, as connection pools do: nearer
    to the server's own limit (two seconds), a close and a request can cross on the wire, and nobody is to blame.
    """

    rate: float
    keep_alive: bool = True
    body: int = 0
    piece: int = 4096
    pause: float = 0.0
    path: str = "/"
    limit: int = 0
    timeout: float = 20.0
    max_idle: float = 1.0


@dataclass(frozen=True, slots=True)
class Record:
    """One request: when (monotonic seconds), how it ended, and what the answer said about its server.

    ``connected``: it went over a connection of its own, or was the first of one that was kept.
    """

    started: float
    ended: float
    outcome: Outcome
    connected: bool = True
    detail: str = ""
    pid: int = 0
    version: str = ""


@dataclass(slots=True)
class Report:
    """All requests of a run."""

    records: list[Record] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(record.outcome.value for record in self.records)
        return {outcome.value: counted[outcome.value] for outcome in Outcome}

    @property
    def lost(self) -> list[Record]:
        return [record for record in self.records if record.outcome is not Outcome.ANSWERED]

    @property
    def longest(self) -> float:
        """The slowest answer, in seconds."""
        return max((record.ended - record.started for record in self.records), default=0.0)

    @property
    def interleaved(self) -> list[Record]:
        """Answers on new connections that were begun when another one had been refused already."""
        refusals = [record.ended for record in self.records if record.outcome is Outcome.REFUSED]
        first = min(refusals, default=float("inf"))
        answers = (record for record in self.records if record.outcome is Outcome.ANSWERED)
        return [record for record in answers if record.connected and record.started > first]

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.counts.items() if count)
        examples = {record.outcome.value: record.detail for record in self.lost}
        return f"{len(self.records)} requests: {counts}; longest {self.longest:.2f} s {examples or ''}".rstrip()


class Client:
    """Sends `Traffic` to a `Target` until told to stop; `run` returns when the last request has ended."""

    def __init__(self, target: Target, traffic: Traffic) -> None:
        self.report = Report()
        self.connects = 0
        self._target = target
        self._traffic = traffic
        self._idle: list[tuple[float, Connection]] = []
        self._most = traffic.limit or (MOST if target.tls is None else MOST_HANDSHAKES)
        self._body = b"x" * traffic.body
        method = "POST" if traffic.body else "GET"
        connection = "keep-alive" if traffic.keep_alive else "close"
        self._head = (
            f"{method} {traffic.path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n"
            f"Content-Length: {traffic.body}\r\n\r\n"
        ).encode()

    async def run(self, stop: asyncio.Event) -> None:
        begin = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        for number in range(self._traffic.limit) if self._traffic.limit else itertools.count():
            due = begin + number / self._traffic.rate - time.monotonic()
            if due > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), due)
            while len(under_way) >= self._most:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                break
            task = asyncio.create_task(self._request())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        for _, connection in self._idle:
            connection.close()

    async def _request(self) -> None:
        started = time.monotonic()
        outcome, detail, pid, version = Outcome.ANSWERED, "", 0, ""
        reused = self._reusable()
        try:
            async with asyncio.timeout(self._traffic.timeout):
                response = await self._attempt(reused)
        except Failed as failure:
            outcome, detail = failure.outcome, failure.detail
        except TimeoutError:
            outcome, detail = Outcome.TIMED_OUT, f"{self._traffic.timeout:g} s"
        else:
            try:
                pid, version = self._judge(response)
            except (ValueError, KeyError, TypeError) as error:
                outcome, detail = Outcome.WRONG_STATUS, f"{response.status} {response.body[:80]!r} ({error!r})"
        self.report.records.append(Record(started, time.monotonic(), outcome, reused is None, detail, pid, version))

    async def _attempt(self, reused: Connection | None) -> Response:
        connection = reused or Connection(self._target)
        try:
            if reused is None:
                await connection.connect()
                self.connects += 1
                await connection.shake_hands()
            response = await connection.exchange(self._head, self._body, self._traffic.piece, self._traffic.pause)
        except BaseException:
            connection.close()
            raise
        if response.closes or not self._traffic.keep_alive:
            connection.close()
        else:
            self._idle.append((time.monotonic(), connection))
        return response

    def _reusable(self) -> Connection | None:
        """The connection that has been idle longest: so all of them stay in use, and closes are met."""
        while self._idle:
            since, connection = self._idle.pop(0)
            if time.monotonic() - since < self._traffic.max_idle and not connection.closed_by_peer():
                return connection
            connection.close()
        return None

    def _judge(self, response: Response) -> tuple[int, str]:
        """The pid and version that the probe application answered with. Raises where the answer is a wrong one."""
        if response.status != 200:
            raise ValueError("status")
        answer = json.loads(response.body)
        if answer["length"] != self._traffic.body:
            raise ValueError("length")
        return answer["pid"], answer["version"]


class Load:
    """Clients at work in a thread of their own, from ``with`` to its end; then `reports` are complete."""

    def __init__(self, target: Target, *traffic: Traffic) -> None:
        self._target = target
        self._traffic = traffic
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="load")
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.clients: list[Client] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def cease(self) -> None:
        """Start no more requests."""
        with contextlib.suppress(RuntimeError):  # the last request has ended, and its loop with it
            self._loop.call_soon_threadsafe(self._stop.set)

    def stop(self) -> Report:
        """Start no more requests, wait for those under way, and tell how all of them ended."""
        self.cease()
        self._thread.join()
        return self.report

    @property
    def connects(self) -> int:
        """How many connections the kernel has made so far, whether or not the server has accepted them."""
        return sum(client.connects for client in self.clients)

    @property
    def report(self) -> Report:
        """All that has ended so far."""
        return Report([record for client in self.clients for record in list(client.report.records)])

    def answers(self) -> Iterator[Record]:
        """The answered requests so far."""
        return (record for record in self.report.records if record.outcome is Outcome.ANSWERED)

    def _main(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.clients = [Client(self._target, traffic) for traffic in self._traffic]
        self._ready.set()
        await asyncio.gather(*(client.run(self._stop) for client in self.clients))
