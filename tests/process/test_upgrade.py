"""USR2: a new arbiter with the same sockets, under load; the way forward and the way back."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.process.conftest import StartService
from tests.process.harness import Service, free_port
from tests.process.load import Load, Outcome, Target, Traffic

TRAFFIC = (
    Traffic(rate=80),
    Traffic(rate=40, keep_alive=False),
    Traffic(rate=20, body=16 * 1024, piece=2048),
)


class Upgrades:
    """A service that is upgraded: which arbiter has the pidfile, and which one waits for it."""

    def __init__(self, site: Service) -> None:
        self.site = site
        self.path = Path(site.directory) / "service.pid"

    def arbiter(self, suffix: str = "") -> int:
        """The pid in the pidfile, 0 while there is none."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(Path(f"{self.path}{suffix}").read_text())
        return 0

    def start_new(self) -> int:
        """USR2 to the arbiter in office; the pid of the new one, once it is ready."""
        old = self.arbiter()
        os.kill(old, signal.SIGUSR2)
        self.site.wait_until(lambda: self.arbiter(".2"), "the new arbiter has a pidfile")
        new = self.arbiter(".2")
        self.site.wait_log(rf"\[{old}\].*the new arbiter \(pid {new}\) is ready")
        return new

    def go(self, pid: int, number: signal.Signals = signal.SIGTERM) -> None:
        """Have an arbiter stop, and wait until it has."""
        os.kill(pid, number)
        self.site.wait_until(lambda: not runs(pid), f"arbiter {pid} is gone")

    def promoted(self, pid: int) -> None:
        self.site.succeed(pid)
        self.site.wait_until(lambda: self.arbiter() == pid, f"arbiter {pid} has the pidfile")
        assert not self.arbiter(".2")


def target(site: Service) -> Target:
    return Target(str(site.socket_path) if site.socket_path.exists() else ("127.0.0.1", site.port))


def wait_for_heir(site: Service, old: int) -> None:
    """Wait until the arbiter ``old`` has gone by itself and the new one has its place."""
    upgrades = Upgrades(site)
    site.wait_until(lambda: not runs(old), f"arbiter {old} is gone")
    site.wait_until(lambda: upgrades.arbiter() not in (0, old), "the new one has the pidfile")
    upgrades.promoted(upgrades.arbiter())


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def upgradable(site: Service, *options: str) -> Upgrades:
    site.start("--workers", "2", "--preload", "--pid", "service.pid", *options)
    site.wait_serving(2)
    return Upgrades(site)


@pytest.fixture(params=["tcp", "unix"])
def site(request: pytest.FixtureRequest, service: StartService) -> Iterator[Service]:
    site = service(bind=request.param)
    yield site
    last = Upgrades(site).arbiter()
    if last and runs(last):
        os.kill(last, signal.SIGTERM)
        site.wait_until(lambda: not runs(last), "the last arbiter is gone")
    if not site.running:
        site.wait_until(site.is_gone, "no process is left")


def test_many_upgrades_under_load_lose_nothing_and_leak_nothing(site: Service) -> None:
    upgrades = upgradable(site)
    # What could add up is not the transport's.
    rounds = 4 if site.socket_path.exists() else 10
    descriptors = set()
    with Load(target(site), *TRAFFIC) as load:
        for round_ in range(rounds):
            old, new = upgrades.arbiter(), upgrades.start_new()
            upgrades.go(old)
            upgrades.promoted(new)
            site.wait_serving(2)
            if round_:  # the first one was started by the test, and has its descriptors
                descriptors.add(psutil.Process(new).num_fds())
        report = load.stop()
    assert not report.lost, report
    assert report.counts["answered"] > 0
    assert len(descriptors) == 1, descriptors


def test_with_upgrade_auto_the_old_one_goes_by_itself(site: Service) -> None:
    upgrades = upgradable(site, "--upgrade-auto")
    old = upgrades.arbiter()
    with Load(target(site), *TRAFFIC) as load:
        os.kill(old, signal.SIGUSR2)
        wait_for_heir(site, old)
        site.wait_serving(2)
        report = load.stop()
    assert not report.lost, report


