"""A blocked event loop is found, named and replaced; waiting is not blocking."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.process.conftest import StartService
from tests.process.harness import Service

TIMEOUT = 2
SLACK = 5.0
"""A busy machine's share, on top of the second that the promise leaves between the timeout and the discovery."""

WEDGE = r"silent|stuck|timeout|abort|SIGABRT|wedge|blocked"


def send(site: Service, path: str) -> None:
    """Send a request that is not going to be answered."""

    def exchange() -> None:
        with contextlib.suppress(OSError):
            site.get(path)

    threading.Thread(target=exchange, daemon=True).start()


def wait_gone(site: Service, pid: int) -> float:
    site.wait_until(lambda: pid not in site.workers(), f"worker {pid} is gone")
    return time.monotonic()


def assert_stack_is_shown(site: Service, pattern: str) -> None:
    """The worker writes it after the arbiter has spoken, so it may have to be waited for."""
    site.wait_log(pattern)


def test_while_serving(service: StartService, measured: Callable[[str], None]) -> None:
    site = service().start("--workers", "2", "--preload", "--timeout", str(TIMEOUT))
    site.expect_error(WEDGE)
    site.wait_serving(2)
    send(site, "/block/3600")
    blocked = site.wait_event("blocking")
    found = wait_gone(site, blocked["pid"]) - blocked["at"]
    site.wait_serving(2)
    assert_stack_is_shown(site, r"time\.sleep|probe\.py.*line \d+")
    assert_stack_is_shown(site, r"/block/3600")
    measured(f"found and gone after {found:.2f} s, timeout {TIMEOUT} s")
    assert found < TIMEOUT + 1 + SLACK


def test_while_draining(service: StartService) -> None:
    site = service().start("--workers", "2", "--preload", "--timeout", str(TIMEOUT), "--graceful-timeout", "3600")
    site.expect_error(WEDGE)
    site.wait_serving(2)
    send(site, "/later/1")
    pid = site.wait_event("sleeping")["pid"]
    os.kill(pid, signal.SIGTERM)
    blocked = site.wait_event("blocking")
    found = wait_gone(site, pid) - blocked["at"]
    assert_stack_is_shown(site, r"/later/1")
    site.wait_serving(2)
    assert found < TIMEOUT + 1 + SLACK


def test_while_shutting_down_the_lifespan(service: StartService) -> None:
    site = service()
    site.deploy("1", shutdown="time.sleep(3600)")
    site.start("--timeout", str(TIMEOUT), "--graceful-timeout", "3600")
    site.expect_error(WEDGE)
    site.wait_serving(1)
    site.term()
    assert site.wait_exit() == 0
    assert_stack_is_shown(site, r"app\.py")


def test_while_starting_up_at_first(service: StartService) -> None:
    site = service()
    site.deploy("1", startup="time.sleep(3600)")
    site.expect_error(WEDGE + r"|boot|start|fail")
    site.start("--preload", "--timeout", str(TIMEOUT))
    assert site.wait_exit() == 3
    assert_stack_is_shown(site, r"app\.py")


def test_while_starting_up_after_hup(service: StartService) -> None:
    site = service().start("--workers", "2", "--preload", "--timeout", str(TIMEOUT))
    before = site.wait_serving(2)
    site.expect_error(WEDGE + r"|boot|start|fail|drop|reload|generation")
    site.deploy("2", startup="time.sleep(3600)")
    site.hup()
    site.wait_log(r"generation 2.*(drop|fail|not)|reload.*(fail|drop)")
    assert_stack_is_shown(site, r"app\.py")
    assert site.wait_serving(2, version="1") == before
    site.deploy("3")
    site.hup()
    site.wait_serving(2, version="3")


def test_a_long_await_is_no_wedge(service: StartService) -> None:
    """In startup, in a request, in a drain and in shutdown."""
    long = 1.5 * TIMEOUT
    site = service()
    site.deploy("1", startup=f"await asyncio.sleep({long})", shutdown=f"await asyncio.sleep({long})")
    before = site.start("--timeout", str(TIMEOUT)).wait_serving(1)
    assert site.get(f"/sleep/{long}").json()["pid"] in before
    thread_answer: list[int] = []
    thread = threading.Thread(target=lambda: thread_answer.append(site.get(f"/sleep/{long}").status))
    thread.start()
    site.wait_event("sleeping", count=2)
    site.term()
    assert site.wait_exit() == 0
    thread.join()
    assert thread_answer == [200]
    assert len(site.events("stopped")) == 1


def test_a_slow_import_is_no_wedge(service: StartService) -> None:
    """An import has `boot_timeout`; the heartbeat begins with the event loop."""
    site = service()
    site.deploy("1", at_import="time.sleep(4)")
    site.start("--timeout", str(TIMEOUT)).wait_serving(1)


def test_timeout_zero_switches_it_off(service: StartService) -> None:
    site = service().start("--timeout", "0")
    before = site.wait_serving(1)
    assert site.get("/block/3").json()["pid"] in before


@pytest.mark.parametrize("whom", ["the arbiter", "everybody"])
def test_a_suspended_machine_kills_nobody(service: StartService, whom: str) -> None:
    site = service().start("--workers", "2", "--preload", "--timeout", str(TIMEOUT))
    before = site.wait_serving(2)
    site.wait_log(r"\bready\b")
    stopped = [site.pid] if whom == "the arbiter" else [site.pid, *site.pids().loaders, *before]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    resume_at = time.monotonic() + 2 * TIMEOUT
    site.wait_until(lambda: time.monotonic() > resume_at, "longer than the timeout has passed")
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    settled_at = time.monotonic() + 1.5 * TIMEOUT
    site.wait_until(lambda: time.monotonic() > settled_at, "the arbiter has judged every heartbeat")
    assert site.serving() == before


def test_a_worker_that_is_stopped_for_good_is_replaced(service: StartService) -> None:
    """It cannot say where it is stuck, and dies only of KILL."""
    site = service().start("--workers", "2", "--preload", "--timeout", str(TIMEOUT))
    site.expect_error(WEDGE)
    victim = min(site.wait_serving(2))
    os.kill(victim, signal.SIGSTOP)
    wait_gone(site, victim)
    site.wait_serving(2)
