"""What operators wait for: a boot, a reload, a worker in place of one that was killed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass

from benchmarks.measure import PATIENCE, Figure, Findings, Measure, Settings, serving
from benchmarks.peers import OURS, Peer
from benchmarks.servers import runs, wait_until
from tests.process.connection import Outcome
from tests.process.load import Load, Traffic

SLOW_IMPORT = "import time; _end = time.process_time() + 1.0\nwhile time.process_time() < _end: pass"
"""An application that takes a second to import, in which it computes, as imports do."""
BOOTS = (1, 4, 16)
SETTLING = 1.0
LIMIT = 20.0
"""Seconds after which a reload or a replacement is not waited for any more."""


@dataclass(frozen=True)
class Boot:
    name: str = "boot"
    title: str = "Boot until all workers serve; the import takes 1 s of CPU; preload where the server has it"
    figures: tuple[Figure, ...] = tuple(Figure(f"{count} worker{'s' * (count > 1)}", "s") for count in BOOTS)
    rounds: int = 3

    def suits(self, peer: Peer) -> bool:
        return peer.asgi

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        findings = Findings({})
        for count, figure in zip(BOOTS, self.figures, strict=True):
            begun = time.monotonic()
            with serving(peer, count, preload=True, at_import=SLOW_IMPORT):
                findings.figures[figure.name] = time.monotonic() - begun
        return findings


@dataclass(frozen=True)
class Reload:
    name: str = "hup"
    title: str = "HUP until all of 2 workers are new, under load; a small application"
    figures: tuple[Figure, ...] = (Figure("until all are new", "s"), Figure("requests lost"))
    rounds: int = 100

    def suits(self, peer: Peer) -> bool:
        return peer.asgi

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        with serving(peer, 2) as server:
            rate = settings.rate / 5
            with Load(server.target, Traffic(rate), Traffic(rate, keep_alive=False)) as load:
                flowing(load, settings.warm_up)
                server.deploy("2")
                server.signal(signal.SIGHUP)
                spent = wait_until(lambda: list(server.ready().values()) == ["2", "2"], LIMIT)
                flowing(load, settings.warm_up)
            report = load.stop()
        lost = Counter(record.outcome.value for record in report.records if record.outcome is not Outcome.ANSWERED)
        findings = Findings({"requests lost": lost.total()}, remark="" if spent else f"not within {LIMIT:.0f} s")
        if spent is not None:
            findings.figures["until all are new"] = spent
        if peer.name == OURS:
            # Of others it is a figure; of this one it is an error, since none is promised to be lost.
            findings.errors += lost
        return findings


@dataclass(frozen=True)
class Replacement:
    name: str = "kill"
    title: str = "SIGKILL of a worker until its replacement serves; import and preload as for the boot"
    figures: tuple[Figure, ...] = (Figure("until replaced", "s"),)
    rounds: int = 100

    def suits(self, peer: Peer) -> bool:
        return peer.asgi

    def run(self, peer: Peer, settings: Settings, turn: int) -> Findings:
        with serving(peer, 2, preload=True, at_import=SLOW_IMPORT) as server:
            # What a server does after its boot is over: nobody kills a worker at that moment.
            time.sleep(SETTLING)
            victim = min(server.ready())
            os.kill(victim, signal.SIGKILL)
            begun = time.monotonic()
            replaced = wait_until(lambda: not runs(victim) and len(server.ready()) == 2, LIMIT)
            if replaced is None:
                return Findings({}, remark=f"never, within {LIMIT:.0f} s")
            return Findings({"until replaced": time.monotonic() - begun})


def flowing(load: Load, seconds: float) -> None:
    """Until requests have been answered for a while."""
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > seconds and any(load.answers()), PATIENCE)


MEASURES: tuple[Measure, ...] = (Boot(), Reload(), Replacement())
