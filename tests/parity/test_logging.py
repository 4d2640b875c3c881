"""gunicorn and this server, side by side: access log, StatsD, syslog, logger classes and logging configurations.

Both get the same configuration file and the same bytes. Times and process ids are masked; where the two differ on
purpose, the test says how.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.parity.logging_servers import Kind, Listener, Server, get, listening, wait_until

pytestmark = pytest.mark.process

Start = Callable[..., Server]

TIMES = ("T", "M", "D", "L")
ATOMS = ("h", "l", "u", "r", "m", "U", "q", "H", "s", "B", "b", "f", "a", *TIMES, "p", "t")
FIELDS = ("host", "User-Agent", "x-request-id", "authorization", "content-type", "nobody")
RESPONSE_FIELDS = ("content-type", "Content-Length", "X-Powered-By", "x-part", "nobody")
VARIABLES = (
    *("REMOTE_ADDR", "HTTP_HOST", "http_x_request_id", "SERVER_PROTOCOL", "REQUEST_METHOD", "PATH_INFO", "RAW_URI"),
    *("QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "SCRIPT_NAME", "wsgi.url_scheme", "nobody"),
)
NAMES = (
    *ATOMS,
    *(f"{{{name}}}i" for name in FIELDS),
    *(f"{{{name}}}o" for name in RESPONSE_FIELDS),
    *(f"{{{name}}}e" for name in VARIABLES),
)
FORMAT = "|".join(f"{name}=%({name})s" for name in NAMES)

REQUESTS = (
    get("/plain"),
    get(
        "/a%20b/c?x=1&y=%20z", "User-Agent: probe/1", "Referer: http://r/", "X-Request-ID: seven",
        "Authorization: Basic YW5uOnNlY3JldA==",
    ),
    get("/head", method="HEAD"),
    get("/post", "Content-Type: text/x", "Content-Length: 3", method="POST", body=b"abc"),
    get("/chunks", "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n0\r\n\r\n"),
    get("/missing"),
    get("/empty"),
    get("/twice", "X-Request-ID: 1", "X-Request-ID: 2"),
    get("/old", version="1.0"),
    get("/auth/broken", "Authorization: Basic !!!"),
    get("/auth/other", "Authorization: Bearer x"),
    get("/quotes", 'User-Agent: a "b" c'),
    get("//double/../dots?"),
)  # fmt: skip


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers: ``start("gunicorn", configuration, app=…, unix=…)``. They are not waited for."""
    started: list[Server] = []

    def make(kind: Kind, configuration: str, **options: Any) -> Server:
        server = Server(kind, tmp_path / f"{len(started)}-{kind}", configuration, **options)
        started.append(server)
        return server

    yield make
    for server in started:
        server.kill()


def fields(server: Server) -> list[dict[str, str]]:
    lines = server.text("access.log").splitlines()
    return [dict(part.split("=", 1) for part in line.split("|")) for line in lines if " /ready " not in line]


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_every_atom_says_what_gunicorns_says(start: Start, unix: bool) -> None:
    configuration = f"accesslog = 'access.log'\naccess_log_format = {FORMAT!r}\n"
    servers = [
        start("gunicorn", configuration, app="wsgi", unix=unix),
        start("gunicorn", configuration, app="asgi", unix=unix),
        start("supervisor", configuration, app="asgi", unix=unix),
    ]
    for server in servers:
        server.ready()
        for request in REQUESTS:
            server.exchange(request)
        server.stop()
    sync, asgi, ours = map(fields, servers)
    assert len(sync) == len(asgi) == len(ours) == len(REQUESTS)
    for of_sync, of_asgi, of_ours in zip(sync, asgi, ours, strict=True):
        assert {name for name in NAMES if not _equal(name, of_ours[name], (of_sync[name], of_asgi[name]))} == set()


def _equal(name: str, ours: str, theirs: tuple[str, str]) -> bool:
    """Equal to what one of gunicorn's workers writes: the two differ in what they make of the environ's variables."""
    if name in (*TIMES, "p", "t"):
        return _shape(ours) in map(_shape, theirs)
    return ours in theirs


def _shape(text: str) -> str:
    return re.sub(r"\d+", "9", text)


