"""A production configuration file with hooks, and the forms of command that go with it."""

from __future__ import annotations

import os
import re
import signal
import ssl
from pathlib import Path

import pytest
import trustme

from tests.process.conftest import StartService
from tests.process.harness import Service

APPLICATION = """
import asyncio
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from probe import note


@asynccontextmanager
async def lifespan(app):
    await asyncio.sleep(0)
    note("started", version=app.version)
    yield
    note("stopping", version=app.version)
    await asyncio.sleep(0.2)
    note("stopped", version=app.version)


app = FastAPI(lifespan=lifespan, version="1")


@app.get("/items/{item}")
async def item(item: int, request: Request):
    import os
    return {"item": item, "pid": os.getpid(), "version": app.version, "scheme": request.url.scheme}
"""

CONFIGURATION = '''
"""Settings for a service behind a proxy; what differs between places comes from the environment."""

import json
import multiprocessing
import os
import time

bind = os.environ.get("BIND", "0.0.0.0:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", 2 * multiprocessing.cpu_count() + 1))
worker_class = "uvicorn.workers.UvicornWorker"
worker_connections = int(os.environ.get("WORKER_CONNECTIONS", "1000"))

max_requests = int(os.environ.get("MAX_REQUESTS", "1000"))
max_requests_jitter = int(os.environ.get("MAX_REQUESTS_JITTER", "50"))

timeout = int(os.environ.get("TIMEOUT", "30"))
graceful_timeout = int(os.environ.get("GRACEFUL_TIMEOUT", "30"))
keepalive = int(os.environ.get("KEEPALIVE", "2"))

accesslog = "-"
errorlog = "-"
loglevel = os.environ.get("LOG_LEVEL", "info")
access_log_format = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(D)s %(p)s'

proc_name = "fastapi_app"
daemon = False
pidfile = os.path.abspath("service.pid")
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
preload_app = True
worker_tmp_dir = "/dev/shm"


def _note(hook, **facts):
    line = {"event": hook, "pid": os.getpid(), "ppid": os.getppid(), "at": time.monotonic(), **facts}
    with open(os.environ["PROBE_EVENTS"], "ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\\n")


def nworkers_changed(server, new_value, old_value):
    _note("nworkers_changed", new=new_value, old=old_value)


def on_starting(server):
    server.log.info("on_starting speaks")
    _note("on_starting")


def on_reload(server):
    _note("on_reload")


def when_ready(server):
    _note("when_ready", workers=server.num_workers, addresses=len(server.LISTENERS))


def pre_fork(server, worker):
    _note("pre_fork", age=worker.age)


def post_fork(server, worker):
    _note("post_fork", age=worker.age, worker=worker.pid)


def post_worker_init(worker):
    _note("post_worker_init", worker=worker.pid)


def pre_request(worker, req):
    _note("pre_request", worker=worker.pid, method=req.method, path=req.path)


def post_request(worker, req, environ, resp):
    _note("post_request", worker=worker.pid, path=req.path, status=str(resp.status))


def worker_int(worker):
    _note("worker_int", worker=worker.pid)


def worker_abort(worker):
    _note("worker_abort", worker=worker.pid)


def worker_exit(server, worker):
    _note("worker_exit", worker=worker.pid)


def child_exit(server, worker):
    _note("child_exit", worker=worker.pid)


def on_exit(server):
    _note("on_exit")


def on_arbiter_start():
    """No hook of this name exists; as in gunicorn, nobody calls it."""
    _note("on_arbiter_start")
'''


def prepare(service: StartService) -> Service:
    site = service(bind=None)
    site.write("app.py", APPLICATION)
    site.write("gunicorn.conf.py", CONFIGURATION)
    return site


def environment(site: Service, **more: str) -> dict[str, str]:
    return {"BIND": site.address, "WEB_CONCURRENCY": "2", **more}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


def write_certificate(directory: Path, authority: trustme.CA) -> None:
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    for number, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(directory / "cert.pem", append=number > 0)


