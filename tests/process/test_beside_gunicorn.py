"""Both are started with the same arguments, one after the other, and what can be seen of them is compared.

The application is WSGI for gunicorn and ASGI for us, and answers with the same facts. Where we differ on purpose, the
test says so.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.parity import launching
from tests.process.harness import PATIENCE, free_port
from tests.process.test_systemd import LAUNCHER

APP = """
import json, os, sys
PATH = list(sys.path)
def facts():
    mask = os.umask(0)
    os.umask(mask)
    names = ("STAGE", "EMPTY", "LISTEN_FDS", "LISTEN_PID")
    answer = {
        "pid": os.getpid(), "cwd": os.getcwd(), "umask": mask, "path": PATH, "session": os.getsid(0),
        "environ": {name: os.environ.get(name) for name in names},
        "streams": [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)],
    }
    return json.dumps(answer).encode()
def wsgi(environ, start_response):
    start_response("200 OK", [("Connection", "close")])
    return [facts()]
async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": facts()})
"""

T = TypeVar("T")
Address = tuple[str, int] | str


def get(address: Address) -> dict[str, Any]:
    """What the application answers. Raises `OSError` where nobody does."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(address)
        connection = http.client.HTTPConnection("localhost")
        connection.sock = sock
        connection.request("GET", "/")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer


def wait(look: Callable[[], T], what: str) -> T:
    """Poll until there is something to return, and nothing raises that a service causes which is not there yet."""
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException, psutil.Error):
            if found := look():
                return found
        assert time.monotonic() < end, what
        time.sleep(0.02)


@dataclass
class Peer:
    """One of the two: ``name`` is "gunicorn" or "supervisor". ``arbiter`` is its pid where it is a daemon's."""

    name: str
    directory: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    arbiter: int = 0

    @property
    def log(self) -> str:
        return (self.directory / f"{self.name}.log").read_text(errors="replace")

    def command(self, *arguments: str) -> list[str]:
        app = "app:wsgi" if self.name == "gunicorn" else "app:asgi"
        return launching.command(self.name, app, *arguments)

    def start(
        self, *arguments: str, environ: Mapping[str, str] | None = None, pass_fds: Sequence[int] = (), launch: str = ""
    ) -> subprocess.Popen[bytes]:
        command = self.command(*arguments)
        if launch:
            script = LAUNCHER.replace('"-m", "supervisor"', f'"-m", "{self.name}"')
            command = [sys.executable, "-c", script, launch, *command[command.index(self.name) + 1 :]]
        output = self.directory / f"{self.name}.log"
        self.processes.append(launching.launch(command, self.directory, output, environ=environ, pass_fds=pass_fds))
        return self.processes[-1]

    def facts(self, address: Address) -> dict[str, Any]:
        return wait(lambda: get(address), f"{self.name} answers\n{self.log}")

    def stop(self) -> int:
        """TERM, and the exit code of the process that was started last."""
        process = self.processes[-1]
        if self.arbiter:
            os.kill(self.arbiter, signal.SIGTERM)
            wait(lambda: not psutil.pid_exists(self.arbiter) or is_zombie(self.arbiter), "the daemon has stopped")
            self.arbiter = 0
        elif process.poll() is None:
            process.terminate()
        return process.wait(PATIENCE)

    def kill(self) -> None:
        for process in self.processes:
            launching.kill(process)
        if self.arbiter:
            launching.kill_tree(self.arbiter)


