"""How a worker boots, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from supervisor.errors import AppNotFound
from supervisor.protocols import WorkerContext
from supervisor.workers.uvicorn import UvicornWorker
from tests.workers.apps import app, lifespan, reply
from tests.workers.client import Reader, request
from tests.workers.conftest import StartWorker


def loader(load: Any) -> Any:
    load.is_loader = True
    return load


class StoppedAsItFails(UvicornWorker):
    """Is told to go just when it reports that it cannot boot, as happens when a sibling was faster to do so."""

    def boot_failed(self, error: BaseException) -> int:
        os.kill(os.getpid(), signal.SIGQUIT)
        return super().boot_failed(error)


def test_a_worker_that_is_stopped_while_it_reports_its_failure(start_worker: StartWorker) -> None:
    @loader
    def load() -> Any:
        raise ImportError("no module of that name")

    worker = start_worker(load, worker_class=StoppedAsItFails, ready=False)
    worker.wait_for_word("boot_failed")
    assert worker.wait_exit() == 3


def test_application_that_cannot_be_imported(start_worker: StartWorker) -> None:
    @loader
    def load() -> Any:
        raise ImportError("no module of that name")

    worker = start_worker(load, ready=False)
    _, summary, detail, code = worker.wait_for_word("boot_failed")
    assert worker.wait_exit() == code == 3
    assert "no module of that name" in summary
    assert "Traceback" in detail
    assert worker.log_text() == "", "the arbiter writes the log, once for all workers"


def test_application_that_exits(start_worker: StartWorker) -> None:
    @loader
    def load() -> Any:
        raise SystemExit(5)

    worker = start_worker(load, ready=False)
    assert worker.wait_for_word("boot_failed")[3] == 3
    assert worker.wait_exit() == 3


def test_application_that_does_not_exist(start_worker: StartWorker) -> None:
    @loader
    def load() -> Any:
        raise AppNotFound("no attribute 'app' in module 'main'")

    worker = start_worker(load, ready=False)
    assert worker.wait_for_word("boot_failed")[1:] == ["no attribute 'app' in module 'main'", "", 4]
    assert worker.wait_exit() == 4


def test_lifespan_that_fails(start_worker: StartWorker) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "Traceback\nValueError: no database"})

    worker = start_worker(failing, ready=False)
    _, summary, detail, code = worker.wait_for_word("boot_failed")
    assert worker.wait_exit() == code == 3
    assert summary.endswith("ValueError: no database")
    assert detail.startswith("Traceback")
    assert worker.log_text() == ""


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_lifespan_that_raises(start_worker: StartWorker, mode: str) -> None:
    async def raising(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            raise ValueError("no database")
        await reply(send, b"ok")

    worker = start_worker(raising, ready=mode == "auto", asgi_lifespan=mode)
    if mode == "on":
        _, summary, detail, code = worker.wait_for_word("boot_failed")
        assert (worker.wait_exit(), code) == (3, 3)
        assert "no database" in summary
        assert "Traceback" in detail
        return
    with worker.connect() as client:
        client.sendall(request())
        assert Reader(client).answer().body == b"ok"
    assert "ValueError" in worker.log_text()


def test_lifespan_off_is_not_called(start_worker: StartWorker) -> None:
    async def only_http(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await reply(send, b"ok")

    worker = start_worker(only_http, asgi_lifespan="off")
    with worker.connect() as client:
        client.sendall(request())
        assert Reader(client).answer().body == b"ok"
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 0
    assert worker.log_text() == ""


def test_lifespan_state_reaches_requests_as_a_copy(start_worker: StartWorker) -> None:
    async def stateful(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["database"] = "open"
            await lifespan(receive, send)
            return
        body = ",".join(sorted(scope["state"])).encode()
        scope["state"]["mine"] = True
        await reply(send, body)

    worker = start_worker(stateful)
    with worker.connect() as client:
        reader = Reader(client)
        for _ in range(2):
            client.sendall(request())
            assert reader.answer().body == b"database"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_heart_beats_during_startup_and_shutdown(start_worker: StartWorker, loop: str) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.6)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.sleep(0.6)
        await send({"type": "lifespan.shutdown.complete"})

    worker = start_worker(slow, ready=False, timeout=1, asgi_loop=loop)

    def beats_twice() -> None:
        first = worker.wait_for(lambda: worker.row.last_beat)
        worker.wait_for(lambda: worker.row.last_beat > first)

    beats_twice()
    assert worker.said == []
    worker.wait_for_word("ready")
    worker.signal(signal.SIGTERM)
    worker.wait_for_word("draining")
    beats_twice()
    assert worker.wait_exit() == 0
    assert worker.row.last_beat == 0.0, "the loop does not run any more"


@pytest.mark.parametrize("phase", ["import", "lifespan"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_boot_ends_it(
    start_worker: StartWorker, phase: str, number: signal.Signals, tmp_path: Path
) -> None:
    mark = tmp_path / "begun"

    @loader
    def slow_import() -> Any:
        mark.touch()
        time.sleep(60)

    async def slow_lifespan(scope: Any, receive: Any, send: Any) -> None:
        mark.touch()
        await asyncio.sleep(60)

    worker = start_worker(slow_import if phase == "import" else slow_lifespan, ready=False)
    worker.wait_for(mark.exists)
    worker.signal(number)
    assert worker.wait_exit() == 0
    assert worker.log_text() == ""


def test_hooks_of_a_worker(start_worker: StartWorker, tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    def note(*words: Any) -> None:
        with trace.open("a") as file:
            print(*words, file=file)

    def post_worker_init(worker: Any) -> None:
        note("post_worker_init", worker.pid == os.getpid(), worker.booted, worker.wsgi is not None, worker.cfg.timeout)

    def pre_request(worker: Any, req: Any) -> None:
        note("pre_request", req.method, req.path, req.query, req.uri, dict(req.headers)["HOST"])

    def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
        note("post_request", environ["PATH_INFO"], resp.status, dict(resp.headers)["content-length"], worker.nr)

    worker = start_worker(app, post_worker_init=post_worker_init, pre_request=pre_request, post_request=post_request)
    with worker.connect() as client:
        client.sendall(request("/a%20b?x=1"))
        Reader(client).answer()
    assert worker.wait_for(lambda: trace.read_text().splitlines()[2:])
    assert trace.read_text().splitlines() == [
        "post_worker_init True False True 30",
        "pre_request GET /a%20b x=1 /a%20b?x=1 test",
        "post_request /a b 200 OK 4 1",
    ]


def test_hooks_that_raise_harm_nothing(start_worker: StartWorker) -> None:
    def broken(*args: Any) -> None:
        raise SystemExit("on purpose")

    def two(worker: Any, req: Any) -> None:
        raise ValueError("two arguments")

    worker = start_worker(app, post_worker_init=broken, pre_request=broken, post_request=two)
    with worker.connect() as client:
        client.sendall(request("/fine"))
        assert Reader(client).answer().body == b"/fine"
    log = worker.wait_for(lambda: (text := worker.log_text()).count("going on") == 3 and text)
    for name in ("post_worker_init", "pre_request", "post_request"):
        assert f"hook {name} ({__file__}:" in log
    assert "SystemExit: on purpose" in log


def test_max_requests_asks_once_and_serves_on(start_worker: StartWorker) -> None:
    worker = start_worker(app, max_requests=3)
    with worker.connect() as client:
        reader = Reader(client)
        for _ in range(8):
            client.sendall(request())
            assert not reader.answer().closes
    assert "max_requests" in worker.wait_for_word("retirement_wanted")[1]
    worker.signal(signal.SIGTERM)
    worker.wait_for_word("draining")
    assert worker.wait_exit() == 0
    assert [said[0] for said in worker.said] == ["ready", "retirement_wanted", "draining"]


class Customized(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "asyncio",
        "server_header": False,
        "headers": [("x-mine", "yes")],
        "root_path": "/below",
    }


def test_config_kwargs_win_over_settings(start_worker: StartWorker) -> None:
    async def show(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await reply(send, f"{scope['root_path']} {type(asyncio.get_running_loop()).__module__}".encode())

    worker = start_worker(show, worker_class=Customized, root_path="/above", asgi_loop="uvloop")
    with worker.connect() as client:
        client.sendall(request())
        answer = Reader(client).answer()
    assert answer.body == b"/below asyncio.unix_events"
    assert answer.headers["x-mine"] == "yes"
    assert "server" not in answer.headers


class CustomizedLater(UvicornWorker):
    def __init__(self, context: WorkerContext) -> None:
        self.CONFIG_KWARGS = {"loop": "asyncio"}  # type: ignore[misc]  # as users write it
        super().__init__(context)


def test_config_kwargs_may_be_the_objects_own(start_worker: StartWorker) -> None:
    async def show(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await reply(send, type(asyncio.get_running_loop()).__module__.encode())

    worker = start_worker(show, worker_class=CustomizedLater, asgi_loop="uvloop")
    with worker.connect() as client:
        client.sendall(request())
        assert Reader(client).answer().body == b"asyncio.unix_events"


def test_usr1_reopens_the_logs(start_worker: StartWorker) -> None:
    worker = start_worker(app)
    with worker.connect() as client:
        reader = Reader(client)
        client.sendall(request("/before"))
        reader.answer()
        worker.wait_for(lambda: "/before" in worker.access_log.read_text())
        worker.access_log.rename(worker.access_log.with_suffix(".1"))
        worker.signal(signal.SIGUSR1)
        worker.wait_for(worker.access_log.exists)
        client.sendall(request("/after"))
        reader.answer()
        worker.wait_for(lambda: "/after" in worker.access_log.read_text())
    assert "/after" not in worker.access_log.with_suffix(".1").read_text()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_an_idle_worker_hardly_wakes(start_worker: StartWorker, loop: str) -> None:
    worker = start_worker(app, asgi_loop=loop)

    def switches() -> int:
        status = Path(f"/proc/{worker.pid}/status").read_text()
        return int(status.partition("voluntary_ctxt_switches:")[2].split()[0])

    first = worker.row.last_beat
    worker.wait_for(lambda: worker.row.last_beat > first)
    before, beat = switches(), worker.row.last_beat
    worker.wait_for(lambda: worker.row.last_beat > beat + 2.5)
    assert switches() - before <= 12, "a tick is one wake-up, and three ticks have passed"
