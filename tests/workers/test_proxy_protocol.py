"""The PROXY protocol: headers, who may send them, and what applications then see."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from supervisor.workers import server, state
from supervisor.workers.proxy_protocol import SIGNATURE, Announced, InvalidHeader, parse_binary, parse_line
from tests.workers.apps import reply
from tests.workers.authority import Authority
from tests.workers.client import Reader, request
from tests.workers.conftest import RunningWorker, StartWorker
from tests.workers.test_tls import CLASSES
from tests.workers.test_tls_extension import UPGRADE

V1 = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n"


def v2(address: bytes = b"", *, family: int = 0x11, command: int = 0x21, more: bytes = b"") -> bytes:
    content = address + more
    return SIGNATURE + bytes([command, family]) + len(content).to_bytes(2, "big") + content


IPV4 = bytes([192, 0, 2, 7, 192, 0, 2, 8]) + (4711).to_bytes(2, "big") + (443).to_bytes(2, "big")
IPV6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::8")
    + (4711).to_bytes(2, "big")
    + (443).to_bytes(2, "big")
)
TLV = b"\x04\x00\x03abc"
FOUR = [["192.0.2.7", 4711], ["192.0.2.8", 443]]
SIX = [["2001:db8::7", 4711], ["2001:db8::8", 443]]

GOOD = {
    "v1": (V1, FOUR),
    "v1 of IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::8 4711 443\r\n", SIX),
    "v1 of nobody": (b"PROXY UNKNOWN\r\n", None),
    "v1 of nobody with addresses": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    "v2": (v2(IPV4), FOUR),
    "v2 of IPv6": (v2(IPV6, family=0x21), SIX),
    "v2 with more behind the addresses": (v2(IPV4, more=TLV * 100), FOUR),
    "v2 of the proxy itself": (v2(command=0x20, family=0), None),
    "v2 of the proxy itself, with addresses": (v2(IPV4, command=0x20), None),
    "v2 of no family": (v2(family=0, more=TLV), None),
    "v2 of a Unix socket": (v2(bytes(216), family=0x31), None),
}
BAD = {
    "v1 of another protocol": b"PROXY UDP4 192.0.2.7 192.0.2.8 1 2\r\n",
    "v1 with the wrong family": b"PROXY TCP6 192.0.2.7 192.0.2.8 1 2\r\n",
    "v1 with no address": b"PROXY TCP4 nonsense 192.0.2.8 1 2\r\n",
    "v1 with a port too high": b"PROXY TCP4 192.0.2.7 192.0.2.8 65536 2\r\n",
    "v1 with a signed port": b"PROXY TCP4 192.0.2.7 192.0.2.8 +1 2\r\n",
    "v1 with two spaces": b"PROXY TCP4  192.0.2.7 192.0.2.8 1 2\r\n",
    "v1 with a word too many": b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2 3\r\n",
    "v1 without an end": b"PROXY TCP4 " + b"1" * 200,
    "v1 with a bare line feed": b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n",
    "v2 of another version": v2(IPV4, command=0x31),
    "v2 with another command": v2(IPV4, command=0x22),
    "v2 of a datagram": v2(IPV4, family=0x12),
    "v2 of no known family": v2(IPV4, family=0x41),
    "v2 too short": v2(IPV4[:-1]),
    "v2 too short for IPv6": v2(IPV4, family=0x21),
    "v2 too long": v2(IPV4, more=bytes(17_000)),
}


async def show(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the connection's ends and its scheme, a WebSocket in its handshake."""
    said = json.dumps([scope["client"], scope["server"], scope["scheme"]]).encode()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-ends", said)]})
        await send({"type": "websocket.close"})
    else:
        await reply(send, said)


def start(start_worker: StartWorker, **values: Any) -> RunningWorker:
    return start_worker(show, **{"asgi_lifespan": "off", "proxy_protocol": "auto", **values})


def ends(client: socket.socket, *, headers: str = "") -> Any:
    """What the application sees of a request: client, server, scheme."""
    client.sendall(request(headers=headers))
    return json.loads(Reader(client).answer().body)


