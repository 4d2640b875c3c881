"""Who gets the connections: fair shares of those that stay, speed for those that do not, and never one that waits."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.process.certificates import Authority
from tests.process.conftest import StartService
from tests.process.connection import Outcome, Target
from tests.process.harness import Service
from tests.process.load import Load, Traffic

WORKERS = 4
MANY = 40
ATTEMPTS = 12
STARTS = pytest.mark.parametrize("arguments", [(), ("--worker-class", "uvicorn-h11")], ids=["uvloop", "asyncio"])
RUSH = (Traffic(900, keep_alive=False), Traffic(30))


class Visitors:
    """Connections that stay open, and the workers that serve them."""

    def __init__(self, site: Service, authority: Authority | None = None) -> None:
        self._site = site
        self._context = authority.client() if authority else None
        self._connections: list[http.client.HTTPConnection] = []
        self.shares: Counter[int] = Counter()

    def arrive(self, count: int) -> None:
        """One after the other."""
        for _ in range(count):
            self._ask([self._connect()])

    def arrive_at_once(self, count: int) -> None:
        self._ask([self._connect() for _ in range(count)])

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        sock = self._site.connect()
        connection.sock = self._context.wrap_socket(sock, server_hostname="localhost") if self._context else sock
        self._connections.append(connection)
        return connection

    def _ask(self, connections: list[http.client.HTTPConnection]) -> None:
        for connection in connections:
            connection.request("GET", "/")
        self.shares.update(json.loads(connection.getresponse().read())["pid"] for connection in connections)

    def leave(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self.shares.clear()


@contextlib.contextmanager
def visitors(site: Service, authority: Authority | None = None) -> Iterator[Visitors]:
    made = Visitors(site, authority)
    try:
        yield made
    finally:
        made.leave()


def start(site: Service, *arguments: str) -> Service:
    site.start("--workers", str(WORKERS), "--preload", "--keep-alive", "60", *arguments)
    site.wait_serving(WORKERS)
    return site


def assert_fair(guests: Visitors, come: Callable[[int], None], *, more: int = 0) -> None:
    """Have many come and go, until each worker had its share of them, or at most so many ``more``.

    Not only once: where a worker does not come to run for some ms, since the machine is busy, others take over.
    """
    seen = []
    for _ in range(ATTEMPTS):
        guests.leave()
        come(MANY)
        seen.append(sorted(guests.shares.values()))
        if len(guests.shares) == WORKERS and seen[-1][-1] <= MANY / WORKERS + more:
            return
    pytest.fail(f"never even shares: {seen}")


@STARTS
@pytest.mark.parametrize("bind", ["tcp", "unix"])
def test_connections_that_come_one_by_one_are_shared(
    service: StartService, bind: str, arguments: tuple[str, ...]
) -> None:
    site = start(service(bind=bind), *arguments)
    with visitors(site) as guests:
        assert_fair(guests, guests.arrive)
    site.stop()


@STARTS
def test_connections_that_come_at_once_are_shared(service: StartService, arguments: tuple[str, ...]) -> None:
    site = start(service(), *arguments)
    with visitors(site) as guests:
        assert_fair(guests, guests.arrive_at_once, more=2)
    site.stop()


def test_tls_connections_are_shared(service: StartService) -> None:
    site = service()
    authority = Authority(site.directory)
    start(site, *authority.options)
    with visitors(site, authority) as guests:
        assert_fair(guests, guests.arrive)
    site.stop()


def test_a_new_worker_catches_up(service: StartService) -> None:
    site = start(service())
    with visitors(site) as guests:
        guests.arrive(MANY)
        site.signal(signal.SIGTTIN)
        newest = (set(site.wait_serving(WORKERS + 1)) - set(guests.shares)).pop()

        def catches_up() -> bool:
            guests.arrive(1)
            return guests.shares[newest] >= MANY / WORKERS

        site.wait_until(catches_up, "it has as many as the others")
        assert guests.shares.total() < 2 * MANY, "most of those that came were left to it"
    site.stop()


def test_the_places_of_workers_that_died_are_not_kept(service: StartService) -> None:
    site = start(service())
    with visitors(site) as guests:
        guests.arrive(MANY)
        victim = min(site.workers())
        site.expect_error(r"killed by signal 9")
        os.kill(victim, signal.SIGKILL)
        site.wait_until(lambda: victim not in site.serving() and len(site.serving()) == WORKERS, "it was replaced")
        assert_fair(guests, guests.arrive)
    site.stop()


def test_nobody_waits_for_a_worker_that_does_not_run(service: StartService) -> None:
    """The one with the fewest connections has stopped: the others take what it ought to."""
    site = start(service(), "--timeout", "120")
    with visitors(site) as guests:
        guests.arrive(2 * WORKERS)
        site.signal(signal.SIGTTIN)
        newest = max(set(site.wait_serving(WORKERS + 1)), key=lambda pid: psutil.Process(pid).create_time())
        process = psutil.Process(newest)
        process.suspend()
        site.wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "the new worker stands still")
        guests.arrive(MANY)
        assert guests.shares[newest] == 0
        process.resume()

        def takes_its_turn() -> bool:
            guests.arrive(1)
            return guests.shares[newest] > 0

        site.wait_until(takes_its_turn, "it takes its turn again")
    site.stop()


def rushing(site: Service) -> set[int]:
    """The workers that have said last that there is a rush."""
    words = re.findall(r"\[(\d+)\] \[DEBUG\] (a rush of|the rush is over)", site.log)
    return {int(pid) for pid, word in dict(words).items() if word == "a rush of"} & site.workers()


@pytest.mark.parametrize("bind", ["tcp", "unix"])
def test_a_rush_is_served_as_it_comes_and_loses_nothing(service: StartService, bind: str) -> None:
    """Through its begin and end, reloads, scaling and recycling in the middle of it, and a stop."""
    site = service(bind=bind)
    site.start("--workers", "2", "--preload", "--log-level", "debug", "--keep-alive", "60")
    site.wait_serving(2)
    target = Target(str(site.socket_path)) if bind == "unix" else Target(("127.0.0.1", site.port))
    with Load(target, *RUSH) as load:
        site.wait_until(lambda: rushing(site), "there is a rush")
        for version in ("2", "3"):
            site.deploy(version)
            site.hup()
            site.wait_serving(2, version=version)
            site.wait_until(lambda: rushing(site), "there is a rush")
        site.signal(signal.SIGTTIN)
        site.wait_serving(3)
        site.signal(signal.SIGTTOU)
        site.wait_serving(2)
        victim = min(rushing(site) or site.workers())
        os.kill(victim, signal.SIGTERM)
        site.wait_until(lambda: victim not in site.workers() and len(site.serving()) == 2, "one was replaced")
        site.wait_until(lambda: rushing(site), "the rush goes on")
        load.cease()
        report = load.stop()
        assert report.lost == [], str(report)
    with visitors(site) as guests:

        def shared_again() -> bool:
            guests.arrive(1)
            fewest, most = min(guests.shares.values()), max(guests.shares.values())
            return len(guests.shares) == 2 and most - fewest <= 1 + most // 16

        site.wait_until(shared_again, "connections are shared evenly again")
    with Load(target, *RUSH) as load:
        site.wait_until(lambda: rushing(site), "there is a rush")
        site.term()
        site.wait_exit()
        load.cease()
        report = load.stop()
    assert {record.outcome for record in report.lost} <= {Outcome.REFUSED}, str(report)
    assert report.interleaved == []


def leave_descriptors(site: Service, count: int) -> None:
    """Let the one worker open only so many more files."""
    (worker,) = site.workers()
    limit = psutil.Process(worker).num_fds() + count
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, limit))


def test_without_descriptors_those_that_wait_are_taken_as_others_leave(service: StartService) -> None:
    """As soon as they leave; and the log says it once a second, not each time."""
    site = service()
    site.start("--workers", "1", "--keep-alive", "60").wait_serving(1)
    site.expect_error(r"connections cannot be accepted: Too many open files")
    leave_descriptors(site, 20)
    began = time.monotonic()
    held = [site.connect() for _ in range(40)]
    site.wait_log("connections cannot be accepted")
    for _ in range(200):
        held.pop(0).close()
        held.append(site.connect())
        time.sleep(0.005)
    while held:
        held.pop(0).close()
    assert site.get().status == 200
    said = site.log.count("connections cannot be accepted")
    assert said <= 2 + time.monotonic() - began
    site.stop()


def test_a_rush_without_descriptors_loses_nothing(service: StartService) -> None:
    """The loop's own server would accept connections only to close them."""
    site = service()
    site.start("--workers", "1", "--log-level", "debug", "--keep-alive", "60").wait_serving(1)
    site.expect_error(r"connections cannot be accepted: Too many open files", sure=False)
    target = Target(("127.0.0.1", site.port))
    with Load(target, Traffic(900, keep_alive=False)) as load:
        site.wait_until(lambda: rushing(site), "there is a rush")
        leave_descriptors(site, 40)
        held = []
        for _ in range(60):
            held.append(site.connect())
            time.sleep(0.01)
        site.wait_until(lambda: not rushing(site), "the rush is over for want of descriptors")
        for connection in held:
            connection.close()
        load.cease()
        report = load.stop()
    assert report.lost == [], str(report)
    site.stop()


CUSTOM = """
from supervisor.workers.uvicorn import UvicornWorker
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

class Custom(UvicornWorker):
    CONFIG_KWARGS = {"http": HttpToolsProtocol}
"""


def test_connections_of_a_protocol_that_tells_nothing_are_shared(service: StartService) -> None:
    site = service()
    site.write("custom.py", CUSTOM)
    start(site, "--worker-class", "custom:Custom")
    with visitors(site) as guests:
        assert_fair(guests, guests.arrive)
    site.stop()
