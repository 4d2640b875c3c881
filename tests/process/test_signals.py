"""Each signal to the arbiter, alone and while another one is being handled."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.process.conftest import StartService
from tests.process.harness import Service


class Request:
    """A request under way in a thread."""

    def __init__(self, site: Service, path: str) -> None:
        self.answer: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._send, args=(site, path))
        self._thread.start()

    def _send(self, site: Service, path: str) -> None:
        try:
            self.answer = site.get(path)
        except OSError as error:
            self.error = error

    def join(self) -> Any:
        self._thread.join()
        return self.answer


def refused(site: Service) -> bool:
    try:
        site.connect(1).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except TimeoutError:
        return False
    return False


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("bind", ["tcp", "unix"])
def test_term_answers_what_is_in_flight(service: StartService, bind: str, preload: bool) -> None:
    site = service(bind=bind).start("--workers", "2", "--pid", "service.pid", *(["--preload"] if preload else []))
    site.wait_serving(2)
    assert site.pidfile.read_text().strip() == str(site.pid)
    request = Request(site, "/sleep/1")
    site.wait_event("sleeping")
    site.term()
    assert site.wait_exit() == 0
    assert request.join().status == 200
    assert refused(site)
    assert len(site.events("stopped")) == 2, "lifespan shutdown ran in both workers"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_do_not_wait_for_requests(
    service: StartService, number: signal.Signals, measured: Callable[[str], None]
) -> None:
    site = service().start("--workers", "2")
    site.wait_serving(2)
    request = Request(site, "/sleep/3600")
    site.wait_event("sleeping")
    begun = time.monotonic()
    site.signal(number)
    assert site.wait_exit() == 0
    measured(f"{number.name}: gone after {time.monotonic() - begun:.3f} s")
    request.join()
    assert request.answer is None or request.answer.status >= 500
    assert len(site.events("stopped")) == 2, "lifespan shutdown ran in both workers"


def test_graceful_timeout_ends_a_drain(service: StartService) -> None:
    site = service().start("--graceful-timeout", "1")
    site.expect_error(r"graceful_timeout|cancel|drain|exception", sure=False)
    site.wait_serving(1)
    request = Request(site, "/sleep/3600")
    site.wait_event("sleeping")
    site.term()
    assert site.wait_exit() == 0
    request.join()
    assert len(site.events("stopped")) == 1, "lifespan shutdown still ran"


def test_quit_hurries_a_term(service: StartService) -> None:
    site = service().start("--graceful-timeout", "3600")
    site.wait_serving(1)
    request = Request(site, "/sleep/3600")
    site.wait_event("sleeping")
    site.term()
    site.wait_until(lambda: refused(site), "it takes no new connections")
    site.signal(signal.SIGQUIT)
    assert site.wait_exit() == 0
    request.join()
    assert len(site.events("stopped")) == 1


@pytest.mark.parametrize("preload", [True, False])
def test_hup_brings_new_code_and_new_settings(service: StartService, preload: bool) -> None:
    site = service()
    site.write("gunicorn.conf.py", f"workers = 2\npreload_app = {preload}\n")
    before = site.start().wait_serving(2, version="1")
    request = Request(site, "/sleep/1.5")
    site.wait_event("sleeping")
    site.write("gunicorn.conf.py", f"workers = 3\npreload_app = {preload}\n")
    site.deploy("2")
    site.hup()
    after = site.wait_serving(3, version="2")
    assert not set(before) & set(after)
    assert request.join().json()["version"] == "1", "what was in flight is answered by the version that took it"
    site.wait_log(r"reload|generation 2")


def test_a_replacement_is_ready_before_the_old_worker_goes(service: StartService) -> None:
    """Read from the order of events: before the n-th old worker stops, n new ones have started."""
    site = service().start("--workers", "3", "--preload")
    before = set(site.wait_serving(3))
    site.deploy("2", startup="await asyncio.sleep(0.3)")
    site.hup()
    site.wait_serving(3, version="2")
    started, stopping = 0, 0
    for event in site.events():
        started += event["event"] == "started" and event["pid"] not in before
        stopping += event["event"] == "stopping" and event["pid"] in before
        assert stopping <= started, site.report()
    assert stopping == 3


def test_ttin_and_ttou_count_workers_and_stop_at_one(service: StartService) -> None:
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    site.signal(signal.SIGTTIN)
    site.wait_serving(3)
    for left in (2, 1, 1):
        site.signal(signal.SIGTTOU)
        site.wait_serving(left)
    site.signal(signal.SIGTTIN)
    site.wait_serving(2)


def test_hup_brings_the_count_back_to_the_setting(service: StartService) -> None:
    site = service().start("--workers", "2")
    site.wait_serving(2)
    site.signal(signal.SIGTTIN)
    site.wait_serving(3)
    site.deploy("2")
    site.hup()
    site.wait_serving(2, version="2")


def test_a_term_to_one_worker_is_a_drain_and_a_replacement(service: StartService) -> None:
    site = service().start("--workers", "2", "--preload")
    victim = min(site.wait_serving(2))
    os.kill(victim, signal.SIGTERM)
    site.wait_until(lambda: victim not in site.workers(), "the worker is gone")
    assert victim not in site.wait_serving(2)
    assert [event["pid"] for event in site.events("stopped")] == [victim]


def test_term_during_a_reload(service: StartService) -> None:
    site = service().start("--workers", "2", "--preload", "--graceful-timeout", "5")
    site.wait_serving(2)
    site.deploy("2", startup="await asyncio.sleep(3600)")
    site.hup()
    site.wait_until(lambda: any(event["version"] == "2" for event in site.events("starting")), "the new one boots")
    site.term()
    assert site.wait_exit() == 0


def test_term_while_the_new_generation_imports(service: StartService) -> None:
    """The arbiter is not deaf while an import takes its time."""
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    site.deploy("2", at_import="note('importing'); time.sleep(3600)")
    site.hup()
    site.wait_event("importing")
    site.term()
    assert site.wait_exit() == 0


def test_hup_during_a_reload_supersedes_it(service: StartService) -> None:
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    site.deploy("2", startup="await asyncio.sleep(3600)")
    site.hup()
    site.wait_until(lambda: any(event["version"] == "2" for event in site.events("starting")), "the new one boots")
    site.deploy("3")
    site.hup()
    site.wait_serving(2, version="3")


@pytest.mark.parametrize("preload", [True, False])
def test_a_storm_of_hups_ends_on_the_last_version(service: StartService, preload: bool) -> None:
    site = service().start("--workers", "2", *(["--preload"] if preload else []))
    site.wait_serving(2)
    for number in range(2, 12):
        site.deploy(str(number))
        site.hup()
        seen = time.monotonic()
        site.wait_until(lambda seen=seen: time.monotonic() > seen + 0.03, "a moment")  # type: ignore[misc]
    site.wait_serving(2, version="11")
    assert len(site.pids().loaders) == 1


def test_ttin_and_hup_during_a_stop_change_nothing(service: StartService) -> None:
    site = service().start("--workers", "1")
    site.wait_serving(1)
    request = Request(site, "/sleep/1")
    site.wait_event("sleeping")
    site.term()
    site.signal(signal.SIGTTIN)
    site.hup()
    site.term()
    assert site.wait_exit() == 0
    assert request.join().status == 200
    assert len(site.events("started")) == 1


def test_a_storm_of_chld(service: StartService) -> None:
    site = service().start("--workers", "4", "--preload")
    site.expect_error(r"died|signal 9|SIGKILL|killed|exited", sure=False)
    before = site.wait_serving(4)
    for _ in range(500):
        site.signal(signal.SIGCHLD)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
        site.signal(signal.SIGCHLD)
    after = site.wait_serving(4)
    assert not set(before) & set(after)


def test_winch_and_back(service: StartService) -> None:
    """No workers, listeners open; HUP brings them back, and what was queued meanwhile is answered."""
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    site.signal(signal.SIGWINCH)
    site.wait_until(lambda: not site.workers(), "no workers")
    queued = Request(site, "/")
    site.hup()
    site.wait_serving(2)
    assert queued.join().status == 200


@pytest.mark.parametrize("moment", ["at once", "importing", "starting"])
def test_term_before_it_is_ready(service: StartService, moment: str) -> None:
    site = service()
    site.deploy("1", at_import="note('importing'); time.sleep(0.5)", startup="await asyncio.sleep(3600)")
    site.start("--workers", "2", "--preload", "--pid", "service.pid", "--graceful-timeout", "2")
    if moment == "at once":
        # The handlers stand before anything slow; before them there is nothing yet to be tidied up.
        site.wait_until(lambda: site.log or site.pidfile.exists(), "it has begun")
    else:
        site.wait_event(moment)
    site.term()
    assert site.wait_exit() == 0


def test_hup_while_it_boots(service: StartService) -> None:
    """Gunicorn with preload has no handler yet at this moment, and dies."""
    site = service()
    site.deploy("1", at_import="note('importing'); time.sleep(1)")
    site.start("--workers", "2", "--preload")
    site.wait_event("importing")
    site.deploy("2")
    site.hup()
    site.wait_serving(2, version="2")


def test_control_c_in_a_terminal(service: StartService) -> None:
    """The terminal sends INT to the whole process group; the arbiter decides what it means."""
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    os.killpg(site.pid, signal.SIGINT)
    assert site.wait_exit() == 0
    assert len(site.events("stopped")) == 2


def test_a_hangup_of_the_whole_group_is_one_reload(service: StartService) -> None:
    site = service().start("--workers", "2", "--preload")
    site.wait_serving(2)
    site.deploy("2")
    os.killpg(site.pid, signal.SIGHUP)
    site.wait_serving(2, version="2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_is_an_order_and_no_accident(service: StartService, number: signal.Signals) -> None:
    """As a terminal and a service manager send it: the workers may act on it before the arbiter does."""
    site = service().start("--workers", "3", "--preload")
    site.wait_serving(3)
    workers = site.workers()
    os.kill(site.pid, signal.SIGSTOP)
    os.killpg(os.getpgid(site.pid), number)
    site.wait_until(
        lambda: not any(psutil.Process(pid).status() != "zombie" for pid in workers), "the workers are done"
    )
    os.kill(site.pid, signal.SIGCONT)
    assert site.wait_exit() == 0
    assert site.log.count("Booting worker") == 3


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGWINCH])
def test_a_signal_while_the_configuration_is_read_ends_nothing(service: StartService, number: signal.Signals) -> None:
    site = service()
    site.write("gunicorn.conf.py", "import os, signal\nworkers = 1\nos.kill(os.getpid(), signal." + number.name + ")\n")
    site.start().wait_serving(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_while_the_configuration_is_read_ends_the_start(service: StartService, number: signal.Signals) -> None:
    site = service()
    site.write("gunicorn.conf.py", "import pathlib, time\npathlib.Path('read').touch()\ntime.sleep(3600)\n")
    site.start()
    site.wait_until((site.directory / "read").exists, "the configuration is being read")
    site.signal(number)
    assert site.wait_exit() == 0
