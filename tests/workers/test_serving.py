"""A worker in its own process: it boots, answers, and tells its arbiter."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.workers.apps import app
from tests.workers.client import Reader, request
from tests.workers.conftest import StartWorker

CLASSES = [
    pytest.param({"asgi_loop": "uvloop"}, id="uvloop"),
    pytest.param({"asgi_loop": "asyncio"}, id="asyncio"),
    pytest.param({"worker_class": "uvicorn-h11"}, id="h11"),
]


@pytest.mark.parametrize("options", CLASSES)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_answers_on_a_kept_connection(start_worker: StartWorker, options: dict[str, Any], family: int) -> None:
    worker = start_worker(app, family=family, **options)
    with worker.connect() as client:
        reader = Reader(client)
        for number in range(3):
            client.sendall(request(f"/{number}"))
            answer = reader.answer()
            assert (answer.status, answer.body) == (200, f"/{number}".encode())
            assert not answer.closes
        worker.wait_for(lambda: worker.row.requests == 3)
        assert worker.row.connections == 1
    worker.wait_for(lambda: worker.row.connections == 0)
    lines = worker.wait_for(lambda: [*worker.access_log.read_text().splitlines()])
    assert '"GET /0 HTTP/1.1" 200 2' in lines[0]


@pytest.mark.parametrize("options", CLASSES)
def test_the_date_is_right_though_nobody_was_there_for_a_while(
    start_worker: StartWorker, options: dict[str, Any]
) -> None:
    worker = start_worker(app, **options)
    begun = worker.row.last_beat
    worker.wait_for(lambda: worker.row.last_beat > begun + 3)
    asked = datetime.now(UTC).replace(microsecond=0)
    with worker.connect() as client:
        client.sendall(request("/"))
        answer = Reader(client).answer()
    assert asked <= parsedate_to_datetime(answer.headers["date"]) <= datetime.now(UTC)
