"""gunicorn's objects, attribute by attribute: ours have each, or are without it for a reason that is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from supervisor.compat.application import HookApplication
from supervisor.compat.surface import REQUEST_LEFT_OUT, RESPONSE_LEFT_OUT, SERVER_LEFT_OUT, WORKER_LEFT_OUT
from supervisor.config.load import Inputs, load
from supervisor.config.settings import Settings
from supervisor.runtime.server import Server, WorkerRecord, WorkerTmp
from supervisor.workers.base import Worker
from supervisor.workers.journal import Exchange
from supervisor.workers.reqhooks import HookRequest, HookResponse

THEIRS = """
import inspect, json, os, re, sys
sys.argv[:] = ["gunicorn", "app:app"]
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.arbiter import Arbiter
from gunicorn.http.message import Message, Request
from gunicorn.http.wsgi import Response
from gunicorn.workers.sync import SyncWorker
app = WSGIApplication("gunicorn")
arbiter = Arbiter(app)
worker = SyncWorker(1, os.getpid(), [], app, 5.0, app.cfg, arbiter.log)
def public(found, *classes):
    # What methods set on themselves later belongs to an object as well.
    later = {name for cls in classes for name in re.findall(r"self\\.([a-z]\\w*) = ", inspect.getsource(cls))}
    return sorted({name for name in dir(found) if not name.startswith("_")} | later)
print(json.dumps({
    "server": public(arbiter, Arbiter), "worker": public(worker), "app": public(app), "cfg": public(app.cfg),
    "setting": public(app.cfg.settings["workers"]), "log": public(arbiter.log), "tmp": public(worker.tmp),
    "req": public(Request, Message, Request), "resp": public(Response, Response),
}))
"""


@pytest.fixture(scope="module")
def theirs() -> dict[str, list[str]]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", THEIRS], capture_output=True, text=True, env=environ)
    found: dict[str, list[str]] = json.loads(result.stdout)
    return found


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return load(Inputs("app:app", environ={}, cwd=str(tmp_path), default_files=False))


def without(found: object, names: Iterable[str], left_out: Iterable[str]) -> list[str]:
    """The names that an object neither has nor leaves out, and those that it leaves out and has."""
    return [name for name in names if hasattr(found, name) == (name in left_out)]


def test_server(theirs: dict[str, list[str]], settings: Settings) -> None:
    server = Server(settings, log=None, listeners=[])
    assert without(server, theirs["server"], SERVER_LEFT_OUT) == []
    with pytest.raises(AttributeError, match=r"^server\.spawn_worker of gunicorn's is not there: change the number of"):
        _ = server.spawn_worker
    with pytest.raises(AttributeError, match=r"^server has no attribute 'nonsense'$"):
        _ = server.nonsense


def test_worker_in_the_arbiter(theirs: dict[str, list[str]], settings: Settings) -> None:
    record = WorkerRecord(
        age=1,
        slot=0,
        generation=1,
        settings=settings,
        log=None,
        tmp=WorkerTmp(lambda: 0.0),
        app=HookApplication(settings),
    )
    assert without(record, theirs["worker"], WORKER_LEFT_OUT) == []
    with pytest.raises(AttributeError, match=r"^worker\.run of gunicorn's is not there in the arbiter: it belongs to"):
        _ = record.run


SYNC = {"PIPE", "SIGNALS", "accept", "handle", "handle_request", "is_parent_alive", "run_for_multiple", "run_for_one"}
SYNC |= {"wait", "handle_error", "handle_winch"}
"""The loop of gunicorn's sync worker, and its parser's errors: a worker of ours has neither."""


def test_worker(theirs: dict[str, list[str]]) -> None:
    present = set(dir(Worker)) | set(Worker.__init__.__code__.co_names)
    assert [name for name in theirs["worker"] if name not in present | SYNC] == []


OTHERS = {"do_load_config", "get_config_from_filename", "get_config_from_module_name", "init", "load_config"}
OTHERS |= {"load_config_from_file", "load_config_from_module_name_or_filename", "load_default_config", "load_pasteapp"}
OTHERS |= {"load_wsgiapp"}
"""How gunicorn's application reads settings: that is over when hooks run."""


def test_application(theirs: dict[str, list[str]], settings: Settings) -> None:
    app = HookApplication(settings)
    assert without(app, theirs["app"], OTHERS) == []
    with pytest.raises(RuntimeError, match="the arbiter does not import the application"):
        app.wsgi()
    assert HookApplication(settings, lambda: 5).wsgi() == 5


UNREAD = {"parser", "get_cmd_args_from_env", "usage", "prog", "paste_global_conf"}
"""How gunicorn's settings come about."""


ARGPARSE = {"action", "add_option", "const", "copy", "nargs", "order", "type"}


def test_settings(theirs: dict[str, list[str]], settings: Settings) -> None:
    assert without(settings, theirs["cfg"], UNREAD) == []
    assert without(settings.settings["workers"], theirs["setting"], ARGPARSE) == []
    workers = settings.settings["workers"]
    assert (workers.cli, workers.meta, workers.section, workers.short) == (
        ["-w", "--workers"],
        "INT",
        "Worker Processes",
        workers.desc.splitlines()[0],
    )
    assert [str(each) for each in settings.forwarded_allow_networks()] == ["127.0.0.1/32", "::1/128"]


def test_log(theirs: dict[str, list[str]], settings: Settings) -> None:
    from supervisor.logs.logger import Logger

    private = {"_get_gunicorn_handler", "_set_handler", "_set_syslog_handler"}
    made = {*dir(Logger), *Logger.__init__.__code__.co_names}
    assert [name for name in theirs["log"] if name not in made | private] == []


def test_heartbeat(theirs: dict[str, list[str]]) -> None:
    from supervisor.compat.guests import GuestHeartbeat

    assert [name for name in theirs["tmp"] if not hasattr(GuestHeartbeat, name)] == []
    assert hasattr(WorkerTmp(lambda: 0.0), "last_update")


def test_request_and_response(theirs: dict[str, list[str]]) -> None:
    scope: dict[str, Any] = {"headers": [(b"x-one", b"1")], "client": ("10.0.0.1", 5), "path": "/a b"}
    exchange = Exchange(scope, "GET", "/a%20b?x=1")
    exchange.status, exchange.response_headers = 404, [(b"x-two", b"2")]
    req, resp = HookRequest(exchange), HookResponse(exchange)
    assert without(req, theirs["req"], REQUEST_LEFT_OUT) == []
    assert without(resp, theirs["resp"], RESPONSE_LEFT_OUT) == []
    with pytest.raises(AttributeError, match=r"^req\.body of gunicorn's is not there: the body is the application's"):
        _ = req.body
    assert (req.path, req.query, req.uri, req.headers) == ("/a%20b", "x=1", "/a%20b?x=1", [("X-ONE", "1")])
    assert (resp.status, resp.status_code, resp.headers) == ("404 Not Found", 404, [("x-two", "2")])


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/", ("/", "", "")),
        ("/a?b?c#d", ("/a", "b?c", "d")),
        ("http://host/a?b", ("/a", "b", "")),
        ("http://host", ("/", "", "")),
        ("//a/b", ("//a/b", "", "")),
        ("*", ("*", "", "")),
    ],
)
def test_parts_of_a_target(target: str, parts: tuple[str, str, str]) -> None:
    req = HookRequest(Exchange({"headers": []}, "GET", target))
    assert (req.path, req.query, req.fragment) == parts