def test_where_an_atom_differs_on_purpose(start: Start) -> None:
    configuration = "accesslog = 'access.log'\naccess_log_format = 'U=%(U)s|B=%(B)s|a=%(a)s'\n"
    servers = [start("gunicorn", configuration, app="wsgi"), start("supervisor", configuration)]
    for server in servers:
        server.ready()
        for request in (get("/%C3%A9"), get("/boom"), get("/q", "User-Agent: \\x")):
            server.exchange(request)
        server.stop()
    theirs, ours = (server.text("access.log").splitlines()[1:] for server in servers)
    # The path is text, not the Latin-1 reading of its bytes.
    assert (theirs[0].split("|")[0], ours[0].split("|")[0]) == ("U=/\u00c3\u00a9", "U=/\u00e9")
    # Of a failed request gunicorn writes that nothing was sent, though its error page was.
    assert (theirs[1].split("|")[1], ours[1].split("|")[1]) == ("B=0", "B=21")
    # What could be taken for an escape is escaped.
    assert (theirs[2].split("|")[2], ours[2].split("|")[2]) == ("a=\\x", "a=\\\\x")


@pytest.mark.parametrize("app", ["wsgi", "asgi"])
def test_debug_tells_the_configuration_and_each_request(start: Start, app: str) -> None:
    configuration = "loglevel = 'debug'\nerrorlog = 'error.log'\nproc_name = 'shop'\n"
    servers = [start("gunicorn", configuration, app=app), start("supervisor", configuration, app=app)]
    for server in servers:
        server.ready()
        for request in REQUESTS:
            server.exchange(request)
        server.stop()
    told = [server.text("error.log") for server in servers]
    theirs, ours = (re.findall(r"\[DEBUG\] ((?!GET /ready)[A-Z]+ /.*)", text) for text in told)
    assert len(theirs) == len(REQUESTS)
    # gunicorn's ASGI worker has decoded the path, its sync worker and ours have not.
    assert (ours if app == "wsgi" else [unquote(line) for line in ours]) == theirs
    for text in told:
        assert re.search(r"\[DEBUG\] Current configuration:\n", text)
        assert re.search(r"^ *proc_name *[:=] shop\b", text, re.MULTILINE)


# -- StatsD


def _metrics(lines: list[str]) -> set[str]:
    """The shapes of metrics, without what depends on how many workers there were at a moment."""
    return {re.sub(r":[\d.]+\|", ":N|", line) for line in lines}


METRICS = {
    "gunicorn.requests:N|c|@1.0",
    "gunicorn.request.duration:N|ms",
    "gunicorn.request.status.200:N|c|@1.0",
    "gunicorn.request.status.404:N|c|@1.0",
    "gunicorn.request.status.500:N|c|@1.0",
    "gunicorn.workers:N|g",
    "gunicorn.backlog:N|h",
    "gunicorn.log.critical:N|c|@1.0",
    "gunicorn.log.error:N|c|@1.0",
    "gunicorn.log.warning:N|c|@1.0",
    "gunicorn.log.exception:N|c|@1.0",
    "mine.gauge:N|g",
    "mine.counter:N|c|@1.0",
    "mine.histogram:N|h",
    "mine.timer:N|ms",
}

HOOK = """
def pre_request(worker, req):
    for level in ("critical", "error", "warning", "exception"):
        getattr(worker.log, level)("said at level %s", level)
    for kind in ("gauge", "counter", "histogram", "timer"):
        worker.log.debug("", extra={"metric": f"mine.{kind}", "value": 7, "mtype": kind})
"""


