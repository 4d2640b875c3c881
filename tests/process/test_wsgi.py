"""WSGI applications under an arbiter: who takes the next connection, a request that hangs, a reload, a stop."""

from __future__ import annotations

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.process.conftest import StartService
from tests.process.harness import PATIENCE, Service

APP = """
import os, signal, threading, time

from probe import note

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/together":
        # Answered only when four workers are here at the same time.
        open(f"here.{os.getpid()}", "w").close()
        while len([name for name in os.listdir() if name.startswith("here.")]) < 4:
            time.sleep(0.01)
    elif path in ("/hang", "/deaf"):
        if path == "/deaf":
            # As in a call into a library that is not to be interrupted.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGQUIT})
        note("hanging", pid=os.getpid())
        while not os.path.exists("let_go"):
            time.sleep(0.01)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGQUIT})
    elif path == "/fork" and (child := os.fork()):
        note("forked", child=child)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


def start(service: StartService, *arguments: str, conf: str = "") -> Service:
    """The application, served with ``conf`` as its configuration file, if there is one."""
    running = service()
    running.write("shop.py", APP)
    if conf:
        running.write("conf.py", conf)
        arguments = ("-c", "conf.py", *arguments)
    running.start(*arguments, app="shop:app")
    running.wait_log("Ready: ")
    return running


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_requests_at_the_same_time_go_to_a_worker_each(service: StartService, kind: str) -> None:
    """With one thread each, four requests are answered together only if no worker has taken two of them."""
    running = start(service, "-w", "4", "-k", kind)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: running.get("/together").body, range(4)))
    assert len(set(answers)) == 4


def test_a_busy_worker_leaves_connections_to_the_others(service: StartService) -> None:
    running = start(service, "-w", "2")
    with running.connect() as hanging:
        hanging.sendall(b"GET /hang HTTP/1.1\r\nHost: shop\r\n\r\n")
        busy = running.wait_event("hanging")["pid"]
        assert {int(running.get().body) for _ in range(20)} == running.workers() - {busy}
        (running.directory / "let_go").touch()
        assert hanging.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_silent_connections_do_not_keep_a_worker_from_accepting(service: StartService) -> None:
    running = start(service)
    silent = [running.connect() for _ in range(5)]
    assert running.get().status == 200
    for connection in silent:
        connection.close()


def test_a_request_that_hangs_is_ended_after_timeout(service: StartService) -> None:
    """As with gunicorn's sync: reported with its stack, aborted with the hook, replaced. The queue is not lost."""
    running = start(
        service, "--timeout", "2", conf="from probe import note\ndef worker_abort(worker): note('aborted')\n"
    )
    running.expect_error("aborted: the thread that runs the application has been silent for")
    running.expect_error(r"Worker 1 \(pid \d+\)", sure=False)
    with running.connect() as hanging, ThreadPoolExecutor(3) as pool:
        hanging.sendall(b"GET /hang HTTP/1.1\r\nHost: shop\r\n\r\n")
        busy = running.wait_event("hanging")["pid"]
        waiting = [pool.submit(running.get) for _ in range(3)]
        running.wait_event("aborted")
        answers = [each.result() for each in waiting]
    assert all(answer.status == 200 and int(answer.body) != busy for answer in answers)
    assert 'shop.py", line' in running.log
    assert "GET /hang" in running.log


def test_a_hook_that_hangs_is_ended_as_well(service: StartService) -> None:
    running = start(
        service,
        "--timeout",
        "2",
        conf="import time\ndef post_request(worker, req):\n    if 'late' in req.path: time.sleep(3600)\n",
    )
    running.expect_error("aborted: the thread that runs the application has been silent for")
    running.expect_error(r"Worker 1 \(pid \d+\)", sure=False)
    assert running.get("/late").status == 200
    with running.connect() as waiting:
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        running.wait_log("aborted: the thread")
    assert running.get().status == 200


