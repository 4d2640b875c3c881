"""The access log: every atom, what is missing, and what must not get into a line."""

from __future__ import annotations

import base64
import io
import logging
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ConfigError
from supervisor.logs.access import GATHERING, MOST_LINES, AccessLog, _whole_lines
from supervisor.logs.format import ATOMS, Atoms, compile_format, escape
from supervisor.logs.handlers import LogFile, QuietStreamHandler


def make_record(**changes: Any) -> Any:
    record = SimpleNamespace(
        scope={
            "path": "/a b",
            "query_string": b"x=1",
            "client": ("192.0.2.7", 5000),
            "http_version": "1.1",
            "headers": [
                (b"host", b"example.org"),
                (b"referer", b"http://from/"),
                (b"user-agent", b'Agent "7"'),
                (b"authorization", b"Basic " + base64.b64encode(b"ann:secret")),
                (b"x-request-id", b"42"),
            ],
        },
        method="GET",
        target="/a%20b?x=1",
        protocol="HTTP/1.1",
        status=200,
        sent=1234,
        duration=1.234567,
        response_headers=[(b"Content-Type", b"text/plain")],
    )
    for name, value in changes.items():
        if name in ("headers", "client", "path", "query_string"):
            record.scope[name] = value
        else:
            setattr(record, name, value)
    return record


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("%(h)s %(l)s %(u)s", "192.0.2.7 - ann"),
        ('"%(r)s" %(s)s %(b)s %(B)s', '"GET /a%20b?x=1 HTTP/1.1" 200 1234 1234'),
        ("%(m)s %(U)s %(q)s %(H)s", "GET /a b x=1 HTTP/1.1"),
        ('"%(f)s" "%(a)s"', r'"http://from/" "Agent \"7\""'),
        ("%(T)s %(M)s %(D)s %(L)s", "1 1234 1234567 1.234567"),
        ("%({Host}i)s %({X-Request-Id}i)s %({nobody}i)s", "example.org 42 -"),
        ("%({content-type}o)s %({nobody}o)s", "text/plain -"),
        ("%({remote_addr}e)s %({HTTP_HOST}e)s %({NOBODY}e)s", "192.0.2.7 example.org -"),
        ("%(nobody)s 100%% %(s)d %(D)010d %(s)-5s|", "- 100% 200 0001234567 200  |"),
        ("%(nobody)d", "-"),
    ],
)
def test_atoms(text: str, line: str) -> None:
    assert compile_format(text)(make_record()) == line


def test_process() -> None:
    assert compile_format("%(p)s")(make_record()) == f"<{os.getpid()}>"


def test_time_is_local_and_now() -> None:
    line = compile_format("%(t)s")(make_record())
    assert line[0] == "["
    assert line[-1] == "]"
    assert line[3] == line[7] == "/"


def test_what_is_missing_is_a_dash() -> None:
    record = make_record(headers=[], client=None)
    assert compile_format("%(h)s %(u)s %(f)s %(a)s")(record) == "- - - -"


@pytest.mark.parametrize("value", [b"Basic !!!", b"Bearer x", b"Basic " + base64.b64encode(b":p")])
def test_no_user(value: bytes) -> None:
    assert compile_format("%(u)s")(make_record(headers=[(b"authorization", value)])) == "-"


@pytest.mark.parametrize("text", ["100%", "%(h)", "%(h", "%h", "%(h)y"])
def test_no_format(text: str) -> None:
    with pytest.raises(ConfigError, match="access_log_format"):
        compile_format(text)


@given(st.text(), st.binary(), st.text())
def test_nothing_from_outside_breaks_a_line_or_a_field(target: str, value: bytes, path: str) -> None:
    record = make_record(target=target, path=path, query_string=value, headers=[(b"user-agent", value)])
    line = compile_format('"%(r)s" "%(U)s" "%(q)s" "%(a)s"')(record)
    assert len(line.splitlines()) == 1
    assert line.isprintable() or all(ord(c) >= 0xA0 for c in line if not c.isprintable())
    assert line.replace("\\\\", "").replace('\\"', "").count('"') == 8


@pytest.mark.parametrize(
    "changes",
    [
        {"client": ["192.0.2.7", 5000]},
        {"headers": [[bytearray(b"X-Request-Id"), b"42"]]},
        {"headers": [(b"x-request-id", bytearray(b"42"))]},
        {"headers": [(b"x-request-id", "42")]},
    ],
)
def test_what_an_application_has_made_of_its_scope_costs_no_line(changes: dict[str, Any]) -> None:
    assert compile_format("%(h)s %({X-Request-Id}i)s")(make_record(**changes)) == "192.0.2.7 42"


def test_a_scope_without_a_client() -> None:
    record = make_record()
    del record.scope["client"]
    assert compile_format("%(h)s")(record) == "-"


@given(st.text())
def test_escape_leaves_ordinary_text_alone(text: str) -> None:
    if text.isascii() and text.isprintable() and not set(text) & {'"', "\\"}:
        assert escape(text) == text