@pytest.mark.parametrize("unix", [False, True], ids=["udp", "unix"])
def test_statsd_gets_the_same_lines(start: Start, tmp_path: Path, unix: bool) -> None:
    with contextlib.ExitStack() as stack:
        listeners, servers = [], []
        kinds: tuple[tuple[Kind, str], ...] = (("gunicorn", "wsgi"), ("supervisor", "asgi"))
        for kind, app in kinds:
            if unix:
                path = str(tmp_path / f"{kind}.sock")
                listener = stack.enter_context(listening(socket.AF_UNIX, socket.SOCK_DGRAM, path))
                target = f"unix://{path}"
            else:
                listener = stack.enter_context(listening(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)))
                target = f"127.0.0.1:{listener.port}"
            configuration = (
                f"statsd_host = {target!r}\nstatsd_prefix = 'site.'\ndogstatsd_tags = 'a:b,c'\n"
                f"enable_backlog_metric = True\n{HOOK}"
            )
            servers.append(start(kind, configuration, app=app))
            listeners.append(listener)
        for server, listener in zip(servers, listeners, strict=True):
            server.ready()
            wanted = {f"site.{metric}|#a:b,c" for metric in METRICS}

            def complete(server: Server = server, listener: Listener = listener, wanted: set[str] = wanted) -> bool:
                # Again, if need be: a queue of ten datagrams (unix(7)) may be full, and none of the two waits.
                for path in ("/", "/missing", "/boom"):
                    server.exchange(get(path))
                return _metrics(listener.lines) >= wanted

            wait_until(
                complete,
                lambda listener=listener, wanted=wanted: f"missing: {wanted - _metrics(listener.lines)}",  # type: ignore[misc]
            )
            server.stop()
        theirs, ours = (_metrics(listener.lines) for listener in listeners)
        assert ours == theirs


def test_statsd_gets_one_of_each_for_every_request_with_the_access_log_off(start: Start) -> None:
    """Those of gunicorn do so too, save for its ASGI worker."""
    with listening(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)) as listener:
        server = start("supervisor", f"statsd_host = '127.0.0.1:{listener.port}'\n").ready()
        before = sum(":1|c" in line and "gunicorn.requests" in line for line in listener.lines)
        for _ in range(20):
            server.exchange(get("/plain"))
        server.stop()
        wait_until(lambda: _count(listener, "gunicorn.requests:") >= before + 20, lambda: str(listener.lines))
        assert _count(listener, "gunicorn.request.status.200:") == _count(listener, "gunicorn.requests:")
        assert _count(listener, "gunicorn.request.duration:") == _count(listener, "gunicorn.requests:")


def _count(listener: Listener, name: str) -> int:
    return sum(line.startswith(name) for line in listener.lines)


# -- syslog


SYSLOG_HOOK = """
def post_worker_init(worker):
    worker.log.error("said to %s", "syslog")
    worker.log.warning("said too")
"""


@pytest.mark.parametrize("way", ["udp", "tcp", "unix", "unix-stream"])
def test_syslog_gets_the_same_messages(start: Start, tmp_path: Path, way: str) -> None:
    stream = way in ("tcp", "unix-stream")
    with contextlib.ExitStack() as stack:
        seen = []
        for kind in ("gunicorn", "supervisor"):
            kind_of = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
            if way.startswith("unix"):
                path = str(tmp_path / f"{kind}.sock")
                listener = stack.enter_context(listening(socket.AF_UNIX, kind_of, path))
                target = f"unix://{path}" + way.removeprefix("unix").replace("-", "#")
            else:
                listener = stack.enter_context(listening(socket.AF_INET, kind_of, ("127.0.0.1", 0)))
                target = f"{way}://127.0.0.1:{listener.port}"
            configuration = (
                f"syslog = True\nsyslog_addr = {target!r}\nsyslog_prefix = 'site'\nsyslog_facility = 'local3'\n"
                f"access_log_format = '%(r)s %(s)s'\n{SYSLOG_HOOK}"
            )
            server = start(kind, configuration).ready()
            server.exchange(get("/plain"))
            wanted = ("said to syslog", "said too", "GET /plain")
            wait_until(
                lambda wanted=wanted, listener=listener: all(text in "".join(listener.lines) for text in wanted),  # type: ignore[misc]
                lambda listener=listener: str(listener.lines),  # type: ignore[misc]
            )
            server.stop()
            seen.append([line for line in listener.lines if any(text in line for text in wanted)])
    theirs, ours = ([re.sub(r"\[\d+\]", "[PID]", line) for line in lines] for lines in seen)
    assert ours == theirs
    # PRI of RFC 3164: facility 19, severity 3, 4 and 6.
    assert ours == [
        "<155>gunicorn.site.error: [PID] said to syslog\0",
        "<156>gunicorn.site.error: [PID] said too\0",
        "<158>gunicorn.site.access: [PID] GET /plain HTTP/1.1 200\0",
    ]


