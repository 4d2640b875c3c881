"""HTTP/1.1 and ASGI as facts: what uvicorn's own protocol tests state, and what RFC 9110 and 9112 ask beyond them.

What `tests.workers.test_http` states already is not repeated here.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

from supervisor.workers.state import Limits
from tests.workers.apps import read_body, reply
from tests.workers.peers import Conversation, Outcome, Program, with_ours
from tests.workers.traffic import PAUSE, READ, body, start
from tests.workers.wire import Wire, converse

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: %b\r\nA: b\r\n\r\n"

LENGTH_2 = (b"content-length", b"2")
OK: Program = (start(200, LENGTH_2), body(b"ok"))
READ_OK: Program = (READ, *OK)
OK_HEAD = b"HTTP/1.1 200 OK\r\nserver: default\r\ncontent-length: 2\r\n\r\n"
ANSWER = OK_HEAD + b"ok"
LAST_ANSWER = ANSWER.replace(b"2\r\n\r\n", b"2\r\nconnection: close\r\n\r\n")


def own(status: bytes, text: bytes) -> bytes:
    """A response of the server's own, which is the last."""
    return (
        b"HTTP/1.1 " + status + b"\r\nserver: default\r\ncontent-type: text/plain; charset=utf-8\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(text), text)
    )


BROKEN = own(b"400 Bad Request", b"Invalid HTTP request received.")
MISTAKE = own(b"500 Internal Server Error", b"Internal Server Error")
KEPT, ENDED = False, True