def test_gthread_has_no_timeout_for_requests(service: StartService) -> None:
    running = start(service, "-k", "gthread", "--threads", "2", "--timeout", "1")
    with running.connect() as hanging:
        hanging.sendall(b"GET /hang HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        busy = running.wait_event("hanging")["pid"]
        over = threading.Timer(3.0, (running.directory / "let_go").touch)
        over.start()
        answer = b"".join(iter(lambda: hanging.recv(1000), b""))
    assert answer.endswith(str(busy).encode())


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_what_waits_is_answered_when_the_service_stops(service: StartService, kind: str) -> None:
    running = start(service, "-w", "2", "-k", kind)
    hanging = [running.connect() for _ in range(2)]
    for connection in hanging:
        connection.sendall(b"GET /hang HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
    running.wait_event("hanging", count=2)
    waiting = [running.connect() for _ in range(6)]
    for connection in waiting:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
    running.signal(signal.SIGTERM)
    running.wait_log("Draining worker", count=2)
    (running.directory / "let_go").touch()
    for connection in (*hanging, *waiting):
        assert _rest(connection).startswith(b"HTTP/1.1 200 ")
    assert running.wait_exit() == 0


def hang(running: Service, path: str = "/hang") -> socket.socket:
    """A connection with a request that the application does not answer before it is let go."""
    hanging = running.connect()
    hanging.sendall(f"GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode())
    running.wait_event("hanging")
    return hanging


def test_a_stop_is_heard_while_the_application_hears_no_signal(service: StartService) -> None:
    running = start(service)
    hanging = hang(running, "/deaf")
    running.term()
    running.wait_until(lambda: _refused(running), "nobody listens any more")
    (running.directory / "let_go").touch()
    assert _rest(hanging).startswith(b"HTTP/1.1 200 ")
    assert running.wait_exit() == 0


@pytest.mark.parametrize("first", [None, signal.SIGTERM], ids=["", "after TERM"])
def test_a_quick_stop_is_heard_while_the_application_hears_no_signal(
    service: StartService, first: signal.Signals | None
) -> None:
    running = start(
        service,
        "--graceful-timeout",
        "600",
        conf="from probe import note\ndef worker_exit(server, worker): note('left')\n"
        "def worker_int(worker): note('interrupted')\n",
    )
    hanging = hang(running, "/deaf")
    if first is not None:
        running.signal(first)
        running.wait_until(lambda: _refused(running), "nobody listens any more")
    running.signal(signal.SIGQUIT)
    assert running.wait_exit() == 0
    assert not _rest(hanging).startswith(b"HTTP/1.1 200 ")
    assert len(running.events("left")) == 1, "it was not killed"
    assert len(running.events("interrupted")) == 1


def test_a_hook_of_a_quick_stop_may_take_its_time(service: StartService) -> None:
    running = start(
        service,
        conf="import time\nfrom probe import note\n"
        "def worker_int(worker):\n    time.sleep(1.5)\n    note('interrupted')\n"
        "def worker_exit(server, worker): note('left')\n",
    )
    running.signal(signal.SIGQUIT)
    assert running.wait_exit() == 0
    assert [len(running.events(name)) for name in ("interrupted", "left")] == [1, 1]


@pytest.mark.parametrize("kind", ["sync", "gthread"])
@pytest.mark.parametrize("path", ["/hang", "/deaf"])
def test_a_request_that_outlasts_the_stop_is_left(service: StartService, kind: str, path: str) -> None:
    running = start(
        service,
        "-k",
        kind,
        "--graceful-timeout",
        "1",
        conf="from probe import note\ndef worker_exit(server, worker): note('left')\n",
    )
    hanging = hang(running, path)
    running.term()
    assert _rest(hanging).startswith(b"HTTP/1.1 503 ")
    assert running.wait_exit() == 0
    assert "graceful_timeout of 1 s is over: cancelling 1 requests: GET " + path in running.log
    assert len(running.events("left")) == 1


@pytest.mark.parametrize("path", ["/hang", "/deaf"])
def test_a_worker_without_arbiter_leaves_its_request_in_the_end(service: StartService, path: str) -> None:
    running = start(service, "--graceful-timeout", "1")
    hanging = hang(running, path)
    running.kill_arbiter()
    assert _rest(hanging).startswith(b"HTTP/1.1 503 ")
    running.wait_until(running.is_gone, "no process is left")


def test_a_reload_leaves_the_queue_to_the_new_workers(service: StartService) -> None:
    """The old worker hangs until its end; what waits meanwhile must not wait for it."""
    running = start(service, "--graceful-timeout", "60")
    (old,) = running.workers()
    with running.connect() as hanging:
        hanging.sendall(b"GET /hang HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        running.wait_event("hanging")
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(running.get) for _ in range(4)]
            running.hup()
            assert all(int(each.result().body) != old for each in waiting)
        (running.directory / "let_go").touch()
        assert _rest(hanging).endswith(str(old).encode())


def test_a_child_of_the_application_that_falls_through_takes_nothing(service: StartService) -> None:
    running = start(service, "-k", "sync")
    (worker,) = running.workers()
    for _ in range(3):
        assert int(running.get("/fork").body) == worker
    children = {event["child"] for event in running.events("forked")}
    assert all(int(running.get().body) == worker for _ in range(20))
    running.wait_until(lambda: all(_is_over(child) for child in children), "the children have ended")


def _is_over(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _refused(running: Service) -> bool:
    try:
        running.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def _rest(connection: socket.socket) -> bytes:
    with connection:
        connection.settimeout(PATIENCE)
        return b"".join(iter(lambda: connection.recv(65536), b""))