def test_the_access_log_can_be_kept_out_of_syslog(start: Start) -> None:
    for kind in ("gunicorn", "supervisor"):
        with listening(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)) as listener:
            target = f"syslog = True\nsyslog_addr = 'udp://127.0.0.1:{listener.port}'\n"
            server = start(kind, f"{target}disable_redirect_access_to_syslog = True\n{SYSLOG_HOOK}").ready()
            server.exchange(get("/plain"))
            server.stop()
            wait_until(lambda listener=listener: "said too" in "".join(listener.lines), lambda: "nothing came")  # type: ignore[misc]
            assert "/plain" not in "".join(listener.lines)
            assert {line.split(":")[0].split(">")[1] for line in listener.lines} == {"gunicorn.applications.asgi.error"}


# -- logger classes

LOGGER = """
import json
import logging
from gunicorn.glogging import Logger

class Json(logging.Formatter):
    def format(self, record):
        values = {"level": record.levelname, "message": record.getMessage()}
        if isinstance(record.args, dict) or hasattr(record.args, "keys"):
            values["path"], values["status"] = record.args["U"], record.args["s"]
        return json.dumps(values)

class NoChecks(logging.Filter):
    def filter(self, record):
        return "/empty" not in record.getMessage()

class Custom(Logger):
    datefmt = "%H"
    error_fmt = "custom %(levelname)s %(message)s"
    access_fmt = "access %(message)s"
    %BODY%

logger_class = Custom
accesslog = "access.log"
errorlog = "error.log"
access_log_format = "%(m)s %(U)s %(s)s %(mine)s"

def post_worker_init(worker):
    worker.log.error("from the worker")
"""

BODIES = {
    "class attributes": "pass",
    "setup, with formatters and a filter": """
    def setup(self, cfg):
        super().setup(cfg)
        self._set_handler(self.access_log, cfg.accesslog, Json())
        self.error_log.handlers[0].setFormatter(Json())
        self.access_log.addFilter(NoChecks())
    """,
    "atoms": """
    def atoms(self, resp, req, environ, request_time):
        atoms = super().atoms(resp, req, environ, request_time)
        atoms["mine"] = environ["REQUEST_METHOD"] + dict(req.headers)["HOST"] + str(dict(resp.headers).get("x-part"))
        return atoms
    """,
    "access": """
    def access(self, resp, req, environ, request_time):
        status = resp.status.split()[0] if isinstance(resp.status, str) else resp.status
        took = request_time.total_seconds() < 3600 and request_time.microseconds >= 0
        self.access_log.info("%s %s %s %s %s", req.path, req.uri, status, resp.sent, took)
    """,
    "now": """
    def now(self):
        return "always"
    """,
}


@pytest.mark.parametrize("name", BODIES)
def test_a_logger_class_does_the_same(start: Start, name: str) -> None:
    layout = LOGGER.replace("%BODY%", BODIES[name].strip())
    if name == "now":
        layout = layout.replace("%(mine)s", "%(t)s")
    # The base class is gunicorn's own, or ours: the result is the same.
    ours_too = layout.replace("gunicorn.glogging", "supervisor.logs.logger")
    servers = [start("gunicorn", layout, app="wsgi"), start("supervisor", layout), start("supervisor", ours_too)]
    seen = []
    for server in servers:
        server.ready()
        for target in ("/plain", "/empty", "/twice", "/missing?a=b"):
            server.exchange(get(target))
        server.stop()
        access = [line for line in server.text("access.log").splitlines() if "/ready" not in line]
        error = [line for line in server.text("error.log").splitlines() if "from the worker" in line]
        seen.append((access, error))
    theirs, ours, ours_of_ours = seen
    assert len(ours[0]) >= 3
    assert ours == theirs
    assert ours_of_ours == theirs


# -- logging configurations

