"""What an operator does loses no request: every one of them is counted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.process.conftest import StartService
from tests.process.harness import Service
from tests.process.load import Load, Outcome, Target, Traffic

Measured = Callable[[str], None]

TRAFFIC = (
    Traffic(100, keep_alive=True),
    Traffic(60, keep_alive=False),
    Traffic(15, keep_alive=True, body=16384),
    Traffic(15, keep_alive=False, body=16384),
    Traffic(10, keep_alive=True, path="/sleep/0.2"),
)


def target(site: Service, bind: str) -> Target:
    return Target(str(site.socket_path)) if bind == "unix" else Target(("127.0.0.1", site.port))


def served(load: Load, count: int) -> Callable[[], bool]:
    """Whether ``count`` more requests than now have ended."""
    before = len(load.report.records)
    return lambda: len(load.report.records) >= before + count


@pytest.mark.parametrize("bind", ["tcp", "unix"])
def test_reloads_under_load(service: StartService, bind: str, measured: Measured) -> None:
    site = service(bind=bind).start("--workers", "2", "--preload")
    site.wait_serving(2)
    with Load(target(site, bind), *TRAFFIC) as load:
        for version in ("2", "3", "4"):
            site.wait_until(served(load, 50), "traffic on the old version")
            site.deploy(version)
            site.hup()
            site.wait_serving(2, version=version)
        site.wait_until(served(load, 50), "traffic on the last version")
    report = load.stop()
    measured(str(report))
    assert not report.lost, report
    assert min(site.ready_counts()) >= 2
    assert {record.version for record in load.answers()} == {"1", "2", "3", "4"}


def test_scaling_under_load(service: StartService, measured: Measured) -> None:
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    with Load(target(site, "tcp"), *TRAFFIC) as load:
        for number, workers in ((signal.SIGTTIN, 3), (signal.SIGTTIN, 4), *[(signal.SIGTTOU, n) for n in (3, 2, 1)]):
            site.wait_until(served(load, 50), "traffic")
            site.signal(number)
            site.wait_serving(workers)
        site.wait_until(served(load, 50), "traffic on the last worker")
    report = load.stop()
    measured(str(report))
    assert not report.lost, report


def test_a_drained_worker_under_load(service: StartService, measured: Measured) -> None:
    site = service().start("--workers", "2", "--preload")
    serving = site.wait_serving(2)
    with Load(target(site, "tcp"), *TRAFFIC) as load:
        for _ in range(3):
            site.wait_until(served(load, 50), "traffic")
            victim = min(serving)
            os.kill(victim, signal.SIGTERM)
            site.wait_until(lambda victim=victim: victim not in site.workers(), "it is gone")  # type: ignore[misc]
            serving = site.wait_serving(2)
    report = load.stop()
    measured(str(report))
    assert not report.lost, report


@pytest.mark.parametrize("bind", ["tcp", "unix"])
def test_a_stop_under_load_answers_or_refuses(service: StartService, bind: str, measured: Measured) -> None:
    """First all are answered, then all are refused; nothing in between is lost."""
    site = service(bind=bind).start("--workers", "2", "--preload")
    site.wait_serving(2)
    with Load(target(site, bind), *TRAFFIC) as load:
        site.wait_until(served(load, 100), "traffic")
        site.stop()
        site.wait_until(served(load, 50), "refusals")
    report = load.stop()
    measured(str(report))
    kinds = {record.outcome for record in report.records}
    assert kinds == {Outcome.ANSWERED, Outcome.REFUSED}, report


def test_a_killed_worker_costs_only_what_it_had_in_flight(service: StartService, measured: Measured) -> None:
    site = service().start("--workers", "2", "--preload")
    site.expect_error(r"killed by signal 9")
    serving = site.wait_serving(2)
    with Load(target(site, "tcp"), *TRAFFIC) as load:
        site.wait_until(served(load, 50), "traffic")
        os.kill(min(serving), signal.SIGKILL)
        site.wait_until(lambda: min(serving) not in site.workers(), "it is gone")
        site.wait_serving(2)
        site.wait_until(served(load, 100), "traffic")
    report = load.stop()
    measured(str(report))
    assert {record.outcome for record in report.lost} <= {Outcome.RESET_BEFORE, Outcome.RESET_MIDDLE}
    assert len(report.lost) <= 60, report
