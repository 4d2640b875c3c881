"""Configuration files, hooks and applications that do what they should not: the service goes on."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from tests.process.conftest import StartService
from tests.process.connection import Target
from tests.process.load import Load, Traffic

CHILD = "import os, time\ndef fork():\n    pid = os.fork()\n    while not pid:\n        time.sleep(1)\n    return pid\n"
HANGS = "import time\ntime.sleep(3600)\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HANGS, "was not read within boot_timeout"),
        ("import os\nos._exit(5)\n", "exit code 5"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "signal 11"),
    ],
    ids=["hangs", "exits", "crashes"],
)
def test_a_configuration_that_hangs_or_ends_the_process_at_hup(service: StartService, text: str, said: str) -> None:
    site = service()
    site.write("gunicorn.conf.py", "workers = 2\nboot_timeout = 1\n")
    before = set(site.start().wait_serving(2))
    site.write("gunicorn.conf.py", text)
    site.expect_error("Reload refused")
    site.hup()
    site.wait_log(f"Reload refused.*{said}")
    assert site.workers() == before
    site.write("gunicorn.conf.py", "workers = 1\n")
    site.hup()
    assert not before & set(site.wait_serving(1))


FACTORY = "import sys, os\ndef make(**_):\n    {}\nlogconfig_dict = {{'handlers': {{'console': {{'()': make}}}}}}\n"


@pytest.mark.parametrize(
    "text",
    [
        "logconfig_dict = {'loggers': {'shop': None}}\n",
        "logconfig_dict = {'root': ['console']}\n",
        FACTORY.format("1 / 0"),
        FACTORY.format("sys.exit(5)"),
        FACTORY.format("os._exit(5)"),
    ],
    ids=["no logger", "a list", "raises", "exits", "ends the process"],
)
def test_a_logging_configuration_that_cannot_be_used_at_hup(service: StartService, text: str) -> None:
    site = service()
    site.write("gunicorn.conf.py", "workers = 2\n")
    before = set(site.start().wait_serving(2))
    site.write("gunicorn.conf.py", f"workers = 2\n{text}")
    site.expect_error("Reload refused")
    site.hup()
    site.wait_log("Reload refused, nothing has changed")
    assert set(site.wait_serving(2)) == before


def test_a_configuration_that_changes_while_it_is_tried_is_tried_again(service: StartService) -> None:
    """What the arbiter reads is what was tried: here the one that replaces it would end the process."""
    site = service()
    site.write("gunicorn.conf.py", "workers = 1\n")
    before = set(site.start().wait_serving(1))
    tried = "import pathlib, time\npathlib.Path('tried').touch()\ntime.sleep(1)\n"
    site.write("gunicorn.conf.py", tried)
    site.expect_error("Reload refused")
    site.hup()
    site.wait_until((site.directory / "tried").exists, "it is being tried")
    site.write("gunicorn.conf.py", "import os\nos._exit(5)\n")
    site.wait_log("Reload refused.*exit code 5")
    assert site.workers() == before


RAISING_FILTER = """
import logging
class Filter(logging.Filter):
    def filter(self, record):
        if 'hup' in record.getMessage():
            raise AttributeError('request_id')
        return True
logconfig_dict = {'filters': {'f': {'()': Filter}}, 'loggers': {'gunicorn.error': {
    'level': 'INFO', 'handlers': ['error_console'], 'propagate': False, 'filters': ['f']}}}
"""
UNSPEAKABLE = """
class Unspeakable(Exception):
    def __str__(self):
        raise SystemExit(3)
def on_reload(server):
    raise Unspeakable
"""
ENDLESS = "def on_reload(server):\n    raise ValueError('x')\non_reload.__wrapped__ = on_reload\n"
UNPICKLABLE = """
class Unpicklable:
    def __reduce__(self):
        raise SystemExit(9)
def pre_fork(server, worker):
    worker.thing = Unpicklable()
