"""WSGI applications behind what stands between them and the client: PROXY headers, TLS, HTTP/2, other names."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.workers.authority import Authority
from tests.workers.client import Reader, request
from tests.workers.conftest import WITH_HTTP2, RunningWorker, StartWorker
from tests.workers.test_http2 import ask, client_of
from tests.workers.test_http2_clients import Client

SHOWN = (
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "SERVER_NAME",
    "SERVER_PORT",
    "SCRIPT_NAME",
    "SERVER_SOFTWARE",
    "wsgi.url_scheme",
)


def show(environ: dict[str, Any], start_response: Any) -> Any:
    """Answer with what the environ says of the connection, and with the size of the body."""
    said = {name: environ.get(name) for name in SHOWN} | {"size": len(environ["wsgi.input"].read())}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(said).encode()]


def behind_a_proxy(worker: RunningWorker, client: str) -> Any:
    with worker.connect() as connection:
        connection.sendall(f"PROXY TCP4 {client} 192.0.2.8 4711 443\r\n".encode())
        connection.sendall(request("/shop/x", headers="SCRIPT_NAME: /shop\r\n"))
        return json.loads(Reader(connection).answer().body)


@pytest.mark.parametrize("kind", ["sync", "gthread", "h11"])
def test_trust_is_in_the_peer_and_not_in_the_client_that_it_announces(start_worker: StartWorker, kind: str) -> None:
    values: dict[str, Any] = {"worker_class": kind, "proxy_protocol": "auto"}
    worker = start_worker(show, forwarded_allow_ips="127.0.0.1", **values)
    said = behind_a_proxy(worker, "192.0.2.7")
    assert (said["REMOTE_ADDR"], said["REMOTE_PORT"]) == ("192.0.2.7", "4711")
    assert (said["SERVER_NAME"], said["SERVER_PORT"]) == ("192.0.2.8", "443")
    assert said["SCRIPT_NAME"] == "/shop"
    worker = start_worker(show, forwarded_allow_ips="192.0.2.7", **values)
    said = behind_a_proxy(worker, "192.0.2.7")
    assert said["REMOTE_ADDR"] == "192.0.2.7"
    assert said["SCRIPT_NAME"] == ""


def test_the_name_that_the_configuration_gives_the_server(start_worker: StartWorker) -> None:
    from supervisor.compat.version import PRODUCT

    worker = start_worker(show)
    with worker.connect() as client:
        client.sendall(request())
        assert json.loads(Reader(client).answer().body)["SERVER_SOFTWARE"] == PRODUCT


@pytest.mark.parametrize("kind", ["sync", "gthread", "h11"])
@pytest.mark.parametrize("http2", [False, pytest.param(True, marks=WITH_HTTP2)], ids=["HTTP/1.1", "HTTP/2"])
def test_over_tls(start_worker: StartWorker, authority: Authority, kind: str, http2: bool) -> None:
    worker = start_worker(show, worker_class=kind, http_protocols="h2,h1", threads=2, **authority.options)
    with client_of(worker, authority, http2=http2) as client:
        for size in (0, 5, 300_000, 0):
            answer = ask(client, "POST" if size else "GET", body=b"x" * size)
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            said = answer.json()
            assert (said["wsgi.url_scheme"], said["REMOTE_ADDR"], said["size"]) == ("https", "127.0.0.1", size)
    assert worker.log_text() == ""


@WITH_HTTP2
def test_many_streams_of_one_connection_share_the_threads(start_worker: StartWorker, authority: Authority) -> None:
    worker = start_worker(slow, http_protocols="h2", threads=3, **authority.options)
    with Client(worker, authority) as client:
        streams = {client.ask() for _ in range(20)}
        client.read_until(lambda: streams <= client.ended)
        assert client.statuses == dict.fromkeys(streams, 200)
        assert set(client.texts.values()) <= {b"1", b"2", b"3"}
    assert worker.log_text() == ""


_inside = 0


def slow(environ: dict[str, Any], start_response: Any) -> Any:
    """Answer how many of these run at the same time."""
    global _inside  # noqa: PLW0603 - what is counted is the process
    _inside += 1
    time.sleep(0.02)
    said = _inside
    _inside -= 1
    start_response("200 OK", [])
    return [str(said).encode()]
