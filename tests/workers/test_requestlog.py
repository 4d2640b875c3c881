"""Who is told of each request: the cheap way unless somebody asks for more."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.logs.access import AccessLog
from supervisor.logs.handlers import LogFile
from supervisor.logs.logger import Logger
from supervisor.logs.setup import Logs, setup
from supervisor.logs.statsd import Statsd
from supervisor.workers.requestlog import LoggerAccess, Measured, request_log
from tests.workers.conftest import make_settings

pytest.importorskip("gunicorn.glogging")
import gunicorn.glogging

Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path, fresh_loggers: None) -> Iterator[Make]:
    """The request log of a worker with these settings."""
    made: list[Logs] = []

    def make(**values: Any) -> Any:
        settings = make_settings(errorlog=str(tmp_path / "error.log"), **values)
        logs = setup(settings)
        made.append(logs)
        context: Any = SimpleNamespace(logger=logs.logger, log=logs.error, access_log=logs.access, settings=settings)
        return request_log(context, None)

    yield make
    for logs in made:
        logs.close()
        if (sock := getattr(logs.logger, "sock", None)) is not None:
            sock.close()


class Plain(Logger):
    access_fmt = "mine %(message)s"


class WithAtoms(Logger):
    def atoms(self, *args: Any) -> dict[str, Any]:
        return {**super().atoms(*args), "mine": "here"}


class WithAccess(Logger):
    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        raise RuntimeError(f"{req.method} {resp.status} {environ['PATH_INFO']} {request_time.microseconds}")


class WithTimer(Statsd):
    def timer(self, name: str, value: Any) -> None:
        super().timer(f"mine.{name}", value)


class Theirs(gunicorn.glogging.Logger):  # type: ignore[misc]  # gunicorn ships no types
    pass


class TheirsWithNow(gunicorn.glogging.Logger):  # type: ignore[misc]  # gunicorn ships no types
    def now(self) -> str:
        return "now"


STATSD = {"statsd_host": "127.0.0.1:9"}
ACCESSLOG = {"accesslog": "-"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, type(None)),
        (ACCESSLOG, AccessLog),
        (STATSD, Measured),
        ({**STATSD, **ACCESSLOG}, Measured),
        ({"logger_class": Plain}, type(None)),
        ({"logger_class": Plain, **ACCESSLOG}, AccessLog),
        ({"logger_class": Theirs, **ACCESSLOG}, AccessLog),
        ({"logger_class": WithAtoms}, type(None)),
        ({"logger_class": WithAtoms, **ACCESSLOG}, LoggerAccess),
        ({"logger_class": TheirsWithNow, **ACCESSLOG}, LoggerAccess),
        ({"logger_class": WithAccess}, LoggerAccess),
        ({"logger_class": WithTimer, **STATSD}, LoggerAccess),
    ],
)
def test_which_way_a_request_takes(make: Make, values: dict[str, Any], expected: type) -> None:
    assert type(make(**values)) is expected


def test_lines_are_written_past_the_logging_module_only_where_it_would_do_no_more(make: Make, tmp_path: Path) -> None:
    path = str(tmp_path / "access.log")
    assert isinstance(make(accesslog=path)._handler, LogFile)
    assert make(accesslog=path, logger_class=Plain)._handler is None
    assert make(accesslog=path, syslog=True, syslog_addr="udp://127.0.0.1:9")._handler is None


def exchange() -> Any:
    return SimpleNamespace(
        scope={"path": "/p", "headers": [(b"host", b"x")], "client": ("192.0.2.7", 1), "http_version": "1.1"},
        method="GET",
        target="/p?q",
        protocol="HTTP/1.1",
        status=200,
        sent=5,
        duration=0.000123,
        response_headers=[(b"x-a", b"1")],
    )


def test_an_access_that_raises_is_told_once(make: Make, tmp_path: Path) -> None:
    log = make(logger_class=WithAccess)
    for _ in range(3):
        log.log(exchange())
    log.flush()
    text = (tmp_path / "error.log").read_text()
    assert text.count("WithAccess.access raised RuntimeError: GET 200 OK /p 123; the request is answered") == 1


def test_metrics_and_lines_go_together(make: Make, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(20)
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        log = make(statsd_host=host, accesslog=str(tmp_path / "access.log"), access_log_format="%(m)s %(s)s")
        log.log(exchange())
        log.flush()
        assert [listener.recv(1000).decode() for _ in range(3)] == [
            "gunicorn.request.duration:0.123|ms",
            "gunicorn.requests:1|c|@1.0",
            "gunicorn.request.status.200:1|c|@1.0",
        ]
    assert (tmp_path / "access.log").read_text() == "GET 200\n"


def test_atoms_of_a_users_own_are_in_the_line(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = make(logger_class=WithAtoms, accesslog=str(path), access_log_format="%(mine)s %({x-a}o)s %(r)s %(D)s %(h)s")
    log.log(exchange())
    assert path.read_text() == "here 1 GET /p?q HTTP/1.1 123 192.0.2.7\n"
