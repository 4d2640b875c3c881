"""The environ and the responses of a WSGI application: gunicorn's sync worker and ours, asked the same, key by key."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parity import launching
from tests.process.harness import free_port

pytestmark = pytest.mark.process

PATIENCE = 45.0

APP = """
import hashlib, json, sys

def shown(value):
    if isinstance(value, (str, int, bool, tuple)) or value is None:
        return value
    return "an object"

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.endswith("/answer"):
        return globals()[environ["QUERY_STRING"]](environ, start_response)
    body = environ["wsgi.input"].read()
    environ["wsgi.errors"].write("")
    text = json.dumps({key: shown(value) for key, value in environ.items()} | {"": [len(body), str(body[:20])]})
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text.encode()]

def generator(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"a"
    yield b""
    yield b"b" * 70000

def writer(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written, ")
    return [b"and returned"]

def long_body(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return [b"12", b"3456"]

def no_content(environ, start_response):
    start_response("204 No Content", [("Content-Length", "4")])
    return [b"1234"]

def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"1"')])
    return []

def hops(environ, start_response):
    start_response("200 OK", [("Connection", "Upgrade"), ("Transfer-Encoding", "chunked"), ("X-Mine", " 1 ")])
    return [b"ok"]

def replaced(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    try:
        raise KeyError
    except KeyError:
        start_response("500 Oh", [("X-Second", "2")], sys.exc_info())
    return [b"sorry"]

def file(environ, start_response):
    import io
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 100_000), 8192)

def real_file(environ, start_response):
    start_response("200 OK", [("Content-Length", "17")])
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))

def lines(environ, start_response):
    body = environ["wsgi.input"]
    text = repr((body.readline(), body.readline(3), body.readlines(), body.read(), body.readline()))
    start_response("200 OK", [])
    return [text.encode()]

def iterated(environ, start_response):
    start_response("200 OK", [])
    return [repr(list(environ["wsgi.input"])).encode()]

def part_read(environ, start_response):
    start_response("200 OK", [])
    return [environ["wsgi.input"].read(10)]

def raises(environ, start_response):
    raise ValueError("oh")

def exits(environ, start_response):
    sys.exit(3)

