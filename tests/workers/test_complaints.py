"""Floods of lines in the error log."""

from __future__ import annotations

import logging

import pytest

from supervisor.workers import complaints
from tests.workers.apps import reply
from tests.workers.authority import Authority
from tests.workers.conftest import StartWorker


def test_a_flood_becomes_a_number(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(complaints, "monotonic", lambda: now)
    said = complaints.Complaints(logging.getLogger("flood"))
    for number in range(1000):
        said.warning("400 to %s", number)
    said.review()
    assert [record.getMessage() for record in caplog.records] == [f"400 to {number}" for number in range(50)]
    caplog.clear()
    now += 10
    said.review()
    said.review()
    said.warning("and %s", "now")
    assert [record.getMessage() for record in caplog.records] == [
        "950 more warnings about clients within 10 s were kept back",
        "and now",
    ]


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("kind", ["uvicorn", "h11"])
def test_connections_that_begin_badly_do_not_fill_the_log(
    start_worker: StartWorker, authority: Authority, kind: str, tls: bool
) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        await reply(send, b"")

    options = authority.options if tls else {}
    worker = start_worker(app, asgi_lifespan="off", worker_class=kind, proxy_protocol="v1", **options)
    for _ in range(200):
        with worker.connect() as client:
            client.sendall(b"PROXY TCP4 nonsense\r\n")
            while client.recv(1000):
                pass
    assert worker.log_text().count("Invalid PROXY header") == complaints.MOST
    worker = start_worker(app, asgi_lifespan="off", worker_class=kind, **options)
    for _ in range(200):
        with worker.connect() as client:
            client.sendall(b"nonsense\r\n\r\n")
            while client.recv(1000):
                pass
    assert worker.log_text().count("\n") <= complaints.MOST
