"""Root gives way: the arbiter keeps it, what runs the application's code never has it, and everything else works on."""

from __future__ import annotations

import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.process.conftest import StartService
from tests.process.harness import Service
from tests.process.load import Load, Target, Traffic
from tests.process.test_loss import pid_in_file
from tests.process.test_reload import watcher
from tests.process.unprivileged import USER, reachable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")

ENTRY = pwd.getpwnam(USER)
WHO = "note('who', step={!r}, uids=os.getresuid(), gids=os.getresgid(), groups=os.getgroups())"
HOOKS = "import os\nfrom probe import note\n" + "".join(
    f"def {name}({parameters}):\n    {WHO.format(name)}\n"
    for name, parameters in {
        "on_starting": "server",
        "when_ready": "server",
        "pre_fork": "server, worker",
        "child_exit": "server, worker",
        "on_exit": "server",
        "post_fork": "server, worker",
        "post_worker_init": "worker",
        "worker_exit": "server, worker",
    }.items()
)
ARBITERS = {"on_starting", "when_ready", "pre_fork", "child_exit", "on_exit"}


def start(site: Service, *arguments: str, preload: bool = True) -> Service:
    site.deploy("1", at_import=WHO.format("import"), startup=WHO.format("lifespan"))
    if not (site.directory / "gunicorn.conf.py").exists():
        site.write("gunicorn.conf.py", HOOKS)
    more = ["--preload"] if preload else []
    return site.start("--user", USER, "--pid", "service.pid", *more, *arguments, prefix=reachable())


def owners(pids: list[int]) -> set[tuple[int, int]]:
    return {(psutil.Process(pid).uids().saved, psutil.Process(pid).gids().saved) for pid in pids}


def janitors(site: Service) -> list[int]:
    return [pid for pid in site.pids().others if "janitor" in " ".join(psutil.Process(pid).cmdline())]


@pytest.mark.parametrize(("preload", "initgroups"), [(True, False), (False, True)])
def test_who_runs_what(service: StartService, preload: bool, initgroups: bool) -> None:
    site = service(public=True)
    start(site, *(["--initgroups"] if initgroups else []), preload=preload).wait_serving(1)
    assert owners([site.pid]) == {(0, 0)}
    pids = site.pids()
    assert owners([*pids.workers, *pids.loaders]) == {(ENTRY.pw_uid, ENTRY.pw_gid)}
    site.stop()
    steps = {event["step"]: event for event in site.events("who")}
    assert set(steps) == ARBITERS | {"import", "lifespan", "post_fork", "post_worker_init", "worker_exit"}
    groups = os.getgrouplist(USER, ENTRY.pw_gid) if initgroups else [ENTRY.pw_gid]
    for step, event in steps.items():
        root = step in ARBITERS
        assert event["uids"] == [0 if root else ENTRY.pw_uid] * 3, step
        assert event["gids"] == [0 if root else ENTRY.pw_gid] * 3, step
        assert root or set(event["groups"]) == set(groups), step


def test_logs_sockets_and_the_pidfile(service: StartService) -> None:
    """A reload, new log files, another generation: what root has made is used by who is not root."""
    site = service(bind="unix", public=True)
    start(site, "--access-logfile", "access.log", "--error-logfile", "error.log", "--umask", "007")
    site.wait_serving(1)
    found = site.socket_path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (ENTRY.pw_uid, ENTRY.pw_gid, 0o770)
    assert site.pidfile.stat().st_uid == 0
    error_log = site.directory / "error.log"
    for log in (site.access_log, error_log):
        assert (log.stat().st_uid, stat.S_IMODE(log.stat().st_mode)) == (ENTRY.pw_uid, 0o640)
        log.rename(log.with_suffix(".1"))
    site.signal(signal.SIGUSR1)
    site.wait_until(lambda: site.access_log.exists() and error_log.exists(), "there are new ones")
    inode = site.access_log.stat().st_ino
    (worker,) = site.workers()
    site.wait_until(lambda: opened(worker, inode), "the worker has the new one")
    assert site.get().status == 200
    site.wait_until(lambda: "GET / HTTP/1.1" in site.access_log.read_text(), "the request is in the new log")
    site.deploy("2")
    site.hup()
    site.wait_serving(1, version="2")
    assert site.get().json()["version"] == "2"
    site.wait_until(lambda: len(janitors(site)) == 1, "the janitor before has gone with its loader")
    site.stop()
    assert "cannot reopen" not in error_log.read_text() + error_log.with_suffix(".1").read_text()


