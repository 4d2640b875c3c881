"""``check`` beside services that run: what it says of them, and that they do not notice."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import supervisor
from tests.process.conftest import StartService
from tests.process.harness import Service, free_port

GONE = 2**22 + 1
"""No process: above the largest pid that Linux gives (proc_sys_kernel(5), pid_max)."""


def check(directory: Path, *arguments: str) -> tuple[int, str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(supervisor.__file__).parents[1])}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PROBE_EVENTS": os.devnull}
    command = [sys.executable, "-m", "supervisor", "check", *arguments]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


def serves(site: Service) -> bool:
    return site.get().status == 200


@pytest.mark.parametrize("bind", ["tcp", "unix"])
def test_what_the_running_service_has_is_no_conflict(service: StartService, bind: str) -> None:
    site = service(bind=bind)
    address = "unix:web.sock" if bind == "unix" else site.address
    site.write("gunicorn.conf.py", f"pidfile = 'service.pid'\nbind = {address!r}\nworkers = 2\n")
    workers = site.start("-p", "service.pid").wait_serving(2)
    inode = site.socket_path.stat().st_ino if bind == "unix" else 0
    code, said = check(site.directory, "app:app")
    assert f"\n  pidfile service.pid: in use by the running arbiter ({site.pid})\n" in said
    assert f"\n  bind {address}: in use by the running arbiter ({site.pid})\n" in said
    assert (code, said.splitlines()[-1]) == (0, "It would start: no warnings.")
    assert serves(site)
    assert site.serving() == workers
    assert (site.socket_path.stat().st_ino if bind == "unix" else 0) == inode
    if bind == "tcp":
        code, said = check(site.directory, "app:app", "-p", "another.pid")
        assert code == 1
        holder = rf"bind = '{address}': the address is in use by process {site.pid} \(.*\); stop that one first"
        assert re.search(holder, said)
    site.stop()
    code, said = check(site.directory, "app:app")
    assert f"\n  bind {address}: free\n" in said
    assert code == 0
    assert not site.socket_path.exists()


def test_all_that_is_wrong_with_the_surroundings(service: StartService) -> None:
    site = service(bind=None)
    taken, path = socket.create_server(("127.0.0.1", 0)), site.directory / "taken.sock"
    port, free = taken.getsockname()[1], free_port()
    with taken, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        (site.directory / "a file").touch()
        binds = [f"127.0.0.1:{port}", "unix:taken.sock", "unix:none/s", "unix:a file", "fd://99", "192.0.2.1:0"]
        binds += [f"127.0.0.1:{free}", f"0.0.0.0:{free}"]
        site.write(
            "gunicorn.conf.py", f"bind = {binds!r}\npidfile = 'none/pid'\nerrorlog = 'none/log'\nlog_level = 1\n"
        )
        code, said = check(site.directory, "app:app", "--access-logfile", ".")
    assert code == 1
    problems = said.partition("\nProblems\n")[2]
    mine = rf"the address is in use by process {os.getpid()} \(.*\); stop that one first, or set another bind"
    for pattern in (
        rf"bind = '127.0.0.1:{port}': {mine} \(gunicorn.conf.py:1\)",
        rf"bind = 'unix:taken.sock': {mine}",
        r"bind = 'unix:none/s': the directory \S+/none does not exist",
        r"bind = 'unix:a file': there is a file that is not a socket",
        r"bind = 'fd://99': descriptor 99 is not an open socket here",
        r"bind = '192.0.2.1:0': Cannot assign requested address",
        rf"bind = '0.0.0.0:{free}': it clashes with the other bind 127.0.0.1:{free}",
        r"pidfile 'none/pid' cannot be written: the directory \S+/none does not exist \(gunicorn.conf.py:2\)",
        r"errorlog = 'none/log' cannot be opened: the directory \S+/none does not exist \(gunicorn.conf.py:3\)",
        r"accesslog = '\.' cannot be opened: it is not writable \(command line --access-logfile\)",
    ):
        assert re.search(pattern, problems), f"{pattern}\n{said}"
    assert "\n  log_level (gunicorn.conf.py:4) is no setting; did you mean loglevel?\n" in said, "warnings as well"
    assert path.exists()
    assert "\n  application app:app: loads in " in said


def test_left_behind_files_are_no_conflict(service: StartService) -> None:
    site = service(bind="unix")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(site.socket_path))
    site.pidfile.write_text(f"{GONE}\n")
    code, said = check(site.directory, "app:app", "-b", "unix:web.sock", "-p", "service.pid")
    assert code == 0, said
    assert "\n  pidfile service.pid: free (a stale one will be replaced)\n" in said
    assert site.socket_path.exists(), "looking changes nothing"
    site.socket_path.unlink()
    site.pidfile.unlink()


def test_what_does_not_survive_a_fork_is_a_warning(service: StartService) -> None:
    site = service()
    site.deploy("1", at_import="threading.Thread(target=time.sleep, args=(60,), name='metrics', daemon=True).start()")
    code, said = check(site.directory, "app:app", "-b", "127.0.0.1:0", "--preload")
    assert code == 0
    assert "\n  preload_app: importing the application leaves the thread 'metrics' behind, " in said
    assert "metrics" not in check(site.directory, "app:app", "-b", "127.0.0.1:0")[1]


def test_the_words_may_be_modules(service: StartService) -> None:
    site = service()
    code, said = check(site.directory, "-b", "127.0.0.1:0")
    assert code == 1
    assert "\n  No application is named: " in said
    site.write("check.py", (site.directory / "app.py").read_text().replace("app =", "application ="))
    assert check(site.directory, "check", "-b", "127.0.0.1:0")[0] == 0, "the command, of the module"
    site.start(app="check").wait_serving(1)
    site.wait_log(
        "Warning: check is taken for the application, since there is a module of this name here; write check "
    )
    site.stop()
