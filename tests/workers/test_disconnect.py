"""``asgi_disconnect_grace_period``: what becomes of the application's task when its client goes away."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from supervisor.workers.uvicorn import UvicornWorker, disconnect_grace
from tests.workers.apps import lifespan, reply
from tests.workers.client import Reader, request
from tests.workers.conftest import PATIENCE, StartWorker, make_settings
from tests.workers.wire import Wire

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Patient:
    """An application that hears of the disconnect, and then has more to do."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds
        self.heard: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.heard.append("disconnect")
            await asyncio.sleep(self.seconds)
            self.heard.append("done")
        except asyncio.CancelledError:
            self.heard.append("cancelled")
            raise


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("grace", "seconds", "heard"),
    [
        (None, 0.05, ["disconnect", "done"]),
        (PATIENCE, 0.05, ["disconnect", "done"]),
        (0.05, PATIENCE, ["disconnect", "cancelled"]),
        (0.0, PATIENCE, ["disconnect", "cancelled"]),
    ],
    ids=["unset", "in time", "too late", "at once"],
)
async def test_a_client_leaves(
    grace: float | None, seconds: float, heard: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    app = Patient(seconds)
    wire = Wire(app, disconnect_grace=grace)
    await wire.feed(GET)
    wire.lose()
    await until(lambda: not wire.shared.live)
    assert app.heard == heard
    assert not caplog.records


async def test_what_is_done_after_the_response_is_not_cancelled() -> None:
    """Background tasks are for what a client is not to wait for. gunicorn's worker cancels them."""
    done: list[str] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await reply(send, b"accepted")
        await asyncio.sleep(0.05)
        done.append("sent the mail")

    wire = Wire(app, disconnect_grace=0.0)
    assert (await wire.feed(GET)).endswith(b"accepted")
    wire.lose()
    await until(lambda: not wire.shared.live)
    assert done


async def test_a_stream_that_does_not_listen_ends(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                await asyncio.sleep(0.01)
        ended.append("cancelled")

    wire = Wire(app, disconnect_grace=0.05)
    await wire.feed(GET)
    wire.lose()
    await until(lambda: not wire.shared.live)
    assert ended
    assert not caplog.records


async def notebook(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Notes what happens to it in the file that the query names, and never ends by itself."""
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    file = Path(scope["query_string"].decode())
    heard: list[str] = []
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    try:
        while not (await receive())["type"].endswith(".disconnect"):
            pass
        heard.append("disconnect")
        await asyncio.sleep(10 * PATIENCE)
    except asyncio.CancelledError:
        heard.append("cancelled")
        raise
    finally:
        file.with_suffix(".part").write_text(json.dumps(heard))
        file.with_suffix(".part").rename(file)


class WsprotoWorker(UvicornWorker):
    CONFIG_KWARGS = {"ws": "wsproto"}  # noqa: RUF012 - as users write it


KINDS = [
    pytest.param({"asgi_loop": "uvloop"}, id="uvloop"),
    pytest.param({"asgi_loop": "asyncio"}, id="asyncio"),
    pytest.param({"worker_class": "uvicorn-h11"}, id="h11"),
    pytest.param({"worker_class": WsprotoWorker}, id="wsproto"),
]


@pytest.mark.parametrize("grace", [0, 1])
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("options", KINDS)
def test_in_a_worker(start_worker: StartWorker, tmp_path: Path, options: dict[str, Any], kind: str, grace: int) -> None:
    worker = start_worker(notebook, asgi_disconnect_grace_period=grace, **options)
    file = tmp_path / "heard"
    with worker.connect() as client, contextlib.ExitStack() as stack:
        if kind == "http":
            client.sendall(request(f"/?{file}"))
        else:
            websocket = connect(f"ws://test/?{file}", sock=client, open_timeout=PATIENCE, close_timeout=PATIENCE)
            stack.enter_context(websocket)
        worker.wait_for(lambda: worker.row.in_flight == 1)
    worker.wait_for(file.exists)
    assert json.loads(file.read_text()) == ["disconnect", "cancelled"]
    worker.wait_for(lambda: worker.row.in_flight == 0)
    with worker.connect() as client:
        client.sendall(request(f"/?{file}"))
        worker.wait_for(lambda: worker.row.in_flight == 1)
    worker.wait_for(lambda: worker.row.in_flight == 0)
    assert "ERROR" not in worker.log_text()
    assert "Traceback" not in worker.log_text()


def test_h11_leaves_what_is_done_after_the_response(start_worker: StartWorker, tmp_path: Path) -> None:
    from tests.workers.apps import app

    worker = start_worker(app, worker_class="uvicorn-h11", asgi_disconnect_grace_period=0)
    file = tmp_path / "done"
    with worker.connect() as client:
        client.sendall(request(f"/background?seconds=0.3&file={file}"))
        assert Reader(client).answer().body == b"done"
    worker.wait_for(file.exists)


@pytest.mark.parametrize(
    ("values", "grace"),
    [
        ({}, None),
        ({"worker_class": "uvicorn.workers.UvicornWorker"}, None),
        ({"worker_class": "asgi"}, 3.0),
        ({"worker_class": "asgi", "asgi_disconnect_grace_period": 7}, 7.0),
        ({"asgi_disconnect_grace_period": 3}, 3.0),
        ({"asgi_disconnect_grace_period": 0}, 0.0),
    ],
)
def test_when_it_holds(values: dict[str, Any], grace: float | None) -> None:
    assert disconnect_grace(make_settings(**values)) == grace
