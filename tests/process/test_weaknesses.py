"""Weaknesses of gunicorn that no other test shows ours not to have: docs/explanation/weaknesses.md lists them all."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest

from tests.process.conftest import StartService
from tests.process.harness import Answer, Service
from tests.process.test_upgrade import Upgrades, runs


def in_flight(site: Service, path: str) -> tuple[threading.Thread, list[Answer]]:
    """A request that is sent in the background, and its answer when it has come."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(site.get(path)))
    thread.start()
    site.wait_event("sleeping")
    return thread, answers


@pytest.mark.parametrize("order", ["term", "hup"])
def test_a_drain_may_take_longer_than_timeout(service: StartService, order: str) -> None:
    """Not so gunicorn: its arbiter kills it, since with its Uvicorn worker the heartbeat stops when a drain begins."""
    site = service().start("--timeout", "1", "--graceful-timeout", "60")
    site.wait_serving(1)
    thread, answers = in_flight(site, "/sleep/2")
    getattr(site, order)()
    thread.join()
    assert [answer.status for answer in answers] == [200]
    if order == "hup":
        site.wait_serving(1)
        site.stop()
    assert site.wait_exit() == 0
    assert not re.search("WORKER TIMEOUT|killed by", site.log)


def test_graceful_timeout_is_kept_at_hup(service: StartService) -> None:
    """Not so gunicorn: its old workers stay for as long as their last request."""
    site = service().start("--graceful-timeout", "1")
    site.expect_error(r"graceful_timeout|cancel|drain|exception", sure=False)
    before = set(site.wait_serving(1))
    connection = site.connect()
    connection.sendall(b"GET /sleep/3600 HTTP/1.1\r\nHost: a\r\n\r\n")
    site.wait_event("sleeping")
    site.hup()
    site.wait_until(lambda: not before & site.workers(), "the old worker is gone")
    connection.close()
    site.wait_serving(1)
    assert len(site.events("stopped")) == 1, "its lifespan was shut down"


def test_hup_to_a_new_arbiter_that_is_not_promoted_yet(service: StartService) -> None:
    """It crashes gunicorn's, which renames a pidfile that it has not."""
    site = service()
    site.start("--workers", "2", "--preload", "--pid", "service.pid").wait_serving(2)
    upgrades = Upgrades(site)
    old, new = upgrades.arbiter(), upgrades.start_new()
    already = len(site.log)
    os.kill(new, signal.SIGHUP)
    site.wait_log(rf"\[{new}\].*Reloaded", since=already)
    assert (upgrades.arbiter(), upgrades.arbiter(".2")) == (old, new)
    upgrades.go(old)
    upgrades.promoted(new)
    site.wait_serving(2)
    os.kill(new, signal.SIGTERM)
    site.wait_until(lambda: not runs(new), "the new arbiter is gone")
    site.wait_until(site.is_gone, "no process is left")


def test_all_workers_fail_to_boot(service: StartService) -> None:
    """Where several fail at once, gunicorn ends with 1, keeps its pidfile, and calls no ``on_exit``."""
    site = service()
    site.deploy("1", startup="raise RuntimeError('no database')")
    site.write("gunicorn.conf.py", "from probe import note\ndef on_exit(server): note('on_exit')\n")
    site.expect_error(r"boot failed.*no database")
    site.expect_error(r"worker \d .*exit code 3", sure=False)
    site.start("--workers", "4", "--pid", "service.pid")
    assert site.wait_exit() == 3
    assert len(site.events("on_exit")) == 1
    assert not Path(site.directory / "service.pid").exists()
