"""Trust in proxies."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.workers.proxy import Forwarded, split_host
from tests.workers.apps import reply
from tests.workers.client import Reader, request
from tests.workers.conftest import StartWorker
from tests.workers.test_tls_extension import UPGRADE
from tests.workers.wire import Wire


@pytest.mark.parametrize(
    ("allowed", "host", "trusted"),
    [
        ("*", "192.0.2.1", True),
        (["*"], "anything", True),
        ("127.0.0.1,::1", "127.0.0.1", True),
        ("127.0.0.1, ::1", "::1", True),
        ("127.0.0.1,::1", "0:0:0:0:0:0:0:1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "fe80::1", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("proxy", "proxy", True),
        ("", "127.0.0.1", False),
        ([], "127.0.0.1", False),
    ],
)
def test_who_is_trusted(allowed: Any, host: str, trusted: bool) -> None:
    assert Forwarded(allowed).trusts(host) is trusted


@pytest.mark.parametrize(
    ("allowed", "chain", "client"),
    [
        ("10.0.0.0/8", "1.1.1.1", ("1.1.1.1", 0)),
        ("10.0.0.0/8", "6.6.6.6, 1.1.1.1, 10.0.0.2", ("1.1.1.1", 0)),
        ("10.0.0.0/8", "10.0.0.3, 10.0.0.2", ("10.0.0.3", 0)),
        ("*", "6.6.6.6, 1.1.1.1", ("6.6.6.6", 0)),
        ("10.0.0.0/8", "1.1.1.1:1234", ("1.1.1.1", 1234)),
        ("10.0.0.0/8", "[2001:db8::1]:99", ("2001:db8::1", 99)),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy(allowed: str, chain: str, client: tuple[str, int]) -> None:
    assert Forwarded(allowed).client_of(chain) == client


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a", ("a", 0)),
        ("a:1", ("a", 1)),
        ("a:x", ("a", 0)),
        ("::1", ("::1", 0)),
        ("[::1]", ("::1", 0)),
        ("[::1]:8", ("::1", 8)),
        ("[::1", ("[::1", 0)),
        ("", ("", 0)),
    ],
)
def test_split_host(text: str, address: tuple[str, int]) -> None:
    assert split_host(text) == address


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ([], "http"),
        ([(b"x-forwarded-proto", b"https")], "https"),
        ([(b"x-forwarded-proto", b" HTTPS ")], "https"),
        ([(b"x-forwarded-proto", b"nonsense")], "http"),
        ([(b"x-forwarded-ssl", b"on")], "https"),
        ([(b"x-forwarded-ssl", b"off")], "http"),
        ([(b"x-forwarded-protocol", b"ssl")], "https"),
    ],
)
def test_scheme(headers: list[tuple[bytes, bytes]], scheme: str) -> None:
    scope = {"type": "http", "scheme": "http", "headers": headers, "client": ("10.0.0.1", 1)}
    Forwarded("*").apply(scope)
    assert scope["scheme"] == scheme
    scope = {"type": "websocket", "scheme": "ws", "headers": headers, "client": ("10.0.0.1", 1)}
    Forwarded("*").apply(scope)
    assert scope["scheme"] == scheme.replace("http", "ws")


ON, OFF = (b"x-forwarded-ssl", b"on"), (b"x-forwarded-ssl", b"off")
HTTP, HTTPS = (b"x-forwarded-proto", b"http"), (b"x-forwarded-proto", b"https")


@pytest.mark.parametrize(
    ("headers", "agree"),
    [
        ([ON, HTTPS], True),
        ([OFF, HTTP], True),
        ([HTTPS, HTTPS], True),
        ([ON, HTTP], False),
        ([HTTP, ON], False),
        ([OFF, HTTPS], False),
        ([HTTPS, HTTP], False),
        ([HTTPS, (b"x-forwarded-proto", b"nonsense")], False),
    ],
)
def test_fields_about_the_scheme_that_contradict_each_other(headers: Any, agree: bool) -> None:
    scope = {"type": "http", "scheme": "http", "headers": headers, "client": ("10.0.0.1", 1)}
    assert Forwarded("*").apply(scope) is agree
    assert Forwarded("*", {"X-SSL": "on"}).apply(scope), "none of them is a field that tells the scheme"


@pytest.mark.parametrize("kind", ["uvicorn", "h11", "sync"])
@pytest.mark.parametrize("proxy_protocol", ["off", "auto"])
def test_they_are_refused(start_worker: StartWorker, kind: str, proxy_protocol: str) -> None:
    """As by gunicorn; from strangers, whose fields do not count, they are taken."""
    contradiction = "X-Forwarded-Ssl: off\r\nX-Forwarded-Proto: https\r\n"
    app = wsgi if kind == "sync" else asgi
    for allowed, status in (("127.0.0.1", 400), ("10.0.0.1", 200)):
        values = {"worker_class": kind, "proxy_protocol": proxy_protocol, "forwarded_allow_ips": allowed}
        worker = start_worker(app, asgi_lifespan="off", **values)
        with worker.connect() as client:
            client.sendall(request(headers=contradiction))
            answer = Reader(client).answer()
            assert answer.status == status
            assert answer.closes or status == 200
        if kind == "sync":
            continue
        with worker.connect() as client:
            client.sendall(request(headers=f"{UPGRADE}{contradiction}"))
            assert (Reader(client).head().status in (400, 403)) == (status == 400)
        assert "ERROR" not in worker.log_text()


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
    else:
        await reply(send, b"served")


def wsgi(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return [b"served"]


@pytest.mark.parametrize(
    ("peername", "allowed", "client"),
    [
        (("10.0.0.1", 1), "10.0.0.1", "1.1.1.1"),
        (("10.0.0.2", 1), "10.0.0.1", "10.0.0.2"),
        ("", "10.0.0.1", "1.1.1.1"),
    ],
    ids=["trusted", "stranger", "unix socket"],
)
async def test_of_a_connection(peername: Any, allowed: str, client: str) -> None:
    async def show(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, scope["client"][0].encode())

    wire = Wire(show, forwarded=Forwarded(allowed), extra={"peername": peername})
    written = await wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")
    assert written.endswith(b"\r\n\r\n" + client.encode())