def test_new_code_and_new_settings_are_served(site: Service) -> None:
    site.write("gunicorn.conf.py", "workers = 2\npreload_app = True\n")
    site.start("--pid", "service.pid", "--upgrade-auto").wait_serving(2, version="1")
    site.deploy("2")
    site.write("gunicorn.conf.py", "workers = 3\npreload_app = True\n")
    old = site.pid
    site.signal(signal.SIGUSR2)
    wait_for_heir(site, old)
    site.wait_serving(3, version="2")


@pytest.mark.parametrize("options", [(), ("--upgrade-auto",)], ids=["by hand", "auto"])
def test_a_new_arbiter_that_cannot_boot_changes_nothing(site: Service, options: tuple[str, ...]) -> None:
    upgrades = upgradable(site, *options)
    old, workers = upgrades.arbiter(), site.workers()
    site.deploy("2", at_import="raise RuntimeError('broken deploy')")
    site.expect_error("broken deploy")
    site.expect_error("Upgrade failed, this arbiter goes on")
    with Load(target(site), *TRAFFIC) as load:
        os.kill(old, signal.SIGUSR2)
        site.wait_log("Upgrade failed, this arbiter goes on.*exit code 3")
        report = load.stop()
    assert not report.lost, report
    assert site.workers() == workers
    assert upgrades.arbiter() == old
    site.deploy("3")
    new = upgrades.start_new() if not options else 0
    if new:
        upgrades.go(old)
        upgrades.promoted(new)
    else:
        os.kill(old, signal.SIGUSR2)
        wait_for_heir(site, old)
    site.wait_serving(2, version="3")


def test_the_way_back(site: Service) -> None:
    """As in gunicorn's manual: USR2, WINCH to the old one, then HUP to it and TERM to the new one."""
    upgrades = upgradable(site)
    old = upgrades.arbiter()
    with Load(target(site), *TRAFFIC) as load:
        new = upgrades.start_new()
        before = site.workers()
        os.kill(old, signal.SIGWINCH)
        site.wait_until(lambda: len(site.workers()) == 2, "the old arbiter's workers are gone")
        assert site.workers() < before
        os.kill(old, signal.SIGHUP)
        site.wait_log(rf"\[{old}\].*Reloaded")
        upgrades.go(new)
        report = load.stop()
    assert not report.lost, report
    site.expect_error("Upgrade failed, this arbiter goes on")
    site.wait_log("Upgrade failed, this arbiter goes on.*exit code 0")
    assert upgrades.arbiter() == old
    assert not upgrades.arbiter(".2")
    site.wait_serving(2)


A_AND_B = "bind = ['unix:a.sock', 'unix:b.sock']\n"


def moved_by_the_new_one(site: Service, old: int, upgrades: Upgrades) -> None:
    site.write("gunicorn.conf.py", "bind = 'unix:b.sock'\n")
    new = upgrades.start_new()
    upgrades.go(old)
    upgrades.promoted(new)
    assert not (site.directory / "a.sock").exists()


def added_by_the_old_one(site: Service, old: int, upgrades: Upgrades) -> None:
    new = upgrades.start_new()
    site.write("gunicorn.conf.py", A_AND_B)
    os.kill(old, signal.SIGHUP)
    site.wait_log(rf"\[{old}\].*Reloaded")
    upgrades.go(old)
    upgrades.promoted(new)
    assert (site.directory / "a.sock").exists()


def added_by_a_new_one_that_is_told_to_go(site: Service, _old: int, upgrades: Upgrades) -> None:
    new = upgrades.start_new()
    site.write("gunicorn.conf.py", A_AND_B)
    os.kill(new, signal.SIGHUP)
    site.wait_log(rf"\[{new}\].*Reloaded")
    upgrades.go(new)
    site.expect_error("Upgrade failed, this arbiter goes on")
    site.wait_log("Upgrade failed, this arbiter goes on")
    assert (site.directory / "a.sock").exists()


@pytest.mark.parametrize("change", [moved_by_the_new_one, added_by_the_old_one, added_by_a_new_one_that_is_told_to_go])
def test_sockets_that_one_of_them_has_go_with_it(
    service: StartService, change: Callable[[Service, int, Upgrades], None]
) -> None:
    site = service(bind=None)
    site.write("gunicorn.conf.py", "bind = 'unix:a.sock'\n")
    site.start("--pid", "service.pid")
    site.wait_log("Ready:")
    upgrades = Upgrades(site)
    change(site, upgrades.arbiter(), upgrades)
    last = upgrades.arbiter()
    os.kill(last, signal.SIGTERM)
    site.wait_until(lambda: not runs(last), "the last arbiter is gone")
    site.wait_until(site.is_gone, "no process is left")
    assert not list(site.directory.glob("*.sock"))


