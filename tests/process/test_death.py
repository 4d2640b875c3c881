"""Sudden death of any process of the tree."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.process import processes
from tests.process.conftest import StartService
from tests.process.harness import PATIENCE


@pytest.mark.parametrize("bind", ["tcp", "unix"])
@pytest.mark.parametrize("preload", [True, False])
def test_of_the_arbiter(service: StartService, preload: bool, bind: str) -> None:
    """The judgement after the test asserts that nothing is left within two seconds, pidfile and socket included."""
    site = service(bind=bind)
    site.start("--workers", "4", "--pid", "service.pid", *(["--preload"] if preload else []))
    site.wait_serving(4)
    site.kill_arbiter()


@pytest.mark.parametrize("moment", ["importing", "starting"])
def test_of_the_arbiter_while_it_boots(service: StartService, moment: str) -> None:
    site = service()
    site.deploy("1", at_import="note('importing'); time.sleep(0.5)", startup="await asyncio.sleep(3600)")
    site.start("--workers", "2", "--preload")
    site.wait_event(moment)
    site.kill_arbiter()


def test_of_the_arbiter_with_a_request_in_flight(service: StartService) -> None:
    """It is still answered; then the worker leaves."""
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(site.get, "/sleep/1")
        site.wait_event("sleeping")
        site.kill_arbiter()
        assert answer.result().status == 200


def test_of_the_arbiter_of_a_blocked_worker(service: StartService) -> None:
    """A worker whose event loop is stuck cannot notice; there must be no orphan all the same."""
    site = service().start("--workers", "2", "--preload", "--timeout", "0")
    site.wait_serving(2)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(site.get, "/block/3600")
        site.wait_event("blocking")
        site.kill_arbiter()
        site.wait_until(site.is_gone, "no process is left", timeout=10)
        assert isinstance(answer.exception(), OSError)


def test_of_all_at_once_and_a_second_start(service: StartService) -> None:
    """Nobody could remove the pidfile and the Unix socket: they are left, and stand in nobody's way."""
    site = service(bind="unix").start("--workers", "2", "--preload", "--pid", "service.pid")
    site.wait_serving(2)
    everybody = site.processes()
    for each in everybody:
        each.suspend()
    for each in everybody:
        each.kill()
    site.wait_exit()
    site.wait_until(site.is_gone, "no process is left")
    assert site.pidfile.exists()
    assert site.socket_path.exists()
    site.start("--workers", "2", "--preload", "--pid", "service.pid")
    site.wait_serving(2)
    assert site.get().status == 200


@pytest.mark.parametrize("preload", [True, False])
def test_of_a_worker(service: StartService, preload: bool) -> None:
    site = service().start("--workers", "2", *(["--preload"] if preload else []))
    before = site.wait_serving(2)
    victim, survivor = sorted(before)
    site.expect_error(rf"{victim}.*(signal 9|killed)")
    os.kill(victim, signal.SIGKILL)
    site.wait_until(lambda: victim not in site.workers(), "the victim is gone")
    assert survivor in site.wait_serving(2)
    assert not processes.zombies(site.pid)


@pytest.mark.parametrize("preload", [True, False])
def test_of_the_loader(service: StartService, preload: bool) -> None:
    """The workers serve on; a new loader stands ready for the next crash."""
    site = service().start("--workers", "2", *(["--preload"] if preload else []))
    before = site.wait_serving(2)
    (loader,) = site.pids().loaders
    site.expect_error(r"loader|killed")
    os.kill(loader, signal.SIGKILL)
    site.wait_until(lambda: site.pids().loaders not in ([], [loader]), "a new loader")
    assert site.serving() == before
    assert site.get().status == 200
    victim, survivor = sorted(before)
    os.kill(victim, signal.SIGKILL)
    site.wait_until(lambda: victim not in site.workers(), "the victim is gone")
    assert survivor in site.wait_serving(2)
    assert len(site.pids().loaders) == 1


def test_of_a_worker_whose_loader_is_stopped(service: StartService) -> None:
    """The loader is woken when it is needed, instead of being given up for dead after a while."""
    site = service().start("--workers", "2", "--preload")
    before = site.wait_serving(2)
    (loader,) = site.pids().loaders
    site.expect_error(r"killed")
    os.kill(loader, signal.SIGSTOP)
    victim, survivor = sorted(before)
    os.kill(victim, signal.SIGKILL)
    site.wait_until(lambda: victim not in site.workers(), "the victim is gone")
    assert survivor in site.wait_serving(2)
    assert site.pids().loaders == [loader]