FACTS: dict[str, tuple[Program, list[bytes], bytes, bool]] = {
    # uvicorn's facts
    "a start without a body is cut off": (
        (start(),),
        [GET],
        b"HTTP/1.1 200 OK\r\nserver: default\r\ntransfer-encoding: chunked\r\n\r\n",
        ENDED,
    ),
    "two starts, nothing on the wire yet": ((start(), start()), [GET], MISTAKE, ENDED),
    "two starts, the first on the wire": (
        (start(), PAUSE, start()),
        [GET],
        b"HTTP/1.1 200 OK\r\nserver: default\r\ntransfer-encoding: chunked\r\n\r\n",
        ENDED,
    ),
    "a message after the end is the application's affair": ((*OK, body()), [GET, GET], ANSWER * 2, KEPT),
    "a value returned is the application's affair": ((*OK, ("return", 123)), [GET, GET], ANSWER * 2, KEPT),
    "100 is not said where the body is there": (
        READ_OK,
        [POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\nabc")],
        ANSWER,
        KEPT,
    ),
    "an upgrade to a WebSocket where none is served": (OK, [UPGRADE % b"websocket" + GET], ANSWER * 2, KEPT),
    "an upgrade to HTTP/2": (OK, [UPGRADE % b"h2c" + GET], ANSWER * 2, KEPT),
    "an upgrade to what nobody knows": (OK, [UPGRADE % b"not-websocket" + GET], ANSWER * 2, KEPT),
    "invalid method": (OK, [b"G?T / HTTP/1.1\r\nHost: a\r\n\r\n"], BROKEN, ENDED),
    "invalid target": (OK, [b"GET /?x=y z HTTP/1.1\r\nHost: a\r\n\r\n"], BROKEN, ENDED),
    "invalid version": (OK, [b"GET / HTTP1.1\r\nHost: a\r\n\r\n"], BROKEN, ENDED),
    "100,000 bytes of nothing": (OK, [b"x" * 100_000], BROKEN, ENDED),
    "close, with a body": (
        READ_OK,
        [POST.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + b"abc"],
        LAST_ANSWER,
        ENDED,
    ),
    "close, and a line break that old clients add": (
        READ_OK,
        [POST.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + b"abc\r\n"],
        LAST_ANSWER,
        ENDED,
    ),
    # RFC 9112, section 6: framing
    "chunked from an HTTP/1.0 client is refused": (
        READ_OK,
        [b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"],
        own(b"400 Bad Request", b"HTTP/1.0 has no Transfer-Encoding."),
        ENDED,
    ),
    "close wins over keep-alive, for HTTP/1.0 as well": (
        OK,
        [b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"],
        LAST_ANSWER,
        ENDED,
    ),
    "a coding that is not chunked at last": (
        READ_OK,
        [POST.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked, gzip") + b"abc"],
        BROKEN,
        ENDED,
    ),
    "two lengths": (READ_OK, [POST.replace(b"Content-Length: 3", b"Content-Length: 3, 3") + b"abc"], BROKEN, ENDED),
    "a space before the colon": (OK, [b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"], BROKEN, ENDED),
    "a folded line": (OK, [b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"], BROKEN, ENDED),
    "a bare line feed": (OK, [b"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n"], BROKEN, ENDED),
    "204 is without framing, chunked or not": (
        (start(204, (b"transfer-encoding", b"chunked")), body()),
        [GET, GET],
        b"HTTP/1.1 204 No Content\r\nserver: default\r\n\r\n" * 2,
        KEPT,
    ),
    "chunked wins over a length": (
        (start(200, (b"content-length", b"7"), (b"transfer-encoding", b"chunked")), body(b"a")),
        [GET],
        b"HTTP/1.1 200 OK\r\nserver: default\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        KEPT,
    ),
    "chunks asked for an HTTP/1.0 client are none": (
        (start(200, (b"transfer-encoding", b"chunked")), body(b"a")),
        [b"GET / HTTP/1.0\r\n\r\n"],
        b"HTTP/1.1 200 OK\r\nserver: default\r\nconnection: close\r\n\r\na",
        ENDED,
    ),
    # RFC 9110, sections 9.3.2 and 7.6.1
    "a refused HEAD gets a head": (
        OK,
        [HEAD.replace(b"Host: a", b"A: b")],
        own(b"400 Bad Request", b"E" * 42)[:-42],
        ENDED,
    ),
    "garbage behind a HEAD is no HEAD": (OK, [HEAD, b"\x16\x03\x01"], OK_HEAD + BROKEN, ENDED),
    "close in one of many Connection fields": (
        (start(200, LENGTH_2, (b"connection", b"close"), (b"connection", b"x")), body(b"ok")),
        [GET + GET],
        b"HTTP/1.1 200 OK\r\nserver: default\r\nconnection: close\r\nconnection: x\r\ncontent-length: 2\r\n\r\nok",
        ENDED,
    ),
    "close in a trailer": (READ_OK, [CHUNKED + b"0\r\nConnection: close\r\n\r\n" + GET], LAST_ANSWER, ENDED),
    "upgrade in a trailer": (
        READ_OK,
        [CHUNKED + b"0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + GET],
        ANSWER * 2,
        KEPT,
    ),
    # one answer to each request
    "a body that breaks after the answer gets no second one": (OK, [CHUNKED, b"zz\r\n"], ANSWER, ENDED),
    "a body that breaks into the answer cuts it off": (
        (start(), body(b"a", True), READ),
        [CHUNKED, b"zz\r\n"],
        b"HTTP/1.1 200 OK\r\nserver: default\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n",
        ENDED,
    ),
}


async def hold(program: Program, pieces: list[bytes]) -> Outcome:
    return await with_ours(Conversation(tuple(pieces), (program,)))


@pytest.mark.parametrize("name", FACTS)
async def test_fact(name: str) -> None:
    program, pieces, written, ended = FACTS[name]
    outcome = await hold(program, pieces)
    assert (outcome.written, outcome.ended) == (written, ended)


@pytest.mark.parametrize("value", [b"c", b"\t", b" ", "µ".encode(), b"\xff", b""])
async def test_what_a_field_value_may_hold(value: bytes) -> None:
    outcome = await hold((start(200, (b"key", b"<" + value + b">")), body()), [GET])
    assert b"\r\nkey: <" + value + b">\r\n" in outcome.written


@pytest.mark.parametrize("char", [bytes([code]) for code in b' \x00()<>@,;:[]{}="\\\t\x7f/?\xe9\r\n'])
async def test_what_a_field_name_may_not_hold(char: bytes) -> None:
    outcome = await hold((start(200, (b"bad" + char + b"name", b"value")), body()), [GET])
    assert outcome.written == MISTAKE


@pytest.mark.parametrize("code", [0, 1, 8, 10, 11, 13, 31, 127])
async def test_what_a_field_value_may_not_hold(code: int) -> None:
    outcome = await hold((start(200, (b"name", b"a" + bytes([code]) + b"b")), body()), [GET])
    assert outcome.written == MISTAKE


async def test_headers_may_be_any_iterable() -> None:
    step = ("send", {"type": "http.response.start", "status": 200, "headers": iter([[b"a", b"b"], [b"c", b"d"]])})
    outcome = await hold((step, body()), [GET])
    assert outcome.written.startswith(b"HTTP/1.1 200 OK\r\nserver: default\r\na: b\r\nc: d\r\n")


async def test_headers_and_body_are_optional() -> None:
    steps: Program = (
        ("send", {"type": "http.response.start", "status": 200}),
        ("send", {"type": "http.response.body"}),
    )
    outcome = await hold(steps, [GET])
    assert outcome.written.endswith(b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n")


async def test_the_state_is_a_shallow_copy_for_each_request() -> None:
    states = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        states.append((scope["state"]["a"], list(scope["state"]["b"])))
        scope["state"]["a"] = 456
        scope["state"]["b"].append(2)
        await reply(send, b"ok")

    wire = Wire(app)
    wire.shared.app_state = {"a": 123, "b": [1]}
    await wire.feed(GET, GET)
    assert states == [(123, [1]), (123, [1, 2])]


async def test_a_declined_upgrade_changes_no_header() -> None:
    outcome = await hold(OK, [UPGRADE % b"h2c"])
    expected = [(b"host", b"a"), (b"connection", b"upgrade"), (b"upgrade", b"h2c"), (b"a", b"b")]
    assert outcome.seen[0].scope["headers"] == expected


async def test_trailers_are_kept_from_the_application() -> None:
    pieces = [CHUNKED, b"1\r\na\r\n", b"0\r\nX-User: root\r\n", b"Host: b\r\nExpect: x\r\n\r\n", GET]
    outcome = await hold(READ_OK, pieces)
    assert outcome.written == ANSWER * 2
    (first, second) = outcome.seen
    assert first.body == b"a"
    assert first.scope["headers after"] == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    assert second.scope["headers after"] == [(b"host", b"a")]


# -- limits


LIMITS = Limits(request_line=100, request_fields=2, request_field_size=100)


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nA: ", id="head"),
        pytest.param(CHUNKED + b"0\r\nA: ", id="trailer"),
        pytest.param(CHUNKED + b"1;ext=", id="chunk extension"),
    ],
)
async def test_what_never_ends_is_refused(begin: bytes) -> None:
    outcome = await with_ours(Conversation((begin, *[b"b" * 50] * 20), (READ_OK,)), LIMITS)
    assert outcome.written.startswith(b"HTTP/1.1 431 ")
    assert outcome.ended


async def test_many_trailers_are_refused() -> None:
    outcome = await with_ours(Conversation((CHUNKED + b"0\r\n", *[b"A: b\r\n" * 10] * 20), (READ_OK,)), LIMITS)
    assert outcome.written.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("chunk", [b"x" * 50, b"32\r\n" + b"x" * 50 + b"\r\n"], ids=["length", "chunked"])
async def test_a_body_in_many_pieces_does_not_count_as_head(chunk: bytes) -> None:
    begin, end = (CHUNKED, b"0\r\n\r\n") if b"\r" in chunk else (POST.replace(b"3\r", b"1000\r"), b"")
    outcome = await with_ours(Conversation((begin, *[chunk] * 20, end + GET), (READ_OK,)), LIMITS)
    assert outcome.written == ANSWER * 2


async def test_a_large_body_in_the_same_piece_does_not_count_as_head() -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: 60000\r\n"
    outcome = await with_ours(Conversation((head, b"Host: a\r\n\r\n" + b"x" * 60_000 + GET), (READ_OK,)), LIMITS)
    assert outcome.written == ANSWER * 2
    assert len(outcome.seen[0].body) == 60_000


async def test_a_huge_field_is_a_matter_of_the_limit() -> None:
    pieces = (b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 32768, b"x" * 32768 + b"\r\n\r\n")
    assert (await with_ours(Conversation(pieces, (OK,)))).written.startswith(b"HTTP/1.1 431 ")
    assert (await with_ours(Conversation(pieces, (OK,)), Limits(request_field_size=0))).written == ANSWER


async def test_503_beyond_the_bound_byte_by_byte() -> None:
    wires = [Wire(lambda scope, receive, send: asyncio.sleep(60), limits=Limits(concurrency=1)) for _ in range(2)]
    wires[1].protocol.shared = wires[0].shared
    await wires[0].feed(GET)
    assert await wires[1].feed(GET) == (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        b"content-length: 19\r\n\r\nService Unavailable"
    )
    for task in wires[0].shared.tasks:
        task.cancel()


# -- what ends with a connection, and what does not begin


async def test_keepalive_begins_with_the_last_response() -> None:
    gate = asyncio.Event()

    async def gated(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/gated":
            await gate.wait()
        await reply(send, b"ok")

    wire = Wire(gated, limits=Limits(keepalive=2))
    await wire.feed(GET + GET.replace(b"/ ", b"/gated "))
    now = asyncio.get_running_loop().time()
    wire.protocol.sweep(now + 60)
    assert not wire.transport.closed, "a request is in flight"
    gate.set()
    await wire.settle()
    wire.protocol.sweep(asyncio.get_running_loop().time() + 3)
    assert wire.transport.closed


@pytest.mark.parametrize("behind", [pytest.param(GET, id="a request"), pytest.param(b"\x00\x01", id="garbage")])
async def test_who_waits_hears_that_the_client_left_whatever_it_sent_before(behind: bytes) -> None:
    received: list[str] = []

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        received.append((await receive())["type"])
        received.append((await receive())["type"])

    wire = Wire(waiting)
    await wire.feed(GET + behind)
    assert wire.reads, "the end of a connection is noticed by reading only"
    wire.lose()
    await wire.settle()
    assert received == ["http.request", "http.disconnect"]
    assert not wire.shared.tasks


async def test_nothing_begins_behind_a_response_that_was_cut_off() -> None:
    paths: list[str] = []

    async def half(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200})

    written, ended = await converse(half, [GET.replace(b"/ ", b"/1 ") + GET.replace(b"/ ", b"/2 ")])
    assert written == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert ended
    assert paths == ["/1"]


async def test_a_refusal_waits_for_the_requests_before_it(caplog: pytest.LogCaptureFixture) -> None:
    gate = asyncio.Event()

    async def gated(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await gate.wait()
        await reply(send, b"ok")

    caplog.set_level(logging.WARNING)
    wire = Wire(gated)
    assert await wire.feed(POST + b"abc" + GET + b"\x00\x01") == b""
    gate.set()
    await wire.settle()
    answers = re.findall(rb"HTTP/1\.1 \d+", wire.take())
    assert answers == [b"HTTP/1.1 200", b"HTTP/1.1 200", b"HTTP/1.1 400"]
    assert "400 to 192.0.2.1" in caplog.text
