"""What a server costs when nothing is asked of it, and what it costs to look after many workers."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass

from benchmarks import accounting
from benchmarks.measure import Figure, Findings, Measure, Settings, pids, serving
from benchmarks.peers import Peer
from benchmarks.servers import Server, wait_until

IDLE = 10.0
SETTLING = 2.0
"""Seconds after the boot in which a server may still be busy with itself."""
MANY = 100
LIMIT = 240.0


@dataclass(frozen=True)
class Idle:
    name: str = "idle"
    title: str = f"Idle for {IDLE:.0f} s, 2 workers: all processes of the server"
    figures: tuple[Figure, ...] = (Figure("CPU", "ms"), Figure("wake-ups"))
    rounds: int = 3

    def suits(self, peer: Peer) -> bool:
        return peer.asgi

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        with serving(peer, 2) as server:
            time.sleep(SETTLING)
            members = pids(server)
            cpu, wakeups = accounting.cpu(members), accounting.wakeups(members)
            time.sleep(IDLE)
            figures = {
                "CPU": (accounting.cpu(members) - cpu) * 1000,
                "wake-ups": accounting.wakeups(members) - wakeups,
            }
        return Findings(figures)


@dataclass(frozen=True)
class Many:
    """Everything but workers: the arbiter, and what stands between it and the workers, as a loader does."""

    name: str = "many"
    title: str = f"{MANY} workers, preload: CPU time of the processes that are no workers"
    figures: tuple[Figure, ...] = (Figure("boot", "s"), Figure("reload", "s"))
    rounds: int = 2

    def suits(self, peer: Peer) -> bool:
        # The others start each worker as an interpreter of its own: what that costs, the boot measure shows.
        return bool(peer.preload)

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        with serving(peer, MANY, preload=True, more=peer.scale) as server:
            booted = managing(server)
            old = set(server.ready())
            server.signal(signal.SIGHUP)
            spent = wait_until(lambda: renewed(server, old), LIMIT)
            reloaded = managing(server)
        findings = Findings({"boot": sum(booted.values())})
        if spent is None:
            findings.remark = f"reload not within {LIMIT:.0f} s"
        else:
            findings.figures["reload"] = sum(used - booted.get(pid, 0.0) for pid, used in reloaded.items())
        return findings


def renewed(server: Server, old: set[int]) -> bool:
    ready = set(server.ready())
    return len(ready) == MANY and not ready & old


def managing(server: Server) -> dict[int, float]:
    """CPU seconds by pid of the processes of a server that are no workers."""
    workers = {event["pid"] for event in server.events() if event["event"] == "started"}
    used = {}
    for pid in pids(server):
        if pid not in workers:
            with contextlib.suppress(OSError):
                used[pid] = accounting.clock(pid)
    return used


MEASURES: tuple[Measure, ...] = (Idle(), Many())
