"""From the command to the first answer, on every kind of address."""

from __future__ import annotations

import http.client
import os
import re
import socket
import stat

import pytest
from websockets.sync.client import connect as connect_websocket

from tests.process.conftest import StartService
from tests.process.harness import free_port


def test_the_demo_tells_which_worker_and_generation_answered(service: StartService) -> None:
    demo = service().start("--workers", "2", "--preload", app="supervisor.demo:app")
    demo.wait_until(lambda: len(demo.workers()) == 2, "two workers")
    demo.wait_log(r"\bready\b")
    page = demo.get().body.decode()
    assert any(str(pid) in page for pid in demo.workers()), page
    assert re.search(r"generation", page, re.IGNORECASE), page


def test_what_it_says_at_start(service: StartService) -> None:
    """Version, addresses, workers and the configuration file."""
    site = service()
    site.write("gunicorn.conf.py", "workers = 2\n")
    site.start().wait_serving(2)
    site.wait_log(r"\bready\b")
    for said in (r"\d+\.\d+\.\d+", re.escape(site.address), r"gunicorn\.conf\.py", r"\b2 workers|workers\D+2"):
        assert re.search(said, site.log), f"{said!r} is not in the log\n{site.log}"


@pytest.mark.parametrize("preload", [True, False])
def test_ready_is_said_when_all_workers_accept(service: StartService, preload: bool) -> None:
    site = service()
    site.deploy("1", startup="await asyncio.sleep(0.7)")
    site.start("--workers", "3", *(["--preload"] if preload else []))
    site.wait_event("starting")
    assert not re.search(r"\bready\b", site.log, re.IGNORECASE), "not before it is true"
    site.wait_log(r"\bready\b.*\b3 workers")
    assert len(site.events("started")) == 3
    assert site.get().status == 200


def test_a_unix_socket_with_the_mode_of_the_umask(service: StartService) -> None:
    site = service(bind="unix").start("--umask", "0o027")
    site.wait_serving(1)
    assert site.get().status == 200
    assert stat.S_IMODE(os.stat(site.socket_path).st_mode) == 0o750


def test_a_stale_unix_socket_is_replaced(service: StartService) -> None:
    site = service(bind="unix")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(site.socket_path))
    site.start().wait_serving(1)
    assert site.get().status == 200


def test_several_addresses(service: StartService) -> None:
    site = service()
    other = free_port()
    site.start("--bind", "unix:web.sock", "--bind", f"localhost:{other}").wait_serving(1)
    assert site.get().status == 200
    connection = http.client.HTTPConnection("localhost", other, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(str(site.socket_path))


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6(service: StartService) -> None:
    site = service(bind=None)
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    site.start("--bind", f"[::1]:{site.port}").wait_serving(1)
    connection = http.client.HTTPConnection("::1", site.port, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()


def test_an_inherited_descriptor(service: StartService) -> None:
    site = service(bind=None)
    with socket.create_server(("127.0.0.1", site.port)) as listener:
        fd = listener.fileno()
        os.set_inheritable(fd, True)
        site.start("--bind", f"fd://{fd}", pass_fds=[fd])
    site.wait_serving(1)
    assert site.get().status == 200


def test_environment(service: StartService) -> None:
    """WEB_CONCURRENCY and PORT, as platforms set them."""
    site = service(bind=None)
    site.start(environment={"WEB_CONCURRENCY": "3", "PORT": str(site.port)}).wait_serving(3)
    assert site.get().status == 200


def test_bodies_and_websockets(service: StartService) -> None:
    site = service().start()
    site.wait_serving(1)
    assert site.get("/", body=b"x" * 100_000).json()["length"] == 100_000
    with connect_websocket(f"ws://{site.address}/") as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=10) == "hello"


def test_root_path_and_trusted_proxy_headers(service: StartService) -> None:
    site = service().start("--root-path", "/api", "--forwarded-allow-ips", "127.0.0.1")
    site.wait_serving(1)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    connection.request("GET", "/", headers={"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"})
    answer = connection.getresponse().read().decode()
    connection.close()
    assert '"scheme": "https"' in answer
    assert "192.0.2.7" in answer
    assert '"root_path": "/api"' in answer


def test_an_exception_of_the_application_costs_one_request(service: StartService) -> None:
    site = service()
    site.expect_error(r"exception|oops")
    before = site.start().wait_serving(1)
    assert site.get("/raise/oops").status == 500
    assert "RuntimeError: oops" in site.log
    assert site.get().status == 200
    assert site.serving() == before


def test_the_arbiter_imports_neither_the_application_nor_an_event_loop(service: StartService) -> None:
    """What it does not load it cannot be broken by, and every worker is forked from a small process."""
    site = service()
    site.write(
        "gunicorn.conf.py",
        "import os, sys\n"
        "def when_ready(server):\n"
        "    with open('modules', 'w') as file:\n"
        "        file.write(' '.join(sys.modules))\n",
    )
    site.start("--preload").wait_serving(1)
    modules = (site.directory / "modules").read_text().split()
    assert not {"app", "asyncio", "uvicorn", "uvloop", "fastapi"} & set(modules)