def own(client: socket.socket) -> Any:
    """The same of a connection that no header announces."""
    return [list(client.getsockname()), list(client.getpeername())]


@pytest.mark.parametrize("options", CLASSES)
def test_what_is_announced_is_what_applications_see(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start(start_worker, **options)
    for name, (header, announced) in GOOD.items():
        with worker.connect() as client:
            client.sendall(header)
            for _ in range(2):
                assert ends(client)[:2] == (announced or own(client)), name
            client.sendall(request(headers=UPGRADE))
            said = json.loads(Reader(client).head().headers["x-ends"])
            assert said == [*(announced or own(client)), "ws"], name
    # The descriptors have been used before.
    with worker.connect() as client:
        assert ends(client)[:2] == own(client)
    assert "ERROR" not in worker.log_text()


@pytest.mark.parametrize("header", [V1, v2(IPV4, more=TLV)], ids=["v1", "v2"])
@pytest.mark.parametrize("options", CLASSES)
def test_a_header_in_pieces(start_worker: StartWorker, options: dict[str, Any], header: bytes) -> None:
    worker = start(start_worker, **options)
    with worker.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header:
            client.sendall(bytes([byte]))
        assert ends(client)[:2] == FOUR


@pytest.mark.parametrize("cut", [1, 5, 6, 11, 12, 15, 16, 27])
def test_a_header_that_stops_for_a_while(start_worker: StartWorker, cut: int) -> None:
    worker = start(start_worker)
    for header in (V1, v2(IPV4)):
        with worker.connect() as client, worker.connect() as other:
            client.sendall(header[:cut])
            ends(other)  # the loop has turned meanwhile
            client.sendall(header[cut:])
            assert ends(client)[:2] == FOUR


@pytest.mark.parametrize("options", CLASSES)
def test_without_a_header_the_socket_counts(start_worker: StartWorker, options: dict[str, Any]) -> None:
    """As with gunicorn: health checks speak to the same port."""
    worker = start(start_worker, **options)
    for begin in (b"", b"P", b"PRO", b"\r", b"\r\n\r"):
        with worker.connect() as client:
            client.sendall(begin)
            if begin[:1] == b"P":
                client.sendall(b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n"[len(begin) :])
                assert json.loads(Reader(client).answer().body)[:2] == own(client)
            elif worker_takes_empty_lines(options):
                client.sendall(b"\r\n"[len(begin) % 2 * -1 :] if begin else b"")
                assert ends(client)[:2] == own(client)


def worker_takes_empty_lines(options: dict[str, Any]) -> bool:
    return options.get("worker_class") != "uvicorn-h11"


@pytest.mark.parametrize("options", CLASSES)
def test_what_is_no_header_is_refused(start_worker: StartWorker, options: dict[str, Any]) -> None:
    worker = start(start_worker, **options)
    for name, header in BAD.items():
        with worker.connect() as client:
            client.sendall(header + request("/never"))
            answer = Reader(client).answer()
            assert (answer.status, answer.closes) == (400, True), name
            assert client.recv(1) == b"", name
    log = worker.log_text()
    assert log.count("[WARNING]") == len(BAD), log
    assert "[ERROR]" not in log
    assert "/never" not in worker.access_log.read_text()


@pytest.mark.parametrize("mode", ["v1", "v2", "off"])
def test_only_the_version_that_is_set(start_worker: StartWorker, mode: str) -> None:
    worker = start(start_worker, proxy_protocol=mode)
    for version, header in (("v1", V1), ("v2", v2(IPV4))):
        with worker.connect() as client:
            client.sendall(header + request())
            answer = Reader(client).answer()
            if mode == version:
                assert json.loads(answer.body)[:2] == FOUR
            else:
                assert answer.status == 400


def test_strangers_announce_nobody(start_worker: StartWorker) -> None:
    worker = start(start_worker, proxy_allow_ips="192.0.2.0/24")
    for header in (V1, v2(IPV4)):
        with worker.connect() as client:
            client.sendall(header + request())
            assert Reader(client).answer().status == 400
    with worker.connect() as client:
        assert ends(client)[:2] == own(client)


def test_on_a_unix_socket(start_worker: StartWorker) -> None:
    worker = start(start_worker, family=socket.AF_UNIX, proxy_allow_ips="192.0.2.1")
    for header in (V1, v2(IPV4)):
        with worker.connect() as client:
            client.sendall(header)
            assert ends(client)[:2] == FOUR


@pytest.mark.parametrize("options", CLASSES)
def test_before_the_tls_handshake(start_worker: StartWorker, authority: Authority, options: dict[str, Any]) -> None:
    worker = start(start_worker, **authority.options, **options)
    for header, announced in GOOD.values():
        with worker.connect() as plain:
            plain.sendall(header)
            with authority.context().wrap_socket(plain, server_hostname="test") as client:
                assert ends(client) == [*(announced or own(client)), "https"]
                client.sendall(request(headers=UPGRADE))
                assert json.loads(Reader(client).head().headers["x-ends"])[0] == (announced or own(client))[0]
    with worker.connect() as plain:
        plain.sendall(BAD["v2 too short"])
        assert plain.recv(1) == b""
    worker.wait_for(lambda: "Invalid PROXY header" in worker.log_text())
    assert "[ERROR]" not in worker.log_text()


@pytest.mark.parametrize("options", CLASSES)
@pytest.mark.parametrize(
    ("allowed", "client"),
    [("127.0.0.1", ["192.0.2.7", 4711]), ("127.0.0.1,192.0.2.7", ["6.6.6.6", 0]), ("*", ["6.6.6.6", 0])],
)
def test_who_may_speak_for_others(
    start_worker: StartWorker, options: dict[str, Any], allowed: str, client: list[Any]
) -> None:
    """The proxy passes on what its client writes: X-Forwarded-For counts if that is a proxy, too."""
    worker = start(start_worker, forwarded_allow_ips=allowed, **options)
    with worker.connect() as connection:
        connection.sendall(V1)
        said = ends(connection, headers="X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n")
        assert said == [client, FOUR[1], "https"]
        connection.sendall(request(headers=UPGRADE + "X-Forwarded-For: 6.6.6.6\r\n"))
        assert json.loads(Reader(connection).head().headers["x-ends"])[0] == client


@pytest.mark.parametrize("begin", [b"", b"P", V1[:20], SIGNATURE[:5], v2(IPV4)[:20]])
def test_a_header_that_does_not_come_is_given_up(
    start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(state, "HEAD", 0.3)
    worker = start(start_worker)
    with worker.connect() as client:
        client.sendall(begin)
        assert Reader(client).answer().status == 408
        assert client.recv(1) == b""


def test_a_drain_does_not_wait_for_headers_for_long(start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "DRAIN_HEAD", 1.0)
    worker = start(start_worker, graceful_timeout=3600)
    with worker.connect() as client, worker.connect() as other:
        client.sendall(V1[:7])
        ends(other)
        other.close()
        worker.signal(signal.SIGTERM)
        assert worker.wait_exit() == 0
    assert worker.log_text() == ""


def test_the_access_log_knows_the_client(start_worker: StartWorker, tmp_path: Path) -> None:
    worker = start(start_worker, access_log_format="%(h)s %(s)s")
    with worker.connect() as client:
        client.sendall(V1)
        ends(client)
    worker.wait_for(lambda: worker.access_log.read_text() == "192.0.2.7 200\n")


@pytest.mark.parametrize("line", [b"PROXY", b"PROXY ", b"PROXY UNKNOW", b"PROXY TCP4 1 2 3 4", b"PROXY TCP4"])
def test_lines_that_are_none(line: bytes) -> None:
    with pytest.raises(InvalidHeader):
        parse_line(line)


def test_the_parsers_alone() -> None:
    assert parse_line(V1[:-2]) == Announced(("192.0.2.7", 4711), ("192.0.2.8", 443))
    assert parse_binary(0x21, 0x21, IPV6 + TLV) == Announced(("2001:db8::7", 4711), ("2001:db8::8", 443))
    assert parse_binary(0x20, 0x11, b"") is None
