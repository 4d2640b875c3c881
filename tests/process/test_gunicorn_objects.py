"""What files and launchers do with gunicorn's objects, done for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.process.conftest import StartService
from tests.process.test_gunicorn_classes import HIDDEN, installed


@pytest.mark.parametrize("thread", [False, True], ids=["in the hook", "in a thread"])
def test_a_worker_that_is_set_to_not_alive_is_replaced_first(service: StartService, thread: bool) -> None:
    site = service()
    site.write(
        "gunicorn.conf.py",
        "import threading\nworkers = 1\n"
        "def leave(worker):\n    worker.alive = False\n"
        "def post_request(worker, req):\n"
        "    if req.path == '/leave':\n"
        f"        {'threading.Thread(target=leave, args=(worker,)).start()' if thread else 'leave(worker)'}\n",
    )
    (first,) = site.start().wait_serving(1)
    assert site.get("/leave").status == 200
    site.wait_until(lambda: first not in site.workers(), "the worker has left")
    site.wait_serving(1)
    assert min(site.ready_counts()[1:]) == 1, "its replacement was there before"
    assert "worker.alive was set to False" in site.log
    site.stop()


def test_a_worker_that_is_set_to_not_alive_before_it_serves(service: StartService) -> None:
    site = service()
    site.write(
        "gunicorn.conf.py",
        "workers = 1\ndef post_fork(server, worker):\n    if worker.age == 1:\n        worker.alive = False\n",
    )
    site.expect_error(r"Worker 1 \(pid \d+\) died \(exit code 0\)")
    site.start().wait_serving(1)
    assert len(site.events("started")) == 1
    site.stop()


STATE = """
import os, signal, threading
from probe import note

workers = 1
SERVER = {}

def when_ready(server):
    note("app", uri=server.app.app_uri, callable=server.app.callable, level=server.log.loglevel)
    try:
        server.app.wsgi()
    except RuntimeError as error:
        note("refused", says=str(error))
    if not SERVER:
        SERVER["threads"] = threading.Timer(0, os.kill, (server.pid, signal.SIGTTIN))
        SERVER["threads"].start()
        SERVER["threads"].join()

def post_fork(server, worker):
    worker.max_requests = 3
    note("post_fork", same=server.app is worker.app, app=worker.app.wsgi() is worker.app.wsgi())

def post_worker_init(worker):
    before = signal.getsignal(signal.SIGTERM)
    def leave(number, frame):
        note("term", loaded=worker.wsgi is worker.app.callable, software=os.environ["SERVER_SOFTWARE"])
        before(number, frame)
    signal.signal(signal.SIGTERM, leave)

def pre_request(worker, req):
    req.mark = worker.nr

def post_request(worker, req, environ, resp):
    note("request", mark=req.mark, path=req.path, sent=resp.headers_sent, nr=worker.nr)
"""


def test_state_and_signals_of_hooks(service: StartService) -> None:
    site = service()
    site.write("gunicorn.conf.py", STATE)
    before = set(site.start().wait_serving(2))
    assert site.events("app")[0]["uri"] == "app:app"
    assert "the arbiter does not import the application" in site.events("refused")[0]["says"]
    assert {(event["same"], event["app"]) for event in site.events("post_fork")} == {(True, True)}
    while before & site.workers():
        assert site.get("/a%20b").status == 200
    first = site.events("request")[0]
    assert (first["mark"], first["path"], first["sent"]) == (0, "/a%20b", True)
    site.wait_serving(2)
    site.stop()
    terms = site.events("term")
    assert {(event["loaded"], event["software"].startswith("gunicorn/")) for event in terms} == {(True, True)}


NUMBERED = """
from probe import note

workers = 3

def pre_fork(server, worker):
    taken = {other.number for other in server.WORKERS.values() if other.alive}
    worker.number = min(set(range(1, 9)) - taken)

def post_worker_init(worker):
    note("number", number=worker.number, app=worker.app.callable is worker.wsgi is not None)
