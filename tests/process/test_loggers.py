"""Logger classes of the user's, StatsD and syslog in a running service: they harm nobody, and follow HUP and USR1."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.process.conftest import StartService
from tests.process.harness import Service

BASE = """
from supervisor.logs.logger import Logger

class Mine(Logger):
    {body}

logger_class = Mine
accesslog = "access.log"
errorlog = "error.log"
"""


def configure(site: Service, body: str, more: str = "") -> None:
    site.write("gunicorn.conf.py", BASE.format(body=body) + more)


def error_log(site: Service) -> str:
    file = site.directory / "error.log"
    return file.read_text() if file.exists() else ""


def test_an_access_that_raises_is_reported_once_and_loses_no_request(service: StartService) -> None:
    site = service()
    configure(site, "def access(self, resp, req, environ, request_time):\n        raise SystemExit('access')")
    site.start("--workers", "1").wait_serving(1)
    workers = site.workers()
    assert all(site.get(f"/{number}").status == 200 for number in range(20))
    assert site.workers() == workers
    site.stop()
    assert error_log(site).count("Mine.access raised SystemExit: access") == 1


@pytest.mark.parametrize("method", ["error", "warning", "info", "log"])
def test_methods_that_raise_stop_nothing(service: StartService, method: str) -> None:
    site = service()
    configure(site, f"def {method}(self, *args, **kwargs):\n        raise RuntimeError('no words')")
    site.start("--workers", "2").wait_serving(2)
    assert site.get("/").status == 200
    site.hup()
    site.wait_event("started", count=4)
    site.wait_serving(2)
    site.stop()


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "GeneratorExit", "BaseException"])
def test_nothing_that_a_logger_raises_ends_the_arbiter(service: StartService, raised: str) -> None:
    """What is no `Exception` climbs further than most."""
    site = service()
    methods = "critical = error = warning = info = debug = exception = log = reopen_files = rage"
    configure(site, f"def rage(self, *args, **kwargs):\n        raise {raised}\n    {methods}")
    site.expect_error(f"cannot log .*{raised}", sure=False)
    site.start("--workers", "1").wait_serving(1)
    for number in (signal.SIGUSR1, signal.SIGTTIN, signal.SIGHUP):
        site.signal(number)
    site.wait_event("started", count=3)
    site.wait_serving(1)
    assert site.get("/").status == 200
    site.stop()


def test_a_class_that_cannot_be_used_is_one_line_and_exit_1(service: StartService) -> None:
    site = service()
    for body, says in (
        ("def setup(self, cfg):\n        raise ValueError('no setup')", "ValueError: no setup"),
        ("def __init__(self):\n        pass", "TypeError"),
    ):
        configure(site, body)
        assert site.start().wait_exit() == 1
        errors = [line for line in site.log.splitlines() if line.startswith("Error: ")]
        assert re.fullmatch(
            rf"Error: logger_class Mine \(gunicorn\.conf\.py:\d+\) cannot be used: it raised {says}.*", errors[-1]
        )
    site.expect_error("Traceback", sure=False)


@pytest.mark.parametrize("name", ["nowhere.Logger", "json.Nobody", "nobody", "egg:nobody#nobody"])
def test_a_class_that_cannot_be_found_is_one_line_and_exit_1(service: StartService, name: str) -> None:
    site = service()
    assert site.start("--logger-class", name).wait_exit() == 1
    (line,) = site.log.splitlines()
    assert line.startswith(f"Error: logger_class {name!r} (command line --logger-class) ")
    assert site.start("--logger-class", name, "--check-config").wait_exit() == 1
    problem, _, verdict = site.log.partition("\nProblems\n")[2].strip().splitlines()
    assert problem == f"{line.removeprefix('Error: ')}."
    assert verdict == "It would not start: 1 problem, no warnings."


def test_hup_takes_the_new_class_and_refuses_a_broken_one(service: StartService) -> None:
    site = service()
    body = """def setup(self, cfg):
        import logging
        super().setup(cfg)
        handler = logging.FileHandler("extra.log")
        handler.setFormatter(logging.Formatter("{version} %(message)s"))
        self.access_log.addHandler(handler)
        self.access_log.addFilter(lambda record: "/quiet" not in record.getMessage())"""
    extra = site.directory / "extra.log"
    configure(site, body.format(version="one"))
    site.start("--workers", "1").wait_serving(1)
    old = site.workers()
    site.get("/first")
    site.get("/quiet")

    configure(site, "def setup(self, cfg):\n        raise ValueError('broken')")
    site.hup()
    site.wait_until(lambda: "Reload refused, nothing has changed" in error_log(site), "a refusal")
    assert "ValueError: broken" in error_log(site)
    site.get("/second")
    assert site.workers() == old
    site.wait_until(lambda: "/second" in extra.read_text(), "the line")

    configure(site, body.format(version="two"))
    site.hup()
    site.wait_until(lambda: site.workers() and not (site.workers() & old), "new workers")
    site.wait_serving(1)
    site.get("/third")
    site.stop()
    assert _targets(extra.read_text()) == ["one /first", "one /second", "two /third"]
    assert "/quiet" not in site.access_log.read_text()


def _targets(text: str) -> list[str]:
    """Which of the test's own requests stand in the log, behind the version of who wrote it."""
    found = re.findall(r"^(\w+) .*GET (/(?:first|second|third|quiet)) ", text, re.MULTILINE)
    return [" ".join(each) for each in found]


