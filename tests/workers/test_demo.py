"""The demo application."""

from __future__ import annotations

import json
import re
import signal

from supervisor.demo import app
from tests.workers.client import Reader, request
from tests.workers.conftest import StartWorker


def test_says_who_answered(start_worker: StartWorker) -> None:
    worker = start_worker(app)
    with worker.connect() as client:
        reader = Reader(client)
        client.sendall(request("/"))
        page = reader.answer()
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert str(worker.pid) in page.body.decode()
        assert re.search(r"<dt>uptime</dt><dd>[\d.]+ s</dd>", page.body.decode())
        client.sendall(request("/json"))
        facts = json.loads(reader.answer().body)
        assert facts | {"uptime": 0} == {
            "worker": 1, "generation": 1, "pid": worker.pid, "requests": 2, "uptime": 0,
        }  # fmt: skip
        for path in ("/slow?seconds=0", "/block?seconds=0", "/slow?seconds=nonsense"):
            client.sendall(request(path))
            assert reader.answer().status == 200
        client.sendall(request("/nowhere"))
        assert reader.answer().status == 404
        client.sendall(request("/ws"))
        upgrade = reader.answer()
        assert (upgrade.status, upgrade.headers["upgrade"]) == (426, "websocket")
        assert "upgrade" in upgrade.headers["connection"]
        client.sendall(request("/json"))
        assert reader.answer().status == 200, "the connection goes on"
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 0
    assert worker.log_text() == ""


def test_stream_ends_when_the_client_leaves(start_worker: StartWorker) -> None:
    worker = start_worker(app)
    with worker.connect() as client:
        client.sendall(request("/stream"))
        assert Reader(client).head().headers["content-type"] == "text/event-stream"
    worker.wait_for(lambda: worker.row.in_flight == 0)
    assert worker.log_text() == ""
