"""Started from a program instead of the command line."""

from __future__ import annotations

import re

import pytest

from tests.process.conftest import StartService


def test_run(service: StartService) -> None:
    site = service()
    site.write(
        "launch.py",
        "import supervisor\n"
        f"supervisor.run('app:app', bind='{site.address}', workers=2, preload_app=True, pidfile='service.pid')\n",
    )
    site.start(script="launch.py").wait_serving(2)
    assert site.pidfile.read_text().strip() == str(site.pid)
    site.deploy("2")
    site.hup()
    site.wait_serving(2, version="2")


def test_run_reports_bad_settings_like_the_command_line(service: StartService) -> None:
    site = service()
    site.write("launch.py", f"import supervisor\nsupervisor.run('app:app', bind='{site.address}', worker=2)\n")
    site.expect_error(".", sure=False)
    site.start(script="launch.py")
    assert site.wait_exit() != 0
    assert re.search(r"worker", site.log)
    assert "workers" in site.log, "the nearest name is shown"


def test_an_arbiter_of_ones_own(service: StartService) -> None:
    """`Arbiter(settings).run()`, and what it returns is the exit code."""
    site = service()
    site.write(
        "launch.py",
        "import sys\n"
        "from supervisor import Arbiter\n"
        "from supervisor.config.load import Inputs, load\n"
        f"settings = load(Inputs('app:app', {{'bind': '{site.address}', 'workers': 2}}))\n"
        "code = Arbiter(settings).run()\n"
        "print('returned', code)\n"
        "sys.exit(code)\n",
    )
    site.start(script="launch.py").wait_serving(2)
    site.stop()
    assert "returned 0" in site.log


def test_an_application_object(service: StartService) -> None:
    """It is inherited by the forks: HUP renews the workers, cannot load new code, and says so."""
    site = service()
    site.write(
        "launch.py", f"import supervisor\nfrom app import app\nsupervisor.run(app, bind='{site.address}', workers=2)\n"
    )
    before = site.start(script="launch.py").wait_serving(2)
    site.deploy("2")
    site.hup()
    site.wait_until(lambda: not set(before) & site.workers(), "the workers are new ones")
    site.wait_serving(2, version="1")
    site.wait_log(r"\[WARNING\].*new code")


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("rereads", [True, False])
def test_a_launcher_that_has_imported_the_application(service: StartService, preload: bool, rereads: bool) -> None:
    """The forks inherit the module: it is said at the start, and at HUP, that this cannot load new code."""
    site = service()
    site.write(
        "launch.py",
        "import app\n"
        "from supervisor import Arbiter\n"
        "from supervisor.config.load import Inputs, load\n"
        f"values = {{'bind': '{site.address}', 'workers': 2, 'preload_app': {preload}}}\n"
        "inputs = Inputs('app:app', values)\n"
        f"Arbiter(load(inputs){', inputs' if rereads else ''}).run()\n",
    )
    before = site.start(script="launch.py").wait_serving(2)
    assert len(re.findall(r"\[WARNING\].*module app .*new code", site.log)) == 1, site.log
    site.deploy("2")
    site.hup()
    site.wait_until(lambda: not set(before) & site.workers(), "the workers are new ones")
    site.wait_serving(2, version="1")
    site.wait_log(r"\[WARNING\].*module app .*new code", count=2)


def test_a_launcher_that_has_imported_something_else(service: StartService) -> None:
    """New code of the application is loaded; what it shares with the launcher is named."""
    site = service()
    site.write("helper.py", "")
    site.write("launch.py", f"import helper, supervisor\nsupervisor.run('app:app', bind='{site.address}')\n")
    site.start(script="launch.py").wait_serving(1)
    site.deploy("2")
    site.hup()
    site.wait_serving(1, version="2")
    assert "new code" not in site.log
    assert re.search(r"HUP does not renew .*: helper$", site.log, re.MULTILINE), site.log


def test_a_configuration_file_may_import_the_application(service: StartService) -> None:
    """HUP reads it again, and then imports are fresh."""
    site = service()
    site.write("gunicorn.conf.py", "import app\nworkers = 2\npreload_app = True\n")
    site.start().wait_serving(2)
    site.deploy("2")
    site.hup()
    site.wait_serving(2, version="2")
    assert "new code" not in site.log
    assert "HUP does not renew" not in site.log


WORKER = """
from probe import note
from supervisor.workers.uvicorn import {base}

class Mine({base}):
    CONFIG_KWARGS = {{"server_header": False}}

    def run(self):
        note("mine", age=self.age)
        return super().run()
"""


@pytest.mark.parametrize("named", ["path", "class"])
def test_a_worker_class_of_ones_own(service: StartService, named: str) -> None:
    site = service()
    site.write("mine.py", WORKER.format(base="UvicornWorker"))
    value = "'mine.Mine'" if named == "path" else "Mine"
    site.write("gunicorn.conf.py", f"from mine import Mine\nworker_class = {value}\nworkers = 2\n")
    serving = site.start().wait_serving(2)
    assert {event["pid"] for event in site.events("mine")} == set(serving)
    assert "server" not in site.get().headers


@pytest.mark.parametrize(
    "name",
    [
        "uvicorn.workers.UvicornWorker",
        "uvicorn_worker.UvicornWorker",
        "uvicorn.workers.UvicornH11Worker",
        "uvicorn_worker.UvicornH11Worker",
        "supervisor.workers.uvicorn.UvicornH11Worker",
    ],
)
def test_worker_classes_by_the_names_that_files_use(service: StartService, name: str) -> None:
    site = service().start("--worker-class", name)
    site.wait_serving(1)
    assert site.get("/", body=b"x" * 20_000).json()["length"] == 20_000


def test_a_worker_class_that_does_not_exist(service: StartService) -> None:
    site = service().start("--worker-class", "no_such_package.Worker")
    site.expect_error(".", sure=False)
    assert site.wait_exit() != 0
    assert "no_such_package" in site.log


BARE = '''
import os
import selectors

class Bare:
    """Serves without asyncio: all that the contract asks for."""

    def __init__(self, context):
        self.context, self.age, self.pid, self.booted = context, context.age, os.getpid(), False

    def run(self):
        import signal
        wake, woken = os.pipe()
        signal.signal(signal.SIGTERM, lambda *_: os.write(woken, b"."))
        self.context.load_app()
        self.booted = True
        self.context.link.say_ready()
        selector = selectors.DefaultSelector()
        for source in (wake, self.context.link, *self.context.listeners):
            selector.register(source, selectors.EVENT_READ)
        while True:
            self.context.row.beat()
            for key, _ in selector.select(0.2):
                if key.fileobj == wake or key.fileobj is self.context.link:
                    return 0
                try:
                    connection, _ = key.fileobj.accept()
                except BlockingIOError:
                    continue
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\nbare")
                connection.close()
'''


def test_a_worker_that_only_keeps_the_contract(service: StartService) -> None:
    """The arbiter knows workers by `supervisor.protocols` alone."""
    site = service()
    site.write("bare.py", BARE)
    site.start("--worker-class", "bare.Bare", "--workers", "2", "--timeout", "1")
    site.wait_log(r"\bready\b.*2 workers")
    assert site.get().body == b"bare"
