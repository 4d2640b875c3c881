"""HTTP/2, which is uvicorn's: that it is offered, counted and drained."""

from __future__ import annotations

import asyncio
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.workers.apps import read_body, reply
from tests.workers.authority import Authority
from tests.workers.conftest import PATIENCE, WITH_HTTP2, RunningWorker, StartWorker
from tests.workers.test_tls import CLASSES


async def show(scope: Any, receive: Any, send: Any) -> None:
    body = await read_body(receive)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    tls = scope["extensions"]["tls"]["tls_version"]
    await reply(send, json.dumps([scope["http_version"], scope["scheme"], scope["client"], len(body), tls]).encode())


def client_of(worker: RunningWorker, authority: Authority, *, http2: bool = True) -> httpx.Client:
    host, port = worker.address
    # The certificate is one for "test".
    transport = httpx.HTTPTransport(http1=True, http2=http2, verify=authority.context())
    return httpx.Client(
        transport=transport, base_url=f"https://{host}:{port}", timeout=PATIENCE, headers={"Host": "test"}
    )


def ask(client: httpx.Client, method: str, path: str = "/", body: bytes = b"") -> httpx.Response:
    return client.request(method, path, content=body, extensions={"sni_hostname": "test"})


@WITH_HTTP2
@pytest.mark.parametrize("options", CLASSES)
def test_clients_get_the_version_that_they_agree_upon(
    start_worker: StartWorker, authority: Authority, options: dict[str, Any]
) -> None:
    worker = start_worker(show, asgi_lifespan="off", http_protocols="h2,h1", **authority.options, **options)
    for http2, version in ((True, "HTTP/2"), (False, "HTTP/1.1")):
        with client_of(worker, authority, http2=http2) as client:
            for method, body in (("GET", b""), ("POST", b"x" * 100_000), ("POST", b""), ("GET", b"")):
                answer = ask(client, method, body=body)
                assert answer.http_version == version
                said = answer.json()
                assert said[:2] == [version.removeprefix("HTTP/"), "https"]
                assert said[3:] == [len(body), 0x0304]
    worker.wait_for(lambda: worker.access_log.read_text().count(" 200 ") == 8)
    assert worker.access_log.read_text().count(" HTTP/2") == 4
    assert worker.log_text() == ""


def test_it_is_not_offered_unasked(start_worker: StartWorker, authority: Authority) -> None:
    worker = start_worker(show, asgi_lifespan="off", **authority.options)
    with client_of(worker, authority) as client:
        assert ask(client, "GET").http_version == "HTTP/1.1"


@WITH_HTTP2
def test_a_drain_lets_streams_end(start_worker: StartWorker, authority: Authority) -> None:
    worker = start_worker(show, asgi_lifespan="off", http_protocols="h2", **authority.options)
    with client_of(worker, authority) as client, ThreadPoolExecutor(1) as pool:
        assert ask(client, "GET").http_version == "HTTP/2"
        slow = pool.submit(ask, client, "GET", "/slow")
        worker.wait_for(lambda: worker.row.in_flight == 1)
        worker.signal(signal.SIGTERM)
        assert slow.result(PATIENCE).status_code == 200
        assert worker.wait_exit() == 0
    assert worker.log_text() == ""