def opened(pid: int, inode: int) -> bool:
    folder = Path(f"/proc/{pid}/fd")
    return any(os.stat(folder / name).st_ino == inode for name in os.listdir(folder) if (folder / name).exists())


@pytest.mark.parametrize("preload", [True, False])
def test_a_killed_arbiter_leaves_nothing(service: StartService, preload: bool) -> None:
    """Pidfile and socket lie where the user may remove nothing. The judgement after the test looks for them."""
    site = service(bind="unix", public=True)
    start(site, preload=preload).wait_serving(1)
    site.kill_arbiter()
    site.wait_until(site.is_gone, "no process is left", timeout=10)


def test_a_killed_arbiter_of_a_blocked_worker(service: StartService) -> None:
    site = service(bind="unix", public=True)
    start(site, "--timeout", "0").wait_serving(1)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(site.get, "/block/3600")
        site.wait_event("blocking")
        site.kill_arbiter()
        site.wait_until(site.is_gone, "no process is left", timeout=15)
        assert isinstance(answer.exception(), OSError)


def test_a_killed_arbiter_that_was_loading(service: StartService) -> None:
    """The change of user clears the parent death signal, and it is set again: nobody imports on for nobody."""
    site = service(bind="unix", public=True)
    site.write("gunicorn.conf.py", "")
    site.deploy("1", at_import="note('importing'); time.sleep(3600)")
    site.start("--user", USER, "--preload", "--pid", "service.pid", prefix=reachable())
    site.wait_event("importing")
    assert owners(site.pids().loaders) == {(ENTRY.pw_uid, ENTRY.pw_gid)}
    site.kill_arbiter()
    site.wait_until(site.is_gone, "no process is left", timeout=10)


def test_a_lost_loader_and_a_stuck_worker(service: StartService) -> None:
    """The arbiter signals and replaces processes of another user; the dump of a stuck one arrives."""
    site = service(public=True)
    start(site, "--timeout", "1", "--workers", "2").wait_serving(2)
    site.expect_error("silent|loader of generation 1|signal|died|aborted|stuck|Traceback|File|in flight|killed")
    (loader,) = site.pids().loaders
    os.kill(loader, signal.SIGKILL)
    site.wait_until(lambda: site.pids().loaders not in ([], [loader]), "a new loader")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(site.get, "/block/3600")
        site.wait_log(r"probe\.py")
        assert isinstance(answer.exception(), OSError)
    site.wait_serving(2)
    assert owners(list(site.workers())) == {(ENTRY.pw_uid, ENTRY.pw_gid)}
    site.wait_until(lambda: len(janitors(site)) == 1, "one janitor for one loader")


def test_an_upgrade_under_load(service: StartService) -> None:
    site = service(public=True)
    start(site, "--upgrade-auto", "--workers", "2").wait_serving(2)
    with Load(Target(("127.0.0.1", site.port)), Traffic(50), Traffic(20, keep_alive=False)) as load:
        site.wait_until(lambda: len(load.report.records) > 50, "traffic")
        old = site.pid
        site.signal(signal.SIGUSR2)
        site.wait_until(lambda: pid_in_file(site) not in (0, old), "a new one is in office")
        site.succeed(pid_in_file(site))
        site.wait_serving(2)
    assert not load.report.lost, load.report
    assert owners([site.pid]) == {(0, 0)}
    site.term()
    site.wait_until(lambda: not site.running, "it has stopped")
    site.wait_until(site.is_gone, "no process is left")


