"""StatsD and syslog: addresses, what is sent, and that nothing waits or raises when nobody is there."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.errors import ConfigError
from supervisor.logs import lookup, syslog
from supervisor.logs.statsd import Statsd
from supervisor.logs.syslog import SyslogHandler, make_handler, parse_address
from tests.workers.conftest import make_settings

pytestmark = pytest.mark.usefixtures("fresh_loggers")


@pytest.fixture
def datagrams(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The path of a Unix socket, and the socket itself."""
    path = str(tmp_path / "listener.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(20)
        yield path, listener


@pytest.fixture(autouse=True)
def nothing_told() -> Iterator[None]:
    syslog._told.clear()
    yield
    syslog._told.clear()


def received(listener: socket.socket) -> list[str]:
    listener.setblocking(False)
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(listener.recv(1 << 16).decode())
    return found


# -- StatsD


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("", "x"), ("site", "site.x"), ("site.", "site.x"), ("a.b..", "a.b.x"), ("a", "ax"), ("a.", "a.x")],
)
def test_prefixes_are_read_as_gunicorn_reads_them(datagrams: Any, prefix: str, name: str) -> None:
    import gunicorn.instrument.statsd

    path, listener = datagrams
    settings = make_settings(statsd_host=f"unix://{path}", statsd_prefix=prefix, errorlog="-")
    loggers: tuple[Any, ...] = (Statsd(settings), gunicorn.instrument.statsd.Statsd(settings))
    for made in loggers:
        made.gauge("x", 1)
        assert received(listener) == [f"{name}:1|g"]
        made.sock.close()


def test_every_type_of_metric(datagrams: Any) -> None:
    path, listener = datagrams
    logger = Statsd(make_settings(statsd_host=f"unix://{path}", dogstatsd_tags="a:b", errorlog="-"))
    logger.increment("c", 2)
    logger.decrement("c", 3, 0.5)
    logger.timer("t", 1.5)
    logger.histogram("h", 4)
    logger.measure(1.234567, 200)
    logger.access(
        SimpleNamespace(status=b"404 Not Found", headers=[], sent=0), [], {}, timedelta(seconds=2, microseconds=500)
    )
    assert received(listener) == [
        "c:2|c|@1.0|#a:b",
        "c:-3|c|@0.5|#a:b",
        "t:1.5|ms|#a:b",
        "h:4|h|#a:b",
        "gunicorn.request.duration:1234.567|ms|#a:b",
        "gunicorn.requests:1|c|@1.0|#a:b",
        "gunicorn.request.status.200:1|c|@1.0|#a:b",
        "gunicorn.request.duration:2000.5|ms|#a:b",
        "gunicorn.requests:1|c|@1.0|#a:b",
        "gunicorn.request.status.404:1|c|@1.0|#a:b",
    ]
    assert logger.sock is not None
    logger.sock.close()


def test_a_metric_needs_all_three_and_a_message_is_logged_as_well(datagrams: Any, tmp_path: Path) -> None:
    path, listener = datagrams
    log = tmp_path / "error.log"
    logger = Statsd(make_settings(statsd_host=f"unix://{path}", errorlog=str(log)))
    logger.info("told", extra={"metric": "m", "value": 0, "mtype": "gauge"})
    logger.info("", extra={"metric": "m", "value": 1, "mtype": "counter"})
    logger.info("no value", extra={"metric": "m", "mtype": "counter"})
    logger.info("no such type", extra={"metric": "m", "value": 1, "mtype": "odd"})
    assert received(listener) == ["m:0|g", "m:1|c|@1.0"]
    assert [line.partition("[INFO] ")[2] for line in log.read_text().splitlines()] == [
        *("told", "no value", "no such type")
    ]
    assert logger.sock is not None
    logger.sock.close()


@pytest.mark.parametrize("host", ["127.0.0.1:1", "unix:///nonexistent/statsd.sock", "[::1]:1"])
def test_nobody_listens(host: str) -> None:
    logger = Statsd(make_settings(statsd_host=host, errorlog="-"))
    for _ in range(100):
        logger.increment("c", 1)
    assert logger.sock is not None
    logger.sock.close()


def test_nobody_reads(datagrams: Any) -> None:
    path, _ = datagrams
    logger = Statsd(make_settings(statsd_host=f"unix://{path}", errorlog="-"))
    for _ in range(5000):
        logger.increment("c", 1)
    assert logger.sock is not None
    logger.sock.close()


# -- finding hosts


