"""What operators do, under load, to us and to others: requests lost by kind, capacity, time, and what is left behind.

``python -m benchmarks.lifecycle`` from the repository, or ``nox -s lifecycle``, which installs the others.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.servers import KINDS, Kind, Server, runs, wait_until
from tests.process.connection import Outcome
from tests.process.load import Load, Report, Traffic

LIMIT = 30.0
"""Seconds after which a scenario is not waited for any more."""

PR_SET_CHILD_SUBREAPER = 36
TRANSPORTS = ("tcp", "unix", "tls")
LOST = [outcome for outcome in Outcome if outcome is not Outcome.ANSWERED]


@dataclass
class Run:
    """A server under load, and what came of it."""

    server: Server
    rate: float
    quick: bool
    reports: list[Report] = field(default_factory=list)
    least: int | None = None
    seconds: float | None = None
    unfinished: bool = False
    remark: str = ""

    @contextlib.contextmanager
    def load(self, rate: float | None = None) -> Iterator[Load]:
        """Keep-alive and one-shot clients, bodies in pieces, slow and streamed answers."""
        rate = rate or self.rate
        traffic = (
            Traffic(rate * 0.50),
            Traffic(rate * 0.30, keep_alive=False),
            Traffic(rate * 0.05, body=16384, pause=0.01),
            Traffic(rate * 0.05, keep_alive=False, body=16384, pause=0.01),
            Traffic(rate * 0.05, path="/sleep/0.2"),
            Traffic(rate * 0.05, path="/stream/6/0.05"),
        )
        with self.send(*traffic) as load:
            self.serve_on(0.5)
            yield load
            self.serve_on(0.5)

    @contextlib.contextmanager
    def send(self, *traffic: Traffic) -> Iterator[Load]:
        with Load(self.server.target, *traffic) as load:
            yield load
        self.reports.append(load.stop())

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note the least number of ready workers."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                count = len(self.server.ready())
                if self.least is None or count < self.least:
                    # A look takes milliseconds, in which one worker may have followed another: one more look tells.
                    count = max(count, len(self.server.ready()))
                    self.least = count if self.least is None else min(self.least, count)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def serve_on(self, seconds: float) -> None:
        """Let traffic flow undisturbed for a while: it is part of the scenario, nothing is waited for."""
        time.sleep(seconds / 2 if self.quick else seconds)

    def done(self, seconds: float | None) -> None:
        """Add the time that a step took, None where it did not come to its end."""
        if seconds is None:
            self.unfinished = True
        else:
            self.seconds = (self.seconds or 0.0) + seconds

    def until(self, workers: int, version: str | None = None) -> None:
        """Wait until exactly so many workers are ready, of one version."""

        def settled() -> bool:
            ready = self.server.ready()
            return len(ready) == workers and (version is None or set(ready.values()) == {version})

        self.done(wait_until(settled, LIMIT))


# Scenarios: each starts the server as it needs it, and has it do something under load.


def hup(run: Run) -> None:
    """HUP ×3"""
    run.server.start(2)
    with run.load(), run.watched():
        for version in ("2", "3", "4"):
            run.server.deploy(version)
            run.server.signal(signal.SIGHUP)
            run.until(2, version)


def broken_then_mended(run: Run) -> None:
    """HUP with broken code, then mended"""
    run.server.start(2)
    with run.load(), run.watched():
        run.server.deploy("broken", at_import="raise RuntimeError('broken deploy')")
        run.server.signal(signal.SIGHUP)
        run.serve_on(3)
        run.server.deploy("2")
        if runs(run.server.pid) and run.server.signal(signal.SIGHUP):
            run.until(2, "2")
        else:
            run.remark = "exited"


def upgrade(run: Run) -> None:
    """USR2 upgrade"""
    run.server.start(2, run.server.kind.options.get("upgrade", ()))
    with run.load(), run.watched():
        old = run.server.pid
        run.server.deploy("2")
        run.server.signal(signal.SIGUSR2)
        begun = time.monotonic()
        wait_until(lambda: list(run.server.ready().values()).count("2") == 2, LIMIT)
        if "upgrade" not in run.server.kind.options:
            os.kill(old, signal.SIGTERM)
        gone = wait_until(lambda: not runs(old) and run.server.pid != old, LIMIT)
        run.done(None if gone is None else time.monotonic() - begun)
        run.until(2, "2")


def recycling(run: Run) -> None:
    """max-requests 200±50 at 500 req/s"""
    run.server.start(2, run.server.kind.options["recycling"])
    with run.load(500), run.watched():
        wanted = 4 if run.quick else 12
        retired = wait_until(lambda: count(run.server, "stopped") >= wanted, LIMIT)
        run.done(retired)


def scaling(run: Run) -> None:
    """TTIN/TTOU 2→4→1"""
    run.server.start(2)
    steps = [(signal.SIGTTIN, 3), (signal.SIGTTIN, 4), (signal.SIGTTOU, 3), (signal.SIGTTOU, 2), (signal.SIGTTOU, 1)]
    with run.load(), run.watched():
        for number, workers in steps:
            run.server.signal(number)
            run.until(workers)


def killed_workers(run: Run) -> None:
    """SIGKILL of a worker every 2 s"""
    run.server.start(2)
    with run.load(), run.watched():
        for _ in range(2 if run.quick else 4):
            victim = min(run.server.ready())
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda victim=victim: not runs(victim), LIMIT)  # type: ignore[misc]
            run.until(2)
            run.serve_on(2)


def wedged_worker(run: Run) -> None:
    """Wedged worker, timeout 3 s"""
    run.server.start(2, run.server.kind.options["timeout"])
    with run.load(run.rate / 2), run.watched():
        with Load(run.server.target, Traffic(100, keep_alive=False, path="/block/3600", limit=1, timeout=LIMIT / 2)):
            wait_until(lambda: count(run.server, "blocking") == 1, LIMIT)
            victim = next(event["pid"] for event in run.server.events() if event["event"] == "blocking")
            run.done(wait_until(lambda: not runs(victim), LIMIT / 2))
        run.until(2)


def stop(run: Run) -> None:
    """TERM with 50 requests in flight and 200 queued"""
    run.server.start(2)
    with contextlib.ExitStack() as under_way:

        def send(*traffic: Traffic) -> Load:
            return under_way.enter_context(run.send(*traffic))

        send(Traffic(500, keep_alive=False, path="/sleep/1", limit=50))
        wait_until(lambda: count(run.server, "sleeping") >= 50, LIMIT)
        # One after the other: whoever is blocked takes no further one, and each blocks for a known time.
        while not blocked(run.server) >= set(run.server.ready()):
            before = count(run.server, "blocking")
            send(Traffic(50, keep_alive=False, path="/block/3", limit=1))
            wait_until(lambda before=before: count(run.server, "blocking") > before, LIMIT)  # type: ignore[misc]
        queued = send(Traffic(1000, limit=100), Traffic(1000, keep_alive=False, limit=100))
        wait_until(lambda: queued.connects == 200, LIMIT)
        run.server.signal(signal.SIGTERM)
        run.done(wait_until(lambda: not run.server.left(), LIMIT))


def crash_storm(run: Run) -> None:
    """20 crashes a second for 5 s"""
    run.server.start(2)
    with run.load(), run.watched():
        with Load(run.server.target, Traffic(20, keep_alive=False, path="/exit/1", timeout=5)):
            run.serve_on(5)
        run.until(2)


def killed_arbiter(run: Run) -> None:
    """SIGKILL of the arbiter"""
    run.server.start(2)
    with run.load():
        run.server.signal(signal.SIGKILL)
        run.done(wait_until(lambda: not run.server.left(), 5))
        run.remark = "its workers serve on" if run.unfinished else ""


SCENARIOS: tuple[Callable[[Run], None], ...] = (
    hup,
    broken_then_mended,
    upgrade,
    recycling,
    scaling,
    killed_workers,
    wedged_worker,
    stop,
    crash_storm,
    killed_arbiter,
)


def count(server: Server, name: str) -> int:
    return sum(event["event"] == name for event in server.events())


def blocked(server: Server) -> set[int]:
    return {event["pid"] for event in server.events() if event["event"] == "blocking"}


# The table


@dataclass
class Row:
    """All runs of one scenario on one server, over one transport."""

    scenario: str
    server: str
    transport: str
    runs: int = 0
    sent: int = 0
    lost: dict[str, int] = field(default_factory=lambda: {outcome.value: 0 for outcome in LOST})
    least_ready: int | None = None
    seconds: float | None = None
    unfinished: bool = False
    left: int = 0
    remarks: list[str] = field(default_factory=list)

    def add(self, run: Run, left: int) -> None:
        """The worst of all runs counts; requests are summed."""
        self.runs += 1
        for report in run.reports:
            self.sent += len(report.records)
            for record in report.lost:
                self.lost[record.outcome.value] += 1
        if run.least is not None:
            self.least_ready = run.least if self.least_ready is None else min(self.least_ready, run.least)
        if run.seconds is not None:
            self.seconds = max(self.seconds or 0.0, run.seconds)
        self.unfinished = self.unfinished or run.unfinished
        self.left = max(self.left, left)
        if run.remark and run.remark not in self.remarks:
            self.remarks.append(run.remark)

    def cells(self) -> list[str]:
        lost = [str(self.lost[outcome.value]) for outcome in LOST]
        least = "" if self.least_ready is None else str(self.least_ready)
        seconds = "" if self.seconds is None else f"{self.seconds:.1f}"
        seconds = "never" if self.unfinished else seconds
        name = f"{self.server} ({self.transport})"
        return [self.scenario, name, str(self.sent), *lost, least, seconds, str(self.left), "; ".join(self.remarks)]


HEADINGS = [
    "scenario",
    "server",
    "sent",
    *(outcome.value for outcome in LOST),
    "least ready",
    "seconds",
    "left",
    "remarks",
]


def table(rows: list[Row]) -> str:
    """Markdown. "seconds" and "left" are the worst of all runs; "never" is longer than `LIMIT`."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure(scenario: Callable[[Run], None], kind: Kind, transport: str, options: argparse.Namespace) -> Row:
    """Run one scenario as often as wanted."""
    row = Row(scenario.__doc__ or "", kind.name, transport)
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="lifecycle-", ignore_cleanup_errors=True) as directory:
            run = Run(Server(kind, transport, Path(directory)), options.rate, options.quick)
            try:
                scenario(run)
                if scenario is not killed_arbiter:
                    run.server.signal(signal.SIGTERM)
                    wait_until(lambda: not run.server.left(), 15)  # noqa: B023 - called in the same turn
                row.add(run, len(run.server.left()))
            except TimeoutError as error:
                row.remarks.append(str(error).splitlines()[0])
            finally:
                run.server.destroy()
    return row


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lifecycle", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half the load, shorter pauses")
    parser.add_argument("--runs", type=int, default=1, help="runs of each scenario (1)")
    parser.add_argument("--rate", type=float, help="requests a second (200; 100 with --quick)")
    parser.add_argument("--server", action="append", help="only servers whose name contains this; may be repeated")
    parser.add_argument("--scenario", action="append", choices=[each.__name__ for each in SCENARIOS])
    parser.add_argument("--transport", action="append", choices=TRANSPORTS, help="tcp; may be repeated")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    options = parser.parse_args()
    options.rate = options.rate or (100.0 if options.quick else 200.0)
    return options


def main() -> None:
    """Measure, and print the table."""
    options = arguments()
    # Orphans come to this process, which can tell and reap them (prctl(2)).
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    rows = []
    for scenario in SCENARIOS:
        if options.scenario and scenario.__name__ not in options.scenario:
            continue
        for kind in KINDS:
            if options.server and not any(part in kind.name for part in options.server):
                continue
            if scenario is upgrade and not kind.upgrades:
                continue
            for transport in options.transport or ["tcp"]:
                begun = time.monotonic()
                print(f"{scenario.__name__}: {kind.name}, {transport} … ", end="", file=sys.stderr, flush=True)
                rows.append(measure(scenario, kind, transport, options))
                lost = sum(rows[-1].lost.values())
                spent = time.monotonic() - begun
                print(f"{rows[-1].sent} sent, {lost} lost, {spent:.0f} s", file=sys.stderr, flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    if options.markdown:
        options.markdown.write_text(table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