def test_every_hook_runs_in_its_process_at_its_moment(service: StartService) -> None:
    site = prepare(service)
    site.start("-c", "gunicorn.conf.py", environment=environment(site))
    first = set(site.wait_serving(2))
    arbiter = site.pid
    answer = site.get("/items/7").json()
    assert answer["item"] == 7
    assert answer["pid"] in first
    site.wait_event("post_request")
    site.hup()
    site.wait_until(lambda: not first & site.workers(), "new workers")
    second = set(site.wait_serving(2))
    interrupted, aborted = sorted(second)
    os.kill(interrupted, signal.SIGQUIT)
    site.wait_event("worker_int")
    site.expect_error(r"died|abort|killed|SIGABRT|signal 6", sure=False)
    os.kill(aborted, signal.SIGABRT)
    site.wait_event("worker_abort")
    site.wait_until(lambda: not second & site.workers(), "the third pair")
    third = set(site.wait_serving(2))
    site.stop()

    events = site.events()
    order = [event["event"] for event in events]

    def pids(hook: str) -> set[int]:
        return {event["pid"] for event in events if event["event"] == hook}

    for hook in ("nworkers_changed", "on_starting", "when_ready", "pre_fork", "child_exit", "on_reload", "on_exit"):
        assert pids(hook) == {arbiter}, hook
    everybody = first | second | third
    for hook in ("post_fork", "post_worker_init"):
        assert pids(hook) == everybody, hook
    for hook in ("pre_request", "post_request"):
        assert pids(hook) == {answer["pid"]}, hook
    assert pids("worker_int") == {interrupted}
    assert pids("worker_abort") == {aborted}
    assert everybody - {aborted} <= pids("worker_exit") <= everybody
    for event in events:
        if "worker" in event and event["event"] != "child_exit":
            assert event["worker"] == event["pid"], "a hook in a worker is given the worker that it runs in"
    assert {event["worker"] for event in events if event["event"] == "child_exit"} == everybody

    assert order[:3] == ["nworkers_changed", "on_starting", "when_ready"], order[:5]
    assert site.events("nworkers_changed")[0]["old"] is None
    assert site.events("nworkers_changed")[0]["new"] == 2
    assert site.events("when_ready")[0] == {**site.events("when_ready")[0], "workers": 2, "addresses": 1}
    assert order.count("on_starting") == order.count("when_ready") == order.count("on_reload") == 1
    assert order[-1] == "on_exit"
    assert order.count("pre_fork") == order.count("post_fork") == 6
    reload = order.index("on_reload")
    assert order[:reload].count("pre_fork") == 2, "on_reload runs before the first new worker is forked"
    request = next(event for event in events if event["event"] == "pre_request")
    assert (request["method"], request["path"]) == ("GET", "/items/7")
    assert site.events("post_request")[0]["status"].startswith("200")
    for pid in everybody:
        mine = [event["event"] for event in events if event["pid"] == pid]
        assert mine.index("post_fork") < mine.index("post_worker_init") < mine.index("started"), mine
    assert "on_arbiter_start" not in order
    assert "on_starting speaks" in site.log


def test_the_environment_of_the_file(service: StartService) -> None:
    """MAX_REQUESTS and its like reach the workers."""
    site = prepare(service)
    more = {"MAX_REQUESTS": "5", "MAX_REQUESTS_JITTER": "0", "LOG_LEVEL": "warning", "GRACEFUL_TIMEOUT": "7"}
    site.start("-c", "gunicorn.conf.py", environment=environment(site, **more))
    first = set(site.wait_serving(2))

    def recycled() -> bool:
        assert site.get("/items/1").status == 200
        return not first & site.workers()

    site.wait_until(recycled, "both workers have been replaced")
    site.wait_serving(2)
    assert "[INFO]" not in site.log


def test_access_log_line_and_process_titles(service: StartService) -> None:
    site = prepare(service)
    site.start("-c", "gunicorn.conf.py", environment=environment(site))
    site.wait_serving(2)
    answer = site.get("/items/7").json()
    pid = answer["pid"]
    site.wait_log(rf'127\.0\.0\.1 - - \[[^]]+\] "GET /items/7 HTTP/1\.1" 200 \d+ "-" "-" \d+ <{pid}>')
    titles = [Path(f"/proc/{each}/cmdline").read_text() for each in (site.pid, *site.workers())]
    assert all("fastapi_app" in title for title in titles), titles
    assert site.pidfile.read_text().strip() == str(site.pid)