def test_atoms_as_a_mapping_are_gunicorns() -> None:
    atoms = Atoms(make_record())
    assert set(atoms) == set(ATOMS)
    assert (atoms["s"], atoms["b"], atoms["B"]) == ("200", "1234", 1234)
    assert atoms["{host}i"] == "example.org"
    assert atoms["nobody"] == "-"


class Keeping(logging.Handler):
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class OneHandler:
    """A logger, and a way to give it one handler and no other: pytest adds its own to every logger."""

    def __init__(self) -> None:
        self.logger = logging.getLogger("tests.access")
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        self.mine: list[logging.Handler] = []

    def with_handler(self, handler: logging.Handler) -> logging.Logger:
        self.logger.handlers[:] = [handler]
        self.mine.append(handler)
        return self.logger

    def with_file(self, path: Path | str) -> logging.Logger:
        return self.with_handler(LogFile(str(path), (os.getuid(), os.getgid())))


@pytest.fixture
def one() -> Iterator[OneHandler]:
    one = OneHandler()
    before = list(one.logger.handlers)
    yield one
    one.logger.handlers[:] = before
    for handler in one.mine:
        handler.close()


def test_lines_are_gathered_and_written_together(one: OneHandler, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    calls: list[tuple[float, Callable[[], None]]] = []
    log = AccessLog(one.with_file(file), "%(m)s %(s)s", lambda *call: calls.append(call))
    for status in (200, 201):
        log.log(make_record(status=status))
    assert file.read_text() == ""
    ((delay, flush),) = calls
    assert delay == GATHERING
    flush()
    assert file.read_text() == "GET 200\nGET 201\n"
    flush()
    assert file.read_text() == "GET 200\nGET 201\n"


def test_many_lines_wait_for_no_others(one: OneHandler, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    log = AccessLog(one.with_file(file), "%(s)s", lambda *_: None)
    for _ in range(MOST_LINES + 1):
        log.log(make_record())
    assert file.read_text() == "200\n" * MOST_LINES


def test_into_a_pipe_lines_go_whole_though_others_write_too(one: OneHandler) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    sizes = []
    written = os.write

    def write(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        written(descriptor, b"[other]\n")
        return written(descriptor, data)

    with open(writing, "w") as stream, pytest.MonkeyPatch.context() as patch:
        log = AccessLog(one.with_handler(QuietStreamHandler(stream)), "%(r)s", lambda *_: None)
        for number in range(200):
            log.log(make_record(target=f"/{number}-" + "x" * (number % 97)))
        patch.setattr(os, "write", write)
        log.flush()
    assert max(sizes) <= select.PIPE_BUF
    lines = os.read(reading, 1 << 20).decode().splitlines()
    os.close(reading)
    assert [line for line in lines if line != "[other]"] == [
        f"GET /{number}-{'x' * (number % 97)} HTTP/1.1" for number in range(200)
    ]


@given(st.lists(st.text("ab\u00fc\u20ac", max_size=12), min_size=1), st.integers(8, 40))
def test_pieces_are_whole_lines(lines: list[str], most: int) -> None:
    pieces = list(_whole_lines(lines, most))
    assert all(piece.endswith(b"\n") and len(piece) <= most for piece in pieces)
    written = b"".join(pieces).decode().splitlines()
    for line, seen in zip(lines, written, strict=True):
        if len(line.encode()) < most:
            assert seen == line
        else:
            assert seen.endswith("...")
            assert line.startswith(seen[:-3])


def test_without_a_loop_lines_are_written_at_once(one: OneHandler, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    AccessLog(one.with_file(file), "%(s)s").log(make_record())
    assert file.read_text() == "200\n"


def test_handlers_of_a_configuration_get_records_with_atoms(one: OneHandler) -> None:
    handler = Keeping()
    AccessLog(one.with_handler(handler), "%(m)s %(s)s %({host}i)s").log(make_record())
    (record,) = handler.records
    assert record.getMessage() == "GET 200 example.org"
    assert record.args["D"] == 1234567  # type: ignore[call-overload,index]  # a mapping, as with gunicorn


def test_a_stream_without_descriptor(one: OneHandler) -> None:
    stream = io.StringIO()
    AccessLog(one.with_handler(QuietStreamHandler(stream)), "%(s)s").log(make_record())
    assert stream.getvalue() == "200\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_no_error(one: OneHandler) -> None:
    AccessLog(one.with_file("/dev/full"), "%(s)s").log(make_record())


def test_a_closed_pipe_is_no_error(one: OneHandler) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        AccessLog(one.with_handler(QuietStreamHandler(stream)), "%(s)s").log(make_record())


def test_a_record_that_cannot_be_rendered_is_reported_and_harmless(
    one: OneHandler, caplog: pytest.LogCaptureFixture
) -> None:
    AccessLog(one.with_handler(QuietStreamHandler(io.StringIO())), "%({x}i)s").log(SimpleNamespace())
    assert "the access log failed" in caplog.text