def test_of_everybody_but_the_arbiter(service: StartService) -> None:
    site = service().start("--workers", "3", "--preload")
    before = site.wait_serving(3)
    site.expect_error(r"loader|killed|signal 9")
    for pid in [*site.pids().loaders, *before]:
        os.kill(pid, signal.SIGKILL)
    site.wait_until(lambda: not set(before) & site.workers(), "the victims are gone")
    site.wait_serving(3)
    assert site.get().status == 200


def test_of_a_worker_that_exits_by_itself(service: StartService) -> None:
    """An application may call ``os._exit(0)``: that, too, is a worker less."""
    site = service().start("--workers", "2", "--preload")
    before = site.wait_serving(2)
    site.expect_error(r"died|exit code 0")
    with pytest.raises(OSError, match=r".*"):
        site.get("/exit/0")
    site.wait_until(lambda: len(set(before) & site.workers()) == 1, "one is gone")
    site.wait_serving(2)


def namespace_command() -> list[str]:
    """What starts a process as PID 1 of a namespace of its own; skips the test where the system forbids it."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    for more in ([], ["--user", "--map-root-user"]):
        prefix = [command[0], *more, *command[1:]]
        if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode == 0:
            return prefix
    pytest.skip("this system lets nobody make a PID namespace")


def test_as_pid_1(service: StartService) -> None:
    """No zombies, not even those that others leave behind, and a TERM that PID 1 has a handler for."""
    site = service()
    orphan = (
        "import subprocess; subprocess.Popen(['sh', '-c', '(sleep 0.2; exit 0) & (sleep 0.3; exit 1) & exit 0']).wait()"
    )
    site.deploy("1", startup=orphan)
    site.expect_error(r"signal 9|killed", sure=False)
    site.start("--workers", "2", "--preload", prefix=namespace_command())
    site.wait_until(lambda: len(site.events("started")) == 2, "two workers")
    assert site.get().json()["pid"] < 1000, "pids are those of the namespace"
    arbiter = site.pid
    victims = site.workers()
    os.kill(min(victims), signal.SIGKILL)
    site.wait_until(lambda: len(site.events("started")) == 3, "a replacement")
    site.wait_until(lambda: not site.pids().others, "the orphans have ended")
    site.wait_until(lambda: not processes.zombies(arbiter), "no zombie", timeout=PATIENCE)
    os.kill(arbiter, signal.SIGTERM)
    assert site.wait_exit() == 0


def test_of_the_arbiter_of_a_worker_that_is_stuck_in_c(service: StartService) -> None:
    """It cannot run the handler of any signal. The loader outlives the arbiter for its sake."""
    site = service()
    site.start("--workers", "2", "--preload", "--timeout", "0", "--graceful-timeout", "1").wait_serving(2)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(site.get, "/stuck")
        site.wait_event("stuck")
        site.kill_arbiter()
        site.wait_until(site.is_gone, "no process is left")
        assert isinstance(answer.exception(), OSError)


def test_of_the_arbiter_of_a_stuck_worker_of_an_older_generation(service: StartService) -> None:
    """The loader that has forked it is gone since the reload; the one that came after it looks after it."""
    site = service().start("--workers", "2", "--preload", "--timeout", "0", "--graceful-timeout", "2")
    old = set(site.wait_serving(2))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(site.get, "/stuck")
        site.wait_event("stuck")
        site.hup()
        site.wait_log("Draining worker", count=2)
        site.wait_until(lambda: len(old & site.workers()) == 1, "the other one has gone")
        site.kill_arbiter()
        site.wait_until(site.is_gone, "no process is left")
        assert isinstance(answer.exception(), OSError)


@pytest.mark.parametrize("how", ["the link moves", "the setting changes"])
def test_a_pidfile_goes_along_with_the_working_directory(service: StartService, how: str) -> None:
    """``chdir`` is the link that a deployment moves, or another directory after it."""
    site = service()
    for release in ("r1", "r2"):
        (site.directory / release).mkdir()
        for name in ("app.py", "probe.py"):
            shutil.copy(site.directory / name, site.directory / release)
    link = site.directory / "current"
    link.symlink_to("r1")
    text = "chdir = {!r}\npidfile = 'x.pid'\n"
    site.write("gunicorn.conf.py", text.format("current" if "link" in how else "r1"))
    site.start().wait_serving(1)
    if "link" in how:
        link.unlink()
        link.symlink_to("r2")
    else:
        site.write("gunicorn.conf.py", text.format("r2"))
    site.hup()
    site.wait_log("Reloaded")
    assert [path.parent.name for path in site.directory.rglob("*/x.pid") if not path.parent.is_symlink()] == ["r2"]
    site.stop()
    assert not list(site.directory.rglob("x.pid"))
