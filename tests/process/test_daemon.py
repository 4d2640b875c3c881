"""In the background: the command waits for the start, and says how it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.process.conftest import StartService
from tests.process.harness import Service
from tests.process.test_loss import pid_in_file

ARGUMENTS = ("--daemon", "--pid", "service.pid", "--error-logfile", "error.log", "--workers", "2")
FACTS = "note('facts', umask=oct(mask := os.umask(0)), again=os.umask(mask), streams=[os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]); print('from the application', flush=True)"  # noqa: E501 - one statement


def log(site: Service) -> str:
    path = site.directory / "error.log"
    return path.read_text() if path.exists() else ""


def started(site: Service, *arguments: str, **environment: str) -> Service:
    """A service whose command has returned with 0; the arbiter is the daemon from now on."""
    site.start(*ARGUMENTS, *arguments, environment=environment)
    assert site.wait_exit() == 0, site.log + log(site)
    assert "Ready: 2 workers" in log(site), "not before it is true"
    site.succeed(pid_in_file(site))
    return site


def stop(site: Service, number: signal.Signals = signal.SIGTERM) -> None:
    site.signal(number)
    site.wait_until(lambda: not site.running, "the daemon is gone")
    site.wait_until(site.is_gone, "no process is left")


def test_a_life(service: StartService) -> None:
    site = service()
    site.deploy("1", at_import=FACTS)
    started(site)
    assert site.get().status == 200
    assert os.getsid(site.pid) not in (site.pid, site.process.pid, os.getsid(0)), "it leads no session"
    assert site.log == "", "nothing to say on the terminal"
    facts = site.events("facts")
    assert {event["umask"] for event in facts} == {"0o22"}
    assert {tuple(event["streams"]) for event in facts} == {(os.devnull,) * 3}

    site.deploy("2")
    site.hup()
    site.wait_serving(2, version="2")
    site.signal(signal.SIGWINCH)
    site.wait_until(lambda: not site.workers(), "WINCH: there is no terminal whose window it could tell of")
    site.signal(signal.SIGHUP)
    site.wait_serving(2)
    stop(site)
    assert not site.pidfile.exists()


def test_an_upgrade_stays_in_the_background(service: StartService) -> None:
    site = started(service(), "--upgrade-auto")
    old = site.pid
    site.deploy("2")
    site.signal(signal.SIGUSR2)
    site.wait_until(lambda: pid_in_file(site) not in (0, old), "a new one is in office")
    site.succeed(pid_in_file(site))
    site.wait_serving(2, version="2")
    assert "daemon was killed" not in log(site)
    stop(site)


def test_killed(service: StartService) -> None:
    site = started(service())
    site.killed = True
    site.signal(signal.SIGKILL)
    site.wait_until(site.is_gone, "no process is left")


def test_output_that_leads_somewhere_is_kept(service: StartService) -> None:
    site = service()
    site.deploy("1", at_import=FACTS)
    started(site, "--enable-stdio-inheritance")
    assert "from the application" in site.log
    (stdin, stdout, stderr) = site.events("facts")[0]["streams"]
    assert stdin == os.devnull
    assert stdout == stderr == str(site.directory / "output.log")
    stop(site)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("raise ImportError('no such table')", 3, "ImportError: no such table"),
        ("import nonsense.of.mine", 3, "No module named 'nonsense'"),
        ("os._exit(7)", 3, "exit code 7"),
    ],
)
def test_what_cannot_boot(service: StartService, text: str, code: int, message: str) -> None:
    site = service()
    site.expect_error(".", sure=False)
    site.deploy("1", at_import=text)
    site.start(*ARGUMENTS, "--preload")
    assert site.wait_exit() == code
    assert message in site.log
    assert message in log(site)
    site.wait_until(site.is_gone, "no process is left")
    assert not site.pidfile.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", "-1"), "Error: workers must be at least 0, not -1"),
        (("--pid", "no/such/folder/service.pid"), "Error: pidfile '.*' cannot be written"),
    ],
)
def test_what_cannot_start(service: StartService, arguments: tuple[str, ...], message: str) -> None:
    site = service().start(*ARGUMENTS, *arguments)
    assert site.wait_exit() == 1
    site.wait_log(message)
    site.wait_until(site.is_gone, "no process is left")


def test_a_second_one(service: StartService) -> None:
    site = started(service())
    command = [sys.executable, "-m", "supervisor", "app:app", "--bind", "127.0.0.1:0", *ARGUMENTS]
    second = subprocess.run(command, cwd=site.directory, capture_output=True, text=True, env=os.environ)
    assert second.returncode == 1
    assert f"belongs to process {site.pid}" in second.stderr
    assert pid_in_file(site) == site.pid
    stop(site)


def test_without_workers_nobody_waits_for_them(service: StartService) -> None:
    site = service()
    site.start(*ARGUMENTS[:-1], "0")
    assert site.wait_exit() == 0
    site.succeed(pid_in_file(site))
    stop(site)


def test_killed_before_it_is_ready(service: StartService) -> None:
    site = service()
    site.deploy("1", startup="await asyncio.sleep(3600)")
    site.start(*ARGUMENTS)
    site.wait_event("starting")
    os.kill(pid_in_file(site), signal.SIGKILL)
    assert site.wait_exit() == 1
    assert "Error: the daemon was killed before it was ready." in site.log
    site.killed = True


def test_stopped_before_it_is_ready(service: StartService) -> None:
    site = service()
    site.deploy("1", startup="await asyncio.sleep(3600)")
    site.start(*ARGUMENTS)
    site.wait_event("starting")
    os.kill(pid_in_file(site), signal.SIGTERM)
    assert site.wait_exit() == 0
    site.wait_until(site.is_gone, "no process is left")


def test_who_stops_waiting_stops_nothing(service: StartService) -> None:
    site = service()
    site.deploy("1", startup="await asyncio.sleep(0 if os.path.exists('go') else 3600)")
    site.start(*ARGUMENTS, "--boot-timeout", "100")
    site.wait_event("starting")
    site.process.send_signal(signal.SIGINT)
    assert site.wait_exit() == -signal.SIGINT
    site.succeed(pid_in_file(site))
    site.write("go", "")
    site.hup()
    site.wait_serving(2)
    stop(site)


def test_a_service_manager_watches_the_process(service: StartService, tmp_path: Path) -> None:
    """To it a main process that ends is a service that has ended."""
    site = service().start(*ARGUMENTS, environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    site.wait_serving(2)
    assert site.process.poll() is None
    assert pid_in_file(site) == site.process.pid == psutil.Process(site.pid).pid
    assert "daemon (command line --daemon) is ignored: a service manager started this" in log(site)


def test_passed_sockets_go_with_it(service: StartService) -> None:
    """They are meant for the process that was started (LISTEN_PID), and stay at a reload too."""
    import socket

    from tests.process.test_systemd import LAUNCHER

    with socket.create_server(("127.0.0.1", 0)) as tcp:
        site = service(bind=None)
        site.port = tcp.getsockname()[1]
        site.write("launcher.py", LAUNCHER)
        site.start(str(tcp.fileno()), "app:app", *ARGUMENTS, script="launcher.py", pass_fds=[tcp.fileno()])
        assert site.wait_exit() == 0, site.log
        site.succeed(pid_in_file(site))
        site.deploy("2")
        site.hup()
        site.wait_serving(2, version="2")
        assert site.get().json()["version"] == "2"
        stop(site)
