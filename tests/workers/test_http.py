"""`HttpProtocol` byte by byte: what goes in, what comes out, whether the connection stays."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.workers.state import Limits
from tests.workers.apps import read_body, reply
from tests.workers.wire import Wire, converse

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
OK_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


def refusal(status: bytes, text: bytes) -> bytes:
    return (
        b"HTTP/1.1 " + status + b"\r\ncontent-type: text/plain; charset=utf-8\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(text), text)
    )


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await reply(send, b"ok")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The method, the target, and the body."""
    body = await read_body(receive)
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    await reply(send, scope["method"].encode() + b" " + target + b" " + body)


def sends(*messages: Any) -> Any:
    """An application that sends these messages."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


KEPT, ENDED = False, True

CONVERSATIONS: dict[str, tuple[Any, bytes, bytes, bool]] = {
    "one request": (ok, GET, OK, KEPT),
    "blank lines before the request": (ok, b"\r\n\r\n" + GET, OK, KEPT),
    "pipelined, answered in order": (
        echo,
        (
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
            b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nGET /1 "
            b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nPOST /2 abc"
            b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nGET /3 "
        ),
        KEPT,
    ),
    "client says close": (ok, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", OK_CLOSE, ENDED),
    "nothing is answered after close": (
        ok,
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET,
        OK_CLOSE,
        ENDED,
    ),
    "application says close": (
        sends(start(200, (b"content-length", b"2"), (b"Connection", b"Close")), body(b"ok")),
        GET + GET,
        b"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 2\r\n\r\nok",
        ENDED,
    ),
    "HTTP/1.0": (ok, b"GET / HTTP/1.0\r\n\r\n", OK_CLOSE, ENDED),
    "HTTP/1.0 kept alive": (
        ok,
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
        KEPT,
    ),
    "HTTP/1.0 without a length ends with the connection": (
        sends(start(), body(b"a", True), body(b"b")),
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab",
        ENDED,
    ),
    "chunked response": (
        sends(start(), body(b"abc", True), body(b"", True), body(b"de")),
        GET,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        KEPT,
    ),
    "chunked response, asked for": (
        sends(start(200, (b"transfer-encoding", b"chunked")), body(b"abc")),
        GET,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        KEPT,
    ),
    "empty chunked response": (
        sends(start(), body()),
        GET,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        KEPT,
    ),
    "chunked request": (
        echo,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n"
        + GET,
        b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nPOST / abcdeHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nGET / ",
        KEPT,
    ),
    "HEAD has the length and no body": (
        ok,
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + GET,
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + OK,
        KEPT,
    ),
    "HEAD without a length": (
        sends(start(), body(b"ok")),
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        KEPT,
    ),
    "204 has neither body nor length": (
        sends(start(204, (b"content-length", b"0")), body(b"")),
        GET + GET,
        b"HTTP/1.1 204 No Content\r\n\r\n" * 2,
        KEPT,
    ),
    "304 keeps its length": (
        sends(start(304, (b"content-length", b"5")), body(b"")),
        GET + GET,
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n" * 2,
        KEPT,
    ),
    "unknown status": (
        sends(start(299, (b"content-length", b"0")), body()),
        GET,
        b"HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n",
        KEPT,
    ),
    "100-continue, body read": (
        echo,
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        KEPT,
    ),
    "100-continue, not read: the body may never come": (
        ok,
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        OK_CLOSE,
        ENDED,
    ),
    "100-continue of an HTTP/1.0 client is ignored": (
        echo,
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nPOST / ab",
        ENDED,
    ),
    "other expectations": (
        ok,
        b"GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n",
        refusal(b"417 Expectation Failed", b"Expectation failed."),
        ENDED,
    ),
    "early response, then the next request": (
        ok,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde" + GET,
        OK + OK,
        KEPT,
    ),
    "absolute form": (
        echo,
        b"GET http://a/b?c=d HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nGET /b?c=d ",
        KEPT,
    ),
    "asterisk form": (
        echo,
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nOPTIONS * ",
        KEPT,
    ),
    "CONNECT": (
        ok,
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        refusal(b"501 Not Implemented", b"CONNECT is not supported."),
        ENDED,
    ),
    "an upgrade that is not wanted is ignored": (
        ok,
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" + GET,
        OK + OK,
        KEPT,
    ),
    "an upgrade that is declined twice": (
        ok,
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" * 2,
        OK + OK,
        KEPT,
    ),
    "an upgrade with a body that is not wanted is ignored": (
        echo,
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab" + GET,
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nPOST / abHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nGET / ",
        KEPT,
    ),
    "no Host": (
        ok,
        b"GET / HTTP/1.1\r\n\r\n",
        refusal(b"400 Bad Request", b"Exactly one Host header field is required."),
        ENDED,
    ),
    "two Hosts": (
        ok,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        refusal(b"400 Bad Request", b"Exactly one Host header field is required."),
        ENDED,
    ),
    "garbage": (ok, b"\x16\x03\x01\x02\x00", refusal(b"400 Bad Request", b"Invalid HTTP request received."), ENDED),
    "length and chunked at once": (
        ok,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        refusal(b"400 Bad Request", b"Invalid HTTP request received."),
        ENDED,
    ),
    "garbage after a request": (
        ok,
        GET + b"\x00\x01\x02\x03",
        OK + refusal(b"400 Bad Request", b"Invalid HTTP request received."),
        ENDED,
    ),
    "garbage in a chunked body": (
        echo,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        refusal(b"400 Bad Request", b"Invalid HTTP request received."),
        ENDED,
    ),
    "own date and server win": (
        sends(start(200, (b"Server", b"mine"), (b"content-length", b"0")), body()),
        GET,
        b"HTTP/1.1 200 OK\r\nserver: mine\r\ncontent-length: 0\r\n\r\n",
        KEPT,
    ),
}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_conversation(name: str) -> None:
    app, request, expected, ended = CONVERSATIONS[name]
    assert await converse(app, [request]) == (expected, ended)


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_conversation_byte_by_byte(name: str) -> None:
    app, request, expected, ended = CONVERSATIONS[name]
    pieces = [request[index : index + 1] for index in range(len(request))]
    assert await converse(app, pieces) == (expected, ended)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_of_the_same_bytes_gives_the_same_answers(data: st.DataObject) -> None:
    app, request, expected, ended = CONVERSATIONS[data.draw(st.sampled_from(sorted(CONVERSATIONS)))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(request)), max_size=8)))
    pieces = [request[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(request)], strict=True)]
    conversation = asyncio.run(converse(app, [piece for piece in pieces if piece]))
    assert conversation == (expected, ended)


# -- limits


@pytest.mark.parametrize(
    ("limits", "request_bytes", "status"),
    [
        (Limits(request_line=50), b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (Limits(request_line=50), b"GET /" + b"a" * 100, 414),
        (Limits(request_line=50), b"GET /" + b"a" * 36 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (Limits(request_line=0), b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (Limits(request_fields=3), b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 3 + b"\r\n", 431),
        (Limits(request_fields=3), b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 2 + b"\r\n", 200),
        (Limits(request_field_size=100), b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 100 + b"\r\n\r\n", 431),
        (Limits(request_field_size=100), b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 90 + b"\r\n\r\n", 200),
    ],
)
async def test_limits_of_the_head(limits: Limits, request_bytes: bytes, status: int) -> None:
    written, ended = await converse(ok, [request_bytes], limits=limits)
    assert written.startswith(b"HTTP/1.1 %d " % status)
    assert ended == (status != 200)


async def test_a_field_without_end_is_refused() -> None:
    limits = Limits(request_line=100, request_fields=2, request_field_size=100)
    wire = Wire(ok, limits=limits)
    written = await wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nA: ", *[b"b" * 50] * 20)
    assert written.startswith(b"HTTP/1.1 431 ")


async def test_too_many_at_once_get_503() -> None:
    gate = asyncio.Event()

    async def gated(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await reply(send, b"ok")

    wires = [Wire(gated, limits=Limits(concurrency=1))]
    second = Wire(gated)
    second.protocol.shared = wires[0].shared
    await wires[0].feed(GET)
    written = await second.feed(GET)
    assert written.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"connection: close\r\n" in written
    gate.set()
    await wires[0].settle()
    assert wires[0].take() == OK


async def test_keepalive_zero_closes() -> None:
    assert await converse(ok, [GET], limits=Limits(keepalive=0)) == (OK_CLOSE, True)


# -- the application's mistakes


@pytest.mark.parametrize(
    ("app", "says"),
    [
        (sends(), "returned without a response"),
        (sends(body(b"early")), "expected 'http.response.start'"),
        (sends(start(200, (b"bad name", b"x")), body()), "invalid HTTP header name"),
        (sends(start(200, (b"name", b"a\r\nb: c")), body()), "invalid value of HTTP header"),
        (sends({"type": "http.response.start", "status": 42}), "invalid HTTP status"),
        (sends(start(200, ("text", "text"))), "must be bytes"),  # type: ignore[arg-type]  # the mistake
        (sends(start(200, (b"content-length", b"1")), body(b"too long")), "longer than its content-length"),
        (sends(start(200, (b"content-length", b"9")), body(b"short")), "shorter than its content-length"),
        (sends(start(200, (b"content-length", b"x")), body(b"short")), "invalid content-length"),
        (sends(start(200, (b"content-length", b"4")), body("text")), "can't concat str to bytes"),  # type: ignore[arg-type]  # the mistake
    ],
)
async def test_a_mistake_before_the_first_byte_is_500(app: Any, says: str, caplog: pytest.LogCaptureFixture) -> None:
    assert await converse(app, [GET]) == (refusal(b"500 Internal Server Error", b"Internal Server Error"), True)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    message = record.getMessage() + str(record.exc_info[1] if record.exc_info else "")
    assert says in message


@pytest.mark.parametrize(
    "error", [ValueError("on purpose"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr
)
async def test_what_the_application_raises_is_500_and_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def raising(scope: Any, receive: Any, send: Any) -> None:
        raise error

    assert await converse(raising, [GET]) == (refusal(b"500 Internal Server Error", b"Internal Server Error"), True)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_raising_in_the_middle_leaves_the_response_visibly_unfinished() -> None:
    async def raising(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"abc", True))
        raise ValueError("on purpose")

    written, ended = await converse(raising, [GET])
    assert written.endswith(b"3\r\nabc\r\n")
    assert ended


async def test_raising_after_the_response_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def raising(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"ok")
        raise ValueError("on purpose")

    assert await converse(raising, [GET + GET]) == (OK + OK, False)
    assert caplog.text.count("raised ValueError") == 2


# -- ASGI


async def test_scope() -> None:
    scopes: list[dict[str, Any]] = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await reply(send, b"ok")

    wire = Wire(keep, root_path="/root")
    wire.shared.app_state = {"key": "value"}
    await wire.feed(b"POST /a%2Fb%20%C3%A9?q=%20#f HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\n\r\n")
    (scope,) = scopes
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("192.0.2.2", 80),
        "client": ("192.0.2.1", 50000),
        "scheme": "http",
        "method": "POST",
        "root_path": "/root",
        "path": "/root/a/b é",
        "raw_path": b"/root/a%2Fb%20%C3%A9",
        "query_string": b"q=%20",
        "headers": [(b"host", b"a"), (b"x-two", b"1"), (b"x-two", b"2")],
        "state": {"key": "value"},
    }
    assert scope["state"] is not wire.shared.app_state


async def test_receive_says_disconnect_after_the_body_when_the_client_leaves() -> None:
    received: list[dict[str, Any]] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        while not received or received[-1]["type"] != "http.disconnect":
            received.append(await receive())

    wire = Wire(listening)
    await wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab", b"cd")
    assert received == [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"cd", "more_body": False},
    ]
    wire.lose()
    await wire.settle()
    assert received[2:] == [{"type": "http.disconnect"}]
    assert not wire.shared.tasks
    assert not wire.shared.live
    assert not wire.shared.connections


async def test_receive_says_disconnect_after_the_response() -> None:
    received: list[str] = []

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await reply(send, b"ok")
        received.append((await receive())["type"])

    await converse(answering, [GET])
    assert received == ["http.disconnect"]


async def test_sending_to_a_client_that_left_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    gate = asyncio.Event()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await reply(send, b"ok")

    wire = Wire(late)
    await wire.feed(GET)
    wire.lose(ConnectionResetError())
    gate.set()
    await wire.settle()
    assert wire.written == b""
    assert caplog.text == ""
    assert wire.shared.row.in_flight == 0


async def test_head_and_first_body_are_one_write() -> None:
    wire = Wire(sends(start(), body(b"abc", True), body(b"de")))
    await wire.feed(GET)
    assert len(wire.transport.writes) == 2


async def test_a_head_without_a_body_goes_out_on_the_next_turn() -> None:
    gate = asyncio.Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await gate.wait()
        await send(body(b"x"))

    wire = Wire(patient)
    assert await wire.feed(GET) == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    gate.set()
    await wire.settle()
    assert wire.take() == b"1\r\nx\r\n0\r\n\r\n"


# -- flow control


async def test_reading_pauses_while_the_application_does_not_read() -> None:
    gate = asyncio.Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await reply(send, b"%d" % len(await read_body(receive)))

    wire = Wire(patient)
    await wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n", b"x" * 100_000)
    assert not wire.transport.reading
    gate.set()
    await wire.settle()
    assert wire.reads
    assert (await wire.feed(b"x" * 100_000)).endswith(b"200000")


async def test_sending_waits_while_the_client_does_not_read() -> None:
    sent: list[int] = []

    async def eager(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for number in range(3):
            await send(body(b"x", number < 2))
            sent.append(number)

    wire = Wire(eager)
    wire.protocol.pause_writing()
    await wire.feed(GET)
    assert sent == []
    wire.protocol.resume_writing()
    await wire.settle()
    assert sent == [0, 1, 2]


async def test_a_lost_connection_releases_who_waits_to_send() -> None:
    wire = Wire(sends(start(), body(b"x")))
    wire.protocol.pause_writing()
    await wire.feed(GET)
    assert wire.shared.tasks
    wire.lose()
    await wire.settle()
    assert not wire.shared.tasks


async def test_reading_pauses_while_pipelined_requests_wait() -> None:
    gate = asyncio.Event()

    async def gated(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await reply(send, b"ok")

    wire = Wire(gated)
    await wire.feed(GET * 3)
    assert not wire.transport.reading
    gate.set()
    await wire.settle()
    assert wire.reads
    assert wire.take() == OK * 3


# -- the end


async def test_early_response_to_a_large_upload_half_closes() -> None:
    wire = Wire(ok)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"
    assert await wire.feed(head) == OK
    assert not wire.transport.eof
    await wire.feed(*[b"x" * 65536] * 20)
    assert wire.half_closed
    assert not wire.transport.closed, "closing now could reset the response away"
    assert wire.transport.reading


async def test_sweep_closes_what_has_waited_too_long() -> None:
    limits = Limits(keepalive=2, head=30, linger=5)
    now = asyncio.get_running_loop().time()
    fresh, idle, half, busy = (Wire(ok, limits=limits) for _ in range(4))
    busy.shared.app = lambda scope, receive, send: receive()
    await idle.feed(GET)
    await half.feed(GET[:10])
    await busy.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
    for wire in (fresh, idle, half, busy):
        wire.protocol.sweep(now + 1)
        assert not wire.transport.closed
    for wire in (fresh, idle, half, busy):
        wire.protocol.sweep(now + 3)
    assert [wire.transport.closed for wire in (fresh, idle, half, busy)] == [False, True, False, False]
    for wire in (fresh, half, busy):
        wire.protocol.sweep(now + 31)
    assert fresh.transport.closed
    assert half.take().startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert half.transport.eof
    assert not busy.transport.closed
    half.protocol.sweep(now + 40)
    assert half.transport.closed
    for wire in (fresh, idle, half, busy):
        wire.lose()
        await wire.settle()


async def test_a_response_that_the_client_takes_slowly_is_not_cut_off() -> None:
    wire = Wire(ok)
    await wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\n")
    assert wire.transport.eof
    now = asyncio.get_running_loop().time()
    wire.transport.buffered = 1000
    wire.protocol.sweep(now + 100)
    assert not wire.transport.aborted
    wire.transport.buffered = 0
    wire.protocol.sweep(now + 101)
    assert not wire.transport.aborted
    wire.protocol.sweep(now + 110)
    assert wire.transport.aborted


async def test_draining_says_close_with_the_last_response_only() -> None:
    gate = asyncio.Event()

    async def gated(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await reply(send, b"ok")

    wire = Wire(gated)
    await wire.feed(GET * 2)
    wire.shared.draining = True
    gate.set()
    await wire.settle()
    assert wire.take() == OK + OK_CLOSE
    assert wire.transport.closed


async def test_draining_closes_idle_connections_after_the_grace() -> None:
    wire = Wire(ok, limits=replace(Limits(), keepalive=60))
    await wire.feed(GET)
    now = asyncio.get_running_loop().time()
    wire.shared.draining = True
    wire.protocol.drain()
    wire.protocol.sweep(now + 1)
    assert not wire.transport.closed
    wire.protocol.sweep(now + 2.5)
    assert wire.transport.closed


async def test_retirement_is_asked_for_once() -> None:
    wire = Wire(ok, max_requests=3)
    await wire.feed(*[GET] * 10)
    assert wire.shared.requests == 10
    assert len(wire.shared.link.retirements) == 1  # type: ignore[attr-defined]  # the fake has it


async def test_a_declined_upgrade_is_still_seen_by_the_application() -> None:
    seen: list[Any] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append(sorted(scope["headers"]))
        await reply(send, b"ok")

    await converse(look, [b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"])
    assert seen == [[(b"connection", b"Upgrade"), (b"host", b"a"), (b"upgrade", b"h2c")]]