def is_zombie(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[list[Peer]]:
    (tmp_path / "app.py").write_text(APP)
    made = [Peer("gunicorn", tmp_path), Peer("supervisor", tmp_path)]
    yield made
    for peer in made:
        peer.kill()


def test_directory_environment_and_path(peers: list[Peer], tmp_path: Path) -> None:
    """``chdir`` (relative, through a symbolic link), ``raw_env``, ``pythonpath``; the umask is not changed."""
    release = tmp_path / "release"
    for folder in ("lib", "other"):
        (release / folder).mkdir(parents=True)
    (tmp_path / "current").symlink_to("release")
    (tmp_path / "app.py").rename(release / "app.py")
    seen = []
    for peer in peers:
        port = free_port()
        peer.start(
            *("--chdir", "current", "--env", "STAGE=a=b", "-e", "EMPTY=", "--umask", "077"),
            *("--pythonpath", "lib,other", "-b", f"127.0.0.1:{port}"),
        )
        facts = peer.facts(("127.0.0.1", port))
        ours = [entry for entry in facts["path"] if Path(entry).is_relative_to(tmp_path) and Path(entry).exists()]
        seen.append((facts["cwd"], facts["environ"], facts["umask"], list(dict.fromkeys(ours))))
        assert peer.stop() == 0
    assert seen[0][:3] == seen[1][:3]
    assert seen[0][:2] == (str(release), {"STAGE": "a=b", "EMPTY": "", "LISTEN_FDS": None, "LISTEN_PID": None})
    # The same directories in the same order. On purpose, ours keep the name of the link: after it was moved, a reload
    # imports from where it leads then, while gunicorn's have been resolved.
    current = tmp_path / "current"
    assert [Path(entry) for entry in seen[0][3]][:3] == [release / "other", release / "lib", current]
    assert [Path(entry) for entry in seen[1][3]][:3] == [current / "other", current / "lib", current]


@pytest.mark.parametrize(
    "form", [":{port}", "localhost:{port}", "[::1]:{port}", "unix:a.sock", "unix://{folder}/a.sock", "environment"]
)  # fmt: skip
def test_forms_of_bind(peers: list[Peer], tmp_path: Path, form: str) -> None:
    """The same text is the same address, with the same owner and mode of the file; PORT is every interface."""
    seen = []
    for peer in peers:
        port = free_port()
        bind = ["--bind", form.format(port=port, folder=tmp_path)]
        address: Address = ("::1" if "::1" in form else "127.0.0.1", port)
        if "unix" in form:
            address = str(tmp_path / "a.sock")
        peer.start(*([] if form == "environment" else bind), environ={"PORT": str(port)})
        peer.facts(address)
        listening = {
            connection.laddr[0]
            for connection in psutil.Process(peer.processes[-1].pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        mode = os.stat(address).st_mode if isinstance(address, str) else None
        assert peer.stop() == 0
        seen.append((listening, mode, (tmp_path / "a.sock").exists()))
    assert seen[0] == seen[1]
    assert not seen[0][2]


def test_several_binds_and_a_descriptor(peers: list[Peer], tmp_path: Path) -> None:
    for peer in peers:
        port = free_port()
        peer.start("-b", f"127.0.0.1:{port}", "-b", "unix:a.sock")
        assert peer.facts(("127.0.0.1", port))["cwd"] == peer.facts(str(tmp_path / "a.sock"))["cwd"]
        assert peer.stop() == 0
        with socket.create_server(("127.0.0.1", 0)) as tcp:
            peer.start("-b", f"fd://{tcp.fileno()}", pass_fds=[tcp.fileno()])
            peer.facts(tcp.getsockname())
            assert peer.stop() == 0


def test_socket_activation(peers: list[Peer]) -> None:
    """The passed socket is used instead of ``bind``; the application sees nothing of it, and it stays open."""
    for peer in peers:
        with socket.create_server(("127.0.0.1", 0)) as tcp:
            peer.start("-b", "127.0.0.1:1", pass_fds=[tcp.fileno()], launch=str(tcp.fileno()))
            environ = peer.facts(tcp.getsockname())["environ"]
            assert (environ["LISTEN_FDS"], environ["LISTEN_PID"]) == (None, None), peer.name
            assert peer.stop() == 0
            assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_the_pidfile(peers: list[Peer], tmp_path: Path) -> None:
    """Content, mode, its end; a stale one is replaced."""
    path = tmp_path / "service.pid"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for peer in peers:
        port = free_port()
        path.write_text(f"{ended.pid}\n")
        peer.start("-p", "service.pid", "-b", f"127.0.0.1:{port}")
        peer.facts(("127.0.0.1", port))
        assert path.read_text() == f"{peer.processes[-1].pid}\n", peer.name
        assert path.stat().st_mode & 0o777 == 0o644, peer.name
        first = peer.processes[-1]
        second = peer.start("-p", "service.pid", "-b", "127.0.0.1:0")
        assert second.wait(PATIENCE) == 1, peer.name
        assert path.read_text() == f"{first.pid}\n", peer.name
        first.terminate()
        assert first.wait(PATIENCE) == 0
        assert not path.exists(), peer.name


def test_the_pidfile_of_a_process_that_is_no_server(peers: list[Peer], tmp_path: Path) -> None:
    """On purpose: any process that lives blocks gunicorn; we ask whether its owner still locks the file."""
    path = tmp_path / "service.pid"
    gunicorn, ours = peers
    path.write_text(f"{os.getpid()}\n")
    assert gunicorn.start("-p", "service.pid", "-b", "127.0.0.1:0").wait(PATIENCE) == 1
    port = free_port()
    ours.start("-p", "service.pid", "-b", f"127.0.0.1:{port}")
    ours.facts(("127.0.0.1", port))
    assert ours.stop() == 0


@pytest.mark.parametrize("keep", [False, True])
def test_a_daemon(peers: list[Peer], tmp_path: Path, keep: bool) -> None:
    """A session of its own, umask 022, streams that lead nowhere or (``-R``) where they did; its pid in the pidfile."""
    seen = []
    for peer in peers:
        port = free_port()
        arguments = ["-D", "-p", "service.pid", "--log-file", "error.log", "-b", f"127.0.0.1:{port}"]
        starter = peer.start(*arguments, *(["-R"] if keep else []))
        assert starter.wait(PATIENCE) == 0
        if peer.name == "supervisor":
            get(("127.0.0.1", port))  # on purpose: the command returns when it answers; gunicorn's returns at once
        facts = peer.facts(("127.0.0.1", port))
        peer.arbiter = int((tmp_path / "service.pid").read_text())
        assert psutil.Process(facts["pid"]).ppid() == peer.arbiter
        assert facts["session"] not in (os.getsid(0), starter.pid, peer.arbiter)
        streams = [stream.replace(peer.name, "NAME") for stream in facts["streams"]]
        seen.append((facts["umask"], facts["cwd"], streams))
        peer.stop()
        assert not (tmp_path / "service.pid").exists()
    assert seen[0] == seen[1]
    output = str(tmp_path / "NAME.log") if keep else os.devnull
    assert seen[0] == (0o022, str(tmp_path), [os.devnull, output, output])


def test_spew(peers: list[Peer]) -> None:
    """The lines of the application, in the same form."""
    lines = []
    for peer in peers:
        port = free_port()
        peer.start("--spew", "-b", f"127.0.0.1:{port}", "--timeout", "0")
        peer.facts(("127.0.0.1", port))
        wait(lambda peer=peer: "return json.dumps(answer).encode()" in peer.log, f"{peer.name} prints the last line")  # type: ignore[misc]
        lines.append([line for line in peer.log.splitlines() if line.startswith("app:") and "def " not in line])
        peer.kill()
    of_facts = [[line for line in found if "umask" in line or "json.dumps" in line] for found in lines]
    assert of_facts[0][:4] == of_facts[1][:4]
    assert len(of_facts[0]) >= 4