"""


def test_workers_that_are_numbered_by_what_the_others_have(service: StartService) -> None:
    """As files do for prometheus_client, whose files must not be shared. They are forked faster than they are known."""
    site = service()
    site.write("gunicorn.conf.py", NUMBERED)
    site.start().wait_serving(3)
    assert sorted(event["number"] for event in site.events("number")) == [1, 2, 3]
    assert all(event["app"] for event in site.events("number"))
    site.stop()


def test_a_hook_that_interrupts_the_worker_that_was_interrupted(service: StartService) -> None:
    site = service()
    site.write(
        "gunicorn.conf.py",
        "import os, signal\nfrom probe import note\nworkers = 1\n"
        "def worker_int(worker):\n    note('worker_int')\n    os.kill(worker.pid, signal.SIGINT)\n",
    )
    (worker,) = site.start().wait_serving(1)
    os.kill(worker, signal.SIGINT)
    site.wait_until(lambda: worker not in site.workers(), "the worker has left")
    site.wait_serving(1)
    site.expect_error("died|exited", sure=False)
    site.stop()
    assert len(site.events("worker_int")) == 1


@installed
@pytest.mark.parametrize(
    ("text", "header"),
    [("gunicorn.SERVER = 'shop'", "shop"), ("gunicorn.SERVER_SOFTWARE = 'shop'", "uvicorn"), ("", "uvicorn")],
)
def test_the_header_server(service: StartService, environment: Mapping[str, str], text: str, header: str) -> None:
    site = service()
    site.write("gunicorn.conf.py", f"import gunicorn\n{text}\n")
    site.start(environment=environment).wait_serving(1)
    assert site.get().headers["server"] == header
    site.stop()


LAUNCHER = """
import sys
from {module} import BaseApplication

class Site(BaseApplication):
    def __init__(self, target, options=None):
        self.options = options or {{}}
        self.target = target
        super().__init__()

    def load_config(self):
        for key, value in self.options.items():
            if key in self.cfg.settings and value is not None:
                self.cfg.set(key.lower(), value)

    def load(self):
        import app
        return app.app

def post_fork(server, worker):
    worker.log.info("forked %d", worker.age)

if __name__ == "__main__":
    Site(None, {{"bind": "{bind}", "workers": 2, "post_fork": post_fork, "nonsense": 1, "timeout": None}}).run()
"""


def test_a_custom_application(service: StartService) -> None:
    site = service()
    site.write("launch.py", LAUNCHER.format(module="supervisor.compat.app", bind=site.address))
    before = site.start(script="launch.py", environment={"GUNICORN_CMD_ARGS": "--workers 7"}).wait_serving(2)
    assert site.get().json()["version"] == "1"
    assert "forked 2" in site.log
    site.deploy("2")
    site.hup()
    site.wait_until(lambda: not set(before) & site.workers(), "the workers are new ones")
    site.wait_serving(2, version="2")
    site.stop()


def test_a_custom_application_of_the_command_line(service: StartService) -> None:
    site = service(bind=None)
    site.write("gunicorn.conf.py", f"workers = 2\nbind = '{site.address}'\n")
    site.write("launch.py", "from supervisor.compat.app import WSGIApplication\nWSGIApplication().run()\n")
    site.start("app:app", "--timeout", "9", script="launch.py").wait_serving(2)
    site.deploy("2")
    site.hup()
    site.wait_serving(2, version="2")
    site.stop()


def test_a_custom_application_that_cannot_be_configured(service: StartService) -> None:
    site = service()
    site.write(
        "launch.py",
        LAUNCHER.format(module="supervisor.compat.app", bind=site.address).replace('"workers": 2', '"workers": "x"'),
    )
    site.start(script="launch.py")
    assert site.wait_exit() == 1
    assert "Error: workers must be a whole number, not 'x'" in site.log


def test_hidden_means_hidden() -> None:
    """The tests without gunicorn would say nothing if it were found after all."""
    environ = {**HIDDEN, "PATH": os.environ["PATH"]}
    code = "import importlib.util as u; print(u.find_spec('gunicorn'), u.find_spec('uvicorn_worker'))"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None None"
