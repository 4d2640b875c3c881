"""The same configuration file under gunicorn and under us: which hook is called where, in which order, with what."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.parity import launching
from tests.process.harness import PATIENCE, free_port
from tests.process.test_gunicorn_classes import HIDDEN

CONFIGURATION = """
import json, os

bind = "127.0.0.1:{port}"
workers = 2
timeout = 20
graceful_timeout = 10
control_socket_disable = True
raw_env = ["OF_THE_FILE=1"]


def of_server(server):
    return [
        [isinstance(getattr(server, name), (int, float)) or type(getattr(server, name)).__name__ for name in ("pid",
            "num_workers", "worker_age", "address", "timeout", "proc_name", "WORKERS")],
        server.address == [("127.0.0.1", {port})], server.timeout, server.cfg.workers, server.cfg.env,
        server.cfg.settings["timeout"].value, server.app.app_uri, server.app.cfg is not None,
        [callable(getattr(server.log, name)) for name in ("info", "exception", "access", "atoms", "reopen_files")],
        server.log.error_log.name, server.log.access_log.name, server.master_name,
    ]

def of_worker(worker):
    return [
        isinstance(worker.age, int), worker.timeout, worker.alive, worker.aborted, worker.nr, len(worker.sockets),
        worker.max_requests > 10 ** 9, worker.app.app_uri,
        worker.cfg.bind, worker.log.error_log.name, str(worker).startswith("<Worker "),
        isinstance(worker.pid, int), callable(worker.tmp.last_update), isinstance(worker.ppid, int),
    ]

def of_request(req):
    return [
        req.method, req.path, req.query, req.uri, req.fragment, list(req.version), req.scheme, req.remote_addr[0],
        sorted(name for name, _ in req.headers),
    ]

def note(hook, here, *facts):
    line = json.dumps([hook, "arbiter" if here else "worker", os.getpid(), facts]) + "\\n"
    descriptor = os.open("hooks.jsonl", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, line.encode())
    os.close(descriptor)

def of_arbiter(name):
    def hook(server):
        note(name, os.getpid() == server.pid, of_server(server))
    return hook

def of_both(name):
    def hook(server, worker):
        if name == "child_exit":  # gunicorn's arbiter takes its dead workers for alive
            worker.alive = True
        note(name, os.getpid() == server.pid, of_server(server), of_worker(worker))
    return hook

def of_one(name):
    def hook(worker):
        note(name, os.getpid() != worker.pid, of_worker(worker), os.environ.get("OF_THE_FILE"))
    return hook

on_starting, on_reload, when_ready, on_exit = map(of_arbiter, ("on_starting", "on_reload", "when_ready", "on_exit"))
pre_fork, post_fork, child_exit, worker_exit = map(of_both, ("pre_fork", "post_fork", "child_exit", "worker_exit"))
post_worker_init = of_one("post_worker_init")

def nworkers_changed(server, new_value, old_value):
    # In gunicorn's first call, its arbiter has no pid yet.
    here = os.getpid() == getattr(server, "pid", os.getpid())
    note("nworkers_changed", here, new_value, old_value, server.num_workers)

def pre_request(worker, req):
    note("pre_request", os.getpid() != worker.pid, of_request(req))

def post_request(worker, req, environ, resp):
    keys = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "RAW_URI", "SERVER_PROTOCOL", "REMOTE_ADDR", "HTTP_X_ONE")
    values = [environ.get(key) for key in keys]
    note("post_request", os.getpid() != worker.pid, of_request(req), values, str(resp.status)[:3], resp.sent)
"""

APPLICATION = """
import os

def of_wsgi(environ, start_response):
    start_response("201 Created", [("Content-Length", "2")])
    return [b"ok"]

async def of_asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})

# gunicorn's own workers call the hooks of requests for WSGI applications; its ASGI worker has less to show.
app = of_wsgi if os.environ.get("WSGI") else of_asgi
"""

Call = tuple[str, str, int, Any]


class Run:
    """One server on the file, from its start to its end."""

    def __init__(self, directory: Path, program: str, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.directory = directory
        directory.mkdir()
        (directory / "gunicorn.conf.py").write_text(CONFIGURATION.replace("{port}", str(self.port)))
        (directory / "app.py").write_text(APPLICATION)
        self.process = launching.launch(
            launching.command(program, "app:app"), directory, directory / "log", environ=environment
        )

    def calls(self) -> list[Call]:
        try:
            lines = (self.directory / "hooks.jsonl").read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        return [tuple(json.loads(line)) for line in lines]

    def count(self, hook: str) -> int:
        return sum(call[0] == hook for call in self.calls())

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            going = time.monotonic() < end and self.process.poll() is None
            assert going, f"{(self.directory / 'log').read_text()} {self.calls()}"
            time.sleep(0.02)

    def live(self) -> None:
        """Start, one request, a worker more, a reload, the end."""
        self.wait(lambda: self.count("post_worker_init") == 2)
        self.wait(self._answers)
        self.wait(lambda: self.count("post_request") == 1)
        self.process.send_signal(signal.SIGTTIN)
        self.wait(lambda: self.count("post_worker_init") == 3)
        self.process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.count("child_exit") == 3 and self.count("post_worker_init") == 5)
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0

    def _answers(self) -> bool:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/a%20b?x=1", headers={"X-One": "1", "Connection": "close"})
            return connection.getresponse().status == 201
        except OSError:
            return False
        finally:
            connection.close()

    def close(self) -> None:
        launching.kill(self.process)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[dict[str, Run]]:
    made = {
        "gunicorn": Run(tmp_path / "gunicorn", "gunicorn", {"WSGI": "1"}),
        "ours": Run(tmp_path / "ours", "supervisor", {}),
        "alone": Run(tmp_path / "alone", "supervisor", HIDDEN),
    }
    yield made
    for run in made.values():
        run.close()


def test_hooks(runs: dict[str, Run]) -> None:
    for run in runs.values():
        run.live()
    theirs = runs.pop("gunicorn")
    for run in runs.values():
        assert Counter(call[:2] for call in run.calls()) == Counter(call[:2] for call in theirs.calls())
        for hook in {call[0] for call in theirs.calls()}:
            mine, expected = (facts_of(each, hook) for each in (run, theirs))
            assert mine == expected, hook
        assert start_of(run) == start_of(theirs)
        assert {tuple(life) for life in lives(run)} == {tuple(life) for life in lives(theirs)}
        assert run.calls()[-1][:2] == theirs.calls()[-1][:2] == ("on_exit", "arbiter")


def facts_of(run: Run, hook: str) -> set[str]:
    return {json.dumps(call[3]).replace(str(run.port), "PORT") for call in run.calls() if call[0] == hook}


def start_of(run: Run) -> list[str]:
    """The arbiter's hooks up to the second worker."""
    return [call[0] for call in run.calls() if call[1] == "arbiter"][:5]


def lives(run: Run) -> list[list[str]]:
    """The hooks of each worker, in order, without those of requests."""
    workers = {call[2] for call in run.calls() if call[1] == "worker"}
    return [
        [call[0] for call in run.calls() if call[2] == pid and not call[0].endswith("_request")]
        for pid in sorted(workers)
    ]