def raises_late(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    yield b"12"
    raise ValueError("oh")

def no_start(environ, start_response):
    return [b""]

def bad_header(environ, start_response):
    start_response("200 OK", [("X-Bad", "a\\r\\nb: c")])
    return [b""]

def bad_status(environ, start_response):
    start_response(200, [])
    return [b""]

def text(environ, start_response):
    start_response("200 OK", [])
    return ["text"]

def in_main_thread(environ, start_response):
    import asyncio, signal, threading
    def ring(number, frame):
        raise TimeoutError("rung")
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        threading.Event().wait(20)
        said = "nothing"
    except TimeoutError as error:
        said = str(error)
    finally:
        signal.signal(signal.SIGALRM, before)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    slept = loop.run_until_complete(asyncio.sleep(0, "slept"))
    run = asyncio.run(asyncio.sleep(0, "run"))
    loop.close()
    start_response("200 OK", [])
    return [f"{threading.current_thread().name} {said} {slept} {run}".encode()]

def hints(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


class Pair:
    """gunicorn and this package, serving the same application in the same way."""

    def __init__(self, directory: Path, *arguments: str, unix: bool = False, **environment: str) -> None:
        (directory / "shop.py").write_text(APP)
        self.processes = []
        self.addresses: list[Any] = []
        for program in ("gunicorn", "supervisor"):
            self.addresses.append(str(directory / f"{program}.sock") if unix else ("127.0.0.1", free_port()))
            bind = f"unix:{self.addresses[-1]}" if unix else "{}:{}".format(*self.addresses[-1])
            command = launching.command(program, "shop:app", "--bind", bind, *arguments)
            log = directory / f"{program}.log"
            self.processes.append(launching.launch(command, directory, log, environ=environment))
        self.directory = directory

    def ask(self, data: bytes) -> list[bytes]:
        """What both answer until they close."""
        return [self._ask(address, data) for address in self.addresses]

    def _ask(self, address: Any, data: bytes) -> bytes:
        end = time.monotonic() + PATIENCE
        while True:
            with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
                client.settimeout(PATIENCE)
                try:
                    client.connect(address)
                except (ConnectionRefusedError, FileNotFoundError):
                    logs = "".join(path.read_text() for path in self.directory.glob("*.log"))
                    assert time.monotonic() < end, logs
                    time.sleep(0.02)
                    continue
                client.sendall(data)
                return b"".join(iter(lambda: _received(client), b""))

    def environs(self, data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """The environs that both made of this request."""
        answers = self.ask(data)
        assert all(answer.split()[1] == b"200" for answer in answers), answers
        first, second = (json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers)
        return first, second

    def end(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(PATIENCE)


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 16)
    except ConnectionResetError:
        return b""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    started = Pair(tmp_path_factory.mktemp("tcp"), "-w", "2")
    yield started
    started.end()


@pytest.fixture(scope="module")
def unix_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    started = Pair(tmp_path_factory.mktemp("unix"), unix=True, SCRIPT_NAME="/shop")
    yield started
    started.end()


DIFFERS = {"SERVER_SOFTWARE", "REMOTE_PORT", "SERVER_PORT", "HTTP_HOST"}
"""What cannot be equal: the names of the programs, and the ports of two servers and two connections."""


def same(environs: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """Hold the two to be equal, and return ours."""
    theirs, ours = environs
    assert {key: value for key, value in ours.items() if key not in DIFFERS} == {
        key: value for key, value in theirs.items() if key not in DIFFERS
    }
    assert ours.keys() == theirs.keys()
    return ours


HOST = b"Host: shop.example\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /?a=1&b=%20#f HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /caf%C3%A9/%FF/a%2Fb;c=d//e/../f HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://other.example/abs?q HTTP/1.1\r\n" + HOST + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"DELETE /x HTTP/1.1\r\n" + HOST + b"X-A: 1\r\nX-a: 2\r\nCookie: a=1; b=2\r\nX-Empty:\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X-Latin: \xe9t\xe9\r\nContent-Type: text/x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X_Forwarded_For: 6.6.6.6\r\nX-Forwarded-For: 10.0.0.9, 10.1.1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X-Forwarded-Proto: https\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X-Forwarded-Ssl: on\r\n\r\n",
        b"GET /sub/x HTTP/1.1\r\n" + HOST + b"SCRIPT_NAME: /sub\r\nREMOTE_USER: root\r\n\r\n",
        b"GET /info HTTP/1.1\r\n" + HOST + b"PATH_INFO: /else\r\n\r\n",
        b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
        b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000,
        b"POST /p HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
    ],
    ids=lambda data: data.split(b"\r\n")[0].decode(),
)
def test_environ(pair: Pair, request_: bytes) -> None:
    same(pair.environs(request_))


def test_what_the_environ_holds(pair: Pair) -> None:
    ours = same(pair.environs(b"GET /a%20b HTTP/1.1\r\n" + HOST + b"X_Y: 1\r\n\r\n"))
    assert (ours["PATH_INFO"], ours["SCRIPT_NAME"], ours["RAW_URI"]) == ("/a b", "", "/a%20b")
    assert (ours["wsgi.multithread"], ours["wsgi.multiprocess"]) == (False, True)
    assert ours["REMOTE_ADDR"] == "127.0.0.1"
    assert ours["SERVER_PORT"] == str(pair.addresses[1][1])
    assert "HTTP_X_Y" not in ours


def test_100_continue(pair: Pair) -> None:
    request = b"POST /p HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"
    theirs, ours = (
        json.loads(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")[2])
        for answer in pair.ask(request)
    )
    same((theirs, ours))


def test_environ_on_a_unix_socket(unix_pair: Pair) -> None:
    for host in (b"", b"Host: shop.example\r\n", b"Host: shop.example:81\r\n"):
        version = b"1.1" if host else b"1.0"
        request = b"GET /shop/x HTTP/" + version + b"\r\n" + host + b"Connection: close\r\n"
        environs = unix_pair.environs(request + b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.9\r\n\r\n")
        if not host:
            for environ in environs:
                environ["SERVER_NAME"] = Path(environ["SERVER_NAME"]).parent
        ours = same(environs)
        assert (ours["REMOTE_ADDR"], ours["SCRIPT_NAME"], ours["PATH_INFO"]) == ("", "/shop", "/x")
        assert environs[0]["SERVER_PORT"] == ours["SERVER_PORT"]


def test_a_path_outside_of_script_name(unix_pair: Pair) -> None:
    answers = unix_pair.ask(b"GET /elsewhere HTTP/1.1\r\n" + HOST + b"\r\n")
    assert [answer.split()[1] for answer in answers] == [b"500", b"500"]
    # Gunicorn only looks how the path begins, and would have PATH_INFO be "er".
    answers = unix_pair.ask(b"GET /shoper HTTP/1.1\r\n" + HOST + b"\r\n")
    assert [answer.split()[1] for answer in answers] == [b"200", b"500"]


def test_refused_header_names(tmp_path: Path) -> None:
    refusing = Pair(tmp_path, "--header-map", "refuse", "--forwarded-allow-ips", "10.0.0.1")
    try:
        for name in (b"X_Y", b"SCRIPT_NAME"):
            answers = refusing.ask(b"GET / HTTP/1.1\r\n" + HOST + name + b": 1\r\n\r\n")
            assert [answer.split()[1] for answer in answers] == [b"400", b"400"]
    finally:
        refusing.end()


def test_dangerous_header_names_and_threads(tmp_path: Path) -> None:
    trusting = Pair(tmp_path, "--header-map", "dangerous", "-k", "gthread", "--threads", "2")
    try:
        ours = same(trusting.environs(b"GET / HTTP/1.1\r\n" + HOST + b"X-Y: 1\r\nX_Y: 2\r\n\r\n"))
        assert (ours["HTTP_X_Y"], ours["wsgi.multithread"], ours["wsgi.multiprocess"]) == ("1,2", True, False)
    finally:
        trusting.end()


def whole(answer: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Status, fields that the application has a say in, and body, whatever its framing."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    fields = sorted((name.lower(), value.strip()) for name, _, value in (each.partition(b":") for each in lines))
    if (b"transfer-encoding", b"chunked") in fields:
        body = _unchunked(body)
    own = (b"server", b"date", b"connection", b"transfer-encoding", b"content-length")
    return line.split()[1], [field for field in fields if field[0] not in own], body


def _unchunked(body: bytes) -> bytes:
    pieces = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(rest[:length])
        body = rest[length + 2 :] if length else b""
    return b"".join(pieces)


@pytest.mark.parametrize(
    "answer",
    [
        "generator",
        "writer",
        "long_body",
        "no_content",
        "not_modified",
        "hops",
        "file",
        "real_file",
        "hints",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_responses(pair: Pair, answer: str, method: str) -> None:
    theirs, ours = pair.ask(f"{method} /answer?{answer} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
    if answer == "hints":
        assert theirs.partition(b"\r\n\r\n")[0] == ours.partition(b"\r\n\r\n")[0].replace(b"link:", b"Link:")
        theirs, ours = (each.partition(b"\r\n\r\n")[2] for each in (theirs, ours))
    assert whole(theirs) == whole(ours)


def test_sync_runs_the_application_in_the_main_thread(pair: Pair) -> None:
    """Timeouts by SIGALRM, which some applications have, work nowhere else."""
    theirs, ours = pair.ask(b"GET /answer?in_main_thread HTTP/1.1\r\n" + HOST + b"\r\n")
    assert whole(ours) == whole(theirs) == (b"200", [], b"MainThread rung slept run")


def test_a_response_that_is_replaced_before_it_began(pair: Pair) -> None:
    """PEP 3333 has the second ``start_response`` replace the headers of the first; gunicorn sends both."""
    theirs, ours = pair.ask(b"GET /answer?replaced HTTP/1.1\r\n" + HOST + b"\r\n")
    assert whole(theirs) == (b"500", [(b"x-first", b"1"), (b"x-second", b"2")], b"sorry")
    assert whole(ours) == (b"500", [(b"x-second", b"2")], b"sorry")


@pytest.mark.parametrize("answer", ["lines", "iterated", "part_read"])
def test_reading_the_body(pair: Pair, answer: str) -> None:
    body = b"first\nsecond\nthird\n\nlast without end"
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:8], body[8:])) + b"0\r\n\r\n"
    for framing, data in (
        (b"Content-Length: %d" % len(body), body),
        (b"Transfer-Encoding: chunked", chunked),
        (b"Content-Length: 0", b""),
    ):
        theirs, ours = pair.ask(
            b"POST /answer?" + answer.encode() + b" HTTP/1.1\r\n" + HOST + framing + b"\r\n\r\n" + data
        )
        assert whole(theirs) == whole(ours)


@pytest.mark.parametrize("answer", ["raises", "exits", "bad_header", "bad_status", "text"])
def test_what_is_answered_with_500(pair: Pair, answer: str) -> None:
    theirs, ours = pair.ask(f"GET /answer?{answer} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
    assert ours.split()[1] == b"500"
    # Gunicorn has sent the head of the last one before it looks at the body, and then has nothing more to say.
    assert theirs.split()[1] == (b"200" if answer == "text" else b"500")


def test_a_response_that_breaks_off_is_seen_to_do_so(pair: Pair) -> None:
    for answer in pair.ask(b"GET /answer?raises_late HTTP/1.1\r\n" + HOST + b"\r\n"):
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"content-length: 10" in head.lower()
        assert body == b"12"


def test_no_response_at_all(pair: Pair) -> None:
    """Gunicorn sends a status line with None in it, or nothing."""
    _, ours = pair.ask(b"GET /answer?no_start HTTP/1.1\r\n" + HOST + b"\r\n")
    assert ours.split()[1] == b"500"