def test_usr1_calls_reopen_files_and_survives_what_it_raises(service: StartService) -> None:
    site = service()
    body = "def reopen_files(self):\n        super().reopen_files()\n        raise RuntimeError('after reopening')"
    configure(site, body)
    site.start("--workers", "1", "--preload").wait_serving(1)
    (site.directory / "error.log").rename(site.directory / "error.1")
    site.access_log.rename(site.directory / "access.1")
    site.signal(signal.SIGUSR1)
    # Arbiter, loader and worker.
    site.wait_until(lambda: error_log(site).count("reopen_files of logger_class raised") == 3, "three reports")
    site.get("/after")
    site.stop()
    assert "/after" in site.access_log.read_text()


def test_a_class_that_derives_from_nothing_gets_every_message_and_request(service: StartService) -> None:
    site = service()
    site.write(
        "gunicorn.conf.py",
        "class Own:\n"
        "    def __init__(self, cfg):\n"
        "        self.cfg = cfg\n"
        "    def _say(self, message, *args, **kwargs):\n"
        "        with open('own.log', 'a') as file:\n"
        "            print(message % args if args else message, file=file)\n"
        "    critical = error = warning = info = debug = exception = _say\n"
        "    def log(self, level, message, *args, **kwargs):\n"
        "        self._say(message, *args)\n"
        "    def access(self, resp, req, environ, request_time):\n"
        "        self._say('%s %s %s', req.method, req.path, resp.status)\n"
        "    def reopen_files(self):\n"
        "        self._say('reopened')\n"
        "    def close_on_exec(self):\n"
        "        pass\n"
        "logger_class = Own\n"
        "def post_fork(server, worker):\n"
        "    worker.log.info('post_fork of %s', worker.age)\n",
    )
    site.start("--workers", "1").wait_serving(1)
    site.get("/hello")
    site.signal(signal.SIGUSR1)
    own = site.directory / "own.log"
    site.wait_until(lambda: "reopened" in own.read_text(), "USR1 arrives")
    site.stop()
    text = own.read_text()
    for part in ("Starting supervisor", "Listening at", "post_fork of 1", "GET /hello 200 OK", "Stopped"):
        assert part in text
    assert site.log == ""


def test_output_is_captured_in_every_process_and_follows_usr1(service: StartService) -> None:
    site = service()
    site.deploy("1", at_import="print('import in', os.getpid(), flush=True)")
    site.write(
        "gunicorn.conf.py",
        "import os, sys\n"
        "capture_output = True\nerrorlog = 'error.log'\npreload_app = True\n"
        "def when_ready(server):\n    print('arbiter says', flush=True)\n"
        "def post_worker_init(worker):\n    os.system('echo from a subprocess')\n"
        "def pre_request(worker, req):\n    print('request', req.path, file=sys.stderr, flush=True)\n",
    )
    site.start("--workers", "1").wait_serving(1)
    site.get("/before")
    site.wait_until(lambda: "request /before" in error_log(site), "the worker's output")
    text = error_log(site)
    assert "arbiter says" in text
    assert "import in" in text
    assert "from a subprocess" in text
    old = (site.directory / "error.log").rename(site.directory / "error.1")
    site.signal(signal.SIGUSR1)

    def arrived() -> bool:
        site.get("/after")
        return "request /after" in error_log(site)

    site.wait_until(arrived, "the worker's output in the new file")
    size = old.stat().st_size
    site.deploy("2", at_import="print('second import', flush=True)")
    site.hup()
    site.wait_until(lambda: "second import" in error_log(site), "the loader's output in the new file")
    site.wait_serving(1, version="2")
    site.stop()
    assert old.stat().st_size == size
    assert "arbiter says" not in site.log


def test_a_statsd_that_is_not_there_costs_nothing(service: StartService) -> None:
    site = service()
    path = site.directory / "statsd.sock"
    site.start("--workers", "1", "--statsd-host", f"unix://{path}").wait_serving(1)
    assert site.get("/").status == 200
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(30)
        site.get("/")
        assert listener.recv(1000).startswith(b"gunicorn.request.duration:")
        # Nobody reads: its queue fills up.
        assert all(site.get("/").status == 200 for _ in range(300))
    path.unlink()
    assert site.get("/").status == 200
    site.stop()