"""


@pytest.mark.parametrize(
    "text",
    [
        "import sys\ndef when_ready(server):\n    sys.stderr.close()\n",
        "def when_ready(server):\n    server.WORKERS = None\n",
        "def on_reload(server):\n    server.cfg.settings['workers'].value = 'many'\n",
        RAISING_FILTER,
        UNSPEAKABLE,
        ENDLESS,
        UNPICKLABLE,
    ],
    ids=[
        "closes stderr",
        "takes the workers",
        "writes rubbish",
        "filter raises",
        "has no text",
        "wraps itself",
        "cannot be pickled",
    ],
)
def test_what_cannot_even_be_reported_ends_nothing(service: StartService, text: str) -> None:
    site = service()
    site.write("gunicorn.conf.py", f"workers = 1\n{text}")
    site.expect_error("hook|could not be logged|Traceback|closed file|request_id", sure=False)
    site.start().wait_serving(1, version="1")
    site.deploy("2")
    site.hup()
    site.wait_serving(1, version="2")
    site.term()
    assert site.wait_exit() == 0


def test_the_arbiter_answers_while_a_configuration_hangs(service: StartService) -> None:
    site = service()
    site.write("gunicorn.conf.py", "workers = 1\n")
    site.start().wait_serving(1)
    site.write("gunicorn.conf.py", HANGS)
    site.hup()
    site.wait_log("Handling signal: hup")
    site.signal(signal.SIGTTIN)
    site.wait_serving(2)
    site.term()
    assert site.wait_exit() == 0


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("hook", ["on_starting", "when_ready", "pre_fork", "on_reload"])
def test_a_hook_that_imports_the_application_does_not_hold_on_to_it(
    service: StartService, hook: str, preload: bool
) -> None:
    site = service()
    arguments = "server, worker" if hook == "pre_fork" else "server"
    site.write("gunicorn.conf.py", f"workers = 1\npreload_app = {preload}\ndef {hook}({arguments}):\n    import app\n")
    site.start().wait_serving(1, version="1")
    for version in ("2", "3"):
        site.deploy(version)
        site.hup()
        site.wait_serving(1, version=version)


@pytest.mark.parametrize("action", ["signal.SIG_IGN", "signal.SIG_DFL", "lambda *_: sys.exit(0)"])
@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_an_application_that_takes_term_for_itself_still_drains(
    service: StartService, action: str, preload: str
) -> None:
    site = service()
    site.deploy("1", at_import=f"import signal; signal.signal(signal.SIGTERM, {action})")
    site.start(*([preload] if preload == "--preload" else []))
    site.wait_serving(1)
    site.term()
    assert site.wait_exit() == 0
    assert len(site.events("stopped")) == 1


def test_a_child_of_a_hook_can_be_terminated_without_harm(service: StartService) -> None:
    site = service()
    site.write(
        "gunicorn.conf.py",
        "import os, time\n"
        "def when_ready(server):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        time.sleep(3600)\n"
        "        os._exit(0)\n"
        "    open('child', 'w').write(str(child))\n",
    )
    site.start().wait_serving(1)
    child = int((site.directory / "child").read_text())
    os.kill(child, signal.SIGTERM)
    site.wait_until(lambda: not _runs(child), "the child is gone")
    site.signal(signal.SIGTTIN)
    site.wait_serving(2)
    assert "Handling signal: term" not in site.log


@pytest.mark.parametrize(
    "mischief",
    [
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_DFL)",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.set_wakeup_fd(-1)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    ],
    ids=["handlers", "children", "wake-up", "mask"],
)
def test_a_hook_that_touches_signals_does_not_make_the_arbiter_deaf(service: StartService, mischief: str) -> None:
    site = service()
    site.write("gunicorn.conf.py", f"import signal\nworkers = 1\ndef when_ready(server):\n    {mischief}\n")
    before = set(site.start().wait_serving(1))
    os.kill(before.pop(), signal.SIGKILL)
    site.expect_error("was killed by signal 9")
    site.wait_log("was killed by signal 9")
    site.wait_serving(1)
    site.deploy("2")
    site.hup()
    site.wait_serving(1, version="2")
    site.term()
    assert site.wait_exit() == 0


def test_after_a_stop_nobody_is_left_hanging_by_a_child_of_the_application(service: StartService) -> None:
    """A forked child has a copy of the listening socket, and outlives the service."""
    site = service()
    site.write(
        "child.py",
        "import os, time\ndef fork():\n    pid = os.fork()\n    while not pid: time.sleep(1)\n    return pid\n",
    )
    site.deploy("1", startup="import child; note('forked', child=child.fork())")
    site.start().wait_log("Ready:")
    child = int(site.wait_event("forked")["child"])
    try:
        site.term()
        assert site.wait_exit() == 0
        assert _runs(child)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", site.port), timeout=10).close()
    finally:
        os.kill(child, signal.SIGKILL)
    site.wait_until(site.is_gone, "the child is gone")


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


FALLING_CHILD = """
import os, sys
def fork(*_):
    if os.fork() == 0:
        sys.exit(0)
"""


@pytest.mark.parametrize("where", ["the file", "on_reload", "pre_fork", "child_exit", "post_fork", "application"])
def test_a_child_that_user_code_lets_fall_through_does_not_come_back(service: StartService, where: str) -> None:
    """It would be a second arbiter on the same sockets, and shut them down when it ends."""
    settings = "workers = 2\npreload_app = True\n"
    site = service()
    site.write("gunicorn.conf.py", settings)
    site.start().wait_serving(2)
    if where == "application":
        site.deploy("2", at_import=FALLING_CHILD + "fork()")
    else:
        more = "fork()\n" if where == "the file" else f"{where} = fork\n"
        site.write("gunicorn.conf.py", settings + FALLING_CHILD + more)
        site.deploy("2")
    with Load(Target(("127.0.0.1", site.port)), Traffic(50), Traffic(30, keep_alive=False)) as load:
        site.hup()
        site.wait_serving(2, version="2")
        site.deploy("3", at_import=FALLING_CHILD + "fork()" if where == "application" else "")
        site.hup()
        site.wait_serving(2, version="3")
        site.wait_log("Reloaded", count=2)
    assert not load.stop().lost, load.report
    site.wait_until(lambda: len(site.pids().loaders) == 1, "no loader but the last is there")
