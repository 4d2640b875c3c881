"""A hundred workers."""

from __future__ import annotations

from tests.process import processes
from tests.process.conftest import StartService

WORKERS = 100


def test_a_hundred_workers(service: StartService) -> None:
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
    print(f"the arbiter's CPU time for {WORKERS} workers: boot {booted:.2f} s, reload {reloaded - booted:.2f} s")