def test_an_address_that_the_new_one_does_not_keep_answers_until_it_refuses(service: StartService) -> None:
    site = service(bind=None)
    text = "bind = '127.0.0.1:{}'\nworkers = 2\npreload_app = True\n"
    site.write("gunicorn.conf.py", text.format(site.port))
    site.start("--pid", "service.pid")
    site.wait_log("Ready:")
    upgrades = Upgrades(site)
    old = upgrades.arbiter()
    with Load(target(site), *TRAFFIC, Traffic(rate=400, keep_alive=False)) as load:
        site.write("gunicorn.conf.py", text.format(free_port()))
        new = upgrades.start_new()
        upgrades.go(old)
        upgrades.promoted(new)
        answered = len(load.report.records)
        site.wait_until(lambda: len(load.report.records) > answered + 200, "the old address refuses")
    report = load.stop()
    assert {record.outcome for record in report.records} == {Outcome.ANSWERED, Outcome.REFUSED}, report
    assert not report.interleaved, report
    os.kill(new, signal.SIGTERM)
    site.wait_until(lambda: not runs(new), "the last arbiter is gone")
    site.wait_until(site.is_gone, "no process is left")


def test_a_new_arbiter_that_is_killed_leaves_nothing(site: Service) -> None:
    """The judgement after the test looks for the pidfile."""
    upgrades = upgradable(site)
    new = upgrades.start_new()
    site.expect_error(r"Upgrade failed, this arbiter goes on.*signal 9")
    os.kill(new, signal.SIGKILL)
    site.wait_log("Upgrade failed, this arbiter goes on")
    site.wait_serving(2)
    assert not upgrades.arbiter(".2")


def test_an_old_arbiter_without_workers_has_them_again_when_the_new_one_dies(site: Service) -> None:
    upgrades = upgradable(site)
    old, new = upgrades.arbiter(), upgrades.start_new()
    before = site.workers()
    os.kill(old, signal.SIGWINCH)
    site.wait_until(lambda: len(site.workers()) == 2, "the old arbiter's workers are gone")
    assert site.workers() < before
    site.expect_error(r"Upgrade failed, this arbiter goes on.*signal 9")
    os.kill(new, signal.SIGKILL)
    site.wait_log("Upgrade failed, this arbiter goes on")
    assert not before & set(site.wait_serving(2))


@pytest.mark.parametrize("mended", [True, False], ids=["good", "broken"])
def test_the_way_back_in_a_hurry(site: Service, mended: bool) -> None:
    """HUP to the old one and TERM to the new one at once: the workers come back, and no more than are wanted."""
    upgrades = upgradable(site)
    old, new = upgrades.arbiter(), upgrades.start_new()
    os.kill(old, signal.SIGWINCH)
    site.wait_until(lambda: len(site.workers()) == 2, "the old arbiter's workers are gone")
    site.expect_error("Upgrade failed, this arbiter goes on|Reload failed|broken deploy")
    site.deploy("2" if mended else "broken", at_import="" if mended else "raise RuntimeError('broken deploy')")
    os.kill(old, signal.SIGHUP)
    upgrades.go(new)
    site.wait_log("Reloaded: generation 2, 2 workers" if mended else "starting 2 again")
    site.wait_serving(2, version="2" if mended else "1")


def test_one_upgrade_at_a_time(site: Service) -> None:
    upgrades = upgradable(site)
    old, new = upgrades.arbiter(), upgrades.start_new()
    os.kill(old, signal.SIGUSR2)
    site.wait_log(rf"\[{old}\].*USR2 ignored")
    os.kill(new, signal.SIGUSR2)
    site.wait_log(rf"\[{new}\].*USR2 ignored")
    os.kill(new, signal.SIGHUP)
    site.wait_log(rf"\[{new}\].*Reloaded")
    upgrades.go(old)
    upgrades.promoted(new)


def test_the_old_arbiter_may_be_killed(site: Service) -> None:
    upgrades = upgradable(site)
    old, new = upgrades.arbiter(), upgrades.start_new()
    site.killed = True
    os.kill(old, signal.SIGKILL)
    upgrades.promoted(new)
    site.wait_serving(2)