def test_trusted_proxy_with_scheme(service: StartService) -> None:
    site = prepare(service)
    site.start("-c", "gunicorn.conf.py", environment=environment(site))
    site.wait_serving(2)
    with site.connect() as connection:
        connection.sendall(
            b"GET /items/7 HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\n"
            b"Connection: close\r\n\r\n"
        )
        received = b""
        while data := connection.recv(65536):
            received += data
    assert b'"scheme":"https"' in received
    site.wait_log(r'192\.0\.2\.7 - - .*"GET /items/7')


def test_form_with_workers_and_class_on_the_command_line(service: StartService) -> None:
    site = prepare(service)
    (site.directory / "gunicorn.conf.py").unlink()
    site.start("-w", "4", "-k", "uvicorn.workers.UvicornWorker", "-b", site.address)
    site.wait_serving(4)
    assert site.get("/items/7").status == 200


def test_form_with_reload(service: StartService) -> None:
    """It serves, and says what it watches."""
    site = prepare(service)
    site.start("-c", "gunicorn.conf.py", "--reload", environment=environment(site))
    site.wait_serving(2)
    site.wait_log(r"Watching \d+ files in .*, through inotify")
    assert site.get("/items/7").status == 200


def test_form_with_certificate(service: StartService, authority: trustme.CA) -> None:
    site = prepare(service)
    write_certificate(site.directory, authority)
    more = ("--certfile", "cert.pem", "--keyfile", "key.pem")
    site.start("-c", "gunicorn.conf.py", *more, environment=environment(site))
    site.wait_serving(2)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    answer = site.get_tls(context, "/items/7")
    assert answer.json()["scheme"] == "https"


def test_the_ssl_context_hook_runs_in_the_worker(service: StartService, authority: trustme.CA) -> None:
    site = prepare(service)
    write_certificate(site.directory, authority)
    hook = """
certfile, keyfile = "cert.pem", "key.pem"


def ssl_context(config, default_ssl_context_factory):
    import ssl
    context = default_ssl_context_factory()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _note("ssl_context", certfile=config.certfile)
    return context
"""
    site.write("gunicorn.conf.py", CONFIGURATION + hook)
    site.start("-c", "gunicorn.conf.py", environment=environment(site))
    serving = site.wait_serving(2)
    assert {event["pid"] for event in site.events("ssl_context")} == set(serving)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert site.get_tls(context, "/items/7").status == 200
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError, match=r".*"):
        site.get_tls(context, "/items/7")


@pytest.mark.parametrize("how", ["raise RuntimeError('the hook is broken')", "import sys; sys.exit(7)"])
def test_a_hook_that_raises_breaks_nothing_else(service: StartService, how: str) -> None:
    site = service()
    hooks = {
        "nworkers_changed": "server, new, old",
        "on_starting": "server",
        "when_ready": "server",
        "pre_fork": "server, worker",
        "post_fork": "server, worker",
        "post_worker_init": "worker",
        "pre_request": "worker, req",
        "post_request": "worker, req",
        "worker_exit": "server, worker",
        "child_exit": "server, worker",
        "on_reload": "server",
        "on_exit": "server",
    }
    text = "".join(f"def {name}({arguments}):\n    {how}\n\n" for name, arguments in hooks.items())
    site.write("gunicorn.conf.py", text)
    site.expect_error(r"hook")
    site.start("--workers", "2").wait_serving(2, version="1")
    assert site.get().status == 200
    site.deploy("2")
    site.hup()
    site.wait_serving(2, version="2")
    assert site.get().status == 200
    site.stop()
    for name in hooks:
        assert re.search(rf"hook {name}\b", site.log), f"{name} is not reported\n{site.log}"


def test_check_config_and_print_config_start_nothing(service: StartService) -> None:
    site = prepare(service)
    site.start("-c", "gunicorn.conf.py", "--print-config", environment=environment(site))
    assert site.wait_exit() == 0
    assert re.search(
        r"^workers\s+= 2  # environment WEB_CONCURRENCY|^workers\s+= 2  # .*gunicorn\.conf\.py", site.log, re.MULTILINE
    )
    site.start("-c", "gunicorn.conf.py", "--check-config", environment=environment(site))
    assert site.wait_exit() == 0
    assert not site.events("started")
    site.expect_error("soon", sure=False)
    site.start("-c", "gunicorn.conf.py", "--check-config", environment=environment(site, TIMEOUT="soon"))
    assert site.wait_exit() == 1
