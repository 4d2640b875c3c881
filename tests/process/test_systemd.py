"""Under systemd, which is played by the test: sockets that are passed on, a socket that listens to notifications."""

from __future__ import annotations

import http.client
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import StartService
from tests.process.harness import Service

ROOT = Path(__file__).parent.parent.parent
UNIT = re.compile(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)

LAUNCHER = """
import os, sys
# What systemd does between fork and exec: the sockets are numbered from 3, the variables name this process.
fds = [int(fd) for fd in sys.argv[1].split(",")]
spare = [os.dup2(fd, 50 + position) for position, fd in enumerate(fds)]
for position, fd in enumerate(spare):
    os.dup2(fd, 3 + position, inheritable=True)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join("x" for _ in fds))
if "WATCHDOG_USEC" in os.environ:
    os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "supervisor", *sys.argv[2:]])
"""

SEES = """
names = sorted(name for name in os.environ if name.startswith(("LISTEN", "NOTIFY", "WATCHDOG")))
note("environment", names=names)
"""


class Manager:
    """The service manager's end of ``NOTIFY_SOCKET``: each message with the pid that the kernel vouches for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._heard: list[tuple[int, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        self._socket.bind(address)

    def heard(self) -> list[tuple[int, str]]:
        """All messages so far."""
        try:
            while True:
                data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
                (_, _, credentials) = ancillary[0]
                self._heard.append((struct.unpack("iII", credentials)[0], data.decode()))
        except BlockingIOError:
            return list(self._heard)

    def messages(self, pid: int) -> list[str]:
        """What this process said."""
        return [message for sender, message in self.heard() if sender == pid]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.close()


def start_activated(site: Service, listeners: list[socket.socket], *arguments: str, **environment: str) -> Service:
    site.write("launcher.py", LAUNCHER)
    fds = [listener.fileno() for listener in listeners]
    passed = ",".join(map(str, fds))
    return site.start(passed, "app:app", *arguments, script="launcher.py", environment=environment, pass_fds=fds)


def test_passed_sockets_are_served_and_outlive_the_service(service: StartService, tmp_path: Path) -> None:
    path = tmp_path / "passed.sock"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        site = service(bind=None)
        site.port = tcp.getsockname()[1]
        site.deploy("1", at_import=SEES)
        start_activated(site, [tcp, unix], "--bind", "127.0.0.1:1", "--workers", "2").wait_serving(2, version="1")
        assert site.get().status == 200
        assert get_unix(path) == 200
        site.wait_log(rf"Listening at: unix:{re.escape(str(path))}")

        site.deploy("2", at_import=SEES)
        site.hup()
        site.wait_serving(2, version="2")
        assert site.get().json()["version"] == "2"
        assert get_unix(path) == 200

        site.stop()
        assert path.exists(), "it is the manager's"
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=45)
        connection.request("GET", "/", headers={"Connection": "close"})  # waits in the queue for the next start
        start_activated(site, [tcp, unix], "--workers", "1").wait_serving(1)
        assert connection.getresponse().status == 200
        connection.close()
    assert {tuple(event["names"]) for event in site.events("environment")} == {()}


def test_sockets_for_another_process_are_not_touched(service: StartService) -> None:
    site = service()
    site.deploy("1", at_import=SEES)
    site.start(environment={"LISTEN_PID": "1", "LISTEN_FDS": "2"}).wait_serving(1)
    assert site.get().status == 200
    assert {tuple(event["names"]) for event in site.events("environment")} == {()}


def test_a_passed_descriptor_that_is_no_listening_socket(service: StartService, tmp_path: Path) -> None:
    with socket.socket() as idle:
        site = service(bind=None)
        start_activated(site, [idle])
        assert site.wait_exit() == 1
    assert "bind = 'fd://3'" in site.log
    site.expect_error("descriptor 3 is a socket that does not listen", sure=False)


def test_what_systemd_hears_of_a_life(service: StartService, manager: Manager) -> None:
    site = service()
    site.deploy("1", at_import=SEES)
    site.start("--workers", "2", environment={"NOTIFY_SOCKET": manager.address})
    site.wait_until(lambda: ready(manager, site) == 1, "the service is ready")
    assert len(site.events("started")) == 2, "not before it is true"
    booting, *_, served = manager.messages(site.pid)
    assert booting == "STATUS=booting: 0 of 2 workers"
    assert served == "READY=1\nSTATUS=serving: 2 workers, generation 1"

    site.deploy("2", at_import=SEES)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    site.hup()
    site.wait_until(lambda: "generation 2" in manager.messages(site.pid)[-1] and ready(manager, site) == 2, "reloaded")
    reloading, done = manager.messages(site.pid)[-2:]
    since = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)\nSTATUS=reloading to generation 2", reloading)
    assert since
    assert before <= int(since[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert done == "READY=1\nSTATUS=serving: 2 workers, generation 2"

    count = len(manager.messages(site.pid))
    site.stop()
    stopping = manager.messages(site.pid)[count:]
    assert stopping[:2] == ["STOPPING=1", "STATUS=stopping: 2 workers draining"]
    assert stopping[-1] == "STATUS=stopping"
    assert {sender for sender, _ in manager.heard()} == {site.pid}, "only the main process speaks"
    assert {tuple(event["names"]) for event in site.events("environment")} == {()}


def test_the_watchdog_is_fed_while_a_worker_serves(service: StartService, manager: Manager) -> None:
    site = service()
    site.start(environment={"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"})
    site.wait_until(lambda: manager.messages(site.pid).count("WATCHDOG=1") >= 5, "five pings")
    first = next(message for message in manager.messages(site.pid) if not message.startswith("STATUS="))
    assert first.startswith("READY=1"), "no ping before that"


def test_an_upgrade_names_the_new_arbiter(service: StartService, manager: Manager) -> None:
    """With passed sockets and a watchdog: the new arbiter is given what was meant for the old one."""
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        site = service(bind=None)
        site.port = tcp.getsockname()[1]
        site.deploy("1", at_import=SEES)
        environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
        start_activated(site, [tcp], "--workers", "1", "--upgrade-auto", **environment).wait_serving(1)
        old = site.pid
        site.signal(signal.SIGUSR2)
        site.wait_until(lambda: any(m.startswith("MAINPID=") for m in manager.messages(old)), "a new main process")
        said = manager.messages(old)
        assert said[-1].startswith("MAINPID="), "and then the old one is silent"
        assert "STOPPING=1" not in str(said)
        new = int(said[-1].removeprefix("MAINPID="))
        site.wait_until(lambda: "READY=1\nSTATUS=serving: 1 worker, generation 1" in manager.messages(new), "it speaks")
        site.succeed(new)
        assert said == manager.messages(old)
        assert manager.messages(new)[0] in ("WATCHDOG=1", "READY=1\nSTATUS=serving: 1 worker, generation 1")
        pings = manager.messages(new).count("WATCHDOG=1")
        site.wait_until(lambda: manager.messages(new).count("WATCHDOG=1") > pings, "the new one feeds the watchdog")
        assert site.get().status == 200
        site.deploy("2", at_import=SEES)
        site.hup()
        site.wait_serving(1, version="2")
        assert site.get().json()["version"] == "2"
        # That a process is gone, the arbiter hears a moment later.
        site.wait_log("Reloaded")
        site.term()
        site.wait_until(lambda: not site.running and site.is_gone(), "no process is left")
    assert manager.messages(new)[-3] == "STOPPING=1"
    assert manager.messages(new)[-2:] == ["STATUS=stopping: 1 worker draining", "STATUS=stopping"]
    assert {tuple(event["names"]) for event in site.events("environment")} == {()}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_units_of_the_documentation_are_sound(tmp_path: Path) -> None:
    units = dict(UNIT.findall((ROOT / "docs" / "how-to" / "systemd.md").read_text()))
    assert set(units) == {"shop.service", "shop-web.socket", "shop-web.service"}
    for name, text in units.items():
        # The one thing that cannot be had here: that a program stands there.
        (tmp_path / name).write_text(text.replace("/srv/shop/.venv/bin/python", sys.executable))
    assert verify(tmp_path, *units) == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_a_unit_that_is_not_sound_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "wrong.service").write_text(f"[Service]\nExecStart={sys.executable}\nKillMode=gentle\nWatchDog=3\n")
    complaints = verify(tmp_path, "wrong.service")
    assert "kill mode" in complaints
    assert "WatchDog" in complaints


def verify(directory: Path, *units: str) -> str:
    """What systemd has to say against these units of the directory; what it says of the machine's own is left out."""
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(directory / name) for name in units)],
        capture_output=True,
        text=True,
    )
    lines = (found.stdout + found.stderr).splitlines()
    return "\n".join(line for line in lines if any(name in line for name in units))


def ready(manager: Manager, site: Service) -> int:
    return sum(message.startswith("READY=1") for message in manager.messages(site.pid))


def get_unix(path: Path) -> int:
    connection = http.client.HTTPConnection("localhost", timeout=45)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(45)
    connection.sock.connect(str(path))
    connection.request("GET", "/", headers={"Connection": "close"})
    status = connection.getresponse().status
    connection.close()
    return status
