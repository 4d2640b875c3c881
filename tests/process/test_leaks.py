"""Nothing grows: not over many lives of the arbiter, not over many reloads of one."""

from __future__ import annotations

import os
import signal

from tests.process import processes
from tests.process.conftest import StartService
from tests.process.harness import Service


def test_ten_boots_and_stops(service: StartService) -> None:
    site = service(bind="unix")
    for number in range(10):
        site.start("--workers", "2", "--pid", "service.pid", *(["--preload"] if number % 2 else []))
        site.wait_serving(2)
        assert site.get().status == 200
        site.stop()
        site.assert_clean()


def census(site: Service) -> tuple[int, list[int], list[int]]:
    """Descriptors of the arbiter, of its loaders and of its workers."""
    roles = site.pids()
    return (
        processes.descriptors(site.pid),
        sorted(map(processes.descriptors, roles.loaders)),
        sorted(map(processes.descriptors, roles.workers)),
    )


def test_descriptors_stay_constant_over_reloads_and_crashes(service: StartService) -> None:
    site = service().start("--workers", "2", "--preload")
    site.expect_error(r"killed|died")
    serving = site.wait_serving(2)
    site.wait_log(r"\bready:")
    first = census(site)
    for number in range(2, 10):
        site.deploy(str(number))
        site.hup()
        serving = site.wait_serving(2, version=str(number))
        victim = min(serving)
        os.kill(victim, signal.SIGKILL)
        site.wait_until(lambda victim=victim: victim not in site.workers(), "the victim is gone")  # type: ignore[misc]
        site.wait_serving(2)
    site.wait_until(lambda: census(site) == first, "as many descriptors as in the beginning", timeout=10)
    assert not processes.zombies(site.pid)
