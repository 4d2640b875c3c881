"""Worker classes that derive from gunicorn's or Uvicorn's, with gunicorn installed and without."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import supervisor
from tests.process.conftest import StartService

WITHOUT = Path(__file__).parents[1] / "without_gunicorn"
SOURCE = Path(supervisor.__file__).parent.parent
HIDDEN: Mapping[str, str] = {"PYTHONPATH": os.pathsep.join(map(str, (WITHOUT, SOURCE)))}

installed = pytest.mark.parametrize("environment", [{}, HIDDEN], ids=["with gunicorn", "without"])

SUBCLASS = """
from probe import note
from {module} import UvicornWorker

class Mixin:
    def describe(self):
        return type(self).__name__

class Mine(Mixin, UvicornWorker):
    CONFIG_KWARGS = {{"loop": "asyncio", "http": "h11", "server_header": False, "headers": [("x-made-by", "mine")]}}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        note("init", given=len(args), half=self.timeout, app=self.app.app_uri, name=self.describe())

    def init_process(self):
        note("init_process", sockets=len(self.sockets))
        super(Mine, self).init_process()

    def init_signals(self):
        UvicornWorker.init_signals(self)

    async def _serve(self):
        note("serve", app=self.wsgi is not None)
        await super()._serve()

    async def callback_notify(self):
        note("notify")
        await super().callback_notify()

    def run(self):
        note("run", booted=self.booted)
        return super().run()

    def handle_exit(self, sig, frame):
        note("exit", signal=int(sig))
        super().handle_exit(sig, frame)
"""


@installed
@pytest.mark.parametrize("module", ["uvicorn.workers", "uvicorn_worker"])
@pytest.mark.parametrize("named", ["path", "class"])
def test_a_subclass_of_uvicorns_worker(
    service: StartService, environment: Mapping[str, str], module: str, named: str
) -> None:
    site = service()
    site.write("mine.py", SUBCLASS.format(module=module))
    chosen = "worker_class = 'mine.Mine'" if named == "path" else "from mine import Mine\nworker_class = Mine"
    quiet = "import warnings\nwarnings.simplefilter('ignore')\n"
    site.write("gunicorn.conf.py", f"{quiet}{chosen}\nworkers = 2\ntimeout = 1\n")
    site.start(environment={**environment, "PYTHONWARNINGS": "ignore"}).wait_serving(2)
    answer = site.get()
    assert (answer.headers.get("x-made-by"), answer.headers.get("server")) == ("mine", None)
    first = site.events("init")[0]
    assert (first["given"], first["half"], first["app"], first["name"]) == (7, 0.5, "app:app", "Mine")
    site.wait_event("notify", count=2)
    assert {event["sockets"] for event in site.events("init_process")} == {1}
    assert {event["app"] for event in site.events("serve")} == {True}
    assert {event["booted"] for event in site.events("run")} == {False}
    site.stop()
    assert len(site.events("exit")) == 2
    assert len(site.events("stopped")) == 2


OWN_LOOP = """
import os, selectors
from gunicorn.workers.base import Worker
from probe import note

class Mine(Worker):
    def init_process(self):
        note("init_process", pid_is_ours=self.pid == os.getpid())
        super().init_process()

    def run(self):
        note("started", version="1", loaded=callable(self.wsgi), half=self.timeout)
        with selectors.DefaultSelector() as selector:
            for listener in self.sockets:
                selector.register(listener, selectors.EVENT_READ)
            while self.alive:
                self.notify()
                for key, _ in selector.select(0.05):
                    try:
                        client, _ = key.fileobj.accept()
                    except BlockingIOError:
                        continue
                    with client:
                        client.settimeout(5)
                        client.recv(65536)
                        client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\nmine")
                    self.nr += 1
        note("stopping", version="1")

worker_class = Mine
workers = 2
timeout = 3

def post_worker_init(worker):
    note("post_worker_init", app=worker.app.app_uri)

def worker_exit(server, worker):
    note("worker_exit", same=isinstance(worker, Mine))
"""


@installed
def test_a_worker_with_a_loop_of_its_own(service: StartService, environment: Mapping[str, str]) -> None:
    site = service()
    site.write("gunicorn.conf.py", OWN_LOOP)
    before = site.start(environment=environment).wait_serving(2)
    assert site.get().body == b"mine"
    assert all(event["loaded"] and event["half"] == 1.5 for event in site.events("started"))
    assert all(event["pid_is_ours"] for event in site.events("init_process"))
    assert {event["app"] for event in site.events("post_worker_init")} == {"app:app"}
    site.hup()
    site.wait_until(lambda: not set(before) & site.workers(), "the workers are new ones")
    site.wait_serving(2)
    assert site.get().body == b"mine"
    site.stop()
    assert {event["same"] for event in site.events("worker_exit")} == {True}


OWN_SERVER = """
import uvicorn
from uvicorn.workers import UvicornWorker
from probe import note

class Mine(UvicornWorker):
    async def _serve(self):
        self.config.app = self.wsgi
        note("mine")
        await uvicorn.Server(self.config).serve(sockets=self.sockets)

