"""A hundred workers, and none to look after."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.process import processes
from tests.process.conftest import StartService

WORKERS = 100


def test_a_hundred_workers(service: StartService, measured: Callable[[str], None]) -> None:
    site = service().start("--workers", str(WORKERS), "--preload", "--surge", "10", "--timeout", "120")
    site.wait_until(lambda: len(site.events("started")) == WORKERS, "all have started", timeout=120)
    site.wait_log(r"\bready\b.*100 workers")
    booted = processes.cpu_seconds(site.pid)
    site.deploy("2")
    site.hup()
    site.wait_until(lambda: len(site.events("stopped")) == WORKERS, "all old ones have gone", timeout=240)
    site.wait_serving(WORKERS, version="2")
    reloaded = processes.cpu_seconds(site.pid)
    assert max(site.ready_counts()) <= WORKERS + 10
    assert min(site.ready_counts()) >= WORKERS
    site.stop()
    measured(f"the arbiter's CPU time for {WORKERS} workers: boot {booted:.2f} s, reload {reloaded - booted:.2f} s")


def wakeups(pid: int) -> int:
    """How often the process has been put to sleep, which is how often it has been awake."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def test_an_idle_arbiter_sleeps(service: StartService, measured: Callable[[str], None]) -> None:
    """Less than two wake-ups a second in all."""
    seconds = 5.0
    site = service().start("--workers", "4", "--preload")
    site.wait_serving(4)
    site.wait_log(r"\bready:")
    began, before, cpu = time.monotonic(), wakeups(site.pid), processes.cpu_seconds(site.pid)
    site.wait_until(lambda: time.monotonic() >= began + seconds, "some idle seconds")
    count, used = wakeups(site.pid) - before, processes.cpu_seconds(site.pid) - cpu
    elapsed = time.monotonic() - began
    measured(f"{count} wake-ups and {used:.3f} s of CPU in {elapsed:.1f} idle seconds")
    assert count < 2 * elapsed