def test_root_that_is_not_given_up_serves_nothing(service: StartService) -> None:
    """A system that refuses, played by one that knows no such user: it has no number there (user_namespaces(7))."""
    site = service(public=True)
    site.write("gunicorn.conf.py", "")
    site.expect_error("root cannot be given up for user 54321", sure=True)
    site.expect_error("Boot failed", sure=False)
    prefix = ["unshare", "--user", "--map-root-user"]
    site.start("--user", "54321", "--group", "54321", prefix=prefix)
    assert site.wait_exit() == 3
    assert not site.events("import")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--user", "no-such-user"], "Error: user names a user that does not exist: 'no-such-user'"),
        (["--group", "no-such-group"], "Error: group names a group that does not exist: 'no-such-group'"),
    ],
)
def test_nobody_of_that_name(service: StartService, arguments: list[str], message: str) -> None:
    site = service().start(*arguments)
    assert site.wait_exit() == 1
    assert [line for line in site.log.splitlines() if line] == [
        line for line in site.log.splitlines() if line.startswith(message)
    ]


def test_check_config_does_not_run_the_application_as_root(service: StartService) -> None:
    site = service(public=True)
    start(site, "--check-config")
    assert site.wait_exit() == 0, site.log
    (who,) = site.events("who")
    assert who["uids"] == [ENTRY.pw_uid] * 3


def test_the_watcher_is_not_root_either(service: StartService) -> None:
    """It imports a package, and removes files: both could be led astray by who may write to the project."""
    site = service(public=True)
    start(site, "--reload").wait_serving(1)
    site.wait_log("Watching")
    assert owners([watcher(site)]) == {(ENTRY.pw_uid, ENTRY.pw_gid)}
    site.deploy("2")
    site.wait_serving(1, version="2")
    site.kill_arbiter()
    site.wait_until(site.is_gone, "no process is left", timeout=10)


def test_what_the_janitor_costs(service: StartService) -> None:
    """It holds nothing open but the descriptor by which it sees the loader end, and heeds no signal of the group's."""
    site = service(public=True)
    start(site).wait_serving(1)
    (janitor,) = janitors(site)
    assert len(os.listdir(f"/proc/{janitor}/fd")) == 1
    began = time.monotonic()
    os.kill(janitor, signal.SIGTERM)
    os.kill(janitor, signal.SIGINT)
    assert site.get().status == 200
    assert psutil.pid_exists(janitor)
    assert time.monotonic() - began < 60


def test_the_same_as_gunicorn(service: StartService, tmp_path: Path) -> None:
    """Differential: uid, gid, owner of the socket. Only the groups differ: gunicorn's workers keep those of root."""
    site = service(bind="unix", public=True)
    site.write("gunicorn.conf.py", "")
    site.write(
        "wsgi.py",
        "import json, os\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Connection', 'close')])\n"
        "    return [json.dumps([os.getresuid(), os.getresgid(), os.getgroups()]).encode()]\n",
    )
    start(site, "--group", ENTRY_GROUP, preload=False).wait_serving(1)
    ours = (site.socket_path.stat().st_uid, site.socket_path.stat().st_gid)
    (worker,) = site.workers()
    process = psutil.Process(worker)
    theirs_path = site.directory / "gunicorn.sock"
    command = [*reachable(), sys.executable, "-m", "gunicorn", "wsgi:app", "-b", f"unix:{theirs_path}"]
    command += ["-u", USER, "-g", ENTRY_GROUP, "--no-control-socket"]
    with subprocess.Popen(command, cwd=site.directory, stderr=subprocess.DEVNULL) as gunicorn:
        try:
            site.wait_until(lambda: theirs_path.exists() and psutil.Process(gunicorn.pid).children(), "gunicorn serves")
            (child,) = psutil.Process(gunicorn.pid).children()
            site.wait_until(lambda: child.uids().real == ENTRY.pw_uid, "its worker has changed")
            assert (child.uids(), child.gids()) == (process.uids(), process.gids())
            assert (theirs_path.stat().st_uid, theirs_path.stat().st_gid) == ours
        finally:
            gunicorn.terminate()


ENTRY_GROUP = str(ENTRY.pw_gid)
