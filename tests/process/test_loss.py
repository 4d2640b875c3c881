"""What an operator does loses no request: every one of them is counted, over each transport.

The load of every test has keep-alive and one-shot clients, bodies that arrive in pieces over time, slow answers and
streamed ones.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import pytest

from tests.process.certificates import Authority
from tests.process.conftest import StartService
from tests.process.connection import Outcome, Target
from tests.process.harness import Service, free_port
from tests.process.load import Load, Record, Report, Traffic

Measured = Callable[[str], None]

TRAFFIC = (
    Traffic(70),
    Traffic(40, keep_alive=False),
    Traffic(10, body=16384, pause=0.01),
    Traffic(10, keep_alive=False, body=16384, pause=0.01),
    Traffic(8, path="/sleep/0.2"),
    Traffic(8, path="/stream/6/0.05"),
    Traffic(4, keep_alive=False, path="/stream/6/0.05"),
)


@dataclass
class Site:
    """A service under load, reached over one transport."""

    service: Service
    authority: Authority | None
    options: tuple[str, ...] = ()

    @property
    def target(self) -> Target:
        if self.service.socket_path.exists():
            return Target(str(self.service.socket_path))
        return Target(("127.0.0.1", self.service.port), self.authority.client() if self.authority else None)

    def start(self, *arguments: str, workers: int = 2) -> Service:
        tls = self.authority.options if self.authority else ()
        self.service.start(
            "--workers", str(workers), "--preload", "--pid", "service.pid", *tls, *self.options, *arguments
        )
        self.service.wait_serving(workers)
        return self.service

    def load(self) -> Load:
        return Load(self.target, *TRAFFIC)


TRANSPORTS = ["tcp", "unix", "tls"]
WITH_REUSE_PORT = pytest.mark.parametrize("site", [*TRANSPORTS, "reuse_port"], indirect=True)
"""For what could leave one of several queues to itself."""


@pytest.fixture(params=TRANSPORTS)
def site(request: pytest.FixtureRequest, service: StartService) -> Site:
    made = service(bind="unix" if request.param == "unix" else "tcp")
    options = ("--reuse-port",) if request.param == "reuse_port" else ()
    return Site(made, Authority(made.directory) if request.param == "tls" else None, options)


def wait_served(site: Service, load: Load, count: int = 60) -> None:
    """Wait until ``count`` more requests than now have ended."""
    before = len(load.report.records)
    site.wait_until(lambda: len(load.report.records) >= before + count, f"{count} requests have ended")


@WITH_REUSE_PORT
def test_reloads(site: Site, measured: Measured) -> None:
    service = site.start()
    with site.load() as load:
        for version in ("2", "3"):
            wait_served(service, load)
            service.deploy(version)
            service.hup()
            service.wait_serving(2, version=version)
        wait_served(service, load)
    report = load.stop()
    measured(str(report))
    assert not report.lost, report
    assert min(service.ready_counts()) >= 2
    assert max(service.ready_counts()) <= 3, "surge is 1"
    assert {record.version for record in load.answers()} == {"1", "2", "3"}


@WITH_REUSE_PORT
def test_scaling(site: Site, measured: Measured) -> None:
    service = site.start()
    with site.load() as load:
        for number, workers in ((signal.SIGTTIN, 3), (signal.SIGTTIN, 4), *[(signal.SIGTTOU, n) for n in (3, 2, 1)]):
            wait_served(service, load)
            service.signal(number)
            service.wait_serving(workers)
        wait_served(service, load)
    report = load.stop()
    measured(str(report))
    assert not report.lost, report


def test_recycling(site: Site, measured: Measured) -> None:
    service = site.start("--max-requests", "60", "--max-requests-jitter", "60")
    with site.load() as load:
        service.wait_until(lambda: len(service.events("stopped")) >= 4, "four workers have retired")
    report = load.stop()
    measured(str(report))
    assert not report.lost, report
    assert min(service.ready_counts()) >= 2
    service.wait_serving(2)


@WITH_REUSE_PORT
def test_the_end_of_one_worker(site: Site, measured: Measured) -> None:
    service = site.start()
    with site.load() as load:
        for _ in range(2):
            wait_served(service, load)
            victim = min(service.serving())
            os.kill(victim, signal.SIGTERM)
            service.wait_until(lambda victim=victim: victim not in service.workers(), "it is gone")  # type: ignore[misc]
            service.wait_serving(2)
    report = load.stop()
    measured(str(report))
    assert not report.lost, report


def test_an_upgrade(site: Site, measured: Measured) -> None:
    service = site.start("--upgrade-auto")
    with site.load() as load:
        for version in ("2", "3"):
            wait_served(service, load)
            service.deploy(version)
            old = service.pid
            service.signal(signal.SIGUSR2)
            service.wait_until(lambda old=old: not runs(old), "the old arbiter is gone")  # type: ignore[misc]
            service.wait_until(lambda old=old: pid_in_file(service) not in (0, old), "a new one is in office")  # type: ignore[misc]
            service.succeed(pid_in_file(service))
            service.wait_serving(2, version=version)
        wait_served(service, load)
    report = load.stop()
    measured(str(report))
    assert not report.lost, report
    service.term()
    service.wait_until(lambda: not service.running, "the last arbiter is gone")
    service.wait_until(service.is_gone, "no process is left")


def test_a_stop_answers_or_refuses(site: Site, measured: Measured) -> None:
    """First all are answered, then all are refused; nothing in between is lost."""
    service = site.start()
    with site.load() as load:
        wait_served(service, load, 100)
        service.stop()
        wait_served(service, load, 50)
    report = load.stop()
    measured(str(report))
    assert {record.outcome for record in report.records} == {Outcome.ANSWERED, Outcome.REFUSED}, report
    assert not report.interleaved, report


def test_a_stop_of_the_whole_group_answers_or_refuses(site: Site, measured: Measured) -> None:
    """A service manager may send TERM to all processes at once: workers hear it before the arbiter has sealed."""
    service = site.start()
    with site.load() as load, Load(site.target, Traffic(600, keep_alive=False)) as more:
        wait_served(service, load, 100)
        os.killpg(service.pid, signal.SIGTERM)
        assert service.wait_exit() == 0
        wait_served(service, load, 50)
    reports = [load.stop(), more.stop()]
    measured("; ".join(map(str, reports)))
    for report in reports:
        assert {record.outcome for record in report.records} == {Outcome.ANSWERED, Outcome.REFUSED}, report
        assert not report.interleaved, report


@WITH_REUSE_PORT
def test_a_stop_answers_what_waits_behind_busy_workers(site: Site, measured: Measured) -> None:
    """50 requests are in flight, and 200 connections wait that nobody has accepted, when TERM comes."""
    service = site.start()
    slow = Load(site.target, Traffic(500, keep_alive=False, path="/sleep/1", limit=50, timeout=60))
    queued = Load(
        site.target, Traffic(1000, limit=100, timeout=60), Traffic(1000, keep_alive=False, limit=100, timeout=60)
    )
    late = Load(site.target, Traffic(40, timeout=60), Traffic(20, keep_alive=False, timeout=60))
    with contextlib.ExitStack() as under_way:
        under_way.enter_context(slow)
        service.wait_until(lambda: len(service.events("sleeping")) >= 50, "50 requests are in flight")
        under_way.enter_context(late)
        wait_served(service, late, 5)
        busy = []
        # One after the other: whoever is blocked takes no further one, and each blocks for a known time.
        while (so_far := len(service.events("blocking"))) < len(service.workers()):
            busy.append(Load(site.target, Traffic(5, keep_alive=False, path="/block/3", limit=1, timeout=60)))
            under_way.enter_context(busy[-1])
            service.wait_until(lambda n=so_far: len(service.events("blocking")) > n, "one more worker is busy")  # type: ignore[misc]
        assert blocked(service) == service.workers()
        under_way.enter_context(queued)
        service.wait_until(lambda: queued.connects == 200, "200 connections wait")
        assert not queued.report.records, "nobody has accepted one"
        service.stop()
        service.wait_until(lambda: refusals(late), "new ones are refused")
    reports = {name: load.stop() for name, load in [("slow", slow), ("queued", queued), ("late", late)]}
    reports["busy"] = Report([record for load in busy for record in load.stop().records])
    measured("; ".join(f"{name}: {report}" for name, report in reports.items()))
    for name in ("slow", "busy", "queued"):
        assert not reports[name].lost, reports[name]
    assert len(reports["queued"].records) == 200
    assert {record.outcome for record in reports["late"].records} == {Outcome.ANSWERED, Outcome.REFUSED}
    assert not Report([record for report in reports.values() for record in report.records]).interleaved


def test_a_moved_service_is_served_all_the_time(service: StartService, measured: Measured) -> None:
    """The new address answers before the old one refuses, and neither loses anything."""
    site = service(bind=None)
    old, new = site.port, free_port()
    site.write("gunicorn.conf.py", f"bind = '127.0.0.1:{old}'\nworkers = 2\npreload_app = True\n")
    site.start().wait_serving(2)
    with Load(Target(("127.0.0.1", old)), *TRAFFIC, Traffic(300, keep_alive=False)) as before:
        wait_served(site, before)
        site.write("gunicorn.conf.py", f"bind = '127.0.0.1:{new}'\nworkers = 2\npreload_app = True\n")
        site.deploy("2")
        site.hup()
        site.wait_until(lambda: accepts(new), "somebody listens at the new address")
        with Load(Target(("127.0.0.1", new)), *TRAFFIC) as after:
            site.wait_serving(2, version="2")
            wait_served(site, after)
            site.wait_until(lambda: refusals(before), "the old address refuses")
    reports = [before.stop(), after.stop()]
    measured("; ".join(map(str, reports)))
    assert {record.outcome for record in reports[0].records} == {Outcome.ANSWERED, Outcome.REFUSED}, reports[0]
    assert not reports[0].interleaved, reports[0]
    assert not reports[1].lost, reports[1]
    first_answer = min(record.ended for record in after.answers())
    first_refusal = min(record.ended for record in refusals(before))
    assert first_answer < first_refusal


def test_a_move_to_an_address_in_use_is_refused(service: StartService) -> None:
    site = service(bind=None)
    taken = free_port()
    text = "bind = [{}]\nworkers = 2\npreload_app = True\n"
    site.write("gunicorn.conf.py", text.format(f"'127.0.0.1:{site.port}'"))
    before = site.start().wait_serving(2)
    site.expect_error(rf"Reload refused.*{taken}")
    with socket.create_server(("127.0.0.1", taken)), Load(Target(("127.0.0.1", site.port)), *TRAFFIC) as load:
        site.write("gunicorn.conf.py", text.format(f"'127.0.0.1:{free_port()}', '127.0.0.1:{taken}'"))
        site.deploy("2")
        site.hup()
        site.wait_log("Reload refused")
        wait_served(site, load)
    assert not load.stop().lost, load.report
    assert site.wait_serving(2, version="1") == before


def test_hups_at_every_distance(service: StartService, measured: Measured) -> None:
    """50 HUPs, 1 to 50 ms apart, each with a version of its own."""
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    most = 0
    with Load(Target(("127.0.0.1", site.port)), *TRAFFIC) as load:
        for gap in range(50):
            site.deploy(str(gap + 2))
            site.hup()
            end = time.monotonic() + gap / 1000
            while time.monotonic() < end:
                most = max(most, len(site.workers()))
        site.wait_serving(2, version="51")
        wait_served(site, load)
    report = load.stop()
    measured(f"{report}; at most {most} workers at a time")
    assert not report.lost, report
    assert min(site.ready_counts()) >= 2
    pids = site.pids()
    assert (len(pids.loaders), len(pids.workers), pids.others) == (1, 2, [])


def test_a_worker_that_is_not_wanted_any_more_goes_at_once(service: StartService) -> None:
    """TERM meets it right after its fork, before it could install any handler: the order must not be lost."""
    site = service().start("--workers", "2", "--preload", "--graceful-timeout", "3600")
    site.wait_serving(2)
    for round_ in range(1, 21):
        # Both may arrive before either is acted on, in any order: the count is the same in the end.
        site.signal(signal.SIGTTIN)
        site.signal(signal.SIGTTOU)
        site.wait_log("Handling signal: ttin", count=round_)
        site.wait_log("Handling signal: ttou", count=round_)
    site.wait_serving(2)


@WITH_REUSE_PORT
def test_a_killed_worker_costs_only_what_it_had_in_flight(site: Site, measured: Measured) -> None:
    service = site.start()
    service.expect_error(r"killed by signal 9")
    victim = min(service.serving())
    with site.load() as load:
        wait_served(service, load)
        killed_at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        service.wait_until(lambda: victim not in service.workers(), "it is gone")
        service.wait_serving(2)
        gone_at = time.monotonic()
        wait_served(service, load)
    report = load.stop()
    measured(str(report))
    assert {record.outcome for record in report.lost} <= {Outcome.RESET_BEFORE, Outcome.RESET_MIDDLE}, report
    for record in report.lost:
        assert record.started < gone_at, "what came after it was not in its hands"
        assert record.ended > killed_at
    assert len(report.lost) <= 40, report


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def refusals(load: Load) -> list[Record]:
    return [record for record in load.report.records if record.outcome is Outcome.REFUSED]


def blocked(service: Service) -> set[int]:
    return {event["pid"] for event in service.events("blocking")}


def pid_in_file(service: Service) -> int:
    try:
        return int(service.pidfile.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