worker_class = Mine
"""


@installed
def test_a_subclass_that_runs_uvicorns_server_itself(service: StartService, environment: Mapping[str, str]) -> None:
    site = service()
    site.write("gunicorn.conf.py", OWN_SERVER)
    site.start(environment={**environment, "PYTHONWARNINGS": "ignore"}).wait_serving(1)
    assert site.get().status == 200
    assert site.events("mine")
    assert "Mine._serve replaces a part of how requests are served" in site.log
    site.stop()


@installed
@pytest.mark.parametrize("base", ["sync.SyncWorker", "gthread.ThreadWorker"])
def test_a_subclass_of_gunicorns_worker_for_wsgi(
    service: StartService, environment: Mapping[str, str], base: str
) -> None:
    site = service()
    module, _, name = base.partition(".")
    site.write(
        "gunicorn.conf.py",
        f"from probe import note\nfrom gunicorn.workers.{module} import {name}\n"
        f"class Mine({name}):\n"
        "    def init_process(self):\n        note('init_process')\n        super().init_process()\n"
        "    def handle_exit(self, sig, frame):\n        note('exit')\n        super().handle_exit(sig, frame)\n"
        "    def run(self):\n        note('run')\n        super().run()\n"
        "worker_class = Mine\nworkers = 2\n",
    )
    site.start(environment=environment).wait_serving(2)
    assert site.get().status == 200
    site.stop()
    assert [len(site.events(name)) for name in ("init_process", "run", "exit")] == [2, 2, 2]


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT])
def test_a_handler_that_exits_as_gunicorns_do_ends_a_sync_worker(
    service: StartService, number: signal.Signals, busy: bool
) -> None:
    site = service()
    site.write(
        "app.py",
        "import os, time\nfrom probe import note\n"
        "def app(environ, start):\n"
        "    if environ['PATH_INFO'] == '/hang':\n"
        "        note('hanging')\n"
        "        while not os.path.exists('let_go'): time.sleep(0.01)\n"
        "    start('200 OK', [('Content-Length', '4')])\n    return [b'wsgi']\n",
    )
    site.write(
        "gunicorn.conf.py",
        "import sys\nfrom probe import note\nfrom gunicorn.workers.sync import SyncWorker\n"
        "class Mine(SyncWorker):\n"
        "    def leave(self, sig, frame):\n        note('told')\n        sys.exit(0)\n"
        "    handle_exit = handle_quit = handle_abort = leave\n"
        "worker_class = Mine\ndef worker_exit(server, worker): note('left')\n",
    )
    if number == signal.SIGABRT:
        site.expect_error(r"Worker 1 \(pid \d+\)", sure=False)
    site.start()
    site.wait_log("Ready:")
    (old,) = site.workers()
    hanging = site.connect()
    if busy:
        hanging.sendall(b"GET /hang HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n")
        site.wait_event("hanging")
    else:
        hanging.close()
    os.kill(old, number)
    site.wait_event("told")
    if busy and number == signal.SIGTERM:
        (site.directory / "let_go").touch()
        assert hanging.recv(100).startswith(b"HTTP/1.1 200 ")
    site.wait_event("left")
    site.wait_until(lambda: len(site.workers() - {old}) == 1, "the worker is replaced")
    (site.directory / "let_go").touch()
    hanging.close()
    assert site.get().body == b"wsgi"
    site.stop()


def test_a_handler_that_exits_ends_a_child_that_the_application_has_forked(service: StartService) -> None:
    site = service()
    site.write(
        "app.py",
        "import os, time\nfrom probe import note\n"
        "def app(environ, start):\n"
        "    if child := os.fork():\n"
        "        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "        start('200 OK', [])\n        return [str(code).encode()]\n"
        "    note('forked', child=os.getpid())\n"
        "    time.sleep(3600)\n",
    )
    site.write(
        "gunicorn.conf.py",
        "import sys\nfrom gunicorn.workers.sync import SyncWorker\n"
        "class Mine(SyncWorker):\n"
        "    def handle_exit(self, sig, frame): sys.exit(7)\n"
        "worker_class = Mine\n",
    )
    site.start()
    site.wait_log("Ready:")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(site.get)
        os.kill(site.wait_event("forked")["child"], signal.SIGTERM)
        assert answer.result().body == b"7"
    site.stop()


def test_gunicorns_sync_worker_with_a_change(service: StartService) -> None:
    site = service()
    site.write(
        "app.py", "def app(environ, start):\n    start('200 OK', [('Content-Length', '4')])\n    return [b'wsgi']\n"
    )
    site.write(
        "gunicorn.conf.py",
        "from probe import note\nfrom gunicorn.workers.sync import SyncWorker\n"
        "class Mine(SyncWorker):\n"
        "    def handle_request(self, *arguments):\n"
        "        note('request')\n        super().handle_request(*arguments)\n"
        "worker_class = Mine\nworkers = 2\n"
        "def post_request(worker, req, environ, resp):\n    note('post', status=resp.status)\n",
    )
    site.start()
    site.wait_log("Ready:")
    assert site.get().body == b"wsgi"
    site.wait_event("post")
    assert len(site.events("request")) == 1
    site.stop()
