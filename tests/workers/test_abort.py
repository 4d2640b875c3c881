"""ABRT: the worker says where it is stuck, wherever that is."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.workers.apps import app
from tests.workers.client import request
from tests.workers.conftest import RunningWorker, StartWorker

LOOPS = ["uvloop", "asyncio"]


def abort(worker: RunningWorker) -> str:
    worker.signal(signal.SIGABRT)
    assert worker.wait_exit() == 1
    return worker.log_text()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("draining", [False, True], ids=["serving", "draining"])
def test_blocked_in_a_request(start_worker: StartWorker, loop: str, draining: bool, tmp_path: Path) -> None:
    order = tmp_path / "order"

    def hook(name: str) -> Any:
        def run(*args: Any) -> None:
            with order.open("a") as file:
                print(name, args[-1].aborted, file=file)

        return run

    def worker_abort(worker: Any) -> None:
        hook("worker_abort")(worker)

    def worker_exit(server: Any, worker: Any) -> None:
        hook("worker_exit")(worker)

    worker = start_worker(app, asgi_loop=loop, worker_abort=worker_abort, worker_exit=worker_exit)
    with worker.connect() as slow, worker.connect() as client:
        slow.sendall(request("/slow?seconds=60"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
        if draining:
            worker.signal(signal.SIGTERM)
            worker.wait_for_word("draining")
        client.sendall(request("/block?seconds=60&secret=1", "POST", body=b"x"))
        worker.wait_for(lambda: worker.row.in_flight == 2)
        beat = worker.row.last_beat
        worker.wait_for(lambda: time.monotonic() - beat > 1.5)
        log = abort(worker)
    assert log.count("[ERROR]") == 1
    assert "the event loop has been silent for 1." in log
    assert "2 requests in flight:\n  GET /slow " in log
    assert "\n  POST /block 1." in log
    assert "secret" not in log
    assert "MainThread" in log
    assert "time.sleep(seconds)" in log
    assert order.read_text().splitlines() == ["worker_abort True", "worker_exit True"]


@pytest.mark.parametrize("loop", LOOPS)
def test_blocked_in_lifespan_startup(start_worker: StartWorker, loop: str, tmp_path: Path) -> None:
    mark = tmp_path / "begun"

    async def blocking(scope: Any, receive: Any, send: Any) -> None:
        mark.touch()
        time.sleep(60)  # noqa: ASYNC251 - the point of the test

    worker = start_worker(blocking, ready=False, asgi_loop=loop)
    worker.wait_for(mark.exists)
    log = abort(worker)
    assert "in blocking\n" in log
    assert "no requests in flight" in log


def test_threads_are_shown_after_the_main_one(start_worker: StartWorker, tmp_path: Path) -> None:
    mark = tmp_path / "begun"

    def work() -> None:
        mark.touch()
        time.sleep(61)

    async def threaded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await asyncio.to_thread(work)

    worker = start_worker(threaded, asgi_lifespan="off")
    with worker.connect() as client:
        client.sendall(request())
        worker.wait_for(mark.exists)
        log = abort(worker)
    assert log.index("MainThread") < log.index("time.sleep(61)")
    assert log.index("run_until_complete") < log.index("in work")