def test_a_statsd_without_an_address_is_said_once(service: StartService) -> None:
    site = service()
    site.start("--workers", "2", "--statsd-host", "no-such-host.invalid:8125").wait_serving(2)
    assert site.get("/").status == 200
    site.stop()
    assert len(re.findall(r"\[WARNING\] statsd_host no-such-host\.invalid:8125 cannot be found", site.log)) == 1


NAME_SERVER = """
import socket
real = socket.getaddrinfo
def asked(host, *args, **kwargs):
    if host == "statsd.test" and not kwargs.get("flags"):
        open("asked", "a").write("?")
        host = "127.0.0.1"
    return real(host, *args, **kwargs)
socket.getaddrinfo = asked
"""


def test_an_arbiter_at_work_waits_for_no_name_server(service: StartService) -> None:
    """A reload looks the host up once, in the process that tries the configuration."""
    site = service()
    site.write("gunicorn.conf.py", NAME_SERVER)
    asked = site.directory / "asked"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(30)
        site.start("--workers", "1", "--statsd-host", f"statsd.test:{listener.getsockname()[1]}").wait_serving(1)
        assert asked.read_text() == "?"
        for generation in (2, 3):
            site.hup()
            site.wait_event("started", count=generation)
            site.wait_serving(1)
            assert asked.read_text() == "?" * generation
        site.get("/")
        while not listener.recv(1000).startswith(b"gunicorn.requests:"):
            pass
        site.stop()


def test_the_number_of_workers_is_a_gauge(service: StartService) -> None:
    site = service()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.05)
        received: list[str] = []

        def seen(value: int) -> bool:
            try:
                while True:
                    received.append(listener.recv(1000).decode())
            except TimeoutError:
                gauges = [line for line in received if line.startswith("gunicorn.workers:")]
                return bool(gauges) and gauges[-1] == f"gunicorn.workers:{value}|g"

        site.start("--workers", "2", "--statsd-host", f"127.0.0.1:{listener.getsockname()[1]}").wait_serving(2)
        site.wait_until(lambda: seen(2), "two workers")
        site.signal(signal.SIGTTIN)
        site.wait_until(lambda: seen(3), "three workers")
        site.signal(signal.SIGTTOU)
        site.wait_until(lambda: seen(2), "two workers again")
        site.stop()


def test_a_syslog_that_is_not_there_is_said_once_and_found_when_it_comes(service: StartService) -> None:
    site = service()
    path = site.directory / "log.sock"
    site.start("--workers", "2", "--log-syslog", "--log-syslog-to", f"unix://{path}#stream").wait_serving(2)
    assert site.get("/").status == 200
    assert len(re.findall(r"\[WARNING\] syslog cannot be reached at unix://", site.log)) == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(0.2)

        def heard() -> bool:
            site.get("/")
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                return False
            with connection:
                connection.settimeout(10)
                return b"GET / HTTP/1.1" in connection.recv(1 << 16)

        site.wait_until(heard, "a line of the access log")
    os.unlink(path)
    assert site.get("/").status == 200
    site.stop()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--log-syslog-to", "somewhere"), "syslog_addr must be udp://HOST:PORT"),
        (("--log-syslog-facility", "nobody"), "syslog_facility must be one of auth,"),
    ],
)
def test_syslog_settings_that_cannot_be_used_are_refused(
    service: StartService, arguments: tuple[str, ...], says: str
) -> None:
    site = service()
    assert site.start("--log-syslog", *arguments).wait_exit() == 1
    (line,) = site.log.splitlines()
    assert line.startswith(f"Error: {says}")


def test_a_logger_that_sends_no_metrics_makes_statsd_host_a_warning(service: StartService) -> None:
    site = service()
    configure(site, "pass", "statsd_host = '127.0.0.1:9'\n")
    site.start("--workers", "1").wait_serving(1)
    site.hup()
    site.wait_event("started", count=2)
    site.wait_serving(1)
    site.stop()
    assert error_log(site).count("statsd_host has no effect: logger_class Mine sends no metrics") == 2


def test_modules_of_the_logger_class_are_loaded_anew(service: StartService) -> None:
    site = service()
    source = "from supervisor.logs.logger import Logger\nclass Mine(Logger):\n    error_fmt = '{} %(message)s'\n"
    Path(site.directory / "loggers.py").write_text(source.format("one"))
    site.start("--workers", "1", "--logger-class", "loggers.Mine").wait_serving(1)
    site.write("loggers.py", source.format("two"))
    site.hup()
    site.wait_log(r"\ntwo Worker 2 .* is ready")
    site.stop()