CONFIGURATIONS = {
    "empty": "logconfig_dict = {}",
    "own formatter, default handlers": """
logconfig_dict = {
    "formatters": {"generic": {"format": "%(levelname)s-%(name)s-%(message)s", "class": "logging.Formatter"}},
}
""",
    "files, live objects and classes of the file, without a version": """
import json, logging, sys

class Json(logging.Formatter):
    def __init__(self, key):
        super().__init__()
        self.key = key
    def format(self, record):
        return json.dumps({self.key: record.getMessage(), "name": record.name})

class Quiet(logging.Filter):
    def filter(self, record):
        return "/empty" not in record.getMessage()

logconfig_dict = {
    "root": {"level": "INFO", "handlers": []},
    "loggers": {
        "gunicorn.error": {"level": "WARNING", "handlers": ["file"], "propagate": False},
        "gunicorn.access": {"level": "INFO", "handlers": ["access", "live"], "propagate": False, "filters": ["quiet"]},
    },
    "filters": {"quiet": {"()": Quiet}},
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": "error.log", "formatter": "json"},
        "access": {"()": lambda **options: logging.FileHandler("access.log"), "formatter": "json"},
        "live": {"class": "logging.StreamHandler", "stream": sys.stdout, "formatter": "plain"},
    },
    "formatters": {
        "json": {"()": Json, "key": "text"},
        "plain": {"format": "%(name)s: %(message)s", "()": "logging.Formatter"},
    },
}
""",
    "the root as an empty name, handlers of gunicorn's": """
from gunicorn import glogging
logconfig_dict = {
    "loggers": {
        "": {"level": "INFO", "handlers": ["console"]},
        "gunicorn.access": {"level": "INFO", "handlers": [], "propagate": True},
    },
    "handlers": glogging.CONFIG_DEFAULTS["handlers"],
}
""",
    "only a logger of the application": """
logconfig_dict = {"loggers": {"mine": {"level": "DEBUG", "handlers": ["console"]}}}
""",
    "JSON": """
import json
with open("log.json", "w") as file:
    json.dump({"formatters": {"generic": {"format": "json-config %(message)s"}}, "root": {"handlers": []}}, file)
logconfig_json = "log.json"
""",
    "INI": """
with open("log.ini", "w") as file:
    file.write(
        "[loggers]\\nkeys=root,error,access\\n[handlers]\\nkeys=file,console\\n[formatters]\\nkeys=plain\\n"
        "[logger_root]\\nlevel=INFO\\nhandlers=console\\n"
        "[logger_error]\\nlevel=INFO\\nhandlers=file\\npropagate=1\\nqualname=gunicorn.error\\n"
        "[logger_access]\\nlevel=INFO\\nhandlers=console\\npropagate=0\\nqualname=gunicorn.access\\n"
        "[handler_file]\\nclass=FileHandler\\nformatter=plain\\nargs=('error.log',)\\n"
        "[handler_console]\\nclass=StreamHandler\\nformatter=plain\\nargs=(sys.stdout,)\\n"
        "[formatter_plain]\\nformat=%(name)s %(levelname)s %(message)s\\n"
    )
logconfig = "log.ini"
""",
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_logging_configuration_does_the_same(start: Start, name: str) -> None:
    configuration = (
        "accesslog = 'plain.log'\naccess_log_format = 'line %(r)s %(s)s'\n"
        "def post_worker_init(worker):\n    worker.log.warning('from the worker')\n" + CONFIGURATIONS[name]
    )
    servers = [start("gunicorn", configuration), start("supervisor", configuration)]
    theirs, ours = map(_what_is_logged, servers)
    assert any(ours.values())
    assert ours == theirs


def _what_is_logged(server: Server) -> dict[str, list[str]]:
    """The lines of two requests and of a message, by file; order and time do not count."""
    server.ready()
    for target in ("/plain", "/empty"):
        server.exchange(get(target))
    server.stop()
    kept = ("/plain", "/empty", "from the worker")
    return {
        name: sorted(
            re.sub(r"\[[^]]*\d[^]]*\]", "[N]", line)
            for line in server.text(name).splitlines()
            if any(text in line for text in kept)
        )
        for name in ("output.log", "error.log", "access.log", "plain.log")
    }


def test_a_configuration_may_use_a_handler_that_it_does_not_define(start: Start) -> None:
    """Gunicorn does not start with it, unless the handlers that it has by default happen to be all that there are."""
    configuration = (
        "logconfig_dict = {\n"
        "    'handlers': {'mine': {'class': 'logging.FileHandler', 'filename': 'error.log'}},\n"
        "    'loggers': {'gunicorn.error': {'handlers': ['mine', 'console'], 'level': 'INFO', 'propagate': False}},\n"
        "}\n"
    )
    theirs, ours = start("gunicorn", configuration), start("supervisor", configuration)
    assert theirs.process.wait(45) == 1
    ours.ready().stop()
    assert "Listening at" in ours.text("error.log")
    assert "Listening at" in ours.text()