def test_addresses_need_no_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", None)
    assert lookup.resolve("127.0.0.1", 5) == (socket.AF_INET, ("127.0.0.1", 5))
    assert lookup.resolve("::1", 5)[0] == socket.AF_INET6
    assert lookup.resolve("localhost", 5) == (socket.AF_INET, ("127.0.0.1", 5))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A name server that never answers for "slow", knows "known", and "gated" once the file that is returned exists."""
    real = lookup._look_up
    gate = tmp_path / "gate"

    def look_up(host: str, port: int, flags: int = 0) -> Any:
        if host == "slow" and not flags:
            time.sleep(60)
        if host == "gated" and not flags:
            while not gate.exists():
                time.sleep(0.001)
            host = "127.0.0.1"
        return real("127.0.0.1" if host == "known" and not flags else host, port, flags)

    monkeypatch.setattr(lookup, "_look_up", look_up)
    for cache in ("_found", "_failed", "_searches"):
        monkeypatch.setattr(lookup, cache, {})
    return gate


@pytest.mark.usefixtures("names")
def test_a_lookup_that_hangs_is_given_up_and_what_was_found_before_is_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookup, "PATIENCE", 0.05)
    with lookup.patiently(), pytest.raises(OSError, match="no name server has answered"):
        lookup.resolve("slow", 5)
    lookup._found["slow", 5] = (int(socket.AF_INET), ("192.0.2.1", 5))
    with lookup.patiently():
        assert lookup.resolve("slow", 5) == (socket.AF_INET, ("192.0.2.1", 5))
    monkeypatch.setattr(lookup, "PATIENCE", 20.0)
    with lookup.patiently():
        assert lookup.resolve("known", 6) == (socket.AF_INET, ("127.0.0.1", 6))


def test_who_may_not_wait_hears_later(names: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "PATIENCE", 20.0)
    for _ in range(2):
        with pytest.raises(OSError, match="it is being looked up"):
            lookup.resolve("gated", 6)
    (search,) = lookup._searches.values()
    names.touch()
    assert select.select([search.line], [], [], 20)[0]
    assert lookup.resolve("gated", 6) == (socket.AF_INET, ("127.0.0.1", 6))
    assert not lookup._searches


@pytest.mark.usefixtures("names")
def test_what_another_process_has_found_need_not_be_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "PATIENCE", 0.05)
    with lookup.patiently(), pytest.raises(OSError, match="no name server"):
        lookup.resolve("slow", 5)
    lookup._found["other", 7] = (int(socket.AF_INET), ("192.0.2.1", 7))
    knowledge = lookup.knowledge()
    lookup._found.clear()
    lookup._failed.clear()
    monkeypatch.setattr(os, "fork", None)
    lookup.learn(knowledge)
    lookup.learn(b"")
    assert lookup.resolve("other", 7) == (socket.AF_INET, ("192.0.2.1", 7))
    with pytest.raises(OSError, match="no name server has answered"):
        lookup.resolve("slow", 5)


# -- syslog


@pytest.mark.parametrize(
    ("text", "kinds", "address"),
    [
        ("udp://localhost:514", (socket.SOCK_DGRAM,), ("localhost", 514)),
        ("udp://LOG.example.org", (socket.SOCK_DGRAM,), ("log.example.org", 514)),
        ("udp://", (socket.SOCK_DGRAM,), ("localhost", 514)),
        ("tcp://192.0.2.1:601", (socket.SOCK_STREAM,), ("192.0.2.1", 601)),
        ("udp://[::1]:5140", (socket.SOCK_DGRAM,), ("::1", 5140)),
        ("tcp://[2001:DB8::1]", (socket.SOCK_STREAM,), ("2001:db8::1", 514)),
        ("unix:///dev/log", (socket.SOCK_DGRAM, socket.SOCK_STREAM), "/dev/log"),
        ("unix:///dev/log#dgram", (socket.SOCK_DGRAM,), "/dev/log"),
        ("unix:///dev/log#stream", (socket.SOCK_STREAM,), "/dev/log"),
    ],
)
def test_syslog_addresses(text: str, kinds: tuple[int, ...], address: Any) -> None:
    from gunicorn.glogging import parse_syslog_address

    assert parse_address(text) == (kinds, address)
    assert parse_syslog_address(text)[1] == address


@pytest.mark.parametrize("text", ["", "localhost", "http://x", "udp://host:port", "/dev/log"])
def test_no_syslog_addresses(text: str) -> None:
    with pytest.raises(ConfigError, match="syslog_addr must be"):
        parse_address(text)


def test_facilities_are_gunicorns() -> None:
    from gunicorn.glogging import SYSLOG_FACILITIES

    assert syslog.FACILITIES == SYSLOG_FACILITIES
    with pytest.raises(ConfigError, match="syslog_facility must be one of auth"):
        make_handler(make_settings(syslog_facility="nobody"), "", "error")


def make_record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("x", level, "", 1, text, None, None)


@pytest.fixture
def handlers() -> Iterator[list[SyslogHandler]]:
    made: list[SyslogHandler] = []
    yield made
    for handler in made:
        handler.close()


def test_syslog_that_goes_away_and_comes_back(
    tmp_path: Path, handlers: list[SyslogHandler], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "log")
    handlers.append(handler := make_handler(make_settings(syslog_addr=f"unix://{path}"), "%(message)s", "error"))
    handler.emit(make_record("lost"))
    assert caplog.text.count("syslog cannot be reached at unix://") == 1
    now = time.monotonic()
    for turn in range(1, 4):
        monkeypatch.setattr(time, "monotonic", lambda turn=turn: now + 100 * turn)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(path)
            handler.emit(make_record(f"turn {turn}"))
            assert received(listener) == [f"<14>gunicorn.tests.app.error: turn {turn}\0"]
        os.unlink(path)
        handler.emit(make_record("lost"))
        handler.emit(make_record("lost too"))
        assert caplog.text.count("syslog cannot be reached at unix://") == 1 + turn


def test_a_syslog_that_does_not_read_takes_no_time(tmp_path: Path, handlers: list[SyslogHandler]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        handlers.append(handler := make_handler(make_settings(syslog_addr=address), "%(message)s", "error"))
        for _ in range(3000):
            handler.emit(make_record("x" * 4000))


def test_a_record_that_cannot_be_formatted_is_the_logging_modules_business(
    datagrams: Any, handlers: list[SyslogHandler], capsys: pytest.CaptureFixture[str]
) -> None:
    path, listener = datagrams
    handlers.append(handler := make_handler(make_settings(syslog_addr=f"unix://{path}"), "%(nobody)s", "error"))
    handler.emit(make_record("text"))
    assert "Logging error" in capsys.readouterr().err
    assert received(listener) == []
